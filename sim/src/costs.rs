//! What the simulator takes for work, beside what this machine needs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use slotmesh_mesh::evidence::Evidence;
use slotmesh_mesh::graph::Graph;
use slotmesh_mesh::identity::Keypair;
use slotmesh_mesh::signed::SignedMap;
use slotmesh_mesh::sim::{Settings, Simulation, processor};

/// Members of the map that is measured.
const MEMBERS: u16 = 250;
/// Time for each figure.
const PATIENCE: Duration = Duration::from_millis(500);

/// Measures and prints; always true.
pub fn costs() -> Result<bool> {
    let simulation = Simulation::new(Settings::new(1, MEMBERS))?;
    let record = simulation.record();
    let map = record.map();
    let key = Keypair::from_seed([9; 32]);
    let member = map.members.first().context("an empty map")?.id();
    let sign = || Evidence::sign(map, member, &[member], false, 1, &key);
    let parts: [&[u8]; 1] = [b"a statement of some hundred bytes, which is what evidence has"];
    let signature = key.sign("costs", &parts);
    let public = key.public();
    let encoded = record.encode();
    let kib = encoded.len() as f64 / 1024.0;

    println!("{:<44} {:>10} {:>12}", "work", "here (us)", "taken (us)");
    let row = |what: &str, here: f64, taken: u64| println!("{what:<44} {here:>10.2} {taken:>12}");
    row("a statement signed", micros(sign), processor::SIGN_MICROS);
    let verify = micros(|| public.verify("costs", &parts, &signature));
    row("a statement verified", verify, processor::VERIFY_MICROS);
    // The time does not depend on whether the key that signed it is known here.
    let decode = micros(|| SignedMap::decode(&encoded, map.cluster, &[public])) / kib;
    row(
        "a KiB of a map on the wire, decoded",
        decode,
        processor::KIB_MICROS,
    );
    let graph = micros(|| Graph::of(map)) / f64::from(MEMBERS);
    row(
        "the graph of a map, for each member",
        graph,
        processor::MAP_MEMBER_MICROS,
    );
    println!(
        "datagrams ({} us) and handshakes ({} us) were measured with real agents",
        processor::DATAGRAM_MICROS,
        processor::HANDSHAKE_MICROS
    );
    Ok(true)
}

/// Microseconds that something takes.
fn micros<T>(what: impl Fn() -> T) -> f64 {
    let begin = Instant::now();
    let mut times = 0_u32;
    while begin.elapsed() < PATIENCE {
        black_box(what());
        times += 1;
    }
    begin.elapsed().as_secs_f64() * 1e6 / f64::from(times)
}
