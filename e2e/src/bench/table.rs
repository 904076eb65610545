//! A table that is measured in parts, whatever its parts are.

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use slotmesh_report::Report;
use slotmesh_report::origin::Origin;

/// What a table consists of.
pub(super) trait Table {
    /// Its parts.
    type Part: Part;
    /// Its file is `target/report/<NAME>.json`.
    const NAME: &'static str;

    /// Which parts were asked for.
    fn chosen(&self) -> &Chosen<Self::Part>;

    /// Measures one part. Rows that are in the report when it fails count all the same.
    async fn measure(&self, part: Self::Part, report: &mut Report) -> Result<()>;
}

/// A part of a table.
pub(super) trait Part: ValueEnum + Copy + PartialEq + Send + Sync + 'static {
    /// Too long to be run unasked.
    fn is_long(self) -> bool;

    /// As the command line has it.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Which parts to run.
#[derive(Clone, Debug, Args)]
pub struct Chosen<P: ValueEnum + Send + Sync + 'static> {
    /// Run this part only; may be given several times.
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "all")]
    only: Vec<P>,
    /// Run every part, also those that run only when named.
    #[arg(long)]
    all: bool,
}

impl<P: Part> Chosen<P> {
    /// Those that are left out because nobody named them.
    fn left_out(&self) -> Vec<String> {
        let run = self.parts();
        let others = P::value_variants().iter();
        let others = others.filter(|part| self.only.is_empty() && !run.contains(part));
        others.map(|part| part.name()).collect()
    }

    /// In the order of the table.
    pub(super) fn parts(&self) -> Vec<P> {
        let all = P::value_variants().iter().copied();
        all.filter(|part| match self.only.is_empty() {
            true => self.all || !part.is_long(),
            false => self.only.contains(part),
        })
        .collect()
    }
}

/// Runs the chosen parts; whether every one came to its end and met its aims.
pub(super) async fn run<T: Table>(table: &T) -> Result<bool> {
    let begun = Timestamp::now();
    let origin = Origin::here();
    // A table that cannot be read is found now, not after an hour.
    Report::read(T::NAME)?;
    let (mut well, mut failed) = (true, Vec::new());
    for part in table.chosen().parts() {
        println!("part {}", part.name());
        let clock = Instant::now();
        let mut measured = Report::default();
        let outcome = table.measure(part, &mut measured).await;
        let again = format!("make bench-{} ARGS=\"--only {}\"", T::NAME, part.name());
        measured.stamp(&origin, &again);
        well &= measured.all_met();
        keep::<T>(measured)?;
        let minutes = clock.elapsed().as_secs_f64() / 60.0;
        match outcome {
            Ok(()) => println!("part {}: done in {minutes:.1} min", part.name()),
            Err(error) => {
                eprintln!(
                    "part {}: FAILED after {minutes:.1} min: {error:#}",
                    part.name()
                );
                failed.push(part.name());
            }
        }
    }
    println!();
    let report = Report::read(T::NAME)?;
    report.print_since(begun);
    println!("written to {}", report.write(T::NAME)?.display());
    let left_out = table.chosen().left_out();
    if !left_out.is_empty() {
        println!(
            "not measured now: {}; each takes long and runs only when named, e.g. make bench-{} ARGS=\"--only {}\"",
            left_out.join(", "),
            T::NAME,
            left_out.join(" --only ")
        );
    }
    if !failed.is_empty() {
        bail!(
            "parts that did not come to their end: {}; what went wrong stands above, beginning with `part NAME: FAILED`",
            failed.join(", ")
        );
    }
    Ok(well)
}

/// Puts new rows into the file.
fn keep<T: Table>(measured: Report) -> Result<()> {
    let mut table = Report::read(T::NAME)?;
    for row in table.merge(measured) {
        println!(
            "  {}: {:.3} {} in this shortened run; the row of a whole run stays in the table",
            row.case, row.value, row.unit
        );
    }
    table.write(T::NAME).map(drop)
}
