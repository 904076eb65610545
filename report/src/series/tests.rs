//! Files of series: they survive, and broken ones are told clearly.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

fn series() -> Series {
    Series {
        title: "Time to detect a crash".into(),
        unit_x: "s".into(),
        unit_y: "% of runs".into(),
        command: "mesh-sim bench --only P1".into(),
        seeds: "1 to 3".into(),
        lines: vec![Line::of_shares("slotmesh", &[0.3, 0.1, 0.2])],
    }
}

/// What is wrong with a series after `change`.
fn fault(change: impl FnOnce(&mut Series)) -> String {
    let mut series = series();
    change(&mut series);
    series.check().unwrap_err().to_string()
}

#[test]
fn a_series_survives_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("report/series");
    let path = series().write(&deep, "detection-cdf").unwrap();
    assert_eq!(path, deep.join("detection-cdf.json"));
    assert_eq!(
        Series::read(&deep, "detection-cdf").unwrap(),
        Some(series())
    );
    assert_eq!(Series::read(&deep, "traffic-by-n").unwrap(), None);
}

#[test]
fn the_file_has_the_shape_that_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"title":"t","unit_x":"members","unit_y":"s","command":"c","seeds":"1",
        "lines":[{"label":"foca","points":[[10,0.5],[100,0.75]]}]}"#;
    std::fs::write(folder.path().join("detection-by-n.json"), text).unwrap();
    let read = Series::read(folder.path(), "detection-by-n")
        .unwrap()
        .unwrap();
    assert_eq!(read.lines[0].points, [(10.0, 0.5), (100.0, 0.75)]);
}

#[test]
fn shares_end_at_all_unless_some_never_came() {
    let line = Line::of_shares("l", &[0.4, 0.1, 0.2, 0.3]);
    assert_eq!(
        line.points,
        [(0.1, 25.0), (0.2, 50.0), (0.3, 75.0), (0.4, 100.0)]
    );
    let line = Line::of_shares("l", &[f64::INFINITY, 0.1]);
    assert_eq!(line.points, [(0.1, 50.0)]);
}

#[test]
fn broken_files_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (text, wanted) in [
        ("{", "no series of this version"),
        ("{}", "no series of this version"),
        (
            r#"{"title":"t","unit_x":"x","unit_y":"y","command":"c","seeds":"","lines":[]}"#,
            "cannot be drawn",
        ),
    ] {
        std::fs::write(folder.path().join("broken.json"), text).unwrap();
        let error = format!("{:#}", Series::read(folder.path(), "broken").unwrap_err());
        assert!(error.contains("broken.json"), "{error}");
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn what_cannot_be_drawn_is_not_written() {
    assert!(fault(|s| s.title.clear()).contains("title is empty"));
    assert!(fault(|s| s.command.clear()).contains("command is empty"));
    assert!(fault(|s| s.seeds = "1".repeat(401)).contains("seeds has 401 bytes"));
    assert!(fault(|s| s.lines.clear()).contains("0 lines"));
    assert!(fault(|s| s.lines = vec![Line::default(); 13]).contains("13 lines"));
    assert!(fault(|s| s.lines[0].label.clear()).contains("no label"));
    assert!(fault(|s| s.lines[0].points.clear()).contains("slotmesh: 0 points"));
    assert!(fault(|s| s.lines[0].points = vec![(0.0, 0.0); 10_001]).contains("10001 points"));
    assert!(fault(|s| s.lines[0].points[1].1 = f64::NAN).contains("(0.2, NaN) is not within"));
    assert!(fault(|s| s.lines[0].points[0].0 = -1.1e12).contains("is not within +-1e12"));
    let folder = tempfile::tempdir().unwrap();
    assert!(Series::default().write(folder.path(), "empty").is_err());
    assert_eq!(Series::read(folder.path(), "empty").unwrap(), None);
}
