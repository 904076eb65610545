//! Whole agents, the real binary, that were given the files of another cluster. Each says what is
//! wrong and what to do, once, and goes on trying, because files change.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use slotmesh_api::names;
use slotmesh_e2e::stage::Stage;
use slotmesh_e2e::strangers::{Cluster, request_token};
use slotmesh_e2e::{http, wait};

use crate::DEADLINE;

/// An agent with something of another cluster.
struct Foreigner<'a> {
    what: &'static str,
    name: &'static str,
    address: Ipv4Addr,
    /// Whose trust ConfigMap it has.
    trusts: &'a Cluster,
    /// Whom its token is for.
    audience: &'a Cluster,
    outcome: &'static str,
    /// Parts of the line that it logs.
    says: [&'static str; 2],
}

pub async fn try_all(stage: &Stage, honest: &Cluster, other: &Cluster) -> Result<()> {
    let foreigners = [
        Foreigner {
            what: "an agent with another cluster's trust",
            name: "wrong-trust",
            address: Ipv4Addr::new(127, 250, 0, 1),
            trusts: other,
            audience: honest,
            outcome: "operator_not_trusted",
            says: ["is not trusted", "was the cluster's CA replaced?"],
        },
        Foreigner {
            what: "an agent with a token for another cluster",
            name: "wrong-audience",
            address: Ipv4Addr::new(127, 250, 0, 2),
            trusts: honest,
            audience: other,
            outcome: "refused",
            says: [
                "refuses this agent (TokenRefused)",
                "kubectl describe the GossipCluster",
            ],
        },
    ];
    for foreigner in &foreigners {
        foreigner.is_refused(stage, honest).await?;
    }
    Ok(())
}

impl Foreigner<'_> {
    async fn is_refused(&self, stage: &Stage, cluster: &Cluster) -> Result<()> {
        let pod = &cluster.agents[0];
        let bound = Some((pod.name.as_str(), pod.uid.as_str()));
        let account = names::agent(&cluster.name);
        let audience = self.audience.uid.to_string();
        let token = request_token(stage, &account, &audience, bound).await?;
        let folder = self.trusts.files(stage, self.name, &token)?;
        let environment = [
            ("SLOTMESH_CLUSTER_NAME", cluster.name.clone()),
            ("SLOTMESH_CLUSTER_UID", cluster.uid.to_string()),
            ("SLOTMESH_POD_NAME", self.name.to_owned()),
            ("SLOTMESH_POD_UID", pod.uid.clone()),
            ("SLOTMESH_POD_IP", self.address.to_string()),
            ("SLOTMESH_NODE_NAME", pod.node.clone()),
            ("SLOTMESH_TRUST_DIR", folder.display().to_string()),
            (
                "SLOTMESH_TOKEN_FILE",
                folder.join("token").display().to_string(),
            ),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        let mut agent = stage.start_agent(self.name, environment.into())?;
        let metric = format!(
            r#"slotmesh_agent_join_attempts_total{{outcome="{}"}}"#,
            self.outcome
        );
        wait::until("it to be refused twice", DEADLINE, async || {
            ensure!(!agent.has_ended(), "it ended: {}", stage.log(self.name)?);
            let url = format!("http://{}:7403/metrics", IpAddr::from(self.address));
            let attempts = http::metrics(&url).await?.get(&metric).copied();
            Ok((attempts.unwrap_or(0.0) > 1.5).then_some(()))
        })
        .await?;
        agent.kill().await;
        let log = stage.log(self.name)?;
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
        let said = |line: &&str| self.says.iter().all(|part| line.contains(part));
        ensure!(
            lines.len() == 1 && lines.iter().all(said),
            "one line that holds {:?} was expected: {log}",
            self.says
        );
        println!("  refused: {}, which tries on: {}", self.what, lines[0]);
        Ok(())
    }
}
