//! HTTP and TCP probes, as a kubelet makes them: from the node itself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::Host;

/// One of a container's probes and how it went so far.
pub(super) struct Prober {
    probe: Probe,
    successes: i32,
    failures: i32,
}

impl Prober {
    pub(super) fn new(probe: Option<&Probe>) -> Option<Self> {
        probe.map(|probe| Self {
            probe: probe.clone(),
            successes: 0,
            failures: 0,
        })
    }

    pub(super) fn period(&self) -> Duration {
        Duration::from_secs(
            u64::try_from(self.probe.period_seconds.unwrap_or(10))
                .unwrap_or(10)
                .max(1),
        )
    }

    /// Probes once; Some(result) when a threshold is reached.
    pub(super) async fn probe(
        &mut self,
        host: &Host,
        container: &Container,
        ip: IpAddr,
    ) -> Option<bool> {
        let limit = Duration::from_secs(
            u64::try_from(self.probe.timeout_seconds.unwrap_or(1))
                .unwrap_or(1)
                .max(1),
        );
        let well = tokio::time::timeout(limit, ask(host, &self.probe, container, ip))
            .await
            .unwrap_or(false);
        if well {
            self.successes += 1;
            self.failures = 0;
            (self.successes >= self.probe.success_threshold.unwrap_or(1)).then_some(true)
        } else {
            self.failures += 1;
            self.successes = 0;
            (self.failures >= self.probe.failure_threshold.unwrap_or(3)).then_some(false)
        }
    }
}

async fn ask(host: &Host, probe: &Probe, container: &Container, ip: IpAddr) -> bool {
    if let Some(get) = &probe.http_get {
        let Some(port) = port_of(&get.port, container) else {
            return false;
        };
        let path = get.path.as_deref().unwrap_or("/");
        return host
            .get(SocketAddr::new(ip, port), path)
            .await
            .is_ok_and(|(status, _)| (200..400).contains(&status));
    }
    if let Some(tcp) = &probe.tcp_socket {
        let Some(port) = port_of(&tcp.port, container) else {
            return false;
        };
        return match &host.namespace {
            Some(namespace) => namespace.connect(SocketAddr::new(ip, port)).await.is_ok(),
            None => TcpStream::connect((ip, port)).await.is_ok(),
        };
    }
    // Other kinds need a container runtime.
    false
}

fn port_of(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let ports = container.ports.as_deref().unwrap_or_default();
            let named = ports.iter().find(|port| port.name.as_ref() == Some(name))?;
            u16::try_from(named.container_port).ok()
        }
    }
}
