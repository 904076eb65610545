//! Rules of the house that hold for every file of the repository.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Above it, nobody finds one rule in one place.
const LINES_MAX: usize = 500;
/// Folders that are of one machine. Written in two parts, for this file is read as well.
const OF_A_MACHINE: [&str; 3] = [
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
];

/// Hidden files that are committed; all others are of Git, editors and shells.
const HIDDEN: [&str; 3] = [".ci", ".dockerignore", ".gitignore"];

/// All files of the repository that somebody wrote.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut left = vec![root.clone()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
            // Cargo marks the folders that it builds into.
            let built = path == root.join("target") || path.join("CACHEDIR.TAG").exists();
            if hidden || built {
                continue;
            }
            if path.is_dir() {
                left.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn no_source_is_too_long_and_no_text_names_a_machine() {
    let files = files();
    let mut sources = 0;
    for path in &files {
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        if path.extension().is_some_and(|of| of == "rs") {
            sources += 1;
            let lines = text.lines().count();
            assert!(
                lines <= LINES_MAX,
                "{}: {lines} lines, at most {LINES_MAX}: move a part into a file of its own",
                path.display()
            );
        }
        for folder in OF_A_MACHINE {
            // `network/` and the like end in the same letters, without the slash before them.
            let line = text.lines().position(|line| line.contains(folder));
            assert_eq!(line, None, "{} names {folder}", path.display());
        }
    }
    for needed in ["README.md", ".ci/run", "crds", "e2e/src/house.rs"] {
        let found = files
            .iter()
            .any(|path| path.to_string_lossy().contains(needed));
        assert!(found, "{needed} was not looked at");
    }
    assert!(sources > 100, "only {sources} sources");
}
