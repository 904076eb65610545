#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::Duration;

use slotmesh_mesh::sim::{Fault, NetworkSettings};

use super::awareness::Awareness;
use super::members::Life;
use super::queue::Queue;
use super::suspicion::Suspicion;
use super::word::Subject;
use super::*;
use crate::peers::crash;
use crate::peers::world::World;

/// Medians of the real one in seconds, measured live (P1r in docs/benchmarks.md).
const REAL: [(u16, f64); 2] = [(30, 7.831), (100, 10.323)];

fn loopback() -> NetworkSettings {
    crash::LOOPBACK
}

fn world(seed: u64, members: u16) -> World<Memberlist> {
    World::new(loopback(), seed, members, |own, rng| {
        Memberlist::new(own, members, rng)
    })
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

// Suspicion.

fn suspicion(wanted: u32) -> Suspicion {
    Suspicion::new(
        Instant::ZERO,
        NodeId(1),
        wanted,
        seconds(5.0),
        seconds(30.0),
    )
}

fn timeout(suspicion: &Suspicion) -> f64 {
    suspicion
        .until()
        .saturating_since(Instant::ZERO)
        .as_secs_f64()
}

#[test]
fn confirmations_shorten_a_suspicion_by_their_logarithm() {
    let mut suspicion = suspicion(3);
    assert!((timeout(&suspicion) - 30.0).abs() < 1e-9);
    // 30 - 25 ln 2 / ln 4 = 17.5; 30 - 25 ln 3 / ln 4 = 10.188, down to milliseconds.
    for (from, expected) in [(2, 17.5), (3, 10.188), (4, 5.0)] {
        assert!(suspicion.confirm(NodeId(from)));
        let got = timeout(&suspicion);
        assert!((got - expected).abs() < 0.0015, "{got}, not {expected}");
    }
}

#[test]
fn the_same_voice_and_voices_beyond_the_wanted_do_not_count() {
    let mut suspicion = suspicion(2);
    assert!(!suspicion.confirm(NodeId(1)));
    assert!(suspicion.confirm(NodeId(2)));
    assert!(!suspicion.confirm(NodeId(2)));
    assert!(suspicion.confirm(NodeId(3)));
    assert!(!suspicion.confirm(NodeId(4)));
    assert!((timeout(&suspicion) - 5.0).abs() < 1e-9);
}

#[test]
fn where_nobody_can_confirm_a_suspicion_is_short_at_once() {
    assert!((timeout(&suspicion(0)) - 5.0).abs() < 1e-9);
    assert_eq!(config::confirmations(3), 0);
    assert_eq!(config::confirmations(4), 2);
}

#[test]
fn times_scale_with_the_members() {
    // 4 s x log10 30 = 5.908 s, and at least 4 s.
    assert_eq!(config::suspicion_min(5), seconds(4.0));
    assert_eq!(config::suspicion_min(30), seconds(5.908));
    assert_eq!(config::suspicion_min(1000), seconds(12.0));
    assert_eq!(config::retransmit_limit(9), 4);
    assert_eq!(config::retransmit_limit(100), 12);
    assert_eq!(config::push_pull_scale(seconds(30.0), 32), seconds(30.0));
    assert_eq!(config::push_pull_scale(seconds(30.0), 100), seconds(90.0));
}

// Local health.

#[test]
fn a_score_stays_within_its_bounds_and_stretches_time() {
    let mut awareness = Awareness::default();
    awareness.apply(-1);
    assert_eq!(awareness.scale(seconds(1.0)), seconds(1.0));
    awareness.apply(3);
    assert_eq!(awareness.scale(seconds(1.0)), seconds(4.0));
    awareness.apply(100);
    assert_eq!(awareness.scale(seconds(1.0)), seconds(8.0));
    awareness.apply(-2);
    assert_eq!(awareness.scale(seconds(1.0)), seconds(6.0));
}

// The queue.

fn dead(node: u16) -> (Word, Subject) {
    let word = Word::Dead {
        node: NodeId(node),
        incarnation: 1,
        from: NodeId(9),
    };
    (word, Subject::Member(NodeId(node)))
}

#[test]
fn a_word_is_sent_as_often_as_its_limit_says_and_no_more() {
    let mut queue = Queue::default();
    let (word, subject) = dead(1);
    queue.push(word.clone(), subject);
    for _ in 0..config::retransmit_limit(30) {
        assert_eq!(queue.take(word::BUDGET, 30), vec![word.clone()]);
    }
    assert!(queue.take(word::BUDGET, 30).is_empty());
    assert_eq!(queue.len(), 0);
}

#[test]
fn what_was_sent_least_often_goes_first_and_a_packet_is_not_overfilled() {
    let mut queue = Queue::default();
    for node in 1..=60 {
        let (word, subject) = dead(node);
        queue.push(word, subject);
    }
    let first = queue.take(word::BUDGET, 100);
    let second = queue.take(word::BUDGET, 100);
    // 1398 bytes hold 28 of 47 + 2.
    assert_eq!((first.len(), second.len()), (28, 28));
    assert!(word::packet_bytes(&first) <= config::UDP_BUFFER_SIZE + 5);
    assert!(first.iter().all(|word| !second.contains(word)));
    let third = queue.take(word::BUDGET, 100);
    let new = third
        .iter()
        .filter(|w| !first.contains(w) && !second.contains(w));
    assert_eq!(new.count(), 4);
}

#[test]
fn news_replaces_older_news_about_the_same_member() {
    let mut queue = Queue::default();
    let (word, subject) = dead(1);
    queue.push(word, subject);
    queue.take(word::BUDGET, 30);
    let alive = Word::Alive {
        node: NodeId(1),
        incarnation: 2,
    };
    queue.push(alive.clone(), subject);
    assert_eq!(queue.len(), 1);
    assert_eq!(queue.take(word::BUDGET, 30), vec![alive]);
    assert_eq!(queue.len(), 1);
}

// Members together.

#[test]
fn nobody_is_declared_dead_where_all_is_well() {
    let mut world = world(1, 30);
    world.run_for(Duration::from_secs(120));
    assert_eq!(world.events(), []);
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let mut world = world(seed, 10);
        world.run_for(Duration::from_secs(5));
        world.inflict(&Fault::Crash(NodeId(3)));
        world.run_for(Duration::from_secs(30));
        assert_eq!(world.dropped(), 0);
        (world.digest(), world.events().to_vec())
    };
    let one = run(7);
    assert_eq!(one.1.len(), 9);
    assert_eq!(one, run(7));
    assert_ne!(one.0, run(8).0);
}

