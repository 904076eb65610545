//! What an operator costs with which nothing happens: memory and CPU of the one that leads, and what is
//! written to the API beside its Lease.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::ready::delete;
use crate::bench::duration;
use crate::bench::figures::count;
use crate::bench::resources::Usage;
use crate::bench::scene::with_stage;
use crate::bench::writes;
use crate::control_plane::{Options, Write};
use crate::node::Nodes;
use crate::stage::Stage;
use slotmesh_report::Report;

/// How long is measured.
const LENGTH: Duration = Duration::from_secs(60);
/// Longest wait for clusters to form.
const FORMED: Duration = Duration::from_secs(600);
const MANY: i32 = 20;
const LARGE: i32 = 300;
/// Nodes of a group: each has a number of one octet.
const GROUP: u8 = 100;

/// An operator at rest.
struct Rest {
    cpu_percent: f64,
    resident_mib: f64,
    writes: Vec<Write>,
}

pub(super) async fn measure(report: &mut Report) -> Result<()> {
    with_stage(audited(), async |stage| {
        let nodes = stage.add_nodes("worker", 8).await?;
        stage.apply_cluster("one", &json!({})).await?;
        stage.wait_ready("one", 8).await?;
        add_rows(report, "1 cluster of 8", &rest(stage).await?)?;
        stage.apply_cluster("two", &json!({})).await?;
        stage.wait_ready("two", 8).await?;
        add_rows(
            report,
            "2 clusters on the same 8 nodes",
            &rest(stage).await?,
        )?;
        delete(stage, "one").await?;
        delete(stage, "two").await?;
        nodes.remove().await;

        let nodes = stage.add_nodes("few", 3).await?;
        let begun = Instant::now();
        for number in 1..=MANY {
            stage
                .apply_cluster(&format!("many-{number}"), &json!({}))
                .await?;
        }
        for number in 1..=MANY {
            let name = format!("many-{number}");
            stage.wait_ready_for(&name, 3, FORMED).await?;
        }
        let what = "20 clusters of 3";
        formed(report, what, begun);
        add_rows(report, what, &rest(stage).await?)?;
        nodes.remove().await;
        Ok(())
    })
    .await
}

/// One cluster of 300: in one cell, for that costs the operator most.
pub(super) async fn measure_large(report: &mut Report) -> Result<()> {
    let what = "1 cluster of 300";
    with_stage(audited(), async |stage| {
        let mut groups: Vec<Nodes> = Vec::new();
        for group in 0..LARGE / i32::from(GROUP) {
            groups.push(stage.add_nodes(&format!("rack{group}"), GROUP).await?);
        }
        println!("  {LARGE} nodes");
        let begun = Instant::now();
        let spec = json!({
            "health": {"heartbeatIntervalMilliseconds": 2000},
            "cells": {"maxMembers": 1000},
        });
        stage.apply_cluster("large", &spec).await?;
        let ready = stage.wait_ready_for("large", LARGE, FORMED).await;
        let status = stage.cluster("large").await?.status.unwrap_or_default();
        report.exactly(
            format!("operator idle, {what}: members"),
            f64::from(status.members.unwrap_or_default()),
            "",
            f64::from(LARGE),
        );
        match ready {
            Ok(_) => {
                formed(report, what, begun);
                add_rows(report, what, &rest(stage).await?)?;
            }
            Err(error) => report.note(format!("given up: {error:#}")),
        }
        for group in groups {
            group.remove().await;
        }
        Ok(())
    })
    .await
}

fn audited() -> Options {
    Options {
        audit: true,
        ..Options::default()
    }
}

fn formed(report: &mut Report, what: &str, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("  {what}: Ready after {seconds:.1} s");
    report.plain(
        format!("operator, {what}: apply -> Ready, pods' start included"),
        seconds,
        "s",
    );
}

async fn rest(stage: &Stage) -> Result<Rest> {
    writes::idle(&stage.plane).await?;
    let leader = stage.leader().await?.name;
    let pid = stage.pid_of(&leader)?;
    let known = stage.plane.writes()?.len();
    let before = Usage::of(pid)?;
    println!("  {} of rest", duration(LENGTH.as_secs_f64()));
    // The time that is measured, no wait for something to happen.
    tokio::time::sleep(LENGTH).await;
    let after = Usage::of(pid)?;
    let cpu_percent = after.cpu_percent_since(&before).context(leader)?;
    Ok(Rest {
        cpu_percent,
        resident_mib: after.resident_mib,
        writes: stage.plane.writes()?.split_off(known),
    })
}

fn add_rows(report: &mut Report, what: &str, rest: &Rest) -> Result<()> {
    let (leases, others) = writes::ours(rest.writes.clone());
    ensure!(
        !leases.is_empty(),
        "the audit log shows no renewal of the Lease, so it shows nothing at all: does an operator lead?"
    );
    report.plain(
        format!("operator idle, {what}: resident memory"),
        rest.resident_mib,
        "MiB",
    );
    report.plain(
        format!("operator idle, {what}: CPU"),
        rest.cpu_percent,
        "% core",
    );
    report.exactly(
        format!("operator idle, {what}: writes beside the Lease"),
        count(others.len()),
        "",
        0.0,
    );
    report.note(format!(
        "operators and agents, {} s of the audit log{}",
        LENGTH.as_secs(),
        writes::told(&others)
    ));
    Ok(())
}
