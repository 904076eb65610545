//! The LAN defaults of memberlist 0.7 (`DefaultLANConfig`), and how they scale with the number of members.

use std::time::Duration;

/// How often one other is probed.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a ping may take before others are asked.
pub const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// How many others are asked.
pub const INDIRECT_CHECKS: usize = 3;
/// How often one word of gossip is sent, times the logarithm of the number of members.
pub const RETRANSMIT_MULT: usize = 4;
/// The shortest suspicion, in probe intervals, times the logarithm of the number of members.
pub const SUSPICION_MULT: u32 = 4;
/// The longest suspicion, in shortest ones.
pub const SUSPICION_MAX_TIMEOUT_MULT: u32 = 6;
/// The score of local health stays below that.
pub const AWARENESS_MAX_MULTIPLIER: u32 = 8;
/// How often gossip is sent apart from probes.
pub const GOSSIP_INTERVAL: Duration = Duration::from_millis(200);
/// To how many.
pub const GOSSIP_NODES: usize = 3;
/// How long the dead are still told.
pub const GOSSIP_TO_THE_DEAD_TIME: Duration = Duration::from_secs(30);
/// How often whole states are exchanged, in small cells.
pub const PUSH_PULL_INTERVAL: Duration = Duration::from_secs(30);
/// Up to so many members.
pub const PUSH_PULL_SCALE_THRESHOLD: usize = 32;
/// How long an exchange on a stream may take.
pub const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// Payload of a packet.
pub const UDP_BUFFER_SIZE: usize = 1400;

/// The shortest suspicion among so many members; down to a thousandth of the multiplier, as there.
pub fn suspicion_min(members: usize) -> Duration {
    let scale = (members.max(1) as f64).log10().max(1.0);
    PROBE_INTERVAL * SUSPICION_MULT * (scale * 1000.0) as u32 / 1000
}

/// Confirmations by others that bring a suspicion down to its shortest; none where too few are left to give them.
pub fn confirmations(members: usize) -> u32 {
    let wanted = SUSPICION_MULT - 2;
    let others = members.saturating_sub(2);
    if others < wanted as usize { 0 } else { wanted }
}

/// How often one word of gossip is sent.
pub fn retransmit_limit(members: usize) -> usize {
    let scale = ((members + 1) as f64).log10().ceil();
    RETRANSMIT_MULT * scale as usize
}

/// How often whole states are exchanged.
pub fn push_pull_scale(interval: Duration, members: usize) -> Duration {
    if members <= PUSH_PULL_SCALE_THRESHOLD {
        return interval;
    }
    let doublings = (members as f64).log2() - (PUSH_PULL_SCALE_THRESHOLD as f64).log2();
    interval * (doublings.ceil() as u32 + 1)
}
