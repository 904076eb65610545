//! What work costs a node: while it works on one thing the next one waits, so that storms are not free.
//!
//! ```text
//!   arrives ──▶ idle? ── yes ──▶ worked on, busy for its cost
//!                 │ no                         │
//!                 ▼                            ▼
//!              backlog ◀── bounded     oldest of the backlog is next
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use super::connection::FROZEN_INPUTS_MAX;
use super::scenario::State;
use super::{Happening, NodeId, Simulation};
use crate::machine::Input;
use crate::member::Mesh;
use crate::time::Instant;

/// A datagram in, or out, with its share of acknowledgements and of the runtime: real agents took 0.51 to
/// 0.68 % of a core for 50 beats in and 50 out a second, that is some 60 us for each.
pub const DATAGRAM_MICROS: u64 = 60;
/// A message on a stream, in or out: a stream opened, read and closed, as long as two datagrams.
pub const FRAME_MICROS: u64 = 120;
/// Each KiB of it, in or out: two AEAD packets, copies and decoding. `mesh-sim costs` measures the decoding.
pub const KIB_MICROS: u64 = 20;
/// A signature verified (Ed25519), whether it holds or not: `mesh-sim costs`. Those of maps that hold are in
/// [`MAP_MEMBER_MICROS`].
pub const VERIFY_MICROS: u64 = 50;
/// A statement signed (Ed25519): `mesh-sim costs`.
pub const SIGN_MICROS: u64 = 20;
/// A map that comes into force, for each member that it lists (the graph is made anew): `mesh-sim costs`.
pub const MAP_MEMBER_MICROS: u64 = 2;
/// A TLS handshake with certificates on both sides, measured with real agents.
pub const HANDSHAKE_MICROS: u64 = 600;

/// To refuse a signature costs as much as to accept it.
const FORGED: [&str; 3] = ["EvidenceBadSignature", "BadMapSignature", "BadJoinAddress"];

/// A node's processor.
#[derive(Debug, Default)]
pub(super) struct Processor {
    busy_until: Instant,
    /// Percent of the usual time that work takes beyond it.
    slower_percent: u32,
    backlog: VecDeque<Happening>,
    /// What comes next is from the backlog itself.
    resumed: bool,
}

impl Processor {
    pub(super) fn set_slowness(&mut self, percent: u32) {
        self.slower_percent = percent.saturating_sub(100);
    }

    fn is_busy(&self, now: Instant) -> bool {
        !self.resumed && (self.busy_until > now || !self.backlog.is_empty())
    }

    /// The process is another one; how fast the machine is stays.
    pub(super) fn reset(&mut self) {
        self.backlog.clear();
        self.busy_until = Instant::ZERO;
    }

    fn work(&mut self, now: Instant, micros: u64) {
        let micros = micros + micros * u64::from(self.slower_percent) / 100;
        self.busy_until = self.busy_until.max(now) + Duration::from_micros(micros);
    }
}

/// What a machine had done before an input, so that its work can be told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    signed: u64,
    verified: u64,
    maps: u64,
}

impl Done {
    pub(super) fn by(mesh: &Mesh) -> Self {
        let counters = mesh.counters();
        let refused = |cause: &&str| counters.refused.get(cause).copied().unwrap_or_default();
        let forged: u64 = FORGED.iter().map(refused).sum();
        Self {
            signed: counters.evidence_signed,
            verified: counters.evidence_received + forged,
            maps: counters.maps_applied,
        }
    }

    fn cost_since(self, before: Self, members: usize) -> u64 {
        let signed = self.signed.saturating_sub(before.signed) * SIGN_MICROS;
        let verified = self.verified.saturating_sub(before.verified) * VERIFY_MICROS;
        let maps = self.maps.saturating_sub(before.maps) * MAP_MEMBER_MICROS * members as u64;
        signed + verified + maps
    }
}

/// What it costs to take an input in, but for what follows from it.
pub(super) fn cost_of(input: &Input) -> u64 {
    match input {
        Input::Connected { .. } => HANDSHAKE_MICROS,
        Input::Datagram { .. } => DATAGRAM_MICROS,
        Input::Frame { bytes, .. } => cost_of_frame(bytes.len()),
        _ => 0,
    }
}

/// What it costs to send or to receive a message of so many bytes.
#[must_use]
pub fn cost_of_frame(bytes: usize) -> u64 {
    FRAME_MICROS + bytes as u64 * KIB_MICROS / 1024
}

impl Simulation {
    pub(super) fn is_busy(&self, node: NodeId) -> bool {
        let now = self.now;
        self.node(node)
            .is_some_and(|node| node.processor.is_busy(now))
    }

    /// When a busy node is idle, as far as it is known.
    pub(super) fn idle_at(&self, node: NodeId) -> Option<Instant> {
        self.node(node)
            .map(|node| node.processor.busy_until)
            .filter(|idle| *idle > self.now)
    }

    pub(super) fn work(&mut self, node: NodeId, micros: u64) {
        let now = self.now;
        if micros > 0
            && let Some(place) = self.node_mut(node)
        {
            place.processor.work(now, micros);
        }
    }

    /// Signatures and maps that an input made necessary.
    pub(super) fn work_done(&mut self, node: NodeId, before: Option<Done>) {
        let Some(before) = before else { return };
        let Some(mesh) = self.mesh(node) else { return };
        let members = mesh.signed_map().map().members.len();
        let micros = Done::by(mesh).cost_since(before, members);
        self.work(node, micros);
    }

    /// Keeps something for a node that works. Where there is no room it comes back.
    pub(super) fn wait_for_processor(
        &mut self,
        node: NodeId,
        what: Happening,
    ) -> Result<(), Happening> {
        let (now, process) = (self.now, self.process_of(node));
        let Some(place) = self.node_mut(node) else {
            return Err(what);
        };
        let processor = &mut place.processor;
        if processor.backlog.len() >= FROZEN_INPUTS_MAX {
            self.passed_states.insert(State::BacklogFull);
            return Err(what);
        }
        processor.backlog.push_back(what);
        if processor.backlog.len() == 1 {
            let at = processor.busy_until.max(now);
            self.schedule.push(at, Happening::Continue(process));
        }
        Ok(())
    }

    /// The node is through with one thing and takes the next from its backlog.
    pub(super) fn go_on(&mut self, process: super::ProcessId) {
        if !self.is_current(process) {
            return;
        }
        if let Some(idle) = self.idle_at(process.node) {
            return self.schedule.push(idle, Happening::Continue(process));
        }
        let Some(place) = self.node_mut(process.node) else {
            return;
        };
        let Some(what) = place.processor.backlog.pop_front() else {
            return;
        };
        place.processor.resumed = true;
        self.happen(what);
        let now = self.now;
        let Some(place) = self.node_mut(process.node) else {
            return;
        };
        place.processor.resumed = false;
        if !place.processor.backlog.is_empty() {
            let at = place.processor.busy_until.max(now);
            self.schedule.push(at, Happening::Continue(process));
        }
    }
}
