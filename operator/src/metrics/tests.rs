//! `/metrics` follows the rules of Prometheus, and `docs/metrics.md` says what there is.

#![allow(clippy::unwrap_used)]

use prometheus::proto::{MetricFamily, MetricType};

use super::Metrics;

const PAGE: &str = include_str!("../../../docs/metrics.md");

fn families() -> Vec<MetricFamily> {
    let families = Metrics::new().unwrap().registry().gather();
    let ours = |family: &MetricFamily| !family.name().starts_with("process_");
    families.into_iter().filter(ours).collect()
}

fn kind(family: &MetricFamily) -> &'static str {
    match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        _ => "another kind",
    }
}

/// Each label with its values.
fn labels(family: &MetricFamily) -> String {
    let metrics = family.get_metric();
    let Some(label) = metrics.iter().find_map(|metric| metric.get_label().first()) else {
        return String::new();
    };
    let values = metrics.iter().flat_map(|metric| metric.get_label());
    let values: Vec<String> = values.map(|label| format!("`{}`", label.value())).collect();
    format!("`{}`: {}", label.name(), values.join(", "))
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    for family in families() {
        let (name, kind) = (family.name(), kind(&family));
        assert!(name.starts_with("slotmesh_operator_"), "{name}");
        assert!(family.help().ends_with('.'), "{name}: {}", family.help());
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name}: {kind}"
        );
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
        let unit = ["milli", "_ms", "micro", "kib"];
        assert!(
            !unit.iter().any(|unit| name.contains(unit)),
            "{name}: base units"
        );
        assert!(
            !family.get_metric().is_empty(),
            "{name} shows from the start"
        );
    }
}

#[test]
fn the_page_lists_what_there_is() {
    let row = |family: &MetricFamily| {
        format!(
            "| `{}` | {} | {} | {} |",
            family.name(),
            kind(family),
            labels(family),
            family.help()
        )
    };
    let known: Vec<String> = families().iter().map(row).collect();
    let (_, rest) = PAGE
        .split_once("| metric | type | labels | meaning |\n|---|---|---|---|\n")
        .unwrap();
    let shown: Vec<&str> = rest
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(shown, known, "the table is\n{}", known.join("\n"));
}
