//! What runs while this operator leads: views, cells, the join endpoint and one reconcile loop.
//! Dropping it stops everything at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Client;
use slotmesh_transport::endpoint::EndpointError;
use tokio::task::JoinHandle;

use crate::cells;
use crate::config::Config;
use crate::context::Context;
use crate::join::{Endpoint, Registry};
use crate::kubernetes::ApiServer;
use crate::lease::Tenure;
use crate::metrics::Metrics;
use crate::notes::Recorder;
use crate::queue::{Name, Queue};
use crate::reconcile::Managed;
use crate::views::Views;

/// The work of a leader.
#[derive(Debug)]
pub struct Leader {
    task: JoinHandle<()>,
}

impl Leader {
    /// Starts to work.
    ///
    /// # Errors
    /// When the join port cannot be bound.
    pub fn start(
        client: Client,
        config: &Config,
        tenure: Tenure,
        metrics: &Metrics,
    ) -> Result<Self, EndpointError> {
        let api = Arc::new(ApiServer::new(client.clone(), tenure.clone()));
        let joins = Registry::default();
        let endpoint = Endpoint::bind(
            config.join_address(),
            joins.clone(),
            api.clone(),
            metrics.clone(),
        )?;
        let queue = Queue::default();
        let context = Context {
            views: Views::start(&client, &config.sight(), &queue, &api.nodes()),
            recorder: Recorder::new(client.clone(), config.pod_name.clone()),
            client,
            tenure,
            namespace: config.namespace.clone(),
            agent_image: config.agent_image.clone(),
            join_address: endpoint.address(),
            api,
            shared: cells::Shared {
                local: config.pod_ip,
                joins,
                metrics: metrics.clone(),
            },
            queue,
            _endpoint: endpoint,
        };
        Ok(Self {
            task: tokio::spawn(work(context)),
        })
    }

    /// Returns if the work ends by itself; it never should.
    pub async fn ended(&mut self) {
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the reconcile loop ended");
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn work(context: Context) {
    context.views.ready().await;
    let mut managed: BTreeMap<Name, Managed> = BTreeMap::new();
    loop {
        let name = context.queue.next().await;
        if context.tenure.check().is_err() {
            return;
        }
        let entry = managed.entry(name.clone()).or_default();
        if entry.reconcile(&context, &name).await.is_gone() {
            managed.remove(&name);
        }
    }
}
