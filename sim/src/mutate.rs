//! A mutation pass: each rule of the detector is broken once, in a copy of the sources, and a test must fail.
//!
//! ```text
//!   copy ──▶ tests pass? ──▶ for each mutation: replace ──▶ tests ──▶ failed: found ──▶ put back
//!              │ no: an error                                └─────▶ passed: SURVIVED
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

/// The list that is tried, from the top of the repository.
const LIST: &str = "mesh/mutations.txt";

/// One change of the sources.
#[derive(Debug, PartialEq, Eq)]
struct Mutation {
    rule: String,
    file: String,
    from: String,
    to: String,
}

/// Tries all whose rule contains `only`; says whether a test failed for each.
pub fn mutate(only: &str) -> Result<bool> {
    let mutations = parse(
        &fs::read_to_string(LIST)
            .with_context(|| format!("{LIST}: run this from the top of the repository"))?,
    )?;
    let chosen: Vec<&Mutation> = mutations
        .iter()
        .filter(|it| it.rule.contains(only))
        .collect();
    ensure!(!chosen.is_empty(), "no rule in {LIST} contains {only:?}");
    let copy = copy_of_sources()?;
    println!(
        "sources copied to {}; first the tests without a change",
        copy.display()
    );
    ensure!(
        tests_pass(&copy)?,
        "the tests fail without any mutation: mend that first"
    );
    let (begin, mut survivors) = (Instant::now(), 0);
    for (number, mutation) in (1_usize..).zip(&chosen) {
        let survived = try_one(&copy, mutation)?;
        survivors += usize::from(survived);
        let left = begin.elapsed().as_secs_f64() / number as f64 * (chosen.len() - number) as f64;
        let outcome = if survived { "SURVIVED" } else { "found" };
        println!(
            "{outcome:<8}  {}  ({number} of {}, about {left:.0} s left)",
            mutation.rule,
            chosen.len()
        );
    }
    println!("{} mutations, {survivors} survived", chosen.len());
    fs::remove_dir_all(&copy).with_context(|| format!("removing {}", copy.display()))?;
    Ok(survivors == 0)
}

/// Whether all tests pass although the rule is broken.
fn try_one(copy: &Path, mutation: &Mutation) -> Result<bool> {
    let path = copy.join(&mutation.file);
    let text = fs::read_to_string(&path).with_context(|| mutation.file.clone())?;
    let count = text.matches(&mutation.from).count();
    ensure!(
        count == 1,
        "{}: {:?} stands {count} times in {}, once is needed",
        mutation.rule,
        mutation.from,
        mutation.file
    );
    fs::write(&path, text.replacen(&mutation.from, &mutation.to, 1))?;
    let passed = tests_pass(copy);
    fs::write(&path, text)?;
    passed
}

/// Unit and simulator tests of the crate `mesh`. One that no longer compiles proves nothing and is an error.
fn tests_pass(copy: &Path) -> Result<bool> {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.args([
            "test",
            "--quiet",
            "--locked",
            "-p",
            "slotmesh-mesh",
            "--all-features",
            "--lib",
        ]);
        command
            .args(arguments)
            .current_dir(copy)
            .env("CARGO_TARGET_DIR", copy.join("target"));
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.output().context("cargo")
    };
    let built = cargo(&["--no-run"])?;
    if !built.status.success() {
        bail!(
            "does not compile: {}",
            String::from_utf8_lossy(&built.stderr)
        );
    }
    Ok(cargo(&[])?.status.success())
}

/// All that git knows of, in a folder of its own.
fn copy_of_sources() -> Result<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .output()
        .context("git ls-files")?;
    ensure!(
        listed.status.success(),
        "git ls-files failed: run this in a clone"
    );
    let copy = std::env::temp_dir().join(format!("slotmesh-mutations-{}", std::process::id()));
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let target = copy.join(name);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(name, &target).with_context(|| format!("copying {name}"))?;
    }
    Ok(copy)
}

/// Paragraphs of four lines: rule, file, from, to. Lines with # say why.
fn parse(text: &str) -> Result<Vec<Mutation>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text: Vec<&str> = lines.collect();
    let paragraphs = text.split(|line| line.trim().is_empty());
    let paragraphs = paragraphs.filter(|paragraph| !paragraph.is_empty());
    paragraphs
        .map(|paragraph| {
            let field = |name: &str| {
                let line = paragraph.iter().find_map(|line| line.strip_prefix(name));
                let value = line.map(|value| value.trim().to_owned());
                value.with_context(|| format!("{LIST}: no line {name:?} in {paragraph:?}"))
            };
            Ok(Mutation {
                rule: field("rule ")?,
                file: field("file ")?,
                from: field("from ")?,
                to: field("to ")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_a_mutation_and_one_without_a_line_is_refused() -> Result<()> {
        let text = "# why\nrule a rule\nfile x.rs\nfrom a < b\nto   a <= b\n\n\nrule b\nfile y.rs\nfrom c\nto   d\n";
        let parsed = parse(text)?;
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed.first().map(|it| it.to.as_str()), Some("a <= b"));
        assert!(parse("rule a\nfile b\nto c\n").is_err());
        Ok(())
    }

    /// What a mutation replaces is there, once.
    #[test]
    fn the_list_fits_the_sources() -> Result<()> {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for it in parse(&fs::read_to_string(top.join(LIST))?)? {
            let text = fs::read_to_string(top.join(&it.file))?;
            assert_eq!(
                text.matches(&it.from).count(),
                1,
                "{}: {}",
                it.rule,
                it.from
            );
            assert_ne!(it.from, it.to);
        }
        Ok(())
    }
}
