//! Members whose death the mesh cannot prove, because too few are left to agree on it: the operator
//! removes one when its own probes have been unanswered for a while *and* the API says that its pod
//! or node is not well. One of the two alone proves nothing: the operator may be cut off, and a
//! kubelet may be slow.

use std::time::Duration;

use slotmesh_mesh::identity::MemberId;
use slotmesh_transport::clock;

use crate::seam::{Kubernetes, PodFacts};

use super::Cell;
use super::mesh::View;

/// The operator's probes must have been unanswered that long.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// What the API's word, on top of silence, comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// The pod is well, as far as the API knows: only a person can tell.
    Well,
    /// Pod or node is not ready: dead.
    NotReady,
    /// The pod does not exist any more.
    Gone,
}

fn word_on(member: MemberId, pod: Option<&PodFacts>) -> Word {
    match pod.filter(|pod| pod.uid == member.uid) {
        None => Word::Gone,
        Some(pod) if pod.ready && !pod.finished => Word::Well,
        Some(_) => Word::NotReady,
    }
}

impl<K: Kubernetes> Cell<K> {
    /// The pace's work: looks at the mesh, at members that it cannot prove dead, and again at pods that
    /// could not be looked at.
    pub(super) async fn look(&mut self) {
        let View {
            found,
            unproven,
            arrived,
        } = self.mesh.look().await;
        self.take_verdict(found);
        self.settled |= arrived;
        let names = unproven.iter().map(|(member, _)| self.name_of(*member));
        let names = names.collect();
        self.reporter.set_unproven(names);
        let members = unproven.iter().map(|(member, _)| *member).collect();
        self.life.keep_presumed(&members);
        if self.look_again {
            self.look_for_gone_pods().await;
        }
        for (member, silent) in unproven {
            if silent >= SILENT_FOR && !self.look_at(member, silent).await {
                return;
            }
        }
    }

    /// Returns whether the API server answers.
    async fn look_at(&mut self, member: MemberId, silent: Duration) -> bool {
        let cached = self.inventory.borrow().pods.get(&member.uid).cloned();
        if word_on(member, cached.as_ref()) == Word::Well {
            return true;
        }
        let name = self.name_of(member);
        let namespace = &self.settings.cluster.namespace;
        let live = match self.kubernetes.live_pod(namespace, &name).await {
            Ok(live) => live,
            Err(failure) => {
                tracing::warn!(pod = name, %failure, "could not look at the pod; looking again");
                return false;
            }
        };
        let cluster = &self.settings.cluster.name;
        match word_on(member, live.as_ref()) {
            Word::Well => {}
            Word::NotReady => {
                tracing::warn!(
                    cluster,
                    pod = name,
                    ?silent,
                    "no majority is left to agree, probes are unanswered and the pod is not ready: removed"
                );
                self.life.presume_dead(clock::now(), member);
            }
            Word::Gone => self.life.pod_gone(clock::now(), member.uid),
        }
        true
    }
}

#[cfg(test)]
mod tests;
