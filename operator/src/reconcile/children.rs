//! Children: one that is missing, wanted otherwise, or was changed by somebody is applied.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slotmesh_api::conditions::reasons;
use slotmesh_api::{GossipCluster, UpdateType};

use super::{Managed, owner_of, passing};
use crate::apply::{ApplyError, apply, look};
use crate::children::{self, Child, Parent, Trust};
use crate::context::Context;
use crate::drift::Judgement;
use crate::queue::Name;
use crate::seam::{ClusterKey, ClusterKeys};
use crate::status::Stalled;

impl Managed {
    /// Brings the children to what is wanted. A paused cluster's stay as they are.
    pub(super) async fn apply_children(
        &mut self,
        context: &Context,
        cluster: &GossipCluster,
        key: &ClusterKey,
        keys: &ClusterKeys,
    ) -> Result<(), Stalled> {
        let agent = cluster.spec.agent.clone().unwrap_or_default();
        let uid = key.uid.to_string();
        let parent = Parent {
            namespace: &key.namespace,
            name: &key.name,
            uid: &uid,
            owner: owner_of(cluster),
            agent_image: cluster.agent_image().unwrap_or(&context.agent_image),
            agent: &agent,
        };
        let map_keys = format!("{}\n", STANDARD.encode(keys.map.public().as_bytes()));
        let join_address = format!("{}\n", context.join_address);
        let trust = Trust {
            ca: keys.ca.certificate_pem(),
            map_keys: &map_keys,
            join_address: &join_address,
        };
        self.rollout.on_delete = cluster.agent_update().type_ == UpdateType::OnDelete;
        let mut wanted = children::before_agents(&parent, &trust);
        // What the overrides break is the DaemonSet alone.
        let agents = children::agents(&parent).map(|agents| wanted.push(agents));
        if cluster.is_paused() {
            self.rollout.paused_before = self.left_undone(context, key, &wanted);
        } else {
            let name = (key.namespace.clone(), key.name.clone());
            for child in &wanted {
                context.health.step();
                self.provide_child(context, key, child, &name)
                    .await
                    .map_err(|error| apply_stalled(&error, child, agent.pod_overrides.is_some()))?;
            }
        }
        agents.map_err(|error| Stalled {
            reason: reasons::INVALID_POD_OVERRIDES,
            message: format!(
                "{error}; the agents go on as they are; correct it: kubectl -n {} edit gossip {}",
                key.namespace, key.name
            ),
        })
    }

    async fn provide_child(
        &mut self,
        context: &Context,
        key: &ClusterKey,
        child: &Child,
        name: &Name,
    ) -> Result<(), ApplyError> {
        let corrects = match self.judge(context, key, child) {
            Judgement::Sound => return Ok(()),
            Judgement::Later(wait) => {
                self.wake_later(context, name, wait);
                return Ok(());
            }
            Judgement::Apply => None,
            Judgement::Suspect { difference } => Some(difference),
        };
        if corrects.is_some() {
            let live = look(&context.client, key, child).await?;
            if live.is_some_and(|live| self.children.is_sound(child, &live)) {
                return Ok(());
            }
        }
        context.tenure.check().map_err(|error| ApplyError::Api {
            kind: child.kind,
            name: child.name.clone(),
            message: error.to_string(),
        })?;
        let ours = corrects.as_ref().and(self.children.ours(child));
        let stored = apply(&context.client, key, child, ours).await?;
        let now = Instant::now();
        match corrects {
            Some(_) => self.children.corrected(child, &stored, now),
            None => self.children.applied(child, &stored),
        }
        let cause = corrects.as_deref().unwrap_or("spec");
        tracing::info!(
            cluster = key.name,
            kind = child.kind,
            name = child.name,
            cause,
            "applied"
        );
        Ok(())
    }

    fn judge(&mut self, context: &Context, key: &ClusterKey, child: &Child) -> Judgement {
        let cached = context.views.child(&key.namespace, child);
        let cached = cached
            .as_ref()
            .map(|cached| (cached.version(), || cached.object()));
        self.children.judge(child, cached, Instant::now())
    }

    /// Children of a paused cluster that are known to be otherwise than wanted.
    fn left_undone(
        &mut self,
        context: &Context,
        key: &ClusterKey,
        wanted: &[Child],
    ) -> Vec<String> {
        wanted
            .iter()
            .filter(|child| {
                self.children.knows(child.plural)
                    && self.judge(context, key, child) != Judgement::Sound
            })
            .map(|child| format!("{} {}", child.kind, child.name))
            .collect()
    }
}

fn apply_stalled(error: &ApplyError, child: &Child, has_overrides: bool) -> Stalled {
    let reason = match error {
        ApplyError::Conflict { .. } => reasons::NAME_CONFLICT,
        ApplyError::Forbidden { .. } => reasons::FORBIDDEN_BY_RBAC,
        // The template is sound without overrides.
        ApplyError::Invalid { .. } if has_overrides && child.is_daemon_set() => {
            reasons::INVALID_POD_OVERRIDES
        }
        ApplyError::Invalid { .. } | ApplyError::Leftover { .. } | ApplyError::Api { .. } => {
            return passing(error.to_string());
        }
    };
    Stalled {
        reason,
        message: error.to_string(),
    }
}
