//! `bank-server`: settings, log, store, ledger, calls, and an orderly end.

use std::{
    env,
    fmt::Display,
    io::{self, Write as _},
    panic,
    process::ExitCode,
    sync::Arc,
};

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
    server::{Gate, Server, Signals},
    store,
    telemetry::{self, LogControl},
};
use clap::Parser as _;
use tokio::{
    runtime::Runtime,
    time::{Instant, timeout_at},
};

/// A call takes and gives back dozens of small pieces of memory: docs/performance.md says what this gives.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command line or a setting is wrong.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let loaded = match config::load(&args, env::vars_os()) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    if args.print_config {
        return print(&loaded.to_toml());
    }
    if args.check {
        return print("ok\n");
    }
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start threads: {error}")),
    };
    let code = if args.check_store {
        runtime.block_on(check_store(&loaded.config))
    } else {
        serve(&runtime, &loaded)
    };
    // Whatever still runs has been given up, such as a look-up of a host name that does not answer.
    runtime.shutdown_background();
    code
}

async fn check_store(config: &Config) -> ExitCode {
    // What is damaged is told below.
    panic::set_hook(Box::new(|_| {}));
    match store::check(config.store_options(config.timekeeper())).await {
        Ok((report, is_in_order)) if print(&visible::lines(&report)) == ExitCode::SUCCESS && is_in_order => {
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            refuse(&telemetry::in_full(&error));
            ExitCode::FAILURE
        }
    }
}

fn serve(runtime: &Runtime, loaded: &Loaded) -> ExitCode {
    // What sends spans runs on it.
    let inside = runtime.enter();
    let telemetry = match telemetry::init(&loaded.config.log, &loaded.config.traces) {
        Ok(telemetry) => telemetry,
        Err(error) => return refuse(&error),
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
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config_file = file, "bank-server starts");
    let clock = config.timekeeper();
    let socket = Socket::bind(config.server.listen)?;
    let gate = Gate::open(config.gate_options(&clock)).await?;
    let store = tokio::select! {
        store = store::open(config.store_options(clock)) => store?,
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it was started");
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
    let _admin = match config.admin.listen {
        Some(address) => {
            let (ready, store) = (server.ready(), Arc::clone(ledger.store()));
            let accounts_interval = config.accounts_interval();
            let sources = Sources { metrics, ready, log, store, accounts_interval };
            let admin = Admin::start(address, config.admin.hosts.clone(), sources).await?;
            tracing::info!(admin = %admin.address(), "answering /metrics, /healthz, /readyz and /log");
            Some(admin)
        }
        None => None,
    };
    let address = server.address();
    tracing::info!(%address, "listening for gRPC calls");
    tracing::info!("Server started on port {}", address.port());

    let signal = tokio::select! {
        signal = signals.next() => signal,
        error = server.stopped() => return Err(error.into()),
        () = ledger.failed() => return Err(anyhow!("the ledger has failed: start the server again")),
    };
    let grace_ms = config.server.shutdown_grace_ms;
    tracing::info!(signal, grace_ms, "stopping: finishing the calls in flight");
    tokio::select! {
        code = drain(server, ledger, config) => Ok(code),
        signal = signals.next() => {
            tracing::error!(signal, "a second signal: stopped at once; calls in flight were cut off");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Finishes what was begun, as far as the grace period allows.
async fn drain(server: Server, ledger: Ledger, config: &Config) -> ExitCode {
    let began_at = Instant::now();
    let give_up_at = began_at + config.shutdown_grace();
    let calls_cut_off = server.drain(give_up_at).await.calls_cut_off;
    let ledger_drained = timeout_at(give_up_at, ledger.drain()).await.is_ok();
    // What is acknowledged is safe without it.
    let _ = timeout_at(give_up_at, ledger.store().close()).await;
    let took_ms = u64::try_from(began_at.elapsed().as_millis()).unwrap_or(u64::MAX);
    if calls_cut_off == 0 && ledger_drained {
        tracing::info!(took_ms, "stopped: everything was finished");
        return ExitCode::SUCCESS;
    }
    tracing::error!(
        took_ms,
        calls_cut_off,
        ledger_drained,
        "stopped after server.shutdown_grace_ms with work unfinished; callers find out what became of \
         theirs by sending it again with the same request_id",
    );
    ExitCode::FAILURE
}

/// Prints the help or the version that was asked for, or what is wrong with the command line.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        return refuse(&error.render().to_string().trim_end());
    }
    printed(error.print())
}

fn print(text: &str) -> ExitCode {
    printed(io::stdout().write_all(text.as_bytes()))
}

/// What was asked for and could not be written was not given.
fn printed(result: io::Result<()>) -> ExitCode {
    match result.and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            refuse(&format_args!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong with the command line, a setting or the start. It may quote a mistyped URL.
fn refuse(problem: &dyn Display) -> ExitCode {
    // If standard error is closed, the exit code has to do.
    let _ = writeln!(io::stderr(), "{}", visible::lines(&redacted(&problem.to_string())));
    ExitCode::from(BAD_USAGE)
}
