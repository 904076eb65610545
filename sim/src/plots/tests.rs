//! From a folder of reports to a page with plots.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use slotmesh_report::series::Line;
use tempfile::TempDir;

/// A report folder with a table of one row, and a place for pages.
fn clone() -> (TempDir, Folders) {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders {
        report: folder.path().join("report"),
        docs: folder.path().join("docs"),
        remarks: folder.path().join("remarks.md"),
    };
    let mut table = Report::default();
    table.plain("P1 crash", 0.5, "s");
    table.write_in(&folders.report, TABLE).unwrap();
    (folder, folders)
}

fn series() -> Series {
    let line = |label: &str, factor: f64| Line {
        label: label.into(),
        points: vec![
            (10.0, factor),
            (100.0, 2.0 * factor),
            (1000.0, 2.5 * factor),
        ],
    };
    Series {
        title: "Detection <by> size".into(),
        unit_x: "members".into(),
        unit_y: "s until the last".into(),
        command: "make again".into(),
        seeds: "1 to 20".into(),
        lines: vec![line("slotmesh", 0.3), line("foca", 4.0)],
    }
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn a_series_becomes_a_plot_on_the_page() {
    let (_keep, folders) = clone();
    let from = folders.report.join("series");
    series().write(&from, "detection-by-n").unwrap();
    assert!(plots(&folders).unwrap());
    let picture = read(&folders.docs, "plots/detection-by-n.svg");
    for text in ["slotmesh", "foca", "members", "s until the last"] {
        assert!(picture.contains(text), "no {text} in {picture}");
    }
    assert!(!picture.contains("<by>"), "a title is no tag");
    let lines = picture.matches("<polyline").count();
    let dots = picture.matches("<circle").count();
    assert!(lines >= 4, "{lines}: two lines, and two in the legend");
    assert_eq!(dots, 6);
    let page = read(&folders.docs, "benchmarks.md");
    assert!(page.contains("](plots/detection-by-n.svg)"));
    assert!(page.contains("Seeds 1 to 20; `make again`."));
    assert!(page.contains("No plot `detection-cdf`: `make mesh-sim ARGS=\"bench --only P1p\"`"));
}

#[test]
fn the_same_reports_give_the_same_bytes() {
    let (_keep, folders) = clone();
    series()
        .write(&folders.report.join("series"), "traffic-by-n")
        .unwrap();
    plots(&folders).unwrap();
    let first = ["benchmarks.md", "plots/traffic-by-n.svg"].map(|name| read(&folders.docs, name));
    plots(&folders).unwrap();
    let second = ["benchmarks.md", "plots/traffic-by-n.svg"].map(|name| read(&folders.docs, name));
    assert_eq!(first, second);
}

#[test]
fn a_broken_series_stops_everything_and_nothing_is_written() {
    let (_keep, folders) = clone();
    let from = folders.report.join("series");
    series().write(&from, "detection-cdf").unwrap();
    std::fs::write(Series::path(&from, "traffic-by-n"), "{").unwrap();
    let error = format!("{:#}", plots(&folders).unwrap_err());
    assert!(error.contains("traffic-by-n.json"), "{error}");
    assert!(!folders.docs.exists());
}

#[test]
fn without_rows_there_is_no_page() {
    let (_keep, mut folders) = clone();
    folders.report = folders.report.join("elsewhere");
    let error = plots(&folders).unwrap_err().to_string();
    assert!(error.contains("make bench-mesh"), "{error}");
    assert!(!folders.docs.exists());
}

#[test]
fn whatever_may_be_written_can_be_drawn() {
    for points in [
        vec![(0.0, 0.0)],
        vec![(5.0, 5.0), (5.0, 5.0)],
        vec![(-1.0, -2.0), (-3.0, -1.0)],
        vec![(1e-300, 1e12), (1e12, 1e-300)],
        vec![(-1e12, -1e12), (1e12, 1e12)],
        vec![(1e-9, 0.0), (1e12, 0.0)],
        vec![(1.0, 1.0); 1000],
    ] {
        let mut series = series();
        series.lines[0].points = points;
        series.lines.truncate(1);
        series.check().unwrap();
        for log_x in [true, false] {
            let picture = draw::svg(&series, log_x).unwrap();
            assert!(picture.contains("slotmesh"));
        }
    }
}

/// What an earlier clone measured is on the page, as far as it is not measured anew.
#[test]
fn the_record_beside_the_page_is_kept() {
    let (_keep, folders) = clone();
    series()
        .write(&folders.report.join("series"), "traffic-by-n")
        .unwrap();
    plots(&folders).unwrap();
    std::fs::remove_dir_all(&folders.report).unwrap();
    let mut table = Report::default();
    table.plain("P4 a map", 7.25, "ms");
    table.write_in(&folders.report, TABLE).unwrap();
    plots(&folders).unwrap();
    let page = read(&folders.docs, "benchmarks.md");
    for text in [
        "| crash | 0.5 s |",
        "| a map | 7.25 ms |",
        "](plots/traffic-by-n.svg)",
    ] {
        assert!(page.contains(text), "no {text} in {page}");
    }
}
