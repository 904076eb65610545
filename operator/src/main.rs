//! The `slotmesh-operator` binary.

use std::net::SocketAddr;
use std::process::ExitCode;

use kube::Client;
use slotmesh_operator::check;
use slotmesh_operator::command_line::Task;
use slotmesh_operator::config::{Config, LogFormat};
use slotmesh_operator::http::{self, Health};
use slotmesh_operator::join::{Port, Registry};
use slotmesh_operator::leader::Leader;
use slotmesh_operator::lease::{Candidacy, Elector};
use slotmesh_operator::metrics::Metrics;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let task = Task::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("slotmesh-operator: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match task {
        Task::Operate(config) => {
            start_logging(&config);
            let done = runtime.block_on(run(*config));
            exit_code(done, |error| tracing::error!(%error, "the operator stops"))
        }
        Task::CheckInstall(check) => {
            let done = runtime.block_on(async {
                let client = client().await?;
                check::run(client, &check).await.map_err(Failure::from)
            });
            exit_code(done, |error| {
                eprintln!("the installation does not work: {error}")
            })
        }
    }
}

fn exit_code(done: Result<(), Failure>, complain: impl FnOnce(Failure)) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

async fn client() -> Result<Client, Failure> {
    Ok(Client::try_default()
        .await
        .map_err(|error| format!("no way to the API server: {error}; in a cluster a ServiceAccount is needed, outside KUBECONFIG"))?)
}

fn start_logging(config: &Config) {
    // Errors of the client library come back to us; its own lines would say them twice.
    let filter = EnvFilter::new(format!("{},kube_client=off", config.log_level.as_str()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

async fn run(config: Config) -> Result<(), Failure> {
    let times = config.election_times()?;
    let metrics = Metrics::new()?;
    let health = Health::default();
    let address = SocketAddr::new(config.pod_ip, config.metrics_port);
    http::serve(address, metrics.clone(), health.clone())
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let client = client().await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let candidacy = Candidacy {
        namespace: config.namespace.clone(),
        lease: config.leader_elect_lease_name.clone(),
        identity: config.pod_name.clone(),
        join_address: config.join_address(),
        changes: metrics.leader_changes.clone(),
    };
    let mut elector = Elector::new(client.clone(), candidacy, times);
    let joins = Registry::issuing(config.certificate_lifetime);
    // Open from the start: whoever does not lead names the leader.
    let mut port = Port::bind(
        config.join_address(),
        joins.clone(),
        elector.leader(),
        metrics.clone(),
    )?;
    tracing::info!(
        pod = config.pod_name,
        namespace = config.namespace,
        watches = %config.watch_namespaces,
        "operator started"
    );

    loop {
        let work = async {
            let tenure = tokio::select! {
                tenure = elector.acquire(|| health.set_ready()) => tenure,
                () = port.follow() => return Err("the join port closed by itself".into()),
            };
            metrics.leader.set(1);
            let (client, joins) = (client.clone(), joins.clone());
            let mut leader = Leader::start(client, &config, tenure, joins, &metrics, &health);
            let api = leader.api();
            tokio::select! {
                () = elector.keep() => {}
                () = leader.ended() => {}
                () = port.lead(&api) => {}
            }
            metrics.leader.set(0);
            Ok::<(), Failure>(())
        };
        tokio::select! {
            result = work => result?,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    // Everything that writes has been dropped by now.
    metrics.leader.set(0);
    // Joins under way are told to ask again; meanwhile the Lease goes to whoever stands by.
    tokio::select! {
        () = elector.release() => {}
        () = port.follow() => {}
    }
    port.close().await;
    tracing::info!("stopped");
    Ok(())
}
