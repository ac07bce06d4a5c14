//! `grpc.health.v1`: serving while the store takes commits and the clock is right, and not while the server drains.
//!
//! A separate service reports acknowledged writes that are known to be lost. The bank keeps serving then: its books are
//! consistent, and stopping would turn the loss of some writes into the loss of all service. An operator has to know, and
//! decides.

use std::{future::ready, sync::Arc, time::Duration};

use bank_proto::v1::bank_service_server::SERVICE_NAME;
use bank_store::StoreError;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse, health_check_response,
        health_server::{Health, HealthServer},
    },
    server::{HealthReporter, HealthService},
};

use crate::{
    ledger::{Ledger, LostWrites},
    metrics::Metrics,
};

/// The reported services; the one without a name is the whole server.
const SERVICES: [&str; 2] = ["", SERVICE_NAME];

/// Not serving once this server knows that acknowledged writes are lost, until it is restarted.
const ACKNOWLEDGED_WRITES: &str = "bank.v1.AcknowledgedWrites";

/// How readiness is determined.
#[derive(Clone, Debug)]
pub struct HealthOptions {
    /// The pause between two checks of the store.
    pub poll_interval: Duration,
    /// How long the store has to answer.
    pub poll_timeout: Duration,
}

/// The health service, and the task that updates it and `ready` until the server drains.
pub(super) fn service(
    ledger: Ledger,
    metrics: Arc<Metrics>,
    ready: watch::Sender<bool>,
    options: &HealthOptions,
    draining: &CancellationToken,
) -> (HealthServer<impl Health>, impl Future<Output = ()> + Send + 'static) {
    let reporter = HealthReporter::new();
    let inner = HealthService::from_health_reporter(reporter.clone());
    let service = EndingHealth { inner, draining: draining.clone() };
    let feed = feed(ledger, Report { reporter, ready, metrics }, options.clone(), draining.clone());
    (HealthServer::new(service), feed)
}

/// A health service whose streams end when the server drains. Otherwise they would delay shutdown.
struct EndingHealth {
    inner: HealthService,
    draining: CancellationToken,
}

#[tonic::async_trait]
impl Health for EndingHealth {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.inner.check(request).await
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let states = self.inner.watch(request).await?.into_inner();
        let last =
            Ok(HealthCheckResponse { status: health_check_response::ServingStatus::NotServing.into() });
        let draining = self.draining.clone().cancelled_owned();
        Ok(Response::new(states.take_until(draining).chain(stream::once(ready(last))).boxed()))
    }
}

async fn feed(ledger: Ledger, report: Report, options: HealthOptions, draining: CancellationToken) {
    let metrics = &report.metrics;
    metrics.durability_is(&ledger.store().durability());
    // The store has just been opened.
    metrics.durability_given.set(1);
    metrics.store_up.set(1);
    report.serving(true).await;
    report.service(ACKNOWLEDGED_WRITES, true).await;
    draining.run_until_cancelled(poll(&ledger, &options, &report)).await;
    report.serving(false).await;
}

/// Where the state is reported.
struct Report {
    reporter: HealthReporter,
    ready: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

impl Report {
    async fn serving(&self, serving: bool) {
        for service in SERVICES {
            self.service(service, serving).await;
        }
        self.ready.send_replace(serving);
    }

    async fn service(&self, name: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(name, status).await;
    }
}

async fn poll(ledger: &Ledger, options: &HealthOptions, report: &Report) {
    let (store, metrics) = (ledger.store(), &report.metrics);
    let (mut unavailable_since, mut is_serving) = (None, true);
    loop {
        if ledger.lost_writes() != LostWrites::default() {
            report.service(ACKNOWLEDGED_WRITES, false).await;
        }
        let health = timeout(options.poll_timeout, store.health()).await;
        match &health {
            Ok(Ok(())) => metrics.durability_given.set(1),
            Ok(Err(StoreError::Unfit(_))) => metrics.durability_given.set(0),
            // If the store does not answer, the last known state stands.
            Ok(Err(_)) | Err(_) => {}
        }
        let reason = match health {
            Ok(result) => result.err().map(|error| error.to_string()),
            Err(_) => Some(format!("it does not answer within {} ms", options.poll_timeout.as_millis())),
        };
        match (reason, unavailable_since) {
            (Some(reason), None) => {
                unavailable_since = Some(Instant::now());
                tracing::error!(store = store.name(), reason, "the store is unavailable: not serving");
                metrics.store_up.set(0);
            }
            (None, Some(since)) => {
                unavailable_since = None;
                let unavailable_ms = u64::try_from(Instant::elapsed(&since).as_millis()).unwrap_or(u64::MAX);
                tracing::info!(store = store.name(), unavailable_ms, "the store is available again: serving");
                metrics.store_up.set(1);
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        // The clock itself logs when it exceeds its limit and when it is within it again.
        let clock = ledger.clock().read();
        metrics.clock_says(clock);
        let can_serve = unavailable_since.is_none() && !clock.is_off;
        if can_serve != is_serving {
            is_serving = can_serve;
            report.serving(is_serving).await;
        }
        sleep(options.poll_interval).await;
    }
}
