//! `plan` and `life` decide, and do no I/O, read no clock and make no randomness: their sources name
//! nothing but what is listed here. Tests of them may.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a path may begin with. All else has to be looked at first, then listed.
const PATHS: [&str; 15] = [
    "crate::plan",
    "crate::seam",
    "slotmesh_api::Automation",
    "slotmesh_mesh::batch",
    "slotmesh_mesh::identity",
    "slotmesh_mesh::limits",
    "slotmesh_mesh::map",
    "slotmesh_mesh::slot",
    "slotmesh_mesh::time",
    "std::cmp",
    "std::collections",
    "std::mem",
    "std::net::SocketAddr",
    "std::time::Duration",
    "thiserror::Error",
];
/// Hashed collections have a seed of their own, so that their order differs between runs.
const HASHED: [&str; 2] = ["HashMap", "HashSet"];
/// Words of the language that wait or speak.
const WORDS: [&str; 7] = [
    "async",
    "await",
    "unsafe",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
];

/// The sources of `plan` and `life`, tests left out.
fn sources() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = ["plan.rs", "plan", "life.rs", "life"]
        .iter()
        .map(|name| folder.join(name))
        .collect();
    while let Some(path) = left.pop() {
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found
}

/// The modules of `plan` and `life` themselves, which paths begin with as well.
fn modules(sources: &[PathBuf]) -> BTreeSet<String> {
    let names = sources.iter().filter_map(|path| path.file_stem());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// What a source names and must not.
fn impure(source: &str, modules: &BTreeSet<String>) -> Vec<String> {
    let lines = || source.lines().filter_map(|line| line.split("//").next());
    // A module that was rightly imported may be named alone; one that was not is found where it is.
    let imported: BTreeSet<&str> = lines()
        .filter_map(import)
        .flat_map(words)
        .map(last)
        .collect();
    let inside = |name: &str| {
        name.is_empty() || name.starts_with(char::is_uppercase) || modules.contains(name)
    };
    let mut found = Vec::new();
    for word in lines().flat_map(words) {
        let path = word.trim_end_matches(':');
        let (root, rest) = word.split_once("::").unwrap_or((word, ""));
        let known = match root {
            // Above `plan` and `life` lies the whole operator.
            "super" | "self" => inside(rest.split("::").next().unwrap_or_default()),
            // The rest of `<Type as Trait>::name`; a path from the outermost root has more parts.
            "" => !rest.contains("::"),
            _ => inside(root) || imported.contains(root) || PRIMITIVES.contains(&root),
        };
        let listed = |listed: &&str| {
            let rest = path.strip_prefix(*listed);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let stranger = word.contains("::") && !known && !PATHS.iter().any(listed);
        if stranger || HASHED.contains(&last(path)) || WORDS.contains(&path) {
            found.push(word.to_owned());
        }
    }
    // `use tokio;` would pass as no path at all.
    let crates = lines()
        .filter_map(import)
        .filter(|path| !path.contains("::"));
    found.extend(crates.map(str::to_owned));
    found
}

/// What a line imports.
fn import(line: &str) -> Option<&str> {
    ["use ", "pub use ", "extern crate "]
        .iter()
        .find_map(|begin| line.trim_start().strip_prefix(begin))
}

/// Names and paths of a line; a path before a brace keeps its colons.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':' | '!')))
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or_default()
}

/// Types of the language that have functions of their own.
const PRIMITIVES: [&str; 9] = [
    "u8", "u16", "u32", "u64", "usize", "i32", "i64", "f64", "str",
];

#[test]
fn plan_and_life_name_nothing_that_acts() {
    let sources = sources();
    let modules = modules(&sources);
    for needed in ["plan", "checker", "life", "freeze", "build", "standing"] {
        assert!(modules.contains(needed), "{needed} is not in {modules:?}");
    }
    for path in &sources {
        let found = impure(&std::fs::read_to_string(path).unwrap(), &modules);
        assert!(
            found.is_empty(),
            "{} names {found:?}: pass it in, or, if it neither acts, waits nor tells the time, list it",
            path.display()
        );
    }
}

/// What the check above is there for.
#[test]
fn the_check_would_see_one() {
    let modules = BTreeSet::from(["chain".to_owned()]);
    let acts = [
        "use tokio::time::sleep;",
        "use kube::Api;",
        "use tokio;",
        "use {std::fs, std::io};",
        "use std::{fs, io};",
        "use std::time::{Duration, Instant};",
        "let now = std::time::Instant::now();",
        "let now = jiff::Timestamp::now();",
        "std::fs::read(path)",
        "std::net::UdpSocket::bind(address)",
        "getrandom::fill(&mut seed)",
        "tracing::info!(\"planned\");",
        "use crate::kubernetes::Recorder;",
        "::std::fs::read(path)",
        "use super::kubernetes::Recorder;",
        "use slotmesh_transport::driver;",
        "use std::collections::HashMap;",
        "pub async fn plan() {",
        "let answer = ask().await;",
        "println!(\"{plan:?}\");",
    ];
    for line in acts {
        assert_ne!(impure(line, &modules), Vec::<String>::new(), "{line}");
    }
    let pure = [
        "use std::time::Duration;",
        "use std::collections::{BTreeMap, BTreeSet};",
        "use slotmesh_mesh::time::Instant;",
        "use chain::Chain;",
        "use super::chain::{Chain, Link};",
        "use slotmesh_mesh::limits;\nlet most = limits::MEMBERS_MAX;",
        "pub mod checker;",
        "let least = u32::MAX.min(usize::MAX as u32); // std::fs::read would do more",
        "Self::of(Fate::Failed).map(MemberId::from)",
        "Ok::<(), LifeError>(())",
        "<Uid as Default>::default()",
    ];
    for line in pure {
        assert_eq!(impure(line, &modules), Vec::<String>::new(), "{line}");
    }
}
