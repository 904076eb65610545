//! Sizes of maps on the wire: `cargo run --release -p slotmesh-map --all-features --example wire_size`.

#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // it measures, so it reads a clock

use std::time::Instant;

use slotmesh_map::fixture::{after_a_death, as_json, realistic};
use slotmesh_map::identity::Keypair;
use slotmesh_map::map::MapError;
use slotmesh_map::signed::SignedMap;

fn main() -> Result<(), MapError> {
    let key = Keypair::from_seed([42; 32]);
    println!(
        "| members x owners | JSON | canonical | whole | of JSON | one death | encode | decode |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (members, owners) in [(250, 1), (1000, 1), (1000, 4)] {
        let map = SignedMap::sign(realistic(members, owners), &key)?;
        let next = SignedMap::sign(after_a_death(map.map(), members / 2), &key)?;
        let begin = Instant::now();
        let whole = map.encode();
        let encoded_in = begin.elapsed();
        let begin = Instant::now();
        SignedMap::decode(&whole, map.map().cluster, &[key.public()])?;
        let decoded_in = begin.elapsed();
        let difference = next.difference_from(&map);
        SignedMap::apply(&map, &difference, &[key.public()])?;
        let json = as_json(map.map()).len();
        println!(
            "| {members} x {owners} | {json} B | {} B | {} B ({:.1} KiB) | {:.1} % | {} B | {encoded_in:.1?} | {decoded_in:.1?} |",
            map.map().canonical().len(),
            whole.len(),
            whole.len() as f64 / 1024.0,
            100.0 * whole.len() as f64 / json as f64,
            difference.len(),
        );
    }
    Ok(())
}
