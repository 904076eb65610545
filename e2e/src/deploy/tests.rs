#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::{Path, PathBuf};

use dockerfile_parser_rs::{Dockerfile, Instruction};
use sha2::{Digest, Sha256};

use super::{DEPLOY, install_yaml};
use crate::stage::CHART;

#[test]
fn what_only_helm_understands_is_left_out() {
    let rendered = "---\n# Source: slotmesh/templates/a.yaml\nkind: A\nmetadata:\n  labels:\n    app.kubernetes.io/managed-by: Helm\n    helm.sh/chart: slotmesh-1\n    x: y\n";
    let file = install_yaml(rendered).unwrap();
    assert!(file.starts_with("# SlotMesh") && file.contains("kind: Namespace"));
    assert!(
        file.ends_with("---\nkind: A\nmetadata:\n  labels:\n    x: y\n"),
        "{file}"
    );
    assert!(install_yaml("helm.sh/hook: test\n").is_err());
}

#[test]
fn a_stored_chart_never_changes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts");
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let mut listed = Vec::new();
    for line in sums.lines() {
        let (sum, file) = line.split_once("  ").unwrap();
        let bytes = std::fs::read(folder.join(file)).unwrap_or_default();
        let digest = Sha256::digest(&bytes);
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, sum, "{file} differs from the release: restore it");
        listed.push(folder.join(file));
    }
    for chart in std::fs::read_dir(&folder).unwrap() {
        let chart = chart.unwrap().path();
        let mut found = files(&chart);
        found.retain(|file| file.parent() != Some(&folder));
        for file in found {
            assert!(
                listed.contains(&file),
                "{} is not of the release",
                file.display()
            );
        }
    }
    assert!(!listed.is_empty());
}

fn files(path: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(path) {
        Ok(entries) => entries
            .flat_map(|entry| files(&entry.unwrap().path()))
            .collect(),
        Err(_) => vec![path.to_owned()],
    }
}

#[test]
fn the_charts_application_is_this_version() {
    let chart = std::fs::read_to_string(Path::new(CHART).join("Chart.yaml")).unwrap();
    let expected = format!("appVersion: {}", env!("CARGO_PKG_VERSION"));
    assert!(
        chart.lines().any(|line| line == expected),
        "no `{expected}` in Chart.yaml"
    );
}

/// One stage of a Dockerfile.
struct BuildStage {
    name: String,
    image: String,
    instructions: Vec<Instruction>,
}

fn stages() -> Vec<BuildStage> {
    let file = Dockerfile::from(Path::new(DEPLOY).join("Dockerfile")).unwrap();
    let mut stages: Vec<BuildStage> = Vec::new();
    for instruction in file.instructions {
        match instruction {
            Instruction::From { image, alias, .. } => stages.push(BuildStage {
                name: alias.unwrap_or_else(|| panic!("the stage of {image} has no name")),
                image,
                instructions: Vec::new(),
            }),
            Instruction::Comment(_) | Instruction::Empty {} => {}
            other => match stages.last_mut() {
                Some(stage) => stage.instructions.push(other),
                None => panic!("{other:?} before the first FROM"),
            },
        }
    }
    stages
}

#[test]
fn images_are_built_on_pinned_tags_and_nothing_is_fetched_by_url() {
    for stage in stages() {
        let tag = stage
            .image
            .rsplit_once('/')
            .map_or(stage.image.as_str(), |(_, name)| name);
        let (_, tag) = tag
            .split_once(':')
            .unwrap_or_else(|| panic!("{} has no tag", stage.image));
        assert_ne!(tag, "latest", "{}", stage.image);
        for instruction in &stage.instructions {
            assert!(
                !matches!(instruction, Instruction::Add { .. }),
                "{}: ADD unpacks and fetches; use COPY",
                stage.name
            );
        }
    }
}

