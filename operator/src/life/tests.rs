#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use slotmesh_mesh::identity::Keypair;

use super::*;

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn uid(n: u8) -> Uid {
    Uid::from_bytes([n; 16])
}

fn candidate(n: u8, process: u8) -> Candidate {
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

fn life() -> Life {
    let settings = LifeSettings {
        cluster: uid(250),
        cell: "sessions-bcdfg".into(),
        first_epoch: 1000,
        heartbeat_interval_ms: 200,
    };
    Life::new(settings, None, at(0))
}

/// A cell of `count` members at epoch 1000, recorded at 1 s.
fn running(count: u8) -> Life {
    let mut life = life();
    for n in 1..=count {
        life.join(at(0), candidate(n, n));
    }
    let proposal = life.propose(at(300), count.into(), 0).unwrap().unwrap();
    life.recorded(proposal.map, at(1000));
    life
}

fn step(life: &mut Life, now: u64) -> Proposal {
    let proposal = life.propose(at(now), 0, 0).unwrap().unwrap();
    life.recorded(proposal.map.clone(), at(now));
    proposal
}

fn id(life: &Life, n: u8) -> MemberId {
    life.map().unwrap().member(uid(n)).unwrap().id()
}

#[test]
fn the_first_map_waits_for_all_wanted_or_ten_seconds() {
    let mut life = life();
    assert_eq!(life.propose(at(60_000), 3, 0), Ok(None), "nobody joined");
    life.join(at(1000), candidate(1, 1));
    life.join(at(1100), candidate(2, 2));
    assert_eq!(life.propose(at(5000), 3, 0), Ok(None));
    assert_eq!(life.next_deadline(), Some(at(11_000)));
    assert_eq!(
        life.propose(at(11_000), 3, 0)
            .unwrap()
            .unwrap()
            .map
            .members
            .len(),
        2
    );
    assert_eq!(
        life.propose(at(11_000), 3, 1),
        Ok(None),
        "old pods are still there"
    );
    life.join(at(5100), candidate(3, 3));
    let proposal = life.propose(at(5100), 3, 0).unwrap().unwrap();
    assert_eq!(
        (proposal.map.epoch, proposal.map.served_slots()),
        (1000, 16384)
    );
    assert_eq!(proposal.joined.len(), 3);
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
fn who_is_presumed_dead_goes_and_is_told_as_failed() {
    let mut life = running(2);
    let dead = id(&life, 2);
    life.presume_dead(at(5000), dead);
    // The mesh says nothing of it: its verdict is empty.
    life.verdict(at(5100), BTreeSet::new());
    let proposal = step(&mut life, 5300);
    assert_eq!(proposal.failed, ["agent-002"]);
    assert_eq!(proposal.map.members.len(), 1);
    assert_eq!((proposal.moves, proposal.minimum_moves), (8192, 8192));
    assert!(life.lost().contains(&uid(2)));

    life.join(at(6000), candidate(2, 22));
    let back = step(&mut life, 6300);
    assert_eq!(back.recovered, ["agent-002"]);
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
