//! Every limit of what is data: maps, names, join messages. Whoever exceeds one is refused.

/// Not a feature: nothing that is built for a cluster, and no test of it, gets other limits by accident.
const BEYOND_RECORD: bool = cfg!(beyond_record);

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
/// Most observers a map may ask for.
pub const OBSERVERS_MAX: u8 = 16;
/// Shortest heartbeat interval.
pub const HEARTBEAT_INTERVAL_MS_MIN: u32 = 100;
/// Longest heartbeat interval.
pub const HEARTBEAT_INTERVAL_MS_MAX: u32 = 5000;
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

const _: () = assert!(MAP_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(2 * REASON_BYTES_MAX + 16 <= JOIN_RESPONSE_BYTES_MAX);
const _: () = assert!(EPOCH_MAX > u32::MAX as u64);
