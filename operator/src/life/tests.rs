#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod batch;
mod first_map;
mod verdict_time;

use std::net::SocketAddr;

use slotmesh_api::Automation;
use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::map::Delegation;
use slotmesh_mesh::slot::SlotSet;

use super::*;
use crate::seam::PodFacts;

pub(super) fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

pub(super) fn uid(n: u8) -> Uid {
    Uid::from_bytes([n; 16])
}

pub(super) fn candidate(n: u8, process: u8) -> Candidate {
    let address = |port| SocketAddr::from(([10, 0, 0, n], port));
    Candidate {
        uid: uid(n),
        key: Keypair::from_seed([process; 32]).public(),
        name: format!("agent-{n:03}"),
        node: format!("node-{n}"),
        zone: String::new(),
        address: address(7400),
        client_address: address(7402),
        capacity: 100,
    }
}

pub(super) fn life() -> Life {
    let settings = LifeSettings {
        cluster: uid(250),
        cell: "sessions-bcdfg".into(),
        first_epoch: 1000,
        heartbeat_interval_ms: 200,
    };
    Life::new(settings, None, at(0))
}

/// A cell of `count` members at epoch 1000, recorded at 1 s.
pub(super) fn running(count: u8) -> Life {
    let mut life = life();
    for n in 1..=count {
        life.join(at(0), candidate(n, n));
    }
    let proposal = life.propose(at(300), count.into(), 0).unwrap().unwrap();
    life.recorded(proposal.map, at(1000));
    life
}

/// The API's word on pods: number, node's number, whether it lives. The DaemonSet is known.
pub(super) fn inventory(wanted: usize, pods: &[(u8, u8, bool)]) -> Inventory {
    let facts = |(n, node, lives): &(u8, u8, bool)| PodFacts {
        name: format!("agent-{n:03}"),
        uid: uid(*n),
        node: format!("node-{node}"),
        zone: String::new(),
        ip: None,
        daemon_set_uid: Some(uid(251)),
        cluster_uid_label: Some(uid(250)),
        deleting: !lives,
        finished: false,
        ready: *lives,
        capacity: 100,
    };
    Inventory {
        wanted,
        pods: pods.iter().map(|pod| (uid(pod.0), facts(pod))).collect(),
        old_pods: 0,
        daemon_set_uid: Some(uid(251)),
        ..Inventory::default()
    }
}

/// A pod that is to be on the node of another.
pub(super) fn successor(n: u8, node: u8) -> Candidate {
    Candidate {
        node: format!("node-{node}"),
        ..candidate(n, n)
    }
}

pub(super) fn slots(life: &Life, n: u8) -> SlotSet {
    life.map().unwrap().member(uid(n)).unwrap().slots()
}

pub(super) fn causes(life: &Life) -> Vec<FrozenCause> {
    life.frozen().keys().copied().collect()
}

/// These are found dead by the mesh.
pub(super) fn die(life: &mut Life, now: u64, dead: impl IntoIterator<Item = u8>) {
    let dead = dead.into_iter().map(|n| id(life, n)).collect();
    life.verdict(at(now), dead);
}

pub(super) fn step(life: &mut Life, now: u64) -> Proposal {
    let proposal = life.propose(at(now), 0, 0).unwrap().unwrap();
    life.recorded(proposal.map.clone(), at(now));
    proposal
}

pub(super) fn id(life: &Life, n: u8) -> MemberId {
    life.map().unwrap().member(uid(n)).unwrap().id()
}

#[test]
fn joins_and_deaths_within_the_batch_are_one_epoch() {
    let mut life = running(4);
    life.verdict(at(2000), BTreeSet::from([id(&life, 2)]));
    life.join(at(2200), candidate(5, 5));
    assert_eq!(life.next_deadline(), Some(at(2300)));
    assert_eq!(life.propose(at(2299), 0, 0), Ok(None));
    let proposal = step(&mut life, 2300);
    assert_eq!(proposal.map.epoch, 1001);
    assert_eq!(
        (proposal.failed.as_slice(), proposal.joined.as_slice()),
        (
            ["agent-002".to_owned()].as_slice(),
            ["agent-005".to_owned()].as_slice()
        )
    );
    assert_eq!(
        (proposal.moves, proposal.minimum_moves, proposal.failed_over),
        (4096, 4096, 4096)
    );
    assert_eq!(
        life.propose(at(9000), 0, 0),
        Ok(None),
        "nothing is left to do"
    );
}

