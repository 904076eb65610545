//! The pure core of the election: what was seen in, what to do out.
//!
//! ```text
//!              read: free, or unchanged for its whole duration     write succeeded
//!  Follower ------------------------------------------> (write) ------------------> Leader
//!     ^  ^                                                |                          |   |
//!     |  +------- conflict: somebody else wrote ----------+                          |   | renewal
//!     |                                                                              |   | succeeded
//!     +---- renew deadline passed, or a read shows another holder -------------------+<--+
//! ```

use std::time::Duration;

use thiserror::Error;

/// Longest time that a Lease written by somebody else is believed to last, in seconds.
const FOREIGN_LEASE_SECONDS_MAX: i32 = 600;

/// The times of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How long an unchanged Lease keeps others away.
    pub lease: Duration,
    /// How long a leader goes on without a successful renewal.
    pub renew_deadline: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Times under which two leaders could write, or none could stay.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TimesError {
    #[error("the lease duration ({lease:?}) must be longer than the renew deadline ({renew:?})")]
    LeaseTooShort { lease: Duration, renew: Duration },
    #[error(
        "the renew deadline ({renew:?}) must be longer than the retry period ({retry:?}), which must not be 0"
    )]
    RetryTooLong { renew: Duration, retry: Duration },
}

impl Times {
    /// Checks the order of the three.
    pub fn validate(self) -> Result<Self, TimesError> {
        if self.lease <= self.renew_deadline {
            return Err(TimesError::LeaseTooShort {
                lease: self.lease,
                renew: self.renew_deadline,
            });
        }
        if self.retry.is_zero() || self.renew_deadline <= self.retry {
            return Err(TimesError::RetryTooLong {
                renew: self.renew_deadline,
                retry: self.retry,
            });
        }
        Ok(self)
    }
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// `metadata.resourceVersion`.
    pub version: String,
    /// Empty when released.
    pub holder: String,
    pub duration_seconds: i32,
    /// As text: only ever compared for equality.
    pub renewed: String,
    pub transitions: i32,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Read,
    Write(Intent),
    /// Nothing before the next retry.
    Wait,
}

/// A Lease to be written in our name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The version to replace; None creates.
    pub parent: Option<String>,
    /// The holder changes: a new `acquireTime`.
    pub takes: bool,
    pub transitions: i32,
}

/// Whether we lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Follower,
    Leader,
}

#[derive(Clone, Debug)]
struct Observed {
    view: LeaseView,
    /// When this content was first seen, on our clock.
    since: Duration,
}

/// One candidate. Times are durations since an origin of the caller's monotonic clock.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    times: Times,
    observed: Option<Observed>,
    /// When the last successful write was sent.
    renewed_at: Option<Duration>,
    /// The Lease may differ from what was observed: read before writing.
    stale: bool,
}

impl Election {
    /// A follower that has seen nothing. `identity` must be this process's alone.
    #[must_use]
    pub fn new(identity: String, times: Times) -> Self {
        Self {
            identity,
            times,
            observed: None,
            renewed_at: None,
            stale: true,
        }
    }

    /// Whether we lead at `now`.
    #[must_use]
    pub fn role(&self, now: Duration) -> Role {
        match self.leads_until() {
            Some(until) if now < until => Role::Leader,
            _ => Role::Follower,
        }
    }

    /// End of the tenure if no renewal succeeds.
    #[must_use]
    pub fn leads_until(&self) -> Option<Duration> {
        self.renewed_at
            .map(|renewed| renewed + self.times.renew_deadline)
    }

    /// What an attempt at `now` begins with: a leader that knows the Lease renews it at once.
    #[must_use]
    pub fn attempt(&self, now: Duration) -> Step {
        match &self.observed {
            Some(observed) if !self.stale && self.role(now) == Role::Leader => {
                Step::Write(self.renewal(&observed.view))
            }
            _ => Step::Read,
        }
    }

    /// A read came back.
    pub fn on_read(&mut self, now: Duration, view: Option<LeaseView>) -> Step {
        self.stale = false;
        let Some(view) = view else {
            self.observed = None;
            return Step::Write(Intent {
                parent: None,
                takes: true,
                transitions: 0,
            });
        };
        self.observe(now, view);
        let Some(Observed { view, since }) = &self.observed else {
            return Step::Wait;
        };
        if view.holder == self.identity {
            return Step::Write(self.renewal(view));
        }
        self.renewed_at = None;
        let expired = now.saturating_sub(*since) >= self.keeps_away(view);
        if view.holder.is_empty() || expired {
            Step::Write(Intent {
                parent: Some(view.version.clone()),
                takes: true,
                transitions: view.transitions.saturating_add(1),
            })
        } else {
            Step::Wait
        }
    }

    /// A write that was sent at `sent` succeeded and left the Lease as `view`.
    pub fn on_written(&mut self, sent: Duration, view: LeaseView) {
        self.renewed_at = Some(sent);
        self.stale = false;
        self.observed = Some(Observed { view, since: sent });
    }

    /// A write was refused because the Lease had changed (or already existed).
    pub fn on_conflict(&mut self) {
        self.stale = true;
    }

    /// A call failed or timed out; a write may have taken effect all the same.
    pub fn on_failure(&mut self) {
        self.stale = true;
    }

    /// We give the Lease up: the version to replace, if we hold it.
    pub fn resign(&mut self) -> Option<LeaseView> {
        self.renewed_at = None;
        self.stale = true;
        let observed = self.observed.take()?;
        (observed.view.holder == self.identity).then_some(observed.view)
    }

    fn renewal(&self, view: &LeaseView) -> Intent {
        Intent {
            parent: Some(view.version.clone()),
            takes: false,
            transitions: view.transitions,
        }
    }

    fn observe(&mut self, now: Duration, view: LeaseView) {
        let since = match &self.observed {
            Some(seen) if same_term(&seen.view, &view) => seen.since,
            _ => now,
        };
        self.observed = Some(Observed { view, since });
    }

    /// How long an unchanged Lease keeps us away: what its holder was promised, never less than our
    /// own setting.
    fn keeps_away(&self, view: &LeaseView) -> Duration {
        let promised = view.duration_seconds.clamp(0, FOREIGN_LEASE_SECONDS_MAX);
        let promised = Duration::from_secs(u64::try_from(promised).unwrap_or(0));
        promised.max(self.times.lease)
    }
}

/// Whether nothing was renewed between the two. The version is left out: a changed label is no
/// renewal.
fn same_term(a: &LeaseView, b: &LeaseView) -> bool {
    (&a.holder, &a.renewed, a.transitions) == (&b.holder, &b.renewed, b.transitions)
}

#[cfg(test)]
mod tests;
