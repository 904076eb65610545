//! How news about members is taken: alive, suspect and dead, each with an incarnation that only the member
//! itself raises.

use slotmesh_mesh::sim::NodeId;
use slotmesh_mesh::time::Instant;

use super::config::{SUSPICION_MAX_TIMEOUT_MULT, confirmations, suspicion_min};
use super::members::Life;
use super::suspicion::Suspicion;
use super::word::{Subject, Word};
use super::{Memberlist, Out};
use crate::peers::protocol::Output;

impl Memberlist {
    /// Somebody is said to be alive: believed when it is newer than what is known.
    pub(super) fn alive(&mut self, now: Instant, node: NodeId, incarnation: u32, out: &mut Out) {
        if node == self.own {
            // Its own word that comes back; nobody else has its name here.
            return;
        }
        self.members.list_again(node, &mut self.rng);
        let Some(member) = self.members.get_mut(node) else {
            return;
        };
        if incarnation <= member.incarnation {
            return;
        }
        member.incarnation = incarnation;
        let before = member.life;
        if before != Life::Alive {
            member.life = Life::Alive;
            member.since = now;
        }
        self.members.end_suspicion(node);
        let word = Word::Alive { node, incarnation };
        self.queue.push(word, Subject::Member(node));
        if before == Life::Dead {
            out.push(Output::Alive(node));
        }
    }

    /// Somebody is suspected, or the suspicion is confirmed.
    pub(super) fn suspect(&mut self, now: Instant, node: NodeId, incarnation: u32, from: NodeId) {
        let Some(member) = self.members.get(node) else {
            return;
        };
        if incarnation < member.incarnation {
            return;
        }
        let life = member.life;
        let word = Word::Suspect {
            node,
            incarnation,
            from,
        };
        if let Some(news) = self.members.confirm(node, from) {
            if news {
                self.queue.push(word, Subject::Member(node));
            }
            return;
        }
        if life != Life::Alive {
            return;
        }
        if node == self.own {
            self.refute(incarnation);
            return;
        }
        self.queue.push(word, Subject::Member(node));
        if let Some(member) = self.members.get_mut(node) {
            member.incarnation = incarnation;
            member.life = Life::Suspect;
            member.since = now;
        }
        let count = self.members.count();
        let min = suspicion_min(count);
        let max = min * SUSPICION_MAX_TIMEOUT_MULT;
        let suspicion = Suspicion::new(now, from, confirmations(count), min, max);
        self.members.begin_suspicion(node, suspicion);
    }

    /// Somebody is declared dead.
    pub(super) fn dead(
        &mut self,
        now: Instant,
        node: NodeId,
        incarnation: u32,
        from: NodeId,
        out: &mut Out,
    ) {
        let own = self.own;
        let Some(member) = self.members.get_mut(node) else {
            return;
        };
        if incarnation < member.incarnation {
            return;
        }
        if member.life != Life::Dead && node != own {
            member.incarnation = incarnation;
            member.life = Life::Dead;
            member.since = now;
            let word = Word::Dead {
                node,
                incarnation,
                from,
            };
            self.queue.push(word, Subject::Member(node));
            out.push(Output::Dead(node));
        } else if node == own {
            self.refute(incarnation);
        }
        self.members.end_suspicion(node);
    }

    /// Suspicions that nobody refuted in time.
    pub(super) fn time_out_suspicions(&mut self, now: Instant, out: &mut Out) {
        while let Some(node) = self.members.timed_out(now) {
            // Ended first: whatever becomes of it, it is looked at once.
            self.members.end_suspicion(node);
            let suspect = self.members.get(node);
            let suspect = suspect.filter(|member| member.life == Life::Suspect);
            if let Some(incarnation) = suspect.map(|member| member.incarnation) {
                self.dead(now, node, incarnation, self.own, out);
            }
        }
    }

    /// The states of another: what it holds for dead is only suspected here.
    pub(super) fn merge(&mut self, now: Instant, states: Vec<(NodeId, u32, Life)>, out: &mut Out) {
        for (node, incarnation, life) in states {
            match life {
                Life::Alive => self.alive(now, node, incarnation, out),
                Life::Suspect | Life::Dead => {
                    self.suspect(now, node, incarnation, self.own);
                }
            }
        }
    }

    /// It is alive, and says so with a newer incarnation than the one accused. To have been accused is a sign
    /// that it does not do well itself.
    fn refute(&mut self, accused: u32) {
        self.incarnation = self.incarnation.max(accused).saturating_add(1);
        let incarnation = self.incarnation;
        if let Some(own) = self.members.get_mut(self.own) {
            own.incarnation = incarnation;
        }
        self.awareness.apply(1);
        let node = self.own;
        let word = Word::Alive { node, incarnation };
        self.queue.push(word, Subject::Defence);
    }
}
