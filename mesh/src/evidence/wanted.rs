//! Statements that peers offer, each asked for of one of them at a time: so it arrives once.
//!
//! ```text
//!               offered, and newer than what is held              no answer in time: the next
//!   (nothing) ───────────────────────────────────────▶ asked ─────────────────────────────┐
//!       ▲                                               │  ▲                              │
//!       └──── what is held now is as new as all ────────┘  └──────────────────────────────┘
//!             offers, or nobody is left to ask
//! ```
//!
//! Shape: IHAVE and GRAFT of Plumtree (Leitão, Pereira, Rodrigues, "Epidemic Broadcast Trees", SRDS 2007), IHAVE and
//! IWANT of GossipSub. Nothing that a peer says ends the search for what others offer, or makes it last longer, but the
//! statement itself: a peer that offers what it does not send delays that by its own turn. What nobody sends the digests on
//! the beats bring.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{SignerTag, SummaryEntry};
use crate::limits;
use crate::machine::ConnectionId;
use crate::time::Instant;

/// Statements that were asked for and have not come.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    asked: BTreeMap<SignerTag, Asked>,
    /// When each has been waited for long enough.
    due: BTreeSet<(Instant, SignerTag)>,
}

#[derive(Clone, Debug)]
struct Asked {
    /// Who was asked, and for which sequence.
    of: ConnectionId,
    sequence: u64,
    until: Instant,
    times: u32,
    /// Who offers it beside the one that was asked, in turn; each with its sequence.
    others: Vec<(ConnectionId, u64)>,
}

impl Wanted {
    /// A peer has these, and they are news here. Returns those to ask it for; the others were asked for elsewhere. Where
    /// too many are asked for, it is asked and that is not remembered.
    pub fn offer(
        &mut self,
        now: Instant,
        from: ConnectionId,
        news: impl Iterator<Item = SummaryEntry>,
    ) -> Vec<SignerTag> {
        let to_ask = news.filter(|entry| self.is_to_ask(now, from, *entry));
        let to_ask: BTreeSet<SignerTag> = to_ask.map(|entry| entry.signer).collect();
        to_ask.into_iter().collect()
    }

    fn is_to_ask(&mut self, now: Instant, from: ConnectionId, entry: SummaryEntry) -> bool {
        let SummaryEntry { signer, sequence } = entry;
        if let Some(asked) = self.asked.get_mut(&signer) {
            let has_room = asked.others.len() < limits::OFFERERS_MAX;
            match asked.others.iter_mut().find(|(other, _)| *other == from) {
                Some((_, known)) => *known = sequence.max(*known),
                None if has_room => asked.others.push((from, sequence)),
                None => {}
            }
            return false;
        }
        if self.asked.len() < limits::WANTED_MAX {
            self.wait(now, signer, (from, sequence), 0, Vec::new());
        }
        true
    }

    fn wait(
        &mut self,
        now: Instant,
        signer: SignerTag,
        (of, sequence): (ConnectionId, u64),
        times: u32,
        others: Vec<(ConnectionId, u64)>,
    ) {
        let until = now + patience(times);
        let asked = Asked {
            of,
            sequence,
            until,
            times,
            others,
        };
        self.asked.insert(signer, asked);
        self.due.insert((until, signer));
    }

    /// What is held now of a signer. Who offers no more is not asked.
    pub fn settle(&mut self, held: SummaryEntry) {
        let Some(asked) = self.asked.get_mut(&held.signer) else {
            return;
        };
        asked
            .others
            .retain(|(_, sequence)| *sequence > held.sequence);
        if asked.others.is_empty() && asked.sequence <= held.sequence {
            self.due.remove(&(asked.until, held.signer));
            self.asked.remove(&held.signer);
        }
    }

    /// Whom to ask for what did not come in time: the next that offered it, if it still `is_there`.
    pub fn ask_again(
        &mut self,
        now: Instant,
        is_there: impl Fn(ConnectionId) -> bool,
    ) -> BTreeMap<ConnectionId, Vec<SignerTag>> {
        let mut to_ask: BTreeMap<ConnectionId, Vec<SignerTag>> = BTreeMap::new();
        while let Some((until, signer)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(until, signer));
            let Some(asked) = self.asked.remove(&signer) else {
                continue;
            };
            let mut others = asked.others;
            others.retain(|(other, _)| is_there(*other));
            // Whoever has had its turn is the last to have another.
            others.sort_by_key(|(other, _)| *other == asked.of);
            let mut others = others.into_iter();
            if let Some(next) = others.next() {
                self.wait(now, signer, next, asked.times + 1, others.collect());
                to_ask.entry(next.0).or_default().push(signer);
            }
        }
        to_ask
    }

    /// When [`Wanted::ask_again`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(until, _)| *until)
    }

    /// How many are asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }
}

/// It doubles, because peers that are busy answer late.
fn patience(times: u32) -> Duration {
    let doubled = limits::WANTED_PATIENCE.saturating_mul(1 << times.min(4));
    doubled.min(limits::WANTED_PATIENCE_MAX)
}

#[cfg(test)]
mod tests;
