//! HTTP and TCP probes, as a kubelet makes them: from the node itself.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::Host;
use super::status::Told;

/// The probes of a container, for one process of it.
pub(super) struct Probes {
    startup: Option<Prober>,
    readiness: Option<Prober>,
    liveness: Option<Prober>,
}

impl Probes {
    pub(super) fn of(container: &Container) -> Self {
        Self {
            startup: Prober::new(container.startup_probe.as_ref()),
            readiness: Prober::new(container.readiness_probe.as_ref()),
            liveness: Prober::new(container.liveness_probe.as_ref()),
        }
    }

    /// Probes, and tells of it, until the process is to be killed.
    pub(super) async fn until_failing(
        mut self,
        host: &Host,
        container: &Container,
        ip: IpAddr,
        told: &watch::Sender<Told>,
    ) {
        if let Some(startup) = &mut self.startup {
            if !startup.verdict(host, container, ip).await {
                return;
            }
            let ready = self.readiness.is_none();
            told.send_modify(|told| (told.started, told.ready) = (true, ready));
        }
        let readiness = async {
            while let Some(readiness) = &mut self.readiness {
                let well = readiness.verdict(host, container, ip).await;
                told.send_if_modified(|told| std::mem::replace(&mut told.ready, well) != well);
            }
            std::future::pending().await
        };
        let liveness = async {
            while let Some(liveness) = &mut self.liveness {
                if !liveness.verdict(host, container, ip).await {
                    return;
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            () = readiness => {}
            () = liveness => {}
        }
    }
}

/// One of a container's probes and how it went so far.
struct Prober {
    probe: Probe,
    ticks: Interval,
    successes: i32,
    failures: i32,
}

impl Prober {
    fn new(probe: Option<&Probe>) -> Option<Self> {
        let probe = probe?.clone();
        let period = u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10);
        let mut ticks = tokio::time::interval(Duration::from_secs(period.max(1)));
        // A probe that took longer is not made up for by two at once.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self {
            probe,
            ticks,
            successes: 0,
            failures: 0,
        })
    }

    /// Probes once a period until a threshold is reached; whether it is that of success.
    async fn verdict(&mut self, host: &Host, container: &Container, ip: IpAddr) -> bool {
        loop {
            self.ticks.tick().await;
            if let Some(well) = self.probe(host, container, ip).await {
                return well;
            }
        }
    }

    /// Probes once; Some(result) when a threshold is reached.
    async fn probe(&mut self, host: &Host, container: &Container, ip: IpAddr) -> Option<bool> {
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
