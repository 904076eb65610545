//! `bench main`, `bench operator` and `bench mesh`: what SlotMesh promises, measured on this machine, part by part.
//!
//! Each part sets a stage of its own, so none depends on what another left, and its rows go into
//! `target/report/<table>.json` as soon as it is done.

mod checkout;
mod cost;
mod figures;
mod kills;
mod load;
mod mesh;
mod moves;
mod operator;
mod promises;
mod quiet;
mod resources;
mod scene;
mod table;
mod writes;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Measures every promise of the README and prints it beside what was promised.
    #[command(after_help = promises::HELP)]
    Main(promises::Arguments),
    /// Measures what is promised of the product on Kubernetes: operator, roll-outs, splits, floods.
    #[command(after_help = operator::HELP)]
    Operator(operator::Arguments),
    /// Measures the health mesh beside its peers, live on this machine: memberlist and Redis's bus.
    #[command(after_help = mesh::HELP)]
    Mesh(mesh::Arguments),
}

/// Runs it; whether every part came to its end and met its aims.
///
/// # Errors
/// When the table cannot be read or written, or a part did not come to its end.
pub async fn run(bench: &Bench) -> Result<bool> {
    match bench {
        Bench::Main(arguments) => table::run(arguments).await,
        Bench::Operator(arguments) => table::run(arguments).await,
        Bench::Mesh(arguments) => table::run(arguments).await,
    }
}

/// "45 s" or "6 min".
fn duration(seconds: f64) -> String {
    if seconds < 99.5 {
        format!("{seconds:.0} s")
    } else {
        format!("{:.0} min", seconds / 60.0)
    }
}