#[test]
fn who_pauses_for_a_few_seconds_refutes_and_lives() {
    let seen_by = |world: &World<Memberlist>| {
        let member = world.protocol(NodeId(2)).unwrap();
        member.members.get(NodeId(1)).unwrap().clone()
    };
    for seed in 1..=5 {
        let mut world = world(seed, 30);
        world.run_for(Duration::from_secs(5));
        world.inflict(&Fault::Pause(NodeId(1)));
        world.run_for(Duration::from_secs(6));
        assert_eq!(seen_by(&world).life, Life::Suspect, "seed {seed}");
        world.inflict(&Fault::Resume(NodeId(1)));
        // Gossip is there long before a push-pull is.
        world.run_for(Duration::from_secs(2));
        assert_eq!(seen_by(&world).life, Life::Alive, "seed {seed}");
        assert!(seen_by(&world).incarnation > 1);
        world.run_for(Duration::from_secs(30));
        assert_eq!(world.events(), []);
    }
}

#[test]
fn others_help_where_one_pair_is_cut() {
    let mut world = world(1, 10);
    world.inflict(&Fault::Cut(NodeId(1), NodeId(2)));
    world.run_for(Duration::from_secs(120));
    assert_eq!(world.events(), []);
    let member = world.protocol(NodeId(1)).unwrap();
    assert_eq!(member.members.get(NodeId(2)).unwrap().incarnation, 1);
}

#[test]
fn who_was_dead_comes_back_with_a_newer_incarnation() {
    let mut world = world(1, 10);
    world.inflict(&Fault::Pause(NodeId(1)));
    world.run_for(Duration::from_secs(20));
    let dead = world.events().iter().filter(|event| event.dead).count();
    assert_eq!(dead, 9);
    world.inflict(&Fault::Resume(NodeId(1)));
    world.run_for(Duration::from_secs(60));
    let back = world.events().iter().filter(|event| !event.dead);
    let back: Vec<NodeId> = back.filter(|e| e.of == NodeId(1)).map(|e| e.node).collect();
    assert!(back.len() >= 9, "back at {back:?}");
}

#[test]
fn the_model_takes_as_long_as_the_real_one() {
    for (members, real) in REAL {
        let run = |seed| crash::memberlist(loopback(), seed, members).unwrap();
        let mut last: Vec<Duration> = (1..=9).filter_map(|seed| run(seed).last()).collect();
        last.sort();
        assert_eq!(last.len(), 9);
        let ratio = last[4].as_secs_f64() / real;
        let near = (0.85..=1.15).contains(&ratio);
        assert!(near, "{ratio} of the real median at {members}");
    }
}

#[test]
fn a_nack_comes_too_late_for_a_healthy_member() {
    // One of four is silent: two others are asked, and a probe that fails costs two points.
    let mut world = world(1, 4);
    world.inflict(&Fault::Crash(NodeId(4)));
    let mut worst = Duration::ZERO;
    for _ in 0..40 {
        world.run_for(Duration::from_millis(100));
        for node in 1..=3 {
            let member = world.protocol(NodeId(node)).unwrap();
            worst = worst.max(member.awareness.scale(seconds(1.0)));
        }
    }
    assert_eq!(worst, seconds(3.0));
}
