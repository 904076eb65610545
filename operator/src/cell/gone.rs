//! Members whose pod is gone from the API.

use slotmesh_mesh::identity::Uid;
use slotmesh_transport::clock;

use crate::seam::Kubernetes;

use super::Cell;

impl<K: Kubernetes> Cell<K> {
    /// Members whose pod the cache no longer shows: only a live look decides.
    pub(super) async fn look_for_gone_pods(&mut self) {
        let missing: Vec<(Uid, String)> = {
            let inventory = self.inventory.borrow_and_update();
            let members = self
                .life
                .map()
                .map(|map| map.members.iter())
                .into_iter()
                .flatten();
            members
                .filter(|member| !inventory.pods.contains_key(&member.uid))
                .map(|member| (member.uid, member.name.clone()))
                .collect()
        };
        self.look_again = false;
        for (uid, name) in missing {
            match self
                .kubernetes
                .live_pod(&self.settings.cluster.namespace, &name)
                .await
            {
                Ok(Some(pod)) if pod.uid == uid => {}
                Ok(_) => self.life.pod_gone(clock::now(), uid),
                Err(failure) => {
                    tracing::warn!(pod = name, %failure, "could not look at the pod; looking again");
                    self.look_again = true;
                    return;
                }
            }
        }
    }
}
