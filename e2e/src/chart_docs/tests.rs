#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{readme, rows};
use crate::stage::CHART;

fn chart_file(name: &str) -> String {
    let path = PathBuf::from(CHART).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_comment_makes_a_row_of_the_key_below_it() {
    let values =
        "# A header.\n\na:\n  # How many, | or\n  # how few.\n  b: 1\n# Whole.\nc:\n  d: [x]\n";
    let rows = rows(values).unwrap();
    let paths: Vec<String> = rows.iter().map(|row| row.path.join(".")).collect();
    assert_eq!(paths, ["a.b", "c"]);
    assert_eq!(rows[0].description, "How many, | or how few.");
    assert_eq!(rows[1].default, json!({"d": ["x"]}));
}

#[test]
fn a_value_without_a_comment_is_an_error() {
    let error = rows("a:\n  b: 1\n").unwrap_err().to_string();
    assert!(error.contains("a.b"), "{error}");
    assert!(rows("a: {}\n").is_err());
}

#[test]
fn the_readme_lists_todays_values() {
    let found = chart_file("README.md");
    let expected = readme(&found, &chart_file("values.yaml")).unwrap();
    assert_eq!(found, expected, "README.md is stale: run `make chart-docs`");
}

/// A reference of the schema followed.
fn resolve<'a>(schema: &'a Value, part: &'a Value) -> &'a Value {
    match part["$ref"].as_str() {
        Some(reference) => schema
            .pointer(reference.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{reference} leads nowhere")),
        None => part,
    }
}

/// Paths of all properties above the types of Kubernetes, which stand in `$defs`.
fn properties(part: &Value, at: &str, paths: &mut BTreeSet<String>) {
    for (name, part) in part["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}.{name}").trim_start_matches('.').to_owned();
        properties(part, &path, paths);
        paths.insert(path);
    }
}

fn keys(value: &Value, at: &str, stops: &BTreeSet<String>, paths: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = format!("{at}.{name}").trim_start_matches('.').to_owned();
        if !stops.contains(&path) {
            keys(value, &path, stops, paths);
        }
        paths.insert(path);
    }
}

#[test]
fn schema_and_values_know_the_same_names() {
    let schema: Value = serde_json::from_str(&chart_file("values.schema.json")).unwrap();
    let text = chart_file("values.yaml");
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let documented = rows(&text)
        .unwrap()
        .into_iter()
        .map(|row| row.path.join("."));
    let (mut of_schema, mut of_values) = (BTreeSet::new(), BTreeSet::new());
    properties(&schema, "", &mut of_schema);
    keys(&values, "", &documented.collect(), &mut of_values);
    // Helm's own: the condition of a dependency.
    of_schema.remove("enabled");
    assert_eq!(of_schema, of_values);
}

#[test]
fn the_schema_is_closed_but_where_it_says_so() {
    fn walk(schema: &Value, part: &Value, at: &str, open: &mut Vec<String>) {
        let part = resolve(schema, part);
        let has_properties = part["properties"].is_object();
        let closed = part["additionalProperties"] == json!(false);
        if has_properties && !closed {
            open.push(at.to_owned());
        }
        for (name, part) in part["properties"].as_object().into_iter().flatten() {
            walk(schema, part, &format!("{at}.{name}"), open);
        }
        if part["items"].is_object() {
            walk(schema, &part["items"], at, open);
        }
    }
    let schema: Value = serde_json::from_str(&chart_file("values.schema.json")).unwrap();
    let mut open = Vec::new();
    walk(&schema, &schema, "", &mut open);
    // A parent chart's global values arrive in ours.
    assert_eq!(open, [".global"]);
}
