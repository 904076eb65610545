//! The state machines under arbitrary inputs in arbitrary order: whatever peers, the network and the
//! clock do, a member and the operator's watch keep their limits, never go back to an older map, speak
//! only on connections that they have, and come to rest.
//!
//! `SLOTMESH_FUZZ_CASES` sets the number of sequences of each test (the long run: `make soak`). A failing one is
//! told with its seed; `SLOTMESH_FUZZ_SEED` plays exactly that one again.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods
)]

mod acts;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use slotmesh_map::fixture::{keypair, map, uid};
use slotmesh_mesh::identity::{Epoch, MemberId};
use slotmesh_mesh::limits;
use slotmesh_mesh::machine::{ConnectionId, Event, Input, Machine, Output};
use slotmesh_mesh::map::Map;
use slotmesh_mesh::member::{Mesh, MeshConfig};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::time::Instant;
use slotmesh_mesh::watch::{Watch, WatchConfig};

use acts::{Actor, OPERATOR, is_conflict};

/// Sequences of each test in a short run, and inputs of each.
const CASES: u64 = 60;
const INPUTS: usize = 400;
/// Timers in a row at one moment after which a machine must have nothing due any more.
const SPINS: usize = 64;

/// What both machines must tell of themselves.
trait Subject: Machine {
    fn map(&self) -> &Map;
    /// What peers can fill, as (what, how much, limit).
    fn loads(&self) -> Vec<(&'static str, usize, usize)>;
    fn me(&self) -> Option<MemberId>;
    /// The operator recorded a map: its watch hands it out.
    fn publish(&mut self, now: Instant, map: SignedMap);
}

impl Subject for Mesh {
    fn map(&self) -> &Map {
        self.signed_map().map()
    }

    fn loads(&self) -> Vec<(&'static str, usize, usize)> {
        let loads = Mesh::loads(self);
        let all = limits::CONNECTIONS_MAX + limits::OPERATORS_MAX + limits::STRANGERS_MAX;
        vec![
            ("connections", loads.connections, all),
            ("strangers", loads.strangers, limits::STRANGERS_MAX),
            ("parted", loads.parted, limits::PARTED_MAX),
            ("evidence", loads.evidence, limits::EVIDENCE_MAX),
            ("edges", loads.edges, limits::OBSERVERS_MAX.into()),
            ("offers of maps", loads.offers, all),
            ("wanted statements", loads.wanted, limits::WANTED_MAX),
        ]
    }

    fn me(&self) -> Option<MemberId> {
        Some(self.id())
    }

    fn publish(&mut self, _: Instant, _: SignedMap) {}
}

impl Subject for Watch {
    fn map(&self) -> &Map {
        self.signed_map().map()
    }

    fn loads(&self) -> Vec<(&'static str, usize, usize)> {
        Watch::loads(self).to_vec()
    }

    fn me(&self) -> Option<MemberId> {
        None
    }

    fn publish(&mut self, now: Instant, map: SignedMap) {
        Watch::publish(self, now, map);
    }
}

/// What was seen of a machine so far.
struct Observer<S> {
    subject: S,
    now: Instant,
    open: BTreeSet<ConnectionId>,
    version: (u32, Epoch),
    conflict: bool,
    /// Maps, verdicts, refusals and reports that there were: a run in which nothing ever happened
    /// would prove nothing.
    reached: [u64; 4],
}

impl<S: Subject> Observer<S> {
    fn new(subject: S, now: Instant) -> Self {
        let version = subject.map().version();
        let mut observer = Self {
            subject,
            now,
            open: BTreeSet::new(),
            version,
            conflict: false,
            reached: [0; 4],
        };
        observer.carry_out();
        observer
    }

    fn give(&mut self, input: Input) {
        match &input {
            Input::Connected { connection, .. } => {
                self.open.insert(*connection);
            }
            Input::Disconnected { connection, .. } => {
                self.open.remove(connection);
            }
            _ => {}
        }
        self.subject.handle(self.now, input);
        self.check();
    }

    fn publish(&mut self, map: SignedMap) {
        self.conflict = false;
        self.subject.publish(self.now, map);
        self.check();
    }

    fn check(&mut self) {
        self.carry_out();
        let version = self.subject.map().version();
        assert!(version >= self.version, "an older map was taken in");
        assert!(
            !self.conflict || version == self.version,
            "a map was taken in after an alarm"
        );
        self.reached[0] += u64::from(version > self.version);
        self.version = version;
        for (what, load, limit) in self.subject.loads() {
            assert!(load <= limit, "{load} {what}, {limit} are allowed");
        }
        let (early, due) = (self.subject.not_before(), self.subject.next_deadline());
        assert!(
            early <= due,
            "a timer is due at {due:?}, and {early:?} was told"
        );
    }

