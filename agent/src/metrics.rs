//! Metrics of the agent, in one table.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use slotmesh_mesh::counters::Counters;
use slotmesh_transport::driver::TrafficSums;
use slotmesh_transport::refusal::Refusal;

use crate::error::AgentError;
use crate::http::ended::Ended;

/// Everything that `/metrics` shows, beside that of the process.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) map_epoch: IntGauge,
    pub(crate) map_applied: Gauge,
    pub(crate) verdicts: IntCounter,
    pub(crate) last_verdict: Gauge,
    pub(crate) members: IntGauge,
    pub(crate) suspected_members: IntGauge,
    pub(crate) failed_members: IntGauge,
    pub(crate) connections: IntGauge,
    pub(crate) opening_edges: IntGauge,
    pub(crate) joined: IntGauge,
    pub(crate) alone: IntGauge,
    pub(crate) map_conflict: IntGauge,
    pub(crate) degraded_links: IntGauge,
    pub(crate) watchers: IntGauge,
    pub(crate) watchers_refused: IntCounter,
    pub(crate) keeping_failed: IntCounter,
    watches_ended: IntCounterVec,
    joins: IntCounterVec,
    renewals: IntCounterVec,
    certificate_expires: Gauge,
    refused: IntCounterVec,
    handshakes_failed: IntCounterVec,
    totals: BTreeMap<&'static str, IntCounter>,
}

/// Counters that follow the machine's own: (name, help, value).
type Total = (&'static str, &'static str, fn(&Counters) -> u64);

const TOTALS: [Total; 14] = [
    (
        "slotmesh_agent_heartbeats_sent_total",
        "Heartbeats sent, one for each observer.",
        |c| c.beats_sent,
    ),
    (
        "slotmesh_agent_heartbeats_received_total",
        "Heartbeats received.",
        |c| c.beats_received,
    ),
    (
        "slotmesh_agent_probes_sent_total",
        "Probes sent to silent subjects.",
        |c| c.probes_sent,
    ),
    (
        "slotmesh_agent_probes_answered_total",
        "Probes answered.",
        |c| c.probes_answered,
    ),
    (
        "slotmesh_agent_evidence_signed_total",
        "Statements about subjects signed.",
        |c| c.evidence_signed,
    ),
    (
        "slotmesh_agent_evidence_received_total",
        "Statements of others taken in.",
        |c| c.evidence_received,
    ),
    (
        "slotmesh_agent_maps_applied_total",
        "Newer maps taken into force.",
        |c| c.maps_applied,
    ),
    (
        "slotmesh_agent_hints_total",
        "Hints that a subject's process is gone (refused port, clean close), as far as they counted.",
        |c| c.hints,
    ),
    (
        "slotmesh_agent_maps_received_total",
        "Maps that arrived, whole or as a difference, known ones included.",
        |c| c.maps_received,
    ),
    (
        "slotmesh_agent_maps_received_from_other_zones_total",
        "Maps that arrived from members of other zones.",
        |c| c.maps_received_from_other_zones,
    ),
    ("slotmesh_agent_maps_sent_total", "Maps passed on.", |c| {
        c.maps_sent
    }),
    (
        "slotmesh_agent_map_sent_bytes_total",
        "Bytes of maps passed on.",
        |c| c.map_bytes_sent,
    ),
    (
        "slotmesh_agent_pauses_total",
        "Pauses of this process noticed.",
        |c| c.pauses,
    ),
    (
        "slotmesh_agent_send_drops_total",
        "Messages dropped because a queue was full.",
        |c| c.send_drops,
    ),
];
/// Outcomes of an attempt to join; all count from the start, so that the first one shows as growth.
const OUTCOMES: [&str; 9] = [
    "admitted",
    "retry",
    "not_leader",
    "refused",
    "trust_missing",
    "operator_not_trusted",
    "operator_unreachable",
    "bad_map",
    "error",
];
/// Outcomes of an attempt to renew the certificate.
const RENEWALS: [&str; 9] = [
    "renewed",
    "retry",
    "not_leader",
    "refused",
    "trust_missing",
    "trust_replaced",
    "operator_not_trusted",
    "operator_unreachable",
    "error",
];
const SENT: &str = "slotmesh_agent_udp_sent_bytes_total";
const RECEIVED: &str = "slotmesh_agent_udp_received_bytes_total";
const SENT_DATAGRAMS: &str = "slotmesh_agent_udp_sent_datagrams_total";
const RECEIVED_DATAGRAMS: &str = "slotmesh_agent_udp_received_datagrams_total";

