//! `bank-server`: configuration, log, store, ledger, server, shutdown.

use std::{env, panic, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use bank_domain::{redacted, visible};
use bank_server::{
    admin::{Admin, Sources},
    audit_trail::Flushing,
    config::{self, Args, Config, Loaded},
    grpc::BankApi,
    ledger::Ledger,
    metrics::Metrics,
    network::Socket,
    server::{Drained, Gate, Server, Signals},
    store,
    telemetry::{self, LogControl},
    terminal::{fail, print, usage},
};
use clap::Parser as _;
use tokio::{runtime::Runtime, time::Instant};

/// A call makes dozens of small allocations: docs/performance.md says what this allocator gains.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    start().unwrap_or_else(|code| code)
}

/// Does what the command line asks for. An error has been printed and is an exit code.
fn start() -> Result<ExitCode, ExitCode> {
    let args = Args::try_parse().map_err(|error| usage(&error))?;
    let loaded = config::load(&args, env::vars_os()).map_err(|error| fail(&error))?;
    if args.print_config {
        return Ok(print(&loaded.to_toml()));
    }
    if args.check {
        return Ok(print("ok\n"));
    }
    let runtime = Runtime::new().map_err(|error| fail(&format!("cannot start threads: {error}")))?;
    let code = if args.check_store {
        runtime.block_on(check_store(&loaded.config))
    } else {
        serve(&runtime, &loaded)
    };
    // Does not wait for work that was given up, such as resolving a host name.
    runtime.shutdown_background();
    Ok(code)
}

async fn check_store(config: &Config) -> ExitCode {
    // The report says what is damaged.
    panic::set_hook(Box::new(|_| {}));
    match store::check(config.store_options(config.timekeeper())).await {
        Ok((report, is_in_order)) if print(&visible::lines(&report)) == ExitCode::SUCCESS && is_in_order => {
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            fail(&telemetry::in_full(&error));
            ExitCode::FAILURE
        }
    }
}

fn serve(runtime: &Runtime, loaded: &Loaded) -> ExitCode {
    // The exporter of spans needs the runtime.
    let inside = runtime.enter();
    let telemetry = match telemetry::init(&loaded.config.log, &loaded.config.traces) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(&error),
    };
    drop(inside);
    let code = runtime.block_on(run(loaded, telemetry.log())).unwrap_or_else(|error| {
        tracing::error!("{}", redacted(&telemetry::in_full(&error)));
        ExitCode::FAILURE
    });
    telemetry.end();
    code
}

async fn run(loaded: &Loaded, log: LogControl) -> anyhow::Result<ExitCode> {
    let config = &loaded.config;
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    let file = loaded.file.as_ref().map(|path| redacted(&path.to_string_lossy()));
    let _audit_trail = Flushing::start();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config_file = file, "starting bank-server");
    let clock = config.timekeeper();
    let socket = Socket::bind(config.server.listen)?;
    let gate =
        Gate::open(config.tls_options(&clock), config.token_options(&clock), config.is_reachable_by_others())
            .await?;
    let store = tokio::select! {
        store = store::open(config.store_options(clock)) => store?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it was ready");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let (bank_id, durability) = (store.bank_id(), store.durability());
    tracing::info!(store = store.name(), bank_id, %durability, "the store is open");
    let metrics = Arc::new(Metrics::new()?);
    let ledger = Ledger::start(store, Arc::clone(&metrics), &config.ledger_options());
    let api = BankApi::new(ledger.clone(), config.api_options());
    let mut server =
        Server::start(socket, api, ledger.clone(), Arc::clone(&metrics), gate, &config.server_options())?;
    let _admin = if let Some(address) = config.admin.listen {
        let (ready, store) = (server.ready(), Arc::clone(ledger.store()));
        let sources = Sources { metrics, ready, log, store };
        let admin = Admin::start(address, config.admin.hosts.clone(), sources).await?;
        tracing::info!(admin = %admin.address(), "answering /metrics, /healthz, /readyz and /log");
        Some(admin)
    } else {
        None
    };
    let address = server.address();
    tracing::info!(%address, "listening for gRPC calls");
    tracing::info!("Server started on port {}", address.port());

    let signal = tokio::select! {
        signal = signals.next() => signal,
        error = server.stopped() => return Err(error),
        () = ledger.failed() => return Err(anyhow!("the ledger has failed: start the server again")),
    };
    let grace_ms = config.server.shutdown_grace_ms;
    tracing::info!(signal, grace_ms, "stopping: finishing the calls in flight");
    tokio::select! {
        code = drain(server, config.shutdown_grace()) => Ok(code),
        signal = signals.next() => {
            tracing::error!(signal, "a second signal: stopped at once; calls in flight were cut off");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn drain(server: Server, grace: Duration) -> ExitCode {
    let began_at = Instant::now();
    let Drained { calls_cut_off, ledger_drained } = server.drain(began_at + grace).await;
    let took_ms = u64::try_from(began_at.elapsed().as_millis()).unwrap_or(u64::MAX);
    if calls_cut_off == 0 && ledger_drained {
        tracing::info!(took_ms, "stopped: all work is finished");
        return ExitCode::SUCCESS;
    }
    tracing::error!(
        took_ms,
        calls_cut_off,
        ledger_drained,
        "stopped after server.shutdown_grace_ms with unfinished work; callers learn the outcome by repeating a call \
         with the same request_id",
    );
    ExitCode::FAILURE
}
