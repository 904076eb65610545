//! Why a handshake came to nothing, in a few stable words for logs and metrics.
//!
//! Both sides read the same TLS alert, the one that raised it and the one that got it: the codes are
//! those of RFC 8446, section 6.2, which QUIC carries as 0x100 + alert (RFC 9001, section 4.8).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use quinn::ConnectionError;

/// Why a handshake came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Nobody answers.
    NoAnswer,
    /// The certificate is not of this cluster's CA.
    UnknownAuthority,
    /// The certificate has expired or is not valid yet.
    NotValidNow,
    /// The certificate names nobody of this cluster, or holds another kind of key.
    UnfitCertificate,
    /// The peer does not hold the key of the certificate it shows.
    NotTheHolder,
    /// The peer shows no certificate.
    NoCertificate,
    /// The port does not serve this cluster.
    UnknownCluster,
    /// The peer speaks another protocol, or another version of it.
    OtherProtocol,
    /// A valid certificate, but not the pod and key that the map lists for that address.
    OtherProcess,
    /// Too many handshakes at once, or something else.
    Other,
}

impl Refusal {
    /// Its stable name: a metric label.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::NoAnswer => "NoAnswer",
            Self::UnknownAuthority => "UnknownAuthority",
            Self::NotValidNow => "NotValidNow",
            Self::UnfitCertificate => "UnfitCertificate",
            Self::NotTheHolder => "NotTheHolder",
            Self::NoCertificate => "NoCertificate",
            Self::UnknownCluster => "UnknownCluster",
            Self::OtherProtocol => "OtherProtocol",
            Self::OtherProcess => "OtherProcess",
            Self::Other => "Other",
        }
    }

    /// What the end of a connection says of its handshake.
    #[must_use]
    pub fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::TimedOut => Self::NoAnswer,
            _ => tls_alert(error).map_or(Self::Other, Self::of_alert),
        }
    }

    /// The same for a connection that seemed to be up: the dialing side of TLS 1.3 is done before the
    /// other side has looked at its certificate. None where the handshake was not the cause.
    #[must_use]
    pub fn after_handshake(error: &ConnectionError) -> Option<Self> {
        tls_alert(error).map(Self::of_alert)
    }

    fn of_alert(alert: u8) -> Self {
        match alert {
            45 => Self::NotValidNow,
            // bad, unsupported, unknown certificate
            42 | 43 | 46 => Self::UnfitCertificate,
            48 => Self::UnknownAuthority,
            49 => Self::UnknownCluster,
            51 => Self::NotTheHolder,
            116 => Self::NoCertificate,
            120 => Self::OtherProtocol,
            _ => Self::Other,
        }
    }
}

fn tls_alert(error: &ConnectionError) -> Option<u8> {
    let code = match error {
        ConnectionError::TransportError(error) => error.code,
        ConnectionError::ConnectionClosed(close) => close.error_code,
        _ => return None,
    };
    u8::try_from(u64::from(code).checked_sub(0x100)?).ok()
}

/// How often each happened.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: Mutex<BTreeMap<Refusal, u64>>,
}

impl Refusals {
    /// Counts one, and says so: of many equal ones only the 1st, 2nd, 4th, 8th and so on.
    pub(crate) fn count(&self, refusal: Refusal, peer: SocketAddr, reason: &str) {
        let times = {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let times = counts.entry(refusal).or_default();
            *times += 1;
            *times
        };
        // Whoever is down does not answer: no news, the mesh tells it in its own way.
        if refusal != Refusal::NoAnswer && times.is_power_of_two() {
            tracing::warn!(%peer, category = refusal.category(), times, reason, "no connection");
        } else {
            tracing::debug!(%peer, category = refusal.category(), times, reason, "no connection");
        }
    }

    pub(crate) fn counts(&self) -> BTreeMap<Refusal, u64> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }
}
