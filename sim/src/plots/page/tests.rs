//! What stands on the page, and what must not be lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn table() -> Report {
    let mut few = Report::default();
    few.at_most("P3m few", 0.0, "", 0.0);
    few.shorten("--quick");
    let mut table = Report::default();
    table.at_most("P1 silent crash, n = 10", 0.5, "s", 0.8);
    table.at_most("P1v n = 25 | time", 2.0, "s", 1.0);
    table.note("5 seeds");
    table.merge(few);
    table.plain("PM model", 7.8304, "s");
    table.plain("30 agents", 1.0, "");
    for row in &mut table.rows {
        row.measured_at = "2026-01-02T03:04:05Z".parse().unwrap();
        row.machine = "2 cores".into();
        row.command = "make x".into();
    }
    table
}

fn page(table: &Report) -> String {
    text(table, &[], &BTreeMap::new())
}

/// The part of a page below a heading.
fn below<'a>(page: &'a str, heading: &str) -> &'a str {
    let part = page.split("\n## ").find(|part| part.starts_with(heading));
    assert!(part.is_some(), "no {heading} in {page}");
    part.unwrap()
}

#[test]
fn labels_are_first_words_of_their_kind_only() {
    for (case, wanted) in [
        ("P3m 4 of 10", "P3m"),
        ("P10 simulator", "P10"),
        ("PM model", "PM"),
        ("P1", "P1"),
        ("Pods 3", ""),
        ("30 agents", ""),
        ("P12345 x", ""),
        ("P1: x", ""),
        ("", ""),
    ] {
        assert_eq!(label(case), wanted, "{case}");
    }
}

#[test]
fn every_row_stands_under_its_label() {
    let page = page(&table());
    assert!(
        below(&page, "P1: a silent crash")
            .contains("| silent crash, n = 10 | 0.5 s | &lt;= 0.8 s | yes |")
    );
    assert!(
        below(&page, "P1v")
            .contains(r"| n = 25 \| time | 2 s | &lt;= 1 s | **missed** | 5 seeds |")
    );
    assert!(below(&page, "P3m").contains("measured with less | shortened: --quick"));
    assert!(below(&page, "PM: ").contains("| model | 7.83 s |"));
    assert!(below(&page, "Rows without").contains("| 30 agents | 1 |"));
    assert!(below(&page, "P1v").contains("Measured 2026-01-02, by `make x`"));
}

#[test]
fn what_is_missed_or_not_measured_is_said_at_once() {
    let page = page(&table());
    let head = page.split("\n## ").next().unwrap();
    assert!(
        head.contains("5 rows; of their aims 1 are met, 1 missed, and 1 were measured with less"),
        "{head}"
    );
    assert!(
        head.contains("- P1v n = 25 \\| time: 2 s, promised &lt;= 1 s"),
        "{head}"
    );
    assert!(head.contains("Machine: 2 cores."), "{head}");
    let missing = below(&page, "Not measured yet");
    assert!(
        missing.contains("- P2g,") && !missing.contains("- P1,"),
        "{missing}"
    );
}

#[test]
fn a_missed_aim_has_its_remark_or_asks_for_one() {
    let table = table();
    assert!(below(&page(&table), "P1v").contains("`sim/remarks.md` is the place"));
    assert!(!below(&page(&table), "P1:").contains("sim/remarks.md"));
    let remarks = BTreeMap::from([("P1v".to_owned(), "Because.".to_owned())]);
    let page = text(&table, &[], &remarks);
    assert!(below(&page, "P1v").ends_with("\nBecause.\n"));
}

#[test]
fn rows_of_several_machines_are_told_apart() {
    let mut table = table();
    table.rows[0].machine.clear();
    assert!(page(&table).contains("Machines: 2 cores (4 rows); not recorded (1 rows)."));
}