#[test]
fn four_of_ten_are_one_change() {
    let mut life = running(10);
    let dead: BTreeSet<MemberId> = [1, 4, 6, 9].map(|n| id(&life, n)).into();
    life.verdict(at(2000), dead);
    let proposal = step(&mut life, 2300);
    assert_eq!((proposal.map.members.len(), proposal.failed.len()), (6, 4));
    assert_eq!(proposal.map.served_slots(), 16384);
    assert_eq!(proposal.moves, proposal.minimum_moves);
}

#[test]
fn a_process_that_restarts_keeps_its_slots() {
    for found_failed in [false, true] {
        let mut life = running(5);
        let before = life.map().unwrap().member(uid(3)).unwrap().clone();
        if found_failed {
            life.verdict(at(2000), BTreeSet::from([id(&life, 3)]));
        }
        life.join(at(2100), candidate(3, 33));
        let proposal = step(&mut life, 2500);
        let after = proposal.map.member(uid(3)).unwrap();
        assert_eq!((proposal.moves, after.slots()), (0, before.slots()));
        assert_eq!((after.incarnation, before.incarnation), (1001, 1000));
        assert_ne!(after.key, before.key);
        assert!(proposal.failed.is_empty());
    }
}

#[test]
fn the_returned_are_recovered_and_take_their_share() {
    let mut life = running(4);
    life.verdict(at(2000), BTreeSet::from([id(&life, 1)]));
    step(&mut life, 2300);
    assert!(life.lost().contains(&uid(1)));
    life.join(at(5000), candidate(1, 11));
    let proposal = step(&mut life, 5300);
    assert_eq!((proposal.recovered.len(), proposal.joined.len()), (1, 0));
    assert_eq!((proposal.moves, proposal.minimum_moves), (4096, 4096));
    assert!(life.lost().is_empty());
}

#[test]
fn leaving_and_vanished_pods_are_removed_without_a_verdict() {
    let mut life = running(4);
    let leaver = id(&life, 1);
    life.leave(at(2000), leaver);
    life.pod_gone(at(2100), uid(2));
    let proposal = step(&mut life, 2300);
    assert_eq!((proposal.left.len(), proposal.failed.len()), (2, 0));
    assert!(life.lost().is_empty());
}

#[test]
fn a_withdrawn_verdict_changes_nothing() {
    let mut life = running(3);
    life.verdict(at(2000), BTreeSet::from([id(&life, 1)]));
    life.verdict(at(2200), BTreeSet::new());
    assert_eq!(life.propose(at(2300), 0, 0), Ok(None));
}

#[test]
fn evidence_on_an_older_self_is_void() {
    let mut life = running(3);
    let old = id(&life, 1);
    life.join(at(2000), candidate(1, 11));
    step(&mut life, 2300);
    life.verdict(at(2400), BTreeSet::from([old]));
    assert_eq!(life.propose(at(9000), 0, 0), Ok(None));
}

#[test]
fn a_changed_interval_is_a_new_epoch() {
    let mut settings = running(2);
    let map = settings.map().unwrap().clone();
    settings.settings.heartbeat_interval_ms = 500;
    let mut life = Life::new(settings.settings, Some(map), at(0));
    let proposal = life.propose(at(300), 0, 0).unwrap().unwrap();
    assert_eq!(
        (proposal.map.protocol.heartbeat_interval_ms, proposal.moves),
        (500, 0)
    );
}

#[test]
fn who_is_presumed_dead_goes_and_is_told_as_that() {
    let mut life = running(2);
    let dead = id(&life, 2);
    life.presume_dead(at(5000), dead);
    // The mesh says nothing of it: its verdict is empty.
    life.verdict(at(5100), BTreeSet::new());
    let proposal = step(&mut life, 5300);
    assert_eq!(proposal.presumed, ["agent-002"]);
    assert_eq!(proposal.dead(), proposal.presumed, "no peers proved it");
    assert_eq!(proposal.map.members.len(), 1);
    assert_eq!((proposal.moves, proposal.minimum_moves), (8192, 8192));
    assert!(life.lost().contains(&uid(2)));

    life.join(at(6000), candidate(2, 22));
    let back = step(&mut life, 6300);
    assert_eq!(back.recovered, ["agent-002"]);
}

