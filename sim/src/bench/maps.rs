//! P4b: bytes of maps, and how long one that joins waits for its first one.

use std::time::Duration;

use anyhow::Result;
use slotmesh_map::fixture::{after_a_death, as_json, realistic};
use slotmesh_mesh::identity::{Keypair, Uid};
use slotmesh_mesh::join::{JoinRequest, JoinResponse};
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::sim::NodeId;
use slotmesh_mesh::sim::parts::Wire;
use slotmesh_mesh::sim::processor::{
    HANDSHAKE_MICROS, MAP_MEMBER_MICROS, VERIFY_MICROS, cost_of_frame,
};
use slotmesh_mesh::time::Instant;

use super::{Bench, NEVER, percentile, scenario};

/// Members, and owners on each of them.
const SIZES: [(usize, usize); 3] = [(250, 1), (1000, 1), (1000, 4)];
/// The size that has an aim of its own, and is fetched.
const PROMISED: (usize, usize) = (1000, 1);
const WHOLE_KIB_MAX: f64 = 96.0;
const DEATH_KIB_MAX: f64 = 2.0;
const FETCH_MS_MAX: f64 = 100.0;
/// 5 ms RTT, and as unsteady as the network of other rows.
const FAR: &str = "network latency 2ms jitter 1ms loss 1%";
const JOINER: NodeId = NodeId(1);
const OPERATOR: NodeId = NodeId(2);
/// Bytes of a projected ServiceAccount token, as Kubernetes makes them, roughly.
const TOKEN_BYTES: usize = 1100;
/// The same of a signing request with an Ed25519 key.
const CSR_BYTES: usize = 250;
/// Length in front of a message of the join stream.
const LENGTH_BYTES: usize = 4;

/// The rows.
pub(super) fn sizes(bench: &mut Bench) -> Result<()> {
    let key = Keypair::from_seed([42; 32]);
    for size in SIZES {
        let (members, owners) = size;
        let map = SignedMap::sign(realistic(members, owners), &key)?;
        let next = SignedMap::sign(after_a_death(map.map(), members / 2), &key)?;
        let whole = map.encode();
        // What is counted must be what the other side can read.
        SignedMap::decode(&whole, map.map().cluster, &[key.public()])?;
        let difference = next.difference_from(&map);
        SignedMap::apply(&map, &difference, &[key.public()])?;

        let table = &mut bench.table;
        let case = format!("P4b whole map on the wire, {members} x {owners}");
        if size == PROMISED {
            table.at_most(case, kib(whole.len()), "KiB", WHOLE_KIB_MAX);
        } else {
            table.plain(case, kib(whole.len()), "KiB");
        }
        let canonical = kib(map.map().canonical().len());
        table.note(format!(
            "members x owners each; canonical {canonical:.1} KiB"
        ));
        let json = as_json(map.map()).len();
        table.plain(
            format!("P4b whole map of its JSON, {members} x {owners}"),
            100.0 * whole.len() as f64 / json as f64,
            "%",
        );
        table.note(format!("JSON without spaces: {:.1} KiB", kib(json)));
        let case = format!("P4b difference of one death, {members} x {owners}");
        table.at_most(case, kib(difference.len()), "KiB", DEATH_KIB_MAX);
        if size == PROMISED {
            fetches(bench, whole, members)?;
        }
    }
    Ok(())
}

fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1024.0
}

/// What one that joins does, but for the waiting: it asks, and is answered with the whole map.
fn fetches(bench: &mut Bench, whole: Vec<u8>, members: usize) -> Result<()> {
    let settings = scenario(&format!("title P4b\nnodes 2\n{FAR}\nrun 1s\n"))?.settings;
    let fetch = Fetch {
        request: request_bytes(),
        answer: JoinResponse::Map(whole).encode().len() + LENGTH_BYTES,
        members: members as u64,
    };
    let seeds = bench.seeds(10_000, 1000);
    let (mut asked, mut dialed) = (Vec::new(), Vec::new());
    for seed in 1..=seeds {
        let mut wire = Wire::new(settings.network, seed, 2);
        let up = fetch.dial(&mut wire);
        let done = up.and_then(|up| fetch.ask(&mut wire, up).map(|done| (up, done)));
        let since = |from: Instant| done.map_or(NEVER, |(_, done)| done.saturating_since(from));
        dialed.push(since(Instant::ZERO));
        asked.push(since(done.map_or(Instant::ZERO, |(up, _)| up)));
    }
    asked.sort();
    dialed.sort();
    let ms = |times: &[Duration], percent| percentile(times, percent) * 1000.0;
    let table = &mut bench.table;
    table.at_most(
        format!("P4b a joiner's fetch of {members} x 1 at 5 ms RTT, p99"),
        ms(&asked, 99),
        "ms",
        FETCH_MS_MAX,
    );
    table.note(format!(
        "{seeds} seeds, p50 {:.1} ms; from its request (QUIC is up) to the whole map in force, with slow start and 1 % \
         loss; not counted: review of the token and the operator's window for joins",
        ms(&asked, 50)
    ));
    table.plain(
        format!("P4b the same with the handshake before it, {members} x 1, p99"),
        ms(&dialed, 99),
        "ms",
    );
    table.note(format!(
        "{seeds} seeds, p50 {:.1} ms; a lost first packet is sent again after 90 ms",
        ms(&dialed, 50)
    ));
    Ok(())
}

fn request_bytes() -> usize {
    let request = JoinRequest {
        cluster: Uid::from_bytes([1; 16]),
        pod_uid: Uid::from_bytes([2; 16]),
        token: "t".repeat(TOKEN_BYTES),
        csr_der: vec![0; CSR_BYTES],
    };
    request.encode().len()
}

/// Bytes that travel, and members that the map lists.
///
/// ```text
///   joiner   ── handshake ─▶ ◀─ up ── request ─▶                          read, verified, graph made
///   operator                              (reviews, waits: not here) ── whole map, in 3 flights or more ─▶
/// ```
///
/// As in a real join the map is pushed on the stream of the request: nothing but acknowledgements of its
/// packets goes back and forth.
struct Fetch {
    request: usize,
    answer: usize,
    members: u64,
}

impl Fetch {
    /// When its connection to the operator is up.
    fn dial(&self, wire: &mut Wire) -> Option<Instant> {
        let up = wire.dial(Instant::ZERO, JOINER, OPERATOR)?;
        Some(up + Duration::from_micros(2 * HANDSHAKE_MICROS))
    }

    /// When the map is in force for one that asks now.
    fn ask(&self, wire: &mut Wire, now: Instant) -> Option<Instant> {
        let frame = |bytes| Duration::from_micros(cost_of_frame(bytes));
        let request = wire.first_message(now, JOINER, OPERATOR, self.request)?;
        let answers = request + frame(self.request) + frame(self.answer);
        let read = wire.first_message(answers, OPERATOR, JOINER, self.answer)?;
        let in_force = VERIFY_MICROS + MAP_MEMBER_MICROS * self.members;
        Some(read + frame(self.answer) + Duration::from_micros(in_force))
    }
}

#[cfg(test)]
mod tests;
