#![allow(clippy::unwrap_used)]

use super::*;

fn watched(false_verdicts: u32, dropped: u64) -> Watched {
    Watched {
        false_verdicts,
        forwarded: Forwarded {
            packets: 1000,
            dropped,
        },
        busy_percent: 100.0,
    }
}

#[test]
fn without_the_loss_there_is_no_row() {
    for (dropped, fits) in [
        (0, false),
        (79, false),
        (80, true),
        (120, true),
        (121, false),
    ] {
        let mut report = Report::default();
        let added = add_rows(&mut report, &watched(0, dropped));
        assert_eq!(added.is_ok(), fits, "{dropped}");
        assert_eq!(report.rows.is_empty(), !fits, "{dropped}");
    }
}

#[test]
fn one_false_verdict_misses_the_aim() {
    for (false_verdicts, met) in [(0, true), (1, false)] {
        let mut report = Report::default();
        add_rows(&mut report, &watched(false_verdicts, 100)).unwrap();
        assert_eq!(report.all_met(), met);
        assert!(report.rows.iter().all(|row| row.case.starts_with("P2l ")));
    }
}
