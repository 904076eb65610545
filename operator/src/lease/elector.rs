//! Carries the steps of an [`Election`] out against the API server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use prometheus::IntCounter;
use slotmesh_api::names::ANNOTATION_JOIN_ADDRESS;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use super::election::{Election, Intent, LeaseView, Role, Step, Times};
use super::tenure::Tenure;

/// Reads and writes that one attempt may make: read, write, read again after a conflict, write.
const STEPS_PER_ATTEMPT_MAX: usize = 4;
/// Longest time for handing the Lease over at shutdown.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why an attempt came to nothing.
#[derive(Debug, Error)]
pub enum ElectorError {
    #[error("the API server refused: {0}")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer in time")]
    TimedOut,
}

/// Who a candidate is.
#[derive(Clone, Debug)]
pub struct Candidacy {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub lease: String,
    /// This process's alone.
    pub identity: String,
    /// Where it answers joins; the Lease tells it to the others.
    pub join_address: SocketAddr,
    /// Counts how often the Lease was seen to pass to another holder.
    pub changes: IntCounter,
}

/// A candidate for one Lease.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    join_address: SocketAddr,
    changes: IntCounter,
    /// Where another leader answers joins.
    leader: watch::Sender<Option<SocketAddr>>,
    times: Times,
    election: Election,
    tenure: Tenure,
    origin: Instant,
    /// `acquireTime` and holder as last seen, to be kept by renewals and logged on change.
    acquired: Option<MicroTime>,
    logged_holder: String,
}

impl Elector {
    #[must_use]
    pub fn new(client: Client, candidacy: Candidacy, times: Times) -> Self {
        let identity = candidacy.identity;
        Self {
            api: Api::namespaced(client, &candidacy.namespace),
            namespace: candidacy.namespace,
            name: candidacy.lease,
            election: Election::new(identity.clone(), times),
            identity,
            join_address: candidacy.join_address,
            changes: candidacy.changes,
            leader: watch::channel(None).0,
            times,
            tenure: Tenure::none(),
            origin: Instant::now(),
            acquired: None,
            logged_holder: String::new(),
        }
    }

