//! Stories that a cell lives through.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

mod crashes;
mod quiet;

use std::time::Duration;

use super::*;

/// A cell that has settled.
fn settled(seed: u64, members: u16) -> Simulation {
    let mut simulation = Simulation::new(Settings::new(seed, members)).unwrap();
    simulation.run_for(Duration::from_secs(3));
    simulation
}

fn assert_sound(simulation: &Simulation) {
    let seed = simulation.settings.seed;
    let violations = simulation.violations();
    assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
}