impl Metrics {
    pub(crate) fn new() -> Result<Self, AgentError> {
        let registry = Registry::new();
        register(
            &registry,
            prometheus::process_collector::ProcessCollector::for_self(),
        )?;
        let gauge = |name: &str, help: &str| -> Result<IntGauge, AgentError> {
            let gauge = IntGauge::new(name, help)?;
            register(&registry, gauge.clone())?;
            Ok(gauge)
        };
        let moment = |name: &str, help: &str| -> Result<Gauge, AgentError> {
            let gauge = Gauge::new(name, help)?;
            register(&registry, gauge.clone())?;
            Ok(gauge)
        };
        let vector = |name: &str, help: &str, label: &str| -> Result<IntCounterVec, AgentError> {
            let vector = IntCounterVec::new(Opts::new(name, help), &[label])?;
            register(&registry, vector.clone())?;
            Ok(vector)
        };
        let counter = |name: &'static str, help: &str| -> Result<IntCounter, AgentError> {
            let counter = IntCounter::new(name, help)?;
            register(&registry, counter.clone())?;
            Ok(counter)
        };
        let mut totals = BTreeMap::new();
        for (name, help, _) in TOTALS {
            totals.insert(name, counter(name, help)?);
        }
        for (name, help) in [
            (
                SENT,
                "UDP bytes sent by the mesh, without headers of UDP and IP.",
            ),
            (
                RECEIVED,
                "UDP bytes received by the mesh, without headers of UDP and IP.",
            ),
            (SENT_DATAGRAMS, "UDP datagrams sent by the mesh."),
            (RECEIVED_DATAGRAMS, "UDP datagrams received by the mesh."),
        ] {
            totals.insert(name, counter(name, help)?);
        }
        let joins = vector(
            "slotmesh_agent_join_attempts_total",
            "Attempts to join, by outcome.",
            "outcome",
        )?;
        for outcome in OUTCOMES {
            joins.with_label_values(&[outcome]);
        }
        let renewals = vector(
            "slotmesh_agent_certificate_renewals_total",
            "Attempts to renew this agent's certificate, by outcome.",
            "outcome",
        )?;
        for outcome in RENEWALS {
            renewals.with_label_values(&[outcome]);
        }
        let watches_ended = vector(
            "slotmesh_agent_map_watches_ended_total",
            "Watches of the map, and waits for a newer one, that ended, by cause.",
            "cause",
        )?;
        for ended in Ended::ALL {
            watches_ended.with_label_values(&[ended.cause()]);
        }
        Ok(Self {
            joins,
            renewals,
            certificate_expires: moment(
                "slotmesh_agent_certificate_expires_timestamp_seconds",
                "When this agent's certificate expires, Unix time; renewed after half of its life.",
            )?,
            watches_ended,
            degraded_links: gauge(
                "slotmesh_agent_degraded_links",
                "Links between two living members that do not work.",
            )?,
            watchers: gauge(
                "slotmesh_agent_map_watchers",
                "Clients that watch the map, or wait for a newer one.",
            )?,
            watchers_refused: counter(
                "slotmesh_agent_map_watches_refused_total",
                "Watches of the map refused because there were too many.",
            )?,
            keeping_failed: counter(
                "slotmesh_agent_map_keeping_failures_total",
                "Attempts to keep the map on disk that failed.",
            )?,
            map_epoch: gauge("slotmesh_agent_map_epoch", "Epoch of the map in force.")?,
            map_applied: moment(
                "slotmesh_agent_map_applied_timestamp_seconds",
                "When the map in force was applied, Unix time.",
            )?,
            verdicts: counter("slotmesh_agent_verdicts_total", "Verdicts come to.")?,
            last_verdict: moment(
                "slotmesh_agent_last_verdict_timestamp_seconds",
                "When this agent last came to a verdict, Unix time.",
            )?,
            members: gauge(
                "slotmesh_agent_members",
                "Members that the map in force lists.",
            )?,
            suspected_members: gauge(
                "slotmesh_agent_suspected_members",
                "Members that somebody reports, too few for a verdict.",
            )?,
            failed_members: gauge("slotmesh_agent_failed_members", "Members found failed.")?,
            opening_edges: gauge(
                "slotmesh_agent_opening_edges",
                "Members that this agent watches and has not heard yet; should one die now, that takes 2 s longer to notice.",
            )?,
            connections: gauge(
                "slotmesh_agent_connections",
                "Connections to other members.",
            )?,
            joined: gauge("slotmesh_agent_joined", "1 while this agent is a member.")?,
            alone: gauge(
                "slotmesh_agent_alone",
                "1 while this agent hears nobody and asks the operator; its map may be outdated.",
            )?,
            map_conflict: gauge(
                "slotmesh_agent_map_conflict",
                "1 once two different maps of one epoch were seen: no further map is applied.",
            )?,
            handshakes_failed: vector(
                "slotmesh_agent_handshakes_failed_total",
                "Connections to or from peers that did not come up, by cause.",
                "cause",
            )?,
            refused: vector(
                "slotmesh_agent_refused_messages_total",
                "Messages of peers that were dropped, by cause.",
                "cause",
            )?,
            totals,
            registry,
        })
    }

    pub(crate) fn watch_ended(&self, ended: Ended) {
        self.watches_ended.with_label_values(&[ended.cause()]).inc();
    }

    pub(crate) fn join_attempt(&self, outcome: &str) {
        self.joins.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn renewal(&self, outcome: &str) {
        self.renewals.with_label_values(&[outcome]).inc();
    }

    /// When the certificate in force expires.
    pub(crate) fn certificate(&self, until: SystemTime) {
        let until = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.certificate_expires.set(until.as_secs_f64());
    }

    /// Moves the totals on. Each member counts from zero, so only growth since `before` is added.
    pub(crate) fn follow(&self, before: &Counters, now: &Counters) {
        for (name, _, value) in TOTALS {
            self.add(name, value(before), value(now));
        }
        for (cause, count) in &now.refused {
            grow(&self.refused, cause, before.refused.get(cause), *count);
        }
    }

    pub(crate) fn follow_handshakes(
        &self,
        before: &BTreeMap<Refusal, u64>,
        now: &BTreeMap<Refusal, u64>,
    ) {
        for (cause, count) in now {
            let vector = &self.handshakes_failed;
            grow(vector, cause.category(), before.get(cause), *count);
        }
    }

    pub(crate) fn follow_traffic(&self, before: TrafficSums, now: TrafficSums) {
        for (name, before, now) in [
            (SENT, before.sent_bytes, now.sent_bytes),
            (RECEIVED, before.received_bytes, now.received_bytes),
            (SENT_DATAGRAMS, before.sent_datagrams, now.sent_datagrams),
            (
                RECEIVED_DATAGRAMS,
                before.received_datagrams,
                now.received_datagrams,
            ),
        ] {
            self.add(name, before, now);
        }
    }

    fn add(&self, name: &str, before: u64, now: u64) {
        if let Some(counter) = self.totals.get(name) {
            counter.inc_by(now.saturating_sub(before));
        }
    }

    /// The text that Prometheus scrapes.
    pub(crate) fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn grow(vector: &IntCounterVec, label: &str, before: Option<&u64>, now: u64) {
    let grown = now.saturating_sub(before.copied().unwrap_or(0));
    vector.with_label_values(&[label]).inc_by(grown);
}

fn register(
    registry: &Registry,
    collector: impl prometheus::core::Collector + 'static,
) -> Result<(), AgentError> {
    Ok(registry.register(Box::new(collector))?)
}
