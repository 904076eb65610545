//! Machines in words, and rows that say where they come from.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

#[test]
fn a_machine_is_told_by_its_cores_cpu_and_memory() {
    let cpuinfo =
        "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: other\n";
    let meminfo = "MemTotal:        8174920 kB\nMemFree:         1 kB\n";
    assert_eq!(
        machine(2, cpuinfo, meminfo),
        "2 cores of Some CPU @ 2 GHz, 7.8 GiB"
    );
    assert_eq!(machine(1, "", "MemTotal: much"), "1 core of an unnamed CPU");
}

#[test]
fn outside_a_repository_there_is_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(commit(folder.path()), "");
}

#[test]
fn every_row_says_where_it_comes_from() {
    let mut report = Report::default();
    report.plain("a", 1.0, "s");
    report.plain("b", 1.0, "s");
    let origin = Origin {
        commit: "abc".into(),
        machine: "1 core".into(),
    };
    report.stamp(&origin, "mesh-sim bench --only P1");
    for row in &report.rows {
        assert_eq!(
            [&row.commit, &row.machine, &row.command],
            ["abc", "1 core", "mesh-sim bench --only P1"]
        );
    }
}