/// Paused for an hour, the operator takes nobody out who answers again.
#[test]
fn a_presumption_ends_when_the_mesh_no_longer_finds_the_death() {
    let mut life = running(4);
    let (two, three) = (id(&life, 2), id(&life, 3));
    life.presume_dead(at(2000), two);
    life.presume_dead(at(2000), three);
    life.keep_presumed(&BTreeSet::from([three]));
    let proposal = step(&mut life, 3000);
    assert!(proposal.map.lists(two) && !proposal.map.lists(three));
}

#[test]
fn a_presumption_about_an_older_process_does_no_harm() {
    let mut life = running(3);
    let older = id(&life, 2);
    life.join(at(2000), candidate(2, 22));
    step(&mut life, 2300);
    life.presume_dead(at(3000), older);
    assert_eq!(life.propose(at(3300), 3, 0), Ok(None));
}

#[test]
fn paused_means_no_map_at_all() {
    let policy = Policy {
        paused: true,
        ..Policy::default()
    };
    let mut life = running(4);
    life.set_policy(at(1000), policy);
    die(&mut life, 2000, [1]);
    life.join(at(2000), candidate(9, 9));
    assert_eq!(life.propose(at(9000), 0, 0), Ok(None));
    assert_eq!(life.next_deadline(), None, "nobody waits for it in vain");
    life.set_policy(at(9000), Policy::default());
    let proposal = step(&mut life, 9300);
    assert_eq!((proposal.failed.len(), proposal.joined.len()), (1, 1));

    let mut first = self::life();
    first.set_policy(at(0), policy);
    first.join(at(0), candidate(1, 1));
    assert_eq!(first.propose(at(60_000), 1, 0), Ok(None));
}

#[test]
fn disabled_and_preview_only_give_owners_to_the_ownerless() {
    for balancing in [Automation::Disabled, Automation::Preview] {
        let mut life = running(4);
        let policy = Policy {
            balancing,
            ..Policy::default()
        };
        life.set_policy(at(1000), policy);
        life.join(at(2000), candidate(5, 5));
        let joined = step(&mut life, 2300);
        assert_eq!((joined.joined.len(), joined.moves), (1, 0));
        assert_eq!(slots(&life, 5).len(), 0);
        die(&mut life, 3000, [1]);
        let failed = step(&mut life, 3300);
        assert_eq!((failed.failed_over, failed.moves), (4096, 4096));
        assert_eq!(
            slots(&life, 2).len() + slots(&life, 3).len() + slots(&life, 4).len(),
            3 * 4096
        );
        let plan = life.preview().cloned();
        assert_eq!(
            plan.is_some(),
            balancing == Automation::Preview && failed.map.served_slots() < 16384
        );
    }
}

#[test]
fn preview_shows_what_automatic_then_does() {
    let mut life = running(3);
    let policy = Policy {
        balancing: Automation::Preview,
        ..Policy::default()
    };
    life.set_policy(at(1000), policy);
    assert_eq!(life.preview(), None, "nothing is to be done");
    life.join(at(2000), candidate(4, 4));
    step(&mut life, 2300);
    let plan = life.preview().unwrap().clone();
    assert_eq!(
        (plan.parent_epoch, plan.slots, plan.cause.as_str()),
        (1001, 4096, "Rebalance")
    );
    assert_eq!(plan.field, "balancing.mode");
    assert_eq!(
        life.propose(at(9000), 0, 0),
        Ok(None),
        "and nothing is done"
    );
    life.set_policy(at(9000), Policy::default());
    assert_eq!(life.preview(), None);
    let done = step(&mut life, 9300);
    assert_eq!((u32::from(done.moves), done.map.epoch), (plan.slots, 1002));
}

