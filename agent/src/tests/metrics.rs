use std::collections::BTreeMap;

use slotmesh_mesh::counters::Counters;
use slotmesh_transport::refusal::Refusal;

use crate::http::ended::Ended;
use crate::metrics::Metrics;

/// Name -> (help, type, whether it has a sample).
pub(super) fn families(text: &str) -> BTreeMap<String, (String, String, bool)> {
    let mut families: BTreeMap<String, (String, String, bool)> = BTreeMap::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            families.entry(name.into()).or_default().0 = help.into();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            families.entry(name.into()).or_default().1 = kind.into();
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            families.get_mut(name).expect("a sample has its type").2 = true;
        }
    }
    families
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.render().unwrap()).unwrap()
}

#[test]
fn names_follow_the_conventions_of_prometheus() {
    let metrics = Metrics::new().unwrap();
    let families = families(&text(&metrics));
    for (name, (help, kind, _)) in &families {
        if name.starts_with("process_") {
            continue;
        }
        assert!(name.starts_with("slotmesh_agent_"), "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name}: {kind}"
        );
        let reserved = ["_count", "_sum", "_bucket", "_info"];
        assert!(!reserved.iter().any(|end| name.ends_with(end)), "{name}");
        let unit = ["milli", "_ms", "micro", "kib"];
        assert!(
            !unit.iter().any(|unit| name.contains(unit)),
            "{name}: base units"
        );
    }
    for expected in [
        "slotmesh_agent_map_epoch",
        "slotmesh_agent_map_applied_timestamp_seconds",
        "slotmesh_agent_last_verdict_timestamp_seconds",
        "slotmesh_agent_verdicts_total",
        "slotmesh_agent_joined",
        "slotmesh_agent_join_attempts_total",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
    ] {
        let found = families.get(expected);
        assert!(found.is_some_and(|(_, _, sample)| *sample), "{expected}");
    }
}

/// A label whose values clients or peers choose would let them fill the memory of Prometheus.
#[test]
fn labels_are_few_and_known() {
    let metrics = Metrics::new().unwrap();
    let text = text(&metrics);
    let mut series = 0;
    for line in text.lines().filter(|line| line.starts_with("slotmesh_")) {
        series += 1;
        let Some((_, rest)) = line.split_once('{') else {
            continue;
        };
        let (labels, _) = rest.split_once('}').unwrap();
        let (label, value) = labels.split_once('=').unwrap();
        assert!(["cause", "outcome"].contains(&label), "{line}");
        let plain = |c: char| c.is_ascii_alphabetic() || c == '_';
        assert!(value.trim_matches('"').chars().all(plain), "{line}");
    }
    assert!((30..100).contains(&series), "{series}");
    for cause in Ended::ALL {
        let series = format!("watches_ended_total{{cause=\"{}\"}} 0", cause.cause());
        assert!(
            text.contains(&series),
            "causes count from the start: {series}"
        );
    }
}

#[test]
fn totals_grow_over_the_machines_of_several_memberships() {
    let metrics = Metrics::new().unwrap();
    let mut counters = Counters::default();
    let zero = counters.clone();
    counters.beats_sent = 3;
    counters.refuse("BadSignature");
    metrics.follow(&zero, &counters);
    // The next membership counts from zero again.
    metrics.follow(&zero, &counters);
    let handshakes = BTreeMap::from([(Refusal::UnknownAuthority, 2)]);
    metrics.follow_handshakes(&BTreeMap::new(), &handshakes);
    metrics.follow_handshakes(&handshakes, &handshakes);
    let text = text(&metrics);
    let failed = "slotmesh_agent_handshakes_failed_total{cause=\"UnknownAuthority\"} 2";
    assert!(text.contains(failed), "{text}");
    assert!(
        text.contains("slotmesh_agent_heartbeats_sent_total 6"),
        "{text}"
    );
    let refused = "slotmesh_agent_refused_messages_total{cause=\"BadSignature\"} 2";
    assert!(text.contains(refused), "{text}");
}
