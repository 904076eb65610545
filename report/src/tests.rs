//! Aims, shortened runs and tables that grow part by part.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn table(case: &str, value: f64, shortened: bool) -> Report {
    let mut report = Report::default();
    report.at_most(case, value, "s", 1.0);
    if shortened {
        report.shorten("2 instead of 60");
    }
    report
}

#[test]
fn a_shortened_run_can_miss_an_aim_but_not_meet_it() {
    let well = table("a", 0.5, true);
    assert_eq!(well.rows[0].aim_met, None);
    assert_eq!(well.rows[0].note, "shortened: 2 instead of 60");
    assert!(well.all_met());
    let badly = table("a", 1.5, true);
    assert_eq!(badly.rows[0].aim_met, Some(false));
    assert!(!badly.all_met());
}

#[test]
fn a_newer_row_takes_the_place_of_its_case_only() {
    let mut kept = table("a", 0.5, false);
    kept.merge(table("b", 0.6, false));
    kept.merge(table("a", 0.7, false));
    let rows: Vec<_> = kept
        .rows
        .iter()
        .map(|row| (row.case.as_str(), row.value))
        .collect();
    assert_eq!(rows, [("a", 0.7), ("b", 0.6)]);
}

#[test]
fn a_shortened_row_never_replaces_a_whole_one() {
    let mut kept = table("a", 0.5, false);
    let refused = kept.merge(table("a", 0.1, true));
    assert_eq!(refused.len(), 1);
    assert_eq!(kept.rows[0].aim_met, Some(true));
    let mut kept = table("a", 0.5, true);
    kept.merge(table("a", 0.1, true));
    assert!((kept.rows[0].value - 0.1).abs() < f64::EPSILON);
}

#[test]
fn a_table_survives_its_file() {
    let mut report = table("a", 0.25, false);
    report.note("cold");
    report.exactly("exit code", 0.0, "", 0.0);
    let text = serde_json::to_vec(&report).unwrap();
    assert_eq!(serde_json::from_slice::<Report>(&text).unwrap(), report);
}

#[test]
fn an_older_row_does_not_replace_a_newer_one() {
    let mut kept = Report::default();
    kept.plain("a case", 1.0, "s");
    kept.plain("another", 1.0, "s");
    let mut other = kept.clone();
    for row in &mut other.rows {
        row.value = 2.0;
    }
    other.rows[0].measured_at = Timestamp::UNIX_EPOCH;
    other.rows[1].measured_at = Timestamp::MAX;
    other.plain("a new one", 2.0, "s");
    assert_eq!(kept.merge_newer(other), []);
    let values: Vec<f64> = kept.rows.iter().map(|row| row.value).collect();
    assert_eq!(values, [1.0, 2.0, 2.0]);
}
