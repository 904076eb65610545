//! A newer map is announced in a few bytes and asked for once: so its body arrives once.
//!
//! ```text
//!                  a newer version is heard of
//!    up to date ───────────────────────────────▶ offered ◀──────────────────────────┐
//!        ▲                                          │ the offer is due (near: at once)│
//!        │  a map of that version, or above         ▼                                │
//!        └────────────────────────────────────── asked ── no map within the pause ───┘
//! ```
//!
//! Offers from another zone are due later than those from one's own: by then the map has usually come
//! from a neighbour. (Shape: lazy push of Plumtree, Leitão, Pereira, Rodrigues, "Epidemic Broadcast Trees",
//! SRDS 2007, without its eager links: a map is never urgent by single milliseconds.)
//!
//! Bounds: one offer for each connection, and when there are too many the newest is dropped; beats bring it
//! again. Questions are asked one at a time, with a pause that doubles.

use std::collections::VecDeque;
use std::time::Duration;

use crate::identity::Epoch;
use crate::limits;
use crate::machine::ConnectionId;
use crate::time::Instant;

/// (era, epoch).
type Version = (u32, Epoch);

#[derive(Clone, Copy, Debug)]
struct Offer {
    from: ConnectionId,
    version: Version,
    due: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Pull {
    /// Of versions newer than the map in force.
    offers: VecDeque<Offer>,
    asked: Option<(ConnectionId, Instant)>,
    /// Questions asked since a map came.
    questions: u32,
}

impl Pull {
    /// A peer says that it has that version, newer than ours; it may be asked for it from `due` on.
    /// Whether it says so rightly shows when it is asked.
    pub(crate) fn offer(&mut self, version: Version, from: ConnectionId, due: Instant) {
        if let Some(known) = self.offers.iter_mut().find(|offer| offer.from == from) {
            known.version = known.version.max(version);
            known.due = known.due.min(due);
        } else if self.offers.len() < limits::CONNECTIONS_MAX {
            self.offers.push_back(Offer { from, version, due });
        }
    }

    /// When somebody is to be asked.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let first = self.offers.iter().map(|offer| offer.due).min()?;
        let free = self
            .asked
            .map_or(Instant::ZERO, |(_, at)| at + self.pause());
        Some(first.max(free))
    }

    /// Whom to ask now.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<ConnectionId> {
        self.deadline().filter(|due| *due <= now)?;
        let first = (0..).zip(&self.offers).min_by_key(|(_, offer)| offer.due);
        let offer = self.offers.remove(first?.0)?;
        self.asked = Some((offer.from, now));
        self.questions = self.questions.saturating_add(1);
        Some(offer.from)
    }

    /// When that peer was asked, if it is the last that was.
    pub(crate) fn asked_at(&self, peer: ConnectionId) -> Option<Instant> {
        let (asked, at) = self.asked?;
        (asked == peer).then_some(at)
    }

    /// A map of that version is in force.
    pub(crate) fn settle(&mut self, version: Version) {
        self.offers.retain(|offer| offer.version > version);
        self.asked = None;
        self.questions = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.offers.len()
    }

    fn pause(&self) -> Duration {
        let doubled = self.questions.saturating_sub(1).min(8);
        (limits::PULL_PAUSE_MIN * 2_u32.pow(doubled)).min(limits::PULL_PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests;
