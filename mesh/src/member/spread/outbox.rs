//! News on their way to others. A little of it goes out at once; when many members are reported it is held for a
//! moment, and what came in meanwhile goes out together.
//!
//! ```text
//!            news                       nothing was sent lately
//!   empty ──────────▶ held ──────────────────────────────────────▶ sent at once
//!     ▲                 │
//!     └─────────────────┘ the time since the last was sent is over
//! ```
//!
//! A death of one has ten reports, and none of them waits. When half of a large cell dies there are many hundreds, each
//! member would send each of them on in a message of its own, and the messages, not the statements, would keep all
//! processors busy for seconds. (Shape: Nagle, RFC 896, with a pause that grows with what there is to say.)

use std::collections::BTreeMap;
use std::time::Duration;

use crate::evidence::Evidence;
use crate::identity::MemberId;
use crate::limits;
use crate::machine::ConnectionId;
use crate::time::Instant;

/// A statement, and from whom it came; none for one's own.
type News = (Evidence, Option<ConnectionId>);

/// News on their way. A newer statement of a signer takes the place of an older one, so there are no more than a store
/// can hold.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    held: BTreeMap<MemberId, News>,
    last_news: Instant,
    rests_until: Instant,
}

impl Outbox {
    /// Keeps news until they are due.
    pub(crate) fn hold(&mut self, now: Instant, news: &[Evidence], from: Option<ConnectionId>) {
        if !news.is_empty() {
            self.last_news = now;
        }
        let news = news.iter().map(|item| (item.signer, (item.clone(), from)));
        self.held.extend(news);
    }

    /// What is due, if anything is, while so many members are reported.
    pub(crate) fn take_due(&mut self, now: Instant, reported: usize) -> Vec<News> {
        if self.held.is_empty() || now < self.rests_until {
            return Vec::new();
        }
        self.rests_until = now + pause(reported);
        std::mem::take(&mut self.held).into_values().collect()
    }

    /// When the last news came.
    pub(crate) fn last_news(&self) -> Instant {
        self.last_news
    }

    /// When something will be due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.held.is_empty()).then_some(self.rests_until)
    }
}

/// Between two rounds of news.
pub(crate) fn pause(reported: usize) -> Duration {
    let many = reported.saturating_sub(limits::NEWS_AT_ONCE);
    let many = u32::try_from(many).unwrap_or(u32::MAX);
    (limits::NEWS_PAUSE_EACH.saturating_mul(many)).min(limits::NEWS_PAUSE_MAX)
}

#[cfg(test)]
mod tests;