    fn carry_out(&mut self) {
        let mut count = 0;
        while let Some(output) = self.subject.poll_output() {
            count += 1;
            match output {
                Output::Dial { uid, .. } | Output::Knock { uid, .. } => {
                    assert_ne!(
                        Some(uid),
                        self.subject.me().map(|me| me.uid),
                        "dials or knocks at itself"
                    );
                }
                Output::Close { connection, .. } => {
                    assert!(self.open.remove(&connection), "closes what is not open");
                }
                Output::Datagram { connection, bytes } => {
                    assert!(self.open.contains(&connection), "beats on no connection");
                    assert!(bytes.len() <= limits::DATAGRAM_BYTES_MAX);
                }
                Output::Frame { connection, bytes } => {
                    assert!(self.open.contains(&connection), "speaks on no connection");
                    assert!(bytes.len() <= limits::FRAME_BYTES_MAX);
                }
                Output::Event(event) => self.note(&event),
            }
        }
        assert!(count <= limits::OUTPUTS_MAX, "{count} outputs of one input");
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Verdict { failed, .. } => {
                self.reached[1] += 1;
                assert!(!failed.is_empty());
                for member in failed {
                    assert!(self.subject.map().lists(*member), "a verdict on nobody");
                    assert_ne!(Some(*member), self.subject.me(), "a verdict on itself");
                }
            }
            Event::Refused { .. } => self.reached[2] += 1,
            Event::Suspected { subject, .. } => {
                self.reached[3] += 1;
                assert!(self.subject.map().lists(*subject), "a report on nobody");
            }
            event if is_conflict(event) => self.conflict = true,
            _ => {}
        }
    }

    /// Timers at one moment come to an end.
    fn run_timers(&mut self) {
        for _ in 0..SPINS {
            match self.subject.next_deadline() {
                Some(due) if due <= self.now => self.give(Input::Timer),
                _ => return,
            }
        }
        panic!("timers are due for ever at {:?}", self.now);
    }
}

fn member(first: SignedMap, now: Instant) -> Mesh {
    let config = MeshConfig {
        cluster: first.map().cluster,
        uid: uid(0),
        keypair: keypair(0),
        map_keys: vec![keypair(OPERATOR).public()],
        seed: 7,
        interner: None,
    };
    Mesh::new(config, first, now).unwrap()
}

fn watch(first: SignedMap, now: Instant) -> Watch {
    let config = WatchConfig {
        keypair: keypair(OPERATOR),
        first_sequence: 1,
        take_census: true,
    };
    Watch::new(config, first, now)
}

/// Plays one sequence; what it reached.
fn play<S: Subject>(seed: u64, start: impl Fn(SignedMap, Instant) -> S) -> [u64; 4] {
    let mut actor = Actor::new(seed);
    let first = SignedMap::sign(map(actor.size()), &keypair(OPERATOR)).unwrap();
    actor.sees(first.clone());
    let begun = Instant::from_micros(60_000_000);
    let mut observer = Observer::new(start(first, begun), begun);
    for _ in 0..INPUTS {
        observer.now = observer.now + actor.pause();
        observer.run_timers();
        let open: Vec<ConnectionId> = observer.open.iter().copied().collect();
        if let Some(map) = actor.recorded(observer.subject.map()) {
            observer.publish(map);
        }
        if let Some(input) = actor.input(&open, &observer.subject.map().clone()) {
            observer.give(input);
        }
    }
    // Left alone, it goes on by its own clock.
    observer.now = observer.now + Duration::from_secs(3600);
    observer.run_timers();
    observer.reached
}

fn play_all<S: Subject>(what: &str, start: impl Fn(SignedMap, Instant) -> S) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds = match number("SLOTMESH_FUZZ_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SLOTMESH_FUZZ_CASES").unwrap_or(CASES),
    };
    let mut reached = [0; 4];
    let few = seeds.end - seeds.start < CASES;
    for seed in seeds {
        if seed > 0 && seed.is_multiple_of(1000) {
            println!("{what}: {seed} sequences of {INPUTS} inputs");
        }
        let played = std::panic::catch_unwind(AssertUnwindSafe(|| play(seed, &start)));
        let Ok(found) = played else {
            panic!("{what} failed; SLOTMESH_FUZZ_SEED={seed} plays it again");
        };
        for (sum, found) in reached.iter_mut().zip(found) {
            *sum += found;
        }
    }
    println!("{what}: maps, verdicts, refusals, reports: {reached:?}");
    assert!(
        few || reached.iter().all(|count| *count > 0),
        "{what} never came to a map, a verdict, a refusal or a report: {reached:?}"
    );
}

#[test]
fn a_member_bears_whatever_comes() {
    play_all("member", member);
}

#[test]
fn the_operators_watch_bears_whatever_comes() {
    play_all("watch", watch);
}
