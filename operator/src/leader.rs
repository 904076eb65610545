//! What runs while this operator leads: views, cells and one reconcile loop.
//! Dropping it stops everything at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::Client;
use tokio::task::JoinHandle;

use crate::cells;
use crate::config::Config;
use crate::context::Context;
use crate::http::Health;
use crate::join::Registry;
use crate::keys::KeyStore;
use crate::kubernetes::ApiServer;
use crate::lease::Tenure;
use crate::metrics::Metrics;
use crate::notes::Recorder;
use crate::queue::{Name, Queue};
use crate::reconcile::Managed;
use crate::sweep::keep_sweeping;
use crate::views::Views;

/// The work of a leader.
#[derive(Debug)]
pub struct Leader {
    api: Arc<ApiServer>,
    task: JoinHandle<()>,
    sweeper: JoinHandle<()>,
    health: Health,
}

impl Leader {
    /// Starts to work. Agents are answered by the join port, with the help of [`Leader::api`].
    #[must_use]
    pub fn start(
        client: Client,
        config: &Config,
        tenure: Tenure,
        joins: Registry,
        metrics: &Metrics,
        health: &Health,
    ) -> Self {
        let api = Arc::new(ApiServer::new(client.clone(), tenure.clone()));
        let queue = Queue::default();
        let recorder = Recorder::new(client.clone(), tenure.clone(), config.pod_name.clone());
        let context = Context {
            views: Views::start(&client, &config.sight(), &queue, &api.nodes()),
            recorder,
            keys: KeyStore::new(client.clone(), &config.namespace, tenure.clone()),
            client,
            tenure,
            agent_image: config.agent_image.clone(),
            join_address: config.join_address(),
            api: api.clone(),
            shared: cells::Shared {
                local: config.pod_ip,
                join_address: config.join_address(),
                joins,
                metrics: metrics.clone(),
            },
            queue,
            health: health.clone(),
        };
        let keys = context.keys.clone();
        let sweeper = keep_sweeping(context.client.clone(), keys, config.key_sweep_interval);
        Self {
            api,
            health: health.clone(),
            sweeper: tokio::spawn(sweeper),
            task: tokio::spawn(work(context)),
        }
    }

    /// What the join port asks.
    #[must_use]
    pub fn api(&self) -> Arc<ApiServer> {
        self.api.clone()
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
        self.sweeper.abort();
        self.health.rest();
    }
}

async fn work(context: Context) {
    context.views.ready().await;
    let mut managed: BTreeMap<Name, Managed> = BTreeMap::new();
    loop {
        context.health.rest();
        let name = context.queue.next().await;
        context.health.step();
        if context.tenure.check().is_err() {
            return;
        }
        let entry = managed.entry(name.clone()).or_default();
        if entry.reconcile(&context, &name).await.is_gone() {
            managed.remove(&name);
        }
    }
}
