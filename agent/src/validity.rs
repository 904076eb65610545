//! The life of a certificate, and when in it what is due.

use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use slotmesh_transport::identity::{IdentityError, expiry_of};

use crate::jitter::jittered;

/// Pause after a failed renewal, at first; it doubles.
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause: an operator that is away for days is not asked all the time.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// No pause is longer than such a part of the certificate's life.
const PAUSES_IN_A_LIFE: u32 = 20;

/// The life of a certificate, by this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    since: SystemTime,
    pub(crate) until: SystemTime,
}

impl Validity {
    /// Of a chain that was just received.
    pub(crate) fn of(chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Self, IdentityError> {
        let leaf = chain.first().ok_or(IdentityError::Malformed)?;
        Ok(Self {
            since: now,
            until: expiry_of(leaf)?,
        })
    }

    pub(crate) fn life(&self) -> Duration {
        self.until.duration_since(self.since).unwrap_or_default()
    }

    /// When to renew: after half of the life, and a little later, so that agents that joined together
    /// do not renew together.
    pub(crate) fn renewal(&self) -> SystemTime {
        self.since + self.life() / 2 + jittered(self.life() / 5) - self.life() / 5
    }

    /// Whether so much of the life is over that somebody should know.
    pub(crate) fn is_late(&self, now: SystemTime) -> bool {
        now >= self.since + self.life() / 4 * 3
    }

    pub(crate) fn pause_max(&self) -> Duration {
        (self.life() / PAUSES_IN_A_LIFE).clamp(PAUSE_MIN, PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_certificate_is_renewed_in_the_middle_of_its_life() {
        let since = SystemTime::now();
        let at = |seconds| since + Duration::from_secs(seconds);
        let day = Validity {
            since,
            until: at(24 * 3600),
        };
        assert!((at(12 * 3600)..at(13 * 3600 + 900)).contains(&day.renewal()));
        assert!(!day.is_late(at(18 * 3600 - 1)));
        assert!(day.is_late(at(18 * 3600)));
        assert_eq!(day.pause_max(), PAUSE_MAX);
        let short = Validity {
            since,
            until: at(20),
        };
        assert!((at(10)..=at(11)).contains(&short.renewal()));
        assert_eq!(short.pause_max(), Duration::from_secs(1));
        let over = Validity {
            since,
            until: since - Duration::from_secs(5),
        };
        assert_eq!((over.renewal(), over.pause_max()), (since, PAUSE_MIN));
    }
}
