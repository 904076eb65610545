//! Agents and operators as stories ask them: over HTTP, as anybody would.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Deserialize;

use crate::http::{self, Asker};

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Name of the pod.
    pub name: String,
    /// UID of the pod.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// Its address.
    pub ip: IpAddr,
}

/// An operator's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Name of the pod.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
}

/// Who owns a key, as an agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Location {
    /// Of the map in force.
    pub epoch: u64,
    /// Whether the agent says that the answer may be outdated.
    pub stale: bool,
    /// Who.
    pub owner: OwnerName,
}

/// An owner, as an agent names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OwnerName {
    /// Name of the pod.
    pub name: String,
    /// UID of the pod.
    pub uid: String,
}

/// What `/v1/members` answers; what is needed of it.
#[derive(Deserialize)]
struct MembersAnswer {
    members: Vec<MemberState>,
}

#[derive(Deserialize)]
struct MemberState {
    uid: String,
    incarnation: u64,
    state: String,
}

impl Agent {
    /// None while it has no node or address.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        Some(Self {
            name: pod.name_any(),
            uid: pod.uid()?,
            node: pod.spec.as_ref()?.node_name.clone()?,
            ip: pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?,
        })
    }

    /// URL of its local API.
    #[must_use]
    pub fn api(&self, path: &str) -> String {
        format!("http://{}:7402{path}", self.ip)
    }

    /// URL of its metrics.
    #[must_use]
    pub fn metrics_url(&self) -> String {
        format!("http://{}:7403/metrics", self.ip)
    }

    /// One of its metrics.
    ///
    /// # Errors
    /// When it does not answer, or knows no such metric.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let metrics = http::metrics(&self.metrics_url()).await?;
        metrics
            .get(name)
            .copied()
            .with_context(|| format!("{} has no metric {name}", self.name))
    }

    /// Incarnations of the members that this agent's map lists, by UID of the pod.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn incarnations(&self) -> Result<BTreeMap<String, u64>> {
        let members = self.members().await?.into_iter();
        Ok(members
            .map(|member| (member.uid, member.incarnation))
            .collect())
    }

    /// UIDs of the listed members that this agent finds failed.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn failed(&self) -> Result<Vec<String>> {
        let members = self.members().await?.into_iter();
        let failed = members.filter(|member| member.state == "Failed");
        Ok(failed.map(|member| member.uid).collect())
    }

    async fn members(&self) -> Result<Vec<MemberState>> {
        let answer: MembersAnswer =
            serde_json::from_value(http::json(&self.api("/v1/members")).await?)?;
        Ok(answer.members)
    }

    /// Who owns a key, as this agent sees it.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn locate(&self, key: &str) -> Result<Location> {
        self.locate_by(&Asker::default(), key).await
    }

    /// The same over connections that are kept.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn locate_by(&self, asker: &Asker, key: &str) -> Result<Location> {
        let answer = asker
            .json(&self.api(&format!("/v1/locate?key={key}")))
            .await?;
        Ok(serde_json::from_value(answer)?)
    }

    /// Owner (its pod's UID) of each of these slots, as this agent sees it or knows whom to ask.
    ///
    /// # Errors
    /// When one is not answered within one hop.
    pub async fn owners_of(&self, slots: &[u16]) -> Result<Vec<String>> {
        let asker = Asker::default();
        let mut owners = Vec::new();
        for slot in slots {
            let answer = asker.json(&self.api(&format!("/v1/slots/{slot}"))).await?;
            let location: Location = serde_json::from_value(answer)?;
            owners.push(location.owner.uid);
        }
        Ok(owners)
    }
}

impl Operator {
    /// One of its metrics.
    ///
    /// # Errors
    /// When it does not answer, or knows no such metric.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        let metrics = http::metrics(&format!("http://{}:8080/metrics", self.ip)).await?;
        metrics
            .get(name)
            .copied()
            .with_context(|| format!("{} has no metric {name}", self.name))
    }
}
