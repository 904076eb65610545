//! Statements that peers offer, each asked for of one of them at a time: so it arrives once.
//!
//! ```text
//!               offered, and newer than what is held                 no answer in time
//!   (nothing) ───────────────────────────────────────▶ asked ─────────────────────────────┐
//!       ▲                                               │  ▲                              │
//!       └────── a statement of that signer came, ───────┘  └── of the next that offers it ◀┘
//!               or nobody else offers it
//! ```
//!
//! Shape: IHAVE and GRAFT of Plumtree (Leitão, Pereira, Rodrigues, "Epidemic Broadcast Trees", SRDS 2007), IHAVE and
//! IWANT of GossipSub. A false offer delays a statement by one patience; what nobody sends the digests on the beats bring.

use std::collections::{BTreeMap, VecDeque};

use super::{SignerTag, SummaryEntry};
use crate::limits;
use crate::machine::ConnectionId;
use crate::time::Instant;

/// Statements that were asked for and have not come.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    asked: BTreeMap<SignerTag, Asked>,
    /// What was asked for and when, the oldest first; some of it has come, or was asked for again.
    order: VecDeque<(Instant, SignerTag)>,
}

#[derive(Clone, Debug)]
struct Asked {
    sequence: u64,
    at: Instant,
    /// Who else offers it.
    others: Vec<ConnectionId>,
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
        let mut to_ask = Vec::new();
        for entry in news {
            match self.asked.get_mut(&entry.signer) {
                Some(asked) if asked.sequence >= entry.sequence => {
                    if asked.others.len() < limits::OFFERERS_MAX && !asked.others.contains(&from) {
                        asked.others.push(from);
                    }
                }
                _ => {
                    self.remember(now, entry.signer, entry.sequence, Vec::new());
                    to_ask.push(entry.signer);
                }
            }
        }
        to_ask
    }

    fn remember(
        &mut self,
        at: Instant,
        signer: SignerTag,
        sequence: u64,
        others: Vec<ConnectionId>,
    ) {
        if self.order.len() >= limits::WANTED_MAX {
            return;
        }
        let asked = Asked {
            sequence,
            at,
            others,
        };
        self.asked.insert(signer, asked);
        self.order.push_back((at, signer));
    }

    /// A statement of that signer came.
    pub fn came(&mut self, signer: SignerTag) {
        if self.asked.remove(&signer).is_none() {
            return;
        }
        while let Some((at, signer)) = self.order.front() {
            if self.is_asked(*at, *signer) {
                return;
            }
            self.order.pop_front();
        }
    }

    fn is_asked(&self, at: Instant, signer: SignerTag) -> bool {
        let asked = self.asked.get(&signer);
        asked.is_some_and(|asked| asked.at == at)
    }

    /// Whom to ask for what did not come in time: the next that offered it, if it still `is_there`.
    pub fn ask_again(
        &mut self,
        now: Instant,
        is_there: impl Fn(ConnectionId) -> bool,
    ) -> BTreeMap<ConnectionId, Vec<SignerTag>> {
        let mut to_ask: BTreeMap<ConnectionId, Vec<SignerTag>> = BTreeMap::new();
        while let Some((at, signer)) = self.order.front().copied() {
            if at + limits::WANTED_PATIENCE > now {
                break;
            }
            self.order.pop_front();
            if !self.is_asked(at, signer) {
                continue;
            }
            let Some(asked) = self.asked.remove(&signer) else {
                continue;
            };
            let mut others = asked.others.into_iter().filter(|other| is_there(*other));
            if let Some(next) = others.next() {
                self.remember(now, signer, asked.sequence, others.collect());
                to_ask.entry(next).or_default().push(signer);
            }
        }
        to_ask
    }

    /// When [`Wanted::ask_again`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let (at, _) = self.order.front()?;
        Some(*at + limits::WANTED_PATIENCE)
    }

    /// How many are asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests;
