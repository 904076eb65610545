//! For tests: how a member is made and connected, and one of a cell that has settled, whose peers are played.

#![allow(clippy::unwrap_used)]

use slotmesh_map::fixture::{keypair, map, uid};

use crate::identity::Keypair;
use crate::machine::{ConnectionId, Event, Input, Machine, Output, PeerIdentity};
use crate::member::{Mesh, MeshConfig};
use crate::signed::SignedMap;
use crate::time::Instant;
use crate::wire::{Beat, Datagram};

pub(super) const MEMBERS: u16 = 8;
pub(super) const BEAT_MS: u64 = 200;
/// All connections are up and every edge is armed by then.
pub(super) const SETTLED_MS: u64 = 4000;

pub(super) const fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

pub(super) fn operator() -> Keypair {
    keypair(u16::MAX)
}

/// A member that takes the maps of [`operator`].
pub(super) fn config(number: u16) -> MeshConfig {
    MeshConfig {
        cluster: uid(u16::MAX),
        uid: uid(number),
        keypair: keypair(number),
        map_keys: vec![operator().public()],
        seed: 1,
        interner: None,
    }
}

pub(super) fn agent(number: u16) -> PeerIdentity {
    PeerIdentity::Agent {
        uid: uid(number),
        key: keypair(number).public(),
    }
}

/// A connection that the peer dialed came up.
pub(super) fn connected(connection: ConnectionId, peer: PeerIdentity) -> Input {
    Input::Connected {
        connection,
        peer,
        remote: "127.0.0.1:1".parse().unwrap(),
        dialed: false,
    }
}

/// Member 0 of a cell, and what it said since it was last asked.
pub(super) struct Subject {
    members: u16,
    pub(super) mesh: Mesh,
    pub(super) said: Vec<Output>,
}

impl Subject {
    /// One of eight.
    pub(super) fn settled() -> Self {
        Self::settled_of(MEMBERS)
    }

    /// Connected to all others, whose beats it has heard until [`SETTLED_MS`].
    pub(super) fn settled_of(members: u16) -> Self {
        let mut subject = Self::fresh_of(members);
        for ms in (0..SETTLED_MS).step_by(20) {
            subject.pass(ms, |_| true);
        }
        subject.said.clear();
        subject
    }

    /// Connected to all others, of whom it has heard nothing.
    pub(super) fn fresh_of(members: u16) -> Self {
        let first = SignedMap::sign(map(members), &operator()).unwrap();
        let mut subject = Self {
            members,
            mesh: Mesh::new(config(0), first, at(0)).unwrap(),
            said: Vec::new(),
        };
        for other in 1..members {
            subject.give(at(0), connected(connection(other), agent(other)));
        }
        subject
    }

    pub(super) fn give(&mut self, now: Instant, input: Input) {
        self.mesh.handle(now, input);
        self.said
            .extend(std::iter::from_fn(|| self.mesh.poll_output()));
    }

    /// Its timers run, and at each whole beat those beat that do.
    pub(super) fn pass(&mut self, ms: u64, beats: impl Fn(u16) -> bool) {
        if self.mesh.next_deadline().is_some_and(|due| due <= at(ms)) {
            self.give(at(ms), Input::Timer);
        }
        if ms.is_multiple_of(BEAT_MS) {
            for other in (1..self.members).filter(|other| beats(*other)) {
                self.hear_beat(ms, other);
            }
        }
    }

    pub(super) fn hear_beat(&mut self, ms: u64, from: u16) {
        self.hear_numbered_beat(ms, from, beats_until(ms));
    }

    pub(super) fn hear_numbered_beat(&mut self, ms: u64, from: u16, sequence: u32) {
        let beat = Beat {
            flags: 0,
            epoch: 100,
            incarnation: 100,
            sequence,
            digest: self.mesh.evidence_digest(),
            timer_lag_ms: 0,
            send_drops: 0,
        };
        let bytes = Datagram::Beat(beat).encode();
        let connection = connection(from);
        self.give(at(ms), Input::Datagram { connection, bytes });
    }

    pub(super) fn doubts(&self) -> bool {
        let on = Output::Event(Event::SelfDoubt { on: true });
        self.said.contains(&on)
    }

    pub(super) fn accuses(&self) -> bool {
        let reports = |event: &Event| matches!(event, Event::Suspected { observer, .. } if *observer == self.mesh.id());
        let mut events = self.said.iter();
        events.any(|output| matches!(output, Output::Event(event) if reports(event)))
    }

    /// Beats that it sent, in the order of time; one for each observer.
    pub(super) fn beats(&self) -> Vec<Beat> {
        let beat = |output: &Output| match output {
            Output::Datagram { bytes, .. } => match Datagram::decode(bytes) {
                Ok(Datagram::Beat(beat)) => Some(beat),
                _ => None,
            },
            _ => None,
        };
        self.said.iter().filter_map(beat).collect()
    }

    pub(super) fn probes(&self) -> usize {
        let is_probe = |output: &&Output| match output {
            Output::Datagram { bytes, .. } => {
                matches!(Datagram::decode(bytes), Ok(Datagram::Probe { .. }))
            }
            _ => false,
        };
        self.said.iter().filter(is_probe).count()
    }
}

/// The number of the beat that a peer sends then.
pub(super) fn beats_until(ms: u64) -> u32 {
    u32::try_from(ms / BEAT_MS).unwrap() + 1
}

pub(super) const fn connection(to: u16) -> ConnectionId {
    ConnectionId(to as u64)
}