    /// Where another leader answers joins, as the Lease tells; nothing while we lead or nobody does.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<SocketAddr>> {
        self.leader.subscribe()
    }

    /// Returns once we lead. `on_contact` is called after the first answer of the API server.
    pub async fn acquire(&mut self, on_contact: impl Fn()) -> Tenure {
        let mut complained = false;
        loop {
            let next = Instant::now() + self.times.retry;
            let deadline = Instant::now() + self.times.renew_deadline / 2;
            match self.attempt(deadline).await {
                Ok(()) => {
                    complained = false;
                    on_contact();
                }
                Err(error) if complained => debug!(%error, "the lease cannot be read or taken"),
                Err(error) => {
                    complained = true;
                    warn!(%error, "the lease cannot be read or taken; trying on");
                }
            }
            if self.role() == Role::Leader {
                info!(lease = %self.name, identity = %self.identity, "leading");
                return self.tenure.clone();
            }
            sleep_until(next).await;
        }
    }

    /// Renews until leadership is lost; never later than the renew deadline.
    pub async fn keep(&mut self) {
        while let Some(end) = self.leads_until() {
            let next = (Instant::now() + self.times.retry).min(end);
            sleep_until(next).await;
            // Half of what is left, so that one call that hangs does not use up the whole deadline.
            let now = Instant::now();
            let deadline = now + (end.saturating_duration_since(now) / 2).max(self.times.retry);
            if let Err(error) = self.attempt(deadline.min(end)).await {
                warn!(%error, left = ?end.saturating_duration_since(Instant::now()), "the lease was not renewed");
            }
            if self.role() == Role::Follower {
                break;
            }
        }
        self.tenure.end();
        warn!(lease = %self.name, "leading no longer");
    }

    /// Gives the Lease up, so that the next leader need not wait for its end. Call it when everything
    /// that writes has stopped.
    pub async fn release(&mut self) {
        self.tenure.end();
        let Some(view) = self.election.resign() else {
            return;
        };
        let mut lease = self.lease(&Intent {
            parent: Some(view.version),
            takes: false,
            transitions: view.transitions,
        });
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        lease.metadata.annotations = None;
        let parameters = PostParams::default();
        let write = self.api.replace(&self.name, &parameters, &lease);
        match tokio::time::timeout(RELEASE_TIMEOUT, write).await {
            Ok(Ok(_)) => info!(lease = %self.name, "released"),
            Ok(Err(error)) => warn!(%error, "the lease was not released; it runs out by itself"),
            Err(_) => warn!("the lease was not released in time; it runs out by itself"),
        }
    }

    fn role(&self) -> Role {
        self.election.role(self.origin.elapsed())
    }

    fn leads_until(&self) -> Option<Instant> {
        match self.role() {
            Role::Leader => self.election.leads_until().map(|until| self.origin + until),
            Role::Follower => None,
        }
    }

    async fn attempt(&mut self, deadline: Instant) -> Result<(), ElectorError> {
        let mut step = self.election.attempt(self.origin.elapsed());
        for _ in 0..STEPS_PER_ATTEMPT_MAX {
            let result = match &step {
                Step::Wait => return Ok(()),
                Step::Read => self.read(deadline).await.map(Some),
                Step::Write(intent) => self.write(intent, deadline).await,
            };
            match result {
                Ok(Some(next)) => step = next,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.election.on_failure();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, deadline: Instant) -> Result<Step, ElectorError> {
        let lease = timeout_at(deadline, self.api.get_opt(&self.name))
            .await
            .map_err(|_| ElectorError::TimedOut)??;
        self.note(lease.as_ref());
        Ok(self
            .election
            .on_read(self.origin.elapsed(), lease.as_ref().map(view)))
    }

    /// None when it was written; a read is next after a conflict.
    async fn write(
        &mut self,
        intent: &Intent,
        deadline: Instant,
    ) -> Result<Option<Step>, ElectorError> {
        let lease = self.lease(intent);
        let sent = self.origin.elapsed();
        let parameters = PostParams::default();
        let result = if intent.parent.is_some() {
            timeout_at(deadline, self.api.replace(&self.name, &parameters, &lease)).await
        } else {
            timeout_at(deadline, self.api.create(&parameters, &lease)).await
        };
        match result.map_err(|_| ElectorError::TimedOut)? {
            Ok(written) => {
                self.note(Some(&written));
                self.election.on_written(sent, view(&written));
                self.tenure
                    .extend_to(self.origin + sent + self.times.renew_deadline);
                Ok(None)
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                self.election.on_conflict();
                Ok(Some(Step::Read))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn lease(&self, intent: &Intent) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        let acquired = if intent.takes {
            Some(now.clone())
        } else {
            self.acquired.clone()
        };
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                resource_version: intent.parent.clone(),
                annotations: Some(BTreeMap::from([(
                    ANNOTATION_JOIN_ADDRESS.to_owned(),
                    self.join_address.to_string(),
                )])),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(self.times.lease.as_secs()).ok(),
                acquire_time: acquired,
                renew_time: Some(now),
                lease_transitions: Some(intent.transitions),
                ..LeaseSpec::default()
            }),
        }
    }

    fn note(&mut self, lease: Option<&Lease>) {
        let spec = lease.and_then(|lease| lease.spec.as_ref());
        self.acquired = spec.and_then(|spec| spec.acquire_time.clone());
        let holder = spec
            .and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or_default();
        let leader = (!holder.is_empty() && holder != self.identity)
            .then(|| lease.and_then(join_address))
            .flatten();
        self.leader.send_if_modified(|known| {
            let changed = *known != leader;
            *known = leader;
            changed
        });
        if holder != self.logged_holder {
            info!(lease = %self.name, holder, "the lease has a new holder");
            if !holder.is_empty() {
                self.changes.inc();
            }
            self.logged_holder = holder.to_owned();
        }
    }
}

fn join_address(lease: &Lease) -> Option<SocketAddr> {
    let annotations = lease.metadata.annotations.as_ref()?;
    annotations.get(ANNOTATION_JOIN_ADDRESS)?.parse().ok()
}

fn view(lease: &Lease) -> LeaseView {
    let spec = lease.spec.as_ref();
    LeaseView {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default(),
        duration_seconds: spec
            .and_then(|spec| spec.lease_duration_seconds)
            .unwrap_or(0),
        renewed: spec
            .and_then(|spec| spec.renew_time.as_ref())
            .map(|time| time.0.to_string())
            .unwrap_or_default(),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or(0),
    }
}
