//! The health service of a server.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
pub use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::Bank;

pub const BANK_SERVICE: &str = "bank.v1.BankService";

pub async fn channel(bank: &Bank) -> Channel {
    Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap()
}

pub fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

pub async fn health(bank: &Bank, service: &str) -> ServingStatus {
    let mut client = HealthClient::new(channel(bank).await);
    client.check(of(service)).await.unwrap().into_inner().status()
}

/// Waits until the bank has this status.
pub async fn becomes(bank: &Bank, status: ServingStatus) {
    service_becomes(bank, BANK_SERVICE, status).await;
    assert_eq!(health(bank, "").await, status);
}

/// Waits until a service of the bank has this status.
pub async fn service_becomes(bank: &Bank, service: &str, status: ServingStatus) {
    let give_up_at = Instant::now() + Duration::from_mins(1);
    while health(bank, service).await != status {
        assert!(Instant::now() < give_up_at, "{service} does not become {status:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
