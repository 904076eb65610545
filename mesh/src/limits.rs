//! Every limit of the protocol, in one place. Whoever exceeds one is refused; nothing grows beyond.

use std::time::Duration;

const BEYOND_RECORD: bool = cfg!(feature = "beyond-record");

/// Members that one map can list. (Benchmarks simulate larger cells than the record can hold.)
pub const MEMBERS_MAX: usize = if BEYOND_RECORD { 5000 } else { 1000 };
/// Owners on one member.
pub const OWNERS_PER_MEMBER_MAX: usize = 64;
/// Other cells of a cluster that a map names.
pub const OTHER_CELLS_MAX: usize = 63;
/// Members of another cell that a map names: whom to ask there.
pub const CELL_ENTRIES_MAX: usize = 3;
/// Cells that a cell is split into.
pub const DELEGATION_PARTS: usize = 2;
/// Characters in a name, node or zone (a Kubernetes name has at most 253).
pub const NAME_BYTES_MAX: usize = 253;
/// Weight of an owner; 100 is usual, 0 drains it.
pub const CAPACITY_MAX: u16 = 10_000;
/// Highest epoch: beats carry 48 bits of it. (Epochs start as Unix seconds, below 2^31 today.)
pub const EPOCH_MAX: u64 = (1 << 48) - 1;
/// Bytes of a canonical map (the record's own limit is 768 KiB of JSON).
pub const MAP_BYTES_MAX: usize = if BEYOND_RECORD { 8 << 20 } else { 1 << 20 };
/// Bytes of one message on a stream.
pub const FRAME_BYTES_MAX: usize = MAP_BYTES_MAX + 4096;
/// Bytes of one datagram: the first budget of a QUIC connection is 1162 bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1162;
/// Bytes of a beat.
pub const BEAT_BYTES_MAX: usize = 28;

/// Rings on which members are sorted; a member has that many observers at most.
pub const RINGS: usize = 10;
/// Most observers a map may ask for.
pub const OBSERVERS_MAX: u8 = 16;
/// Voters of a cell.
pub const VOTERS_MAX: usize = 7;
/// Warm connections of a member to others.
pub const CONNECTIONS_MAX: usize = 32;
/// Connections of operators at once: a leader, and one that was.
pub const OPERATORS_MAX: usize = 4;
/// Connections of peers that the map does not list, at once.
pub const STRANGERS_MAX: usize = 8;
/// Largest cell in which the operator observes members itself.
pub const OPERATOR_OBSERVES_MAX: usize = 3;
/// Members that the operator probes itself at once, because the mesh cannot prove their death.
pub const SECOND_LOOKS_MAX: usize = 64;
/// Reporters that the operator listens to in larger cells.
pub const REPORTERS: usize = 3;
/// Members of a new cell that the operator dials at once to hear that they have its map.
pub const CENSUS_DIALS: usize = 16;

/// Shortest heartbeat interval.
pub const HEARTBEAT_INTERVAL_MS_MIN: u32 = 100;
/// Longest heartbeat interval.
pub const HEARTBEAT_INTERVAL_MS_MAX: u32 = 5000;

/// Evidence kept per cell: each member can report each of its subjects, and leave.
pub const EVIDENCE_MAX: usize = MEMBERS_MAX * (OBSERVERS_MAX as usize + 1);
/// Items of evidence in one frame.
pub const EVIDENCE_PER_FRAME_MAX: usize = 512;
/// Lines in one summary of evidence: all that a store can hold, because whoever reads a summary takes
/// what it leaves out for missing.
pub const SUMMARY_ENTRIES_MAX: usize = EVIDENCE_MAX;
/// Bytes of one line: two UIDs, two incarnations of 48 bits and a sequence of 64 as varints.
pub const SUMMARY_ENTRY_BYTES_MAX: usize = 16 + 7 + 16 + 7 + 10;
/// Outputs of one input: an event for each item of a frame of evidence, what that makes this member
/// state itself, and what is sent on to each connection.
pub const OUTPUTS_MAX: usize = 2 * EVIDENCE_PER_FRAME_MAX + 8 * CONNECTIONS_MAX;
/// Frames that wait for one peer.
pub const FRAMES_QUEUED_MAX: usize = 64;
/// Members whose end is remembered for display.
pub const DEPARTED_MAX: usize = 64;

