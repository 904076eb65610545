//! The life of an agent: serve, join, be a member, join again when deposed, leave.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use crate::config::Config;
use crate::door::Door;
use crate::error::AgentError;
use crate::http::{self, Limits};
use crate::join::{Joined, join};
use crate::keep;
use crate::member::{Change, Member};
use crate::metrics::Metrics;
use crate::snapshot::Shared;
use crate::succession::bind_mesh_port;

/// Runs until `shutdown` ends, then leaves the mesh.
///
/// # Errors
/// When a port is taken, or something is wrong that no retry mends.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let metrics = Metrics::new()?;
    let snapshots = Shared::default();
    let endpoint = bind_mesh_port(&config).map_err(AgentError::of_mesh_port)?;
    if let Some(folder) = &config.state_dir {
        keep::start(&config, folder, &snapshots, &metrics);
    }
    serve(&config, &snapshots, &metrics).await?;
    let door = Arc::new(Door::new(endpoint, snapshots.clone()));
    tracing::info!(
        cluster = config.cluster_name,
        pod = config.pod_name,
        node = config.node_name,
        address = %config.pod_ip,
        "agent started"
    );

    let shutdown = async {
        shutdown.await;
        snapshots.close();
    };
    tokio::pin!(shutdown);
    let mut joined = tokio::select! {
        joined = join(&config, &door, &metrics) => joined,
        () = &mut shutdown => return Ok(()),
    };
    loop {
        let anchors = joined.anchors.clone();
        let member = Member::start(&config, joined, &door, &metrics).await?;
        let next = next_membership(
            member,
            || join(&config, &door, &metrics),
            anchors.replaced(&config.trust_dir),
            shutdown.as_mut(),
        );
        match next.await {
            Some(next) => joined = next,
            None => return Ok(()),
        }
    }
}

/// The local API and the metrics, each on its port.
async fn serve(config: &Config, snapshots: &Shared, metrics: &Metrics) -> Result<(), AgentError> {
    let limits = Limits::default();
    let api = http::api(snapshots.clone(), metrics.clone(), limits);
    let exposition = http::metrics(metrics.clone());
    for (number, router, port) in [
        (config.http_port, api, "--http-port (or SLOTMESH_HTTP_PORT)"),
        (
            config.metrics_port,
            exposition,
            "--metrics-port (or SLOTMESH_METRICS_PORT)",
        ),
    ] {
        let address = SocketAddr::new(config.pod_ip, number);
        let served = http::serve(address, router, limits).await;
        served.map_err(|source| AgentError::Bind {
            protocol: "tcp",
            address,
            port,
            source,
        })?;
    }
    Ok(())
}

/// Lives as a member until the next membership is there; none when the agent is to end.
///
/// A member that hears nobody asks the operator, but stays what it is meanwhile: when it was the
/// network, or when the operator is away too, it goes on where it was. The same when the cluster's keys
/// were replaced: only a new membership is of the new keys. A member that lost its place goes on
/// answering from its last map until it has joined again.
async fn next_membership<J: Future<Output = Joined>>(
    mut member: Member,
    join: impl Fn() -> J,
    keys_replaced: impl Future<Output = ()>,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
) -> Option<Joined> {
    let mut joining: Option<Pin<Box<J>>> = None;
    let mut keys_replaced = std::pin::pin!(keys_replaced);
    let mut outdated = false;
    let joined = loop {
        tokio::select! {
            change = member.change() => match change {
                Change::Alone => {
                    tracing::warn!("nobody is heard any more: asking the operator whether this agent is still a member");
                    joining.get_or_insert_with(|| Box::pin(join()));
                }
                Change::Heard if outdated => {}
                Change::Heard => {
                    tracing::info!("others are heard again: this agent stays the member that it was");
                    joining = None;
                }
                Change::Deposed { epoch } => {
                    tracing::warn!(epoch, "the map no longer lists this agent: joining again with a new key");
                    break None;
                }
                Change::Stopped => {
                    tracing::error!("the mesh driver ended by itself: joining again; please report this");
                    break None;
                }
            },
            () = &mut keys_replaced, if !outdated => {
                tracing::warn!("the trust ConfigMap names another CA or map key: joining again, as a member of the new keys");
                outdated = true;
                joining.get_or_insert_with(|| Box::pin(join()));
            }
            joined = underway(&mut joining) => break Some(joined),
            () = &mut shutdown => {
                // The operator forgets a request whose agent has gone.
                drop(joining);
                member.leave().await;
                return None;
            }
        }
    };
    member.become_stale();
    if let Some(joined) = joined {
        member.stop().await;
        return Some(joined);
    }
    // A request under way asks for what is needed now, too.
    let joining = joining.unwrap_or_else(|| Box::pin(join()));
    tokio::select! {
        (joined, ()) = async { tokio::join!(joining, member.stop()) } => Some(joined),
        () = &mut shutdown => None,
    }
}

async fn underway<J: Future<Output = Joined>>(joining: &mut Option<Pin<Box<J>>>) -> Joined {
    match joining {
        Some(joining) => joining.await,
        None => std::future::pending().await,
    }
}
