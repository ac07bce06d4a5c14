//! The generator with tonic's own client: one connection for each channel.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context as _, anyhow};
use bank_proto::v1::bank_service_client::BankServiceClient;
use tonic::transport::{Channel, Endpoint};

use crate::{
    messages::Deposits,
    meter::{Latencies, Meter},
};

/// A connection that many callers share.
pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<BankServiceClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true);
    let channel = endpoint.connect().await.with_context(|| format!("cannot reach {address}"))?;
    Ok(BankServiceClient::new(channel))
}

/// One caller, who waits for each reply before the next call.
pub(crate) async fn drive(
    mut client: BankServiceClient<Channel>,
    mut deposits: Deposits,
    meter: Arc<Meter>,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::default();
    while !meter.is_stopping() {
        let request = deposits.next_request();
        let sent_at = Instant::now();
        if let Err(status) = client.deposit(request).await {
            meter.failed();
            return Err(anyhow!("a deposit failed: {:?}: {}", status.code(), status.message()));
        }
        meter.done(1, sent_at.elapsed(), &mut latencies);
    }
    Ok(latencies)
}
