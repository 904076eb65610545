//! Probing one member after the other, and helping others to probe.
//!
//! Others are asked after 500 ms, and say "not me either" after 500 ms more: to a member in good health that word
//! comes just after its probe's end at one second. So a probe that fails costs it three points at once, as it does
//! with the real one; only its longer probes afterwards hear nacks in time.

use slotmesh_mesh::sim::NodeId;
use slotmesh_mesh::time::Instant;

use super::config::{PROBE_INTERVAL, PROBE_TIMEOUT};
use super::members::Life;
use super::word::Word;
use super::{Memberlist, Out, send_on_stream, send_packet};
use crate::peers::protocol::Way;

/// A probe under way.
#[derive(Debug)]
pub(super) struct Probe {
    target: NodeId,
    /// What was known when it began.
    incarnation: u32,
    sequence: u32,
    /// When others are asked; none when they were.
    ask_at: Option<Instant>,
    until: Instant,
    /// Others who were asked, and who said that they got no answer either.
    asked: usize,
    nacks: usize,
    /// It answered on a stream.
    contacted: bool,
}

impl Probe {
    pub(super) fn next_deadline(&self) -> Instant {
        self.ask_at.unwrap_or(self.until).min(self.until)
    }
}

/// A ping for somebody else.
#[derive(Debug)]
pub(super) struct Relay {
    pub(super) until: Instant,
    asker: NodeId,
    sequence: u32,
}

impl Memberlist {
    /// Whatever is due of the probe under way, and the next one.
    pub(super) fn go_on_probing(&mut self, now: Instant, out: &mut Out) {
        let asks = |probe: &Probe| probe.ask_at.is_some_and(|at| at <= now);
        if self.probe.as_ref().is_some_and(asks) {
            self.ask_others(out);
        }
        if let Some(probe) = self.probe.take_if(|probe| probe.until <= now) {
            self.end_probe(now, &probe);
        }
        // A tick that came while the last probe was under way waited for its end.
        if self.probe.is_none() && self.probe_ticks.take(now) {
            self.begin_probe(now, out);
        }
    }

    fn begin_probe(&mut self, now: Instant, out: &mut Out) {
        let Some(target) = self.members.next_to_probe(now, &mut self.rng) else {
            return;
        };
        let Some(member) = self.members.get(target) else {
            return;
        };
        let (incarnation, life) = (member.incarnation, member.life);
        let sequence = self.next_sequence();
        self.probe = Some(Probe {
            target,
            incarnation,
            sequence,
            ask_at: Some(now + PROBE_TIMEOUT),
            until: now + self.awareness.scale(PROBE_INTERVAL),
            asked: 0,
            nacks: 0,
            contacted: false,
        });
        let ping = Word::Ping { sequence };
        if life == Life::Alive {
            self.send(target, ping, out);
            return;
        }
        // Who is suspected learns it with the ping, so that it can refute at once (the buddy system).
        let suspect = Word::Suspect {
            node: target,
            incarnation,
            from: self.own,
        };
        send_packet(target, vec![ping, suspect], out);
    }

    fn ask_others(&mut self, out: &mut Out) {
        let Some(probe) = self.probe.as_mut() else {
            return;
        };
        probe.ask_at = None;
        let (target, sequence) = (probe.target, probe.sequence);
        let helpers = self.members.helpers(target, &mut self.rng);
        probe.asked = helpers.len();
        for helper in helpers {
            self.send(helper, Word::PingRequest { sequence, target }, out);
        }
        let ping = Word::StreamPing { sequence };
        send_on_stream(target, Way::NewStream, ping, out);
    }

    fn end_probe(&mut self, now: Instant, probe: &Probe) {
        if probe.contacted {
            self.awareness.apply(-1);
            return;
        }
        // Who heard not even a nack from those it asked is likely to be the one that is ill.
        let silent = probe.asked.saturating_sub(probe.nacks);
        let delta = if probe.asked > 0 { silent } else { 1 };
        self.awareness
            .apply(i32::try_from(delta).unwrap_or(i32::MAX));
        self.suspect(now, probe.target, probe.incarnation, self.own);
    }

    pub(super) fn on_ack(&mut self, now: Instant, sequence: u32, out: &mut Out) {
        let answers = |probe: &mut Probe| probe.sequence == sequence;
        if self.probe.take_if(answers).is_some() {
            self.awareness.apply(-1);
            self.go_on_probing(now, out);
            return;
        }
        if let Some(relay) = self.relays.remove(&sequence) {
            let sequence = relay.sequence;
            self.send(relay.asker, Word::Ack { sequence }, out);
        }
    }

    pub(super) fn on_nack(&mut self, sequence: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|p| p.sequence == sequence) {
            probe.nacks = (probe.nacks + 1).min(probe.asked);
        }
    }

    pub(super) fn on_stream_ack(&mut self, sequence: u32) {
        if let Some(probe) = self.probe.as_mut().filter(|p| p.sequence == sequence) {
            probe.contacted = true;
        }
    }

    /// Pings another one for who could not reach it.
    pub(super) fn relay(
        &mut self,
        now: Instant,
        asker: NodeId,
        sequence: u32,
        target: NodeId,
        out: &mut Out,
    ) {
        let own = self.next_sequence();
        let until = now + PROBE_TIMEOUT;
        let relay = Relay {
            until,
            asker,
            sequence,
        };
        self.relays.insert(own, relay);
        self.send(target, Word::Ping { sequence: own }, out);
    }

    /// Who got no answer for another says so.
    pub(super) fn time_out_relays(&mut self, now: Instant, out: &mut Out) {
        while let Some(first) = self.relays.first_entry() {
            if first.get().until > now {
                return;
            }
            let relay = first.remove();
            let sequence = relay.sequence;
            self.send(relay.asker, Word::Nack { sequence }, out);
        }
    }
}