/// Bytes of a projected token.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a certificate signing request, and of one certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 4096;
/// Certificates in a chain.
pub const CHAIN_MAX: usize = 3;
/// Bytes of a join request.
pub const JOIN_REQUEST_BYTES_MAX: usize = TOKEN_BYTES_MAX + CERTIFICATE_BYTES_MAX + 256;
/// Bytes of a join response that is not a map.
pub const JOIN_RESPONSE_BYTES_MAX: usize = CHAIN_MAX * (CERTIFICATE_BYTES_MAX + 8) + 256;
/// Characters of a reason that travels.
pub const REASON_BYTES_MAX: usize = 512;

/// Probe datagrams before a silent subject counts as failed.
pub const PROBES: u8 = 3;
/// Time between two probe datagrams, and after the last one.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(40);
/// Beats that must have been missed before a subject is probed, at least and at most.
pub const SILENCE_BEATS_MIN: u32 = 3;
/// See [`SILENCE_BEATS_MIN`].
pub const SILENCE_BEATS_MAX: u32 = 5;
/// Beats without a word after which a subject does not count as living, where a majority is needed.
pub const UNHEARD_BEATS: u32 = 2;
/// Beats to hear, at most one of them lost, before an edge that failed is clear again.
pub const CLEAR_BEATS: u32 = 10;
/// Beats after a time without a majority before anything is claimed again: all edges have time to clear,
/// those included whose connection has to come up first.
pub const CAUTION_BEATS: u32 = 25;
/// Time for which a member goes on beating the observers of its last epoch.
pub const OLD_EDGE_LINGER: Duration = Duration::from_secs(2);
/// Grace of a new edge: time for its connection to come up.
pub const EDGE_GRACE: Duration = Duration::from_secs(2);
/// Time between two pushes of one map, or two summaries, to one peer.
pub const REPAIR_INTERVAL: Duration = Duration::from_millis(500);
/// Shortest pause before a peer is dialed again; it doubles up to [`REDIAL_MAX`].
pub const REDIAL_MIN: Duration = Duration::from_millis(50);
/// Longest pause before a peer is dialed again.
pub const REDIAL_MAX: Duration = Duration::from_secs(2);
/// A subject that was silent for that long is dialed by either side.
pub const LONG_SILENCE: Duration = Duration::from_secs(5);
/// Successors that are told news: on so many rings.
pub const FANOUT: usize = 4;
/// Older maps that are kept, so that differences to them can be made.
pub const OLDER_MAPS_MAX: usize = 4;
/// Neighbours that a fresh member asks for evidence before it counts.
pub const CATCH_UP_NEIGHBOURS: usize = 2;
/// A timer may be that late before silence is no longer held against anybody.
pub const TIMER_LAG_MAX: Duration = Duration::from_millis(20);
/// Beats for which a probe of the operator counts as hearing it.
pub const OPERATOR_HEARD_BEATS: u32 = 5;
/// The same as a time, at least.
pub const OPERATOR_HEARD_MIN: Duration = Duration::from_secs(1);
/// Time for which a stranger may stay connected.
pub const STRANGER_LINGER: Duration = Duration::from_secs(5);

const _: () = assert!(RINGS <= OBSERVERS_MAX as usize);
const _: () = assert!(2 * RINGS + VOTERS_MAX <= CONNECTIONS_MAX);
const _: () = assert!(BEAT_BYTES_MAX <= DATAGRAM_BYTES_MAX);
const _: () = assert!(MAP_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(SUMMARY_ENTRIES_MAX * SUMMARY_ENTRY_BYTES_MAX + 16 <= FRAME_BYTES_MAX);
const _: () = assert!(2 * REASON_BYTES_MAX + 16 <= JOIN_RESPONSE_BYTES_MAX);
const _: () = assert!(EPOCH_MAX > u32::MAX as u64);
const _: () = assert!(CAUTION_BEATS > 2 * CLEAR_BEATS);
const _: () = assert!(UNHEARD_BEATS < SILENCE_BEATS_MIN);
const _: () = assert!(SILENCE_BEATS_MIN <= SILENCE_BEATS_MAX);
const _: () = assert!(VOTERS_MAX % 2 == 1);
