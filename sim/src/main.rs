//! `mesh-sim`: the protocol of SlotMesh under virtual time.

mod bench;
mod costs;
mod mutate;
mod peers;
mod plots;
mod run;
mod scenarios;
mod sweep;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Runs the real protocol of many members in one process, under virtual time, on a network and on machines
/// that fail as a scenario tells. One seed is one run, bit by bit.
///
/// Start with `mesh-sim list`, then `mesh-sim run crash-100`. A scenario is named by its file, or by the name of a
/// built-in one. Exit code: 0 when everything held, 1 when something did not, 2 for mistakes.
#[derive(Debug, Parser)]
#[command(name = "mesh-sim", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Names the built-in scenarios; with a name, prints its text: the way to learn the format.
    List {
        /// Print this one.
        name: Option<String>,
    },
    /// Runs one scenario once and prints what it came to.
    ///
    /// `mesh-sim run steady-1000` also tells how many times faster than real time the run was.
    Run {
        /// File, or name of a built-in scenario.
        scenario: String,
        /// Seed of all randomness.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Runs scenarios with many seeds, on all cores, and lists the seeds that fail.
    ///
    /// Fails, too, when no seed came by a state that the scenario lists under `reach`.
    Sweep {
        /// Files, or names of built-in scenarios; all built-in ones when none is given.
        scenarios: Vec<String>,
        /// Seeds of each.
        #[arg(long, default_value_t = 20)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// Runs at the same time; as many as there are cores when not given.
        #[arg(long)]
        jobs: Option<usize>,
    },
    /// Runs one seed twice, checks that both are the same, and tells the story line by line.
    Replay {
        /// File, or name of a built-in scenario.
        scenario: String,
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Only what happens on this node (0: the operator).
        #[arg(long)]
        node: Option<u16>,
        /// Lines to print at most.
        #[arg(long, default_value_t = 500)]
        lines: usize,
    },
    /// Measures what is promised, prints the table and writes it to target/report/mesh.json.
    ///
    /// Rows above 1000 members need `RUSTFLAGS="--cfg beyond_record"` when mesh-sim is built: `make mesh-sim` does that.
    Bench {
        /// Only this row, e.g. P3, or a part of it, e.g. P3/out; may be given several times.
        #[arg(long)]
        only: Vec<String>,
        /// Fewer seeds and smaller cells: an aim can then be missed, but not met.
        #[arg(long)]
        quick: bool,
        /// Seeds at most, where a row asks for more: an aim can then be missed, but not met.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: Option<u64>,
    },
    /// Writes docs/benchmarks.md and docs/plots/*.svg from what was measured.
    ///
    /// Rows come from mesh.json: `make bench-mesh` measures all of them, `mesh-sim bench` the simulated ones. A plot
    /// is drawn from series/NAME.json, which the row that it is about writes; when one is missing, that row's
    /// command is printed and stands in the place of the plot. Why an aim is missed is written by hand, in
    /// sim/remarks.md. The same input gives the same bytes. Exit code 0, also when aims are missed: that is a
    /// result; 2 for input that cannot be read, and then nothing is written.
    Plots {
        /// Folder of mesh.json and series/; target/report of this clone when not given.
        #[arg(long, value_name = "FOLDER")]
        report: Option<PathBuf>,
        /// Folder of the page and of plots/; docs of this clone when not given.
        #[arg(long, value_name = "FOLDER")]
        docs: Option<PathBuf>,
    },
    /// Measures what signatures and maps cost on this machine, beside what the simulator takes for it.
    Costs,
    /// Breaks each rule of the detector once, in a copy of the sources, and sees whether a test fails: about a minute each.
    ///
    /// The list is mesh/mutations.txt. Run from the top of a clone; exit code 1 when a mutation survived.
    Mutate {
        /// Only rules that contain this.
        #[arg(long, default_value = "")]
        only: String,
    },
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mesh-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether everything held.
fn execute(command: Command) -> Result<bool> {
    match command {
        Command::List { name: None } => {
            for (name, text) in scenarios::BUILT_IN {
                println!("{name:<22} {}", scenarios::title(text));
            }
            Ok(true)
        }
        Command::List { name: Some(name) } => {
            print!("{}", scenarios::text_of(&name)?);
            Ok(true)
        }
        Command::Run { scenario, seed } => run::run(&scenario, seed),
        Command::Sweep {
            scenarios,
            seeds,
            first,
            jobs,
        } => sweep::sweep(&scenarios, first, seeds, jobs),
        Command::Replay {
            scenario,
            seed,
            node,
            lines,
        } => trace::replay(&scenario, seed, node, lines),
        Command::Bench { only, quick, seeds } => bench::bench(&only, quick, seeds),
        Command::Plots { report, docs } => plots::plots(&plots::Folders::new(report, docs)),
        Command::Costs => costs::costs(),
        Command::Mutate { only } => mutate::mutate(&only),
    }
}