#[test]
fn each_image_is_one_binary_that_runs_as_nobody() {
    let stages = stages();
    assert!(stages[0].image.starts_with("rust:"), "{}", stages[0].image);
    let images: Vec<&str> = stages[1..]
        .iter()
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(images, ["agent", "operator"]);
    for stage in &stages[1..] {
        let binary = format!("/slotmesh-{}", stage.name);
        assert!(stage.image.contains("distroless"), "{}", stage.image);
        let [copy, user, entry] = &stage.instructions[..] else {
            panic!("{}: {:?}", stage.name, stage.instructions);
        };
        let Instruction::Copy {
            from: Some(from),
            sources,
            destination,
            ..
        } = copy
        else {
            panic!("{copy:?}");
        };
        assert_eq!((from, destination), (&stages[0].name, &binary));
        assert_eq!(sources, &[format!("/out{binary}")]);
        let Instruction::User { user, .. } = user else {
            panic!("{user:?}");
        };
        // A number: the kubelet cannot tell whether a name is root.
        assert!(user.parse::<u32>().is_ok_and(|user| user > 0), "{user}");
        assert_eq!(entry, &Instruction::Entrypoint(vec![binary]));
    }
    let needed: Vec<&Instruction> = stages[0].instructions.iter().collect();
    let copies_all = needed.iter().any(|instruction| {
        matches!(instruction, Instruction::Copy { sources, .. } if sources.iter().any(|source| source == "."))
    });
    assert!(
        !copies_all,
        "copy what is needed, or every change builds anew"
    );
}

/// Cargo reads the manifest of every member, whatever it builds: one that is not copied, or that
/// `.dockerignore` keeps out, ends each build at its first line.
#[test]
fn the_images_are_built_from_every_member_of_the_workspace() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let manifest = read("Cargo.toml");
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let mut needed: Vec<String> = ["Cargo.toml", "Cargo.lock"].map(str::to_owned).into();
    let names = members.split(',').map(|name| name.trim().trim_matches('"'));
    needed.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    needed.sort();
    assert!(needed.contains(&"agent".to_owned()), "{needed:?}");

    let mut copied = Vec::new();
    for instruction in &stages()[0].instructions {
        let Instruction::Copy {
            sources,
            destination,
            ..
        } = instruction
        else {
            continue;
        };
        // Members find each other, and the simulator its scenarios, by where they lie.
        let kept = sources[..] == [destination.clone()] || destination == "./";
        assert!(kept, "{sources:?} go to {destination}");
        copied.extend(sources.clone());
    }
    copied.sort();
    assert_eq!(copied, needed, "what deploy/Dockerfile copies");

    let ignore = read(".dockerignore");
    let allowed = ignore.lines().filter_map(|line| line.strip_prefix('!'));
    let mut allowed: Vec<String> = allowed.map(str::to_owned).collect();
    allowed.sort();
    assert_eq!(allowed, needed, "what .dockerignore lets in");
    assert!(
        ignore.lines().any(|line| line == "*"),
        "it keeps the rest out"
    );
}

/// The parser takes a text for one word, so the lines are looked at themselves.
#[test]
fn signals_reach_the_binary_and_no_shell() {
    let file = std::fs::read_to_string(Path::new(DEPLOY).join("Dockerfile")).unwrap();
    let entries: Vec<&str> = file
        .lines()
        .filter(|line| line.starts_with("ENTRYPOINT") || line.starts_with("CMD"))
        .collect();
    assert_eq!(entries.len(), 2, "{entries:?}");
    for entry in entries {
        assert!(entry.starts_with("ENTRYPOINT [\""), "{entry}");
    }
}

#[test]
fn the_rust_of_the_image_is_ours() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let text = std::fs::read_to_string(workspace).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "));
    let version = line.unwrap().trim_matches('"').to_owned();
    let image = &stages()[0].image;
    assert!(
        image.starts_with(&format!("rust:{version}.")),
        "{image} is not of Rust {version}"
    );
}
