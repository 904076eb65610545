//! Ratios of medians, from rows that were measured one after the other.

use anyhow::Result;

use super::trials::Fault;
use super::{SILENT, agents_case, memberlist_case};
use slotmesh_report::{Report, Row};

/// memberlist has to take that many times as long.
const FASTER_AIM: f64 = 10.0;

/// Adds what the rows of a table allow; what is missing there is said.
pub(super) fn add(report: &mut Report, table: &Report) -> Result<()> {
    let (ours, theirs) = (
        agents_case(SILENT, 100, "", Fault::Stop),
        memberlist_case(100, Fault::Stop),
    );
    let last = |case: &str| find(table, &format!("{case}: last survivor, median"));
    match (last(&ours), last(&theirs)) {
        (Some(a), Some(b)) if a.value > 0.0 => {
            let case = "P1r silent death at 100: memberlist's median / ours";
            report.at_least(case, b.value / a.value, "", FASTER_AIM);
            if a.shortened || b.shortened {
                report.shorten("from shortened runs");
            }
        }
        _ => println!("  the parts agents and memberlist are to be run for the ratio of P1r"),
    }
    let wrong = |case: &str| find(table, &format!("{case}: false verdicts"));
    if let (Some(a), Some(b)) = (wrong(&ours), wrong(&theirs)) {
        report.at_most(
            "P1r silent death at 100: our false verdicts",
            a.value,
            "",
            b.value,
        );
    }
    Ok(())
}

fn find<'a>(table: &'a Report, case: &str) -> Option<&'a Row> {
    table.rows.iter().find(|row| row.case == case)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn table(ours: f64, theirs: f64) -> Report {
        let mut table = Report::default();
        for (case, value) in [
            (agents_case(SILENT, 100, "", Fault::Stop), ours),
            (memberlist_case(100, Fault::Stop), theirs),
        ] {
            table.plain(format!("{case}: last survivor, median"), value, "s");
        }
        table
    }

    #[test]
    fn the_ratio_is_of_medians_and_has_an_aim() {
        for (theirs, met) in [(9.0, true), (7.9, false)] {
            let mut report = Report::default();
            add(&mut report, &table(0.8, theirs)).unwrap();
            let row = report.rows.first().unwrap();
            assert!((row.value - theirs / 0.8).abs() < 1e-9);
            assert_eq!(row.aim_met, Some(met));
        }
    }

    #[test]
    fn nothing_comes_of_half_a_table() {
        let mut report = Report::default();
        add(&mut report, &Report::default()).unwrap();
        assert!(report.rows.is_empty());
    }
}