#[test]
fn a_node_drained_after_the_join_loses_its_slots_and_gets_them_back() {
    let mut life = running(4);
    let mut pods = inventory(4, &[(1, 1, true), (2, 2, true), (3, 3, true), (4, 4, true)]);
    life.set_inventory(at(1000), &pods);
    assert_eq!(life.propose(at(1300), 0, 0), Ok(None));
    pods.pods.get_mut(&uid(2)).unwrap().capacity = 0;
    life.set_inventory(at(2000), &pods);
    let drained = step(&mut life, 2300);
    assert_eq!(
        (drained.drained.as_slice(), drained.moves),
        (["agent-002".to_owned()].as_slice(), 4096)
    );
    assert_eq!((drained.failed_over, drained.changed_node), (0, 4096));
    pods.pods.get_mut(&uid(2)).unwrap().capacity = 100;
    life.set_inventory(at(3000), &pods);
    let back = step(&mut life, 3300);
    assert_eq!(
        (back.drained.len(), back.moves, slots(&life, 2).len()),
        (0, 4096, 4096)
    );

    // Only Automatic empties it; the record says 0 all the same.
    let policy = Policy {
        balancing: Automation::Preview,
        ..Policy::default()
    };
    life.set_policy(at(4000), policy);
    pods.pods.get_mut(&uid(2)).unwrap().capacity = 0;
    life.set_inventory(at(4000), &pods);
    let recorded = step(&mut life, 4300);
    assert_eq!((recorded.moves, slots(&life, 2).len()), (0, 4096));
    assert_eq!(life.preview().unwrap().cause, "Drain");
}

#[test]
fn a_full_cell_admits_only_whom_it_lists() {
    let mut life = running(2);
    let mut map = life.map().unwrap().clone();
    let template = map.members[0].clone();
    let named = |n: usize| {
        let mut bytes = [7; 16];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&n.to_le_bytes());
        let mut member = template.clone();
        member.name = format!("b-{n:04}");
        member.node.clone_from(&member.name);
        member.uid = Uid::from_bytes(bytes);
        member.key = Keypair::from_seed(seed).public();
        member.owners[0].uid = member.uid;
        member.owners[0].slots = SlotSet::empty();
        member
    };
    map.members.extend((2..limits::MEMBERS_MAX).map(named));
    map.epoch += 1;
    life.recorded(map, at(1000));
    life.set_policy(
        at(1000),
        Policy {
            balancing: Automation::Disabled,
            ..Policy::default()
        },
    );
    life.propose(at(1300), 0, 0).unwrap();
    assert!(life.is_full_for(uid(9)) && !life.is_full_for(uid(1)));
    life.join(at(2000), candidate(9, 9));
    assert_eq!(
        life.propose(at(2300), 0, 0),
        Ok(None),
        "no epoch for whom it cannot list"
    );
    assert_eq!(life.next_deadline(), None);
    let leaver = id(&life, 1);
    life.leave(at(3000), leaver);
    let proposal = step(&mut life, 3300);
    assert_eq!(proposal.joined, ["agent-009"], "it waited");
}

#[test]
fn a_changed_directory_is_a_new_epoch_once() {
    let mut life = running(4);
    let entry = DirectoryEntry {
        cell: "sessions-other".into(),
        slots: SlotSet::empty(),
        entries: Vec::new(),
    };
    let mut map = life.map().unwrap().clone();
    let mine = map.members[0].slots();
    map.members[0].owners[0].slots = SlotSet::empty();
    map.slots.remove(&mine);
    map.epoch += 1;
    life.recorded(map, at(1500));
    let entry = DirectoryEntry {
        slots: mine,
        ..entry
    };
    life.set_directory(at(2000), vec![entry.clone()]);
    let proposal = step(&mut life, 2300);
    assert_eq!(proposal.map.directory, std::slice::from_ref(&entry));
    life.set_directory(at(3000), vec![entry]);
    assert_eq!(life.propose(at(3300), 0, 0), Ok(None));
}

#[test]
fn a_cell_that_was_split_changes_no_more() {
    let mut life = running(10);
    for n in 1..=5 {
        life.pod_gone(at(2000), uid(n));
    }
    assert_eq!(life.propose(at(2300), 0, 0), Ok(None));
    assert!(life.next_deadline().is_some());
    let mut map = life.map().unwrap().clone();
    let halves = [
        map.slots.lowest(8192),
        map.slots.difference(&map.slots.lowest(8192)),
    ];
    map.delegation = ["a", "b"]
        .into_iter()
        .zip(halves)
        .map(|(cell, slots)| Delegation {
            cell: cell.into(),
            slots,
            first_map_sha256: [1; 32],
            start_epoch: map.epoch + 2,
        })
        .collect();
    map.epoch += 1;
    life.recorded(map, at(3000));
    assert_eq!(life.next_deadline(), None);
    assert_eq!(life.propose(at(100_000), 0, 0), Ok(None));
}
