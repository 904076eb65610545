//! The operators: who they are, who leads, and all of them killed and started again.

use std::time::Duration;

use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{OPERATOR_NAMESPACE, Operator, Stage};
use crate::wait;

const DEADLINE: Duration = Duration::from_secs(120);

impl Stage {
    /// Operators by name of their pods, those without an address left out.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn operators(&self) -> Result<Vec<Operator>> {
        let pods: Api<Pod> = Api::namespaced(self.plane.client(), OPERATOR_NAMESPACE);
        let list = pods.list(&ListParams::default()).await?;
        Ok(list
            .items
            .iter()
            .filter_map(|pod| {
                Some(Operator {
                    name: pod.name_any(),
                    ip: pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?,
                })
            })
            .collect())
    }

    /// The operator that says that it leads; the Lease may still name one that is dead.
    ///
    /// # Errors
    /// When nobody leads.
    pub async fn leader(&self) -> Result<Operator> {
        for operator in self.operators().await? {
            let leads = operator.metric("slotmesh_operator_leader").await;
            if leads.is_ok_and(|leads| leads > 0.0) {
                return Ok(operator);
            }
        }
        bail!("no operator says that it leads")
    }

    /// Names of the operators' pods.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn operator_pods(&self) -> Result<Vec<String>> {
        let operators = self.operators().await?.into_iter();
        Ok(operators.map(|operator| operator.name).collect())
    }

    /// Kills these operators, keeps them down and waits until none of them answers.
    ///
    /// # Errors
    /// When one is not on these nodes.
    pub async fn hold_operators(&self, pods: &[String]) -> Result<()> {
        for pod in pods {
            self.operators.hold(OPERATOR_NAMESPACE, pod)?;
        }
        wait::until("the operators to be dead", DEADLINE, async || {
            for operator in self.operators().await? {
                if operator.metric("slotmesh_operator_leader").await.is_ok() {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Starts them again.
    ///
    /// # Errors
    /// When one is not on these nodes.
    pub fn return_operators(&self, pods: &[String]) -> Result<()> {
        pods.iter()
            .try_for_each(|pod| self.operators.return_pod(OPERATOR_NAMESPACE, pod))
    }
}
