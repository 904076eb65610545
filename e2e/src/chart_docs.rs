//! The table of all values in the chart's README, made from the comments in `values.yaml`
//! (`make chart-docs`).
//!
//! A comment belongs to the key below it, and such a key is one row. What lies in it needs no comment
//! of its own; what lies in no commented key does.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::stage::CHART;

/// The table stands between these lines.
const BEGIN: &str = "<!-- values: made by `make chart-docs`, from values.yaml -->";
const END: &str = "<!-- end of values -->";

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Names of the keys on the way to it.
    pub path: Vec<String>,
    /// Its default.
    pub default: Value,
    /// What it is for.
    pub description: String,
}

/// Every value that has a comment.
///
/// # Errors
/// When the text is no YAML, or a value has no comment.
pub fn rows(values: &str) -> Result<Vec<Row>> {
    let parsed: Value = serde_saphyr::from_str(values).context("values.yaml is no YAML")?;
    let mut rows: Vec<Row> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in values.lines() {
        let text = line.trim_start();
        if let Some(words) = text.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let description = std::mem::take(&mut comment).join(" ");
        let Some((key, _)) = text.split_once(':') else {
            continue;
        };
        let indent = line.len() - text.len();
        above.retain(|(of, _)| *of < indent);
        let keys = above.iter().map(|(_, key)| key.as_str()).chain([key]);
        let path: Vec<String> = keys.map(str::to_owned).collect();
        // Keys inside lists lead nowhere.
        let Some(default) = at(&parsed, &path) else {
            continue;
        };
        above.push((indent, key.to_owned()));
        let within = rows.iter().any(|row| path.starts_with(&row.path));
        if !description.is_empty() {
            rows.push(Row {
                path,
                default: default.clone(),
                description,
            });
        } else if !within {
            let goes_on = default.as_object().is_some_and(|keys| !keys.is_empty());
            ensure!(goes_on, "{} has no comment in values.yaml", path.join("."));
        }
    }
    Ok(rows)
}

/// The README with the table as it should be.
///
/// # Errors
/// When a value has no comment, or the README has no place for the table.
pub fn readme(readme: &str, values: &str) -> Result<String> {
    let (before, rest) = readme
        .split_once(BEGIN)
        .with_context(|| format!("the chart's README has no line {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("the chart's README has no line {END}"))?;
    let table = table(&rows(values)?);
    Ok(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

/// Writes the table into the chart's README.
///
/// # Errors
/// As above, and when a file cannot be read or written.
pub fn write() -> Result<()> {
    let chart = Path::new(CHART);
    let values = std::fs::read_to_string(chart.join("values.yaml"))?;
    let path = chart.join("README.md");
    let text = readme(&std::fs::read_to_string(&path)?, &values)?;
    Ok(std::fs::write(&path, text)?)
}

fn table(rows: &[Row]) -> String {
    let mut table = "| value | default | what it is for |\n|---|---|---|\n".to_owned();
    for row in rows {
        let path = row.path.join(".");
        let default = row.default.to_string().replace('|', "\\|");
        let description = row.description.replace('|', "\\|");
        table += &format!("| `{path}` | `{default}` | {description} |\n");
    }
    table
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

#[cfg(test)]
mod tests;
