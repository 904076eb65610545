//! What travels between members: datagrams for liveness, frames (one message on a stream) for state.
//! The version of the format is agreed on by ALPN (`slotmesh/1`).
//!
//! Decoding accepts any bytes: it never panics, and allocates no more than a small multiple of what
//! the message is long (measured by a test).
//!
//! ```text
//!   beat, 28 bytes:
//!   0      1       2        8              12          16       24         26          28
//!   ┌──────┬───────┬────────┬──────────────┬───────────┬────────┬──────────┬───────────┐
//!   │ 0x01 │ flags │ epoch  │ epoch less   │ sequence  │ digest │ timer    │ send      │
//!   │      │       │        │ incarnation  │           │        │ lag (ms) │ drops     │
//!   └──────┴───────┴────────┴──────────────┴───────────┴────────┴──────────┴───────────┘
//!   probe, answer: 0x02 or 0x03, nonce (4 bytes)          numbers are big-endian
//! ```

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::convergence::Counts;
use crate::evidence::{Evidence, SignerTag, SummaryEntry};
use crate::identity::Epoch;
use crate::join_address::JoinAddress;
use crate::limits;

/// Why bytes from a peer are refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum WireError {
    /// Nothing, or more than the limit.
    #[error("a message of that length does not exist")]
    Length,
    /// A kind that this version does not know.
    #[error("unknown kind of message")]
    Kind,
    /// A known kind with a wrong content.
    #[error("malformed message")]
    Malformed,
}

impl WireError {
    /// Stable category: metric label.
    #[must_use]
    pub fn category(self) -> &'static str {
        match self {
            Self::Length => "WireLength",
            Self::Kind => "WireKind",
            Self::Malformed => "WireMalformed",
        }
    }
}

/// A beat's flag: its sender doubts itself.
pub const FLAG_DOUBT: u8 = 1;
/// A beat's flag: its sender hears the operator.
pub const FLAG_HEARS_OPERATOR: u8 = 2;
/// A beat's flag: its sender is leaving.
pub const FLAG_LEAVING: u8 = 4;

/// A beat's flag: nothing arrives at its sender.
pub const FLAG_DEAF: u8 = 8;

const KIND_BEAT: u8 = 1;
const KIND_PROBE: u8 = 2;
const KIND_ANSWER: u8 = 3;

/// The periodic sign of life of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// `FLAG_*`.
    pub flags: u8,
    /// Epoch of the map that the sender has applied (48 bits travel).
    pub epoch: Epoch,
    /// Incarnation of the sender: at most its epoch, and less than 2^32 epochs older (the distance
    /// travels, in 32 bits).
    pub incarnation: Epoch,
    /// Grows by one with each beat; every observer gets the same.
    pub sequence: u32,
    /// Digest of the evidence that the sender holds.
    pub digest: u64,
    /// How late the sender's timers were at most since its last beat, in milliseconds.
    pub timer_lag_ms: u16,
    /// Messages that the sender had to drop since it started.
    pub send_drops: u16,
}

/// A datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A sign of life.
    Beat(Beat),
    /// Asks for an answer.
    Probe {
        /// Repeated in the answer.
        nonce: u32,
    },
    /// Answers a probe.
    Answer {
        /// Of the probe.
        nonce: u32,
    },
}

