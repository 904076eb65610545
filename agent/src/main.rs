//! The `slotmesh-agent` binary.

use std::process::ExitCode;

use slotmesh_agent::{Config, logging, run};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let config = match Config::from_arguments(std::env::args_os()) {
        Ok(config) => config,
        Err((text, 0)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err((text, code)) => {
            eprintln!("{text}");
            return ExitCode::from(code);
        }
    };
    logging::start(config.log_format, config.log_level);
    // One thread does: an agent costs less than a hundredth of a core.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("slotmesh-agent: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(async { run(config, terminated()?).await }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A wrong value is told as those are that are found before anything starts.
            if error.is_wrong_value() {
                eprintln!("slotmesh-agent: {error}");
            } else {
                tracing::error!(%error, "the agent stops");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Ends with the first SIGTERM or SIGINT; the second ends the process at once.
fn terminated() -> Result<impl Future<Output = ()>, slotmesh_agent::AgentError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            std::process::exit(130);
        });
    })
}