impl Datagram {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(limits::BEAT_BYTES_MAX);
        match self {
            Self::Beat(beat) => {
                bytes.extend([KIND_BEAT, beat.flags]);
                bytes.extend(beat.epoch.to_be_bytes().iter().skip(2));
                let age = beat.epoch.saturating_sub(beat.incarnation);
                bytes.extend(u32::try_from(age).unwrap_or(u32::MAX).to_be_bytes());
                bytes.extend(beat.sequence.to_be_bytes());
                bytes.extend(beat.digest.to_be_bytes());
                bytes.extend(beat.timer_lag_ms.to_be_bytes());
                bytes.extend(beat.send_drops.to_be_bytes());
            }
            Self::Probe { nonce } => {
                bytes.push(KIND_PROBE);
                bytes.extend(nonce.to_be_bytes());
            }
            Self::Answer { nonce } => {
                bytes.push(KIND_ANSWER);
                bytes.extend(nonce.to_be_bytes());
            }
        }
        bytes
    }

    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, mut rest) = bytes.split_first().ok_or(WireError::Length)?;
        let datagram = match *kind {
            KIND_BEAT => {
                let flags = take_number::<1>(&mut rest)? as u8;
                let epoch: Epoch = take_number::<6>(&mut rest)?;
                let age = take_number::<4>(&mut rest)?;
                Self::Beat(Beat {
                    flags,
                    epoch,
                    incarnation: epoch.checked_sub(age).ok_or(WireError::Malformed)?,
                    sequence: take_number::<4>(&mut rest)? as u32,
                    digest: take_number::<8>(&mut rest)?,
                    timer_lag_ms: take_number::<2>(&mut rest)? as u16,
                    send_drops: take_number::<2>(&mut rest)? as u16,
                })
            }
            KIND_PROBE => Self::Probe {
                nonce: take_number::<4>(&mut rest)? as u32,
            },
            KIND_ANSWER => Self::Answer {
                nonce: take_number::<4>(&mut rest)? as u32,
            },
            _ => return Err(WireError::Kind),
        };
        if rest.is_empty() {
            Ok(datagram)
        } else {
            Err(WireError::Length)
        }
    }
}

/// The next N bytes as a number.
fn take_number<const N: usize>(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let (number, rest) = bytes.split_first_chunk::<N>().ok_or(WireError::Length)?;
    *bytes = rest;
    Ok(number
        .iter()
        .fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

/// A message on a stream. The order of the kinds is part of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// First on each connection: which map the sender has applied.
    Hello {
        /// Its era.
        era: u32,
        /// Its epoch.
        epoch: Epoch,
        /// Start of its SHA-256.
        sha256: [u8; 8],
    },
    /// A whole signed map.
    Map {
        /// Time since it was published, as far as is known ([`crate::convergence`]).
        age_us: u64,
        /// [`crate::signed::SignedMap::encode`].
        bytes: Vec<u8>,
    },
    /// The difference to an older map.
    MapDifference {
        /// As of a whole map.
        age_us: u64,
        /// [`crate::signed::SignedMap::difference_from`].
        bytes: Vec<u8>,
    },
    /// Asks for the whole map.
    MapRequest,
    /// News: statements.
    Evidence(Vec<Evidence>),
    /// All that the sender holds: the receiver sends what is missing, and answers with [`Frame::Wants`].
    Summary(Vec<SummaryEntry>),
    /// Where the operator answers joins.
    JoinAddress(JoinAddress),
    /// Who applied a map, told to whoever handed it on.
    Applied {
        /// Its era.
        era: u32,
        /// Its epoch.
        epoch: Epoch,
        /// The sender, and those who told it.
        counts: Counts,
    },
    /// News that the sender holds, to be asked for.
    Offer(Vec<SummaryEntry>),
    /// Asks for the newest statements of these signers.
    Wants {
        /// Whether it answers a summary.
        reply: bool,
        /// The signers.
        signers: Vec<SignerTag>,
    },
}

impl Frame {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.is_empty() || bytes.len() > limits::FRAME_BYTES_MAX {
            return Err(WireError::Length);
        }
        let (frame, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|_| {
            let known = bytes.first().is_some_and(|kind| *kind <= LAST_FRAME_KIND);
            if known {
                WireError::Malformed
            } else {
                WireError::Kind
            }
        })?;
        let within_limits = match &frame {
            Self::Evidence(evidence) => {
                let names_few = |item: &Evidence| item.reported.len() <= limits::TAGS_MAX;
                evidence.len() <= limits::EVIDENCE_PER_FRAME_MAX && evidence.iter().all(names_few)
            }
            Self::Summary(entries) | Self::Offer(entries) => {
                entries.len() <= limits::SUMMARY_ENTRIES_MAX
            }
            Self::Wants { signers, .. } => signers.len() <= limits::EVIDENCE_PER_FRAME_MAX,
            _ => true,
        };
        if rest.is_empty() && within_limits {
            Ok(frame)
        } else {
            Err(WireError::Length)
        }
    }
}

const LAST_FRAME_KIND: u8 = 9;
const _: () = assert!(1 + 1 + 6 + 4 + 4 + 8 + 2 + 2 <= limits::BEAT_BYTES_MAX);
const _: () = assert!(limits::EPOCH_MAX < 1 << 48, "an epoch travels in six bytes");

#[cfg(test)]
mod tests;
