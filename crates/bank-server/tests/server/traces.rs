//! Spans of the real server, as an OpenTelemetry collector receives them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bank_client::{AccountType, BankClient, Currency, Money};
use opentelemetry::{
    Context,
    trace::{FutureExt as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::Span,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::support::{
    Bank,
    api::{connect, deposit, savings},
};

/// Keeps every span that it receives.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request
            .into_inner()
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans)
            .flat_map(|scope| scope.spans);
        self.spans.lock().unwrap().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// A collector, and its address.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        (collector, endpoint)
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The span of a call, and its children by their names, once all have arrived.
    async fn call(&self, name: &str, below: usize) -> (Span, BTreeMap<String, Span>) {
        let give_up_at = Instant::now() + Duration::from_mins(1);
        loop {
            let spans = self.spans();
            if let Some(call) = spans.iter().find(|span| span.name == name) {
                let children: BTreeMap<_, _> = spans
                    .iter()
                    .filter(|span| span.parent_span_id == call.span_id)
                    .map(|span| (span.name.clone(), span.clone()))
                    .collect();
                if children.len() == below {
                    return (call.clone(), children);
                }
            }
            let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
            assert!(Instant::now() < give_up_at, "no {name} with {below} spans below it, but {names:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_callers_trace_continues_through_queue_decision_and_commit() {
    let (collector, endpoint) = Collector::start().await;
    let bank =
        Bank::start(&["--store", "memory", "--set", &format!("traces.otlp_endpoint={endpoint}")]).await;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let caller = SpanContext::new(
        TraceId::from_bytes([7; 16]),
        SpanId::from_bytes([9; 8]),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    let trace = Context::new().with_remote_span_context(caller);
    let client = BankClient::connect(bank.endpoint()).await.unwrap();
    async {
        client.create_account("a", AccountType::Savings).await.unwrap();
        let amount = Money { currency: Currency::USD, minor_units: 987_654 };
        client.withdraw("a", amount).await.unwrap_err();
        client.balance("a").await.unwrap();
    }
    .with_context(trace)
    .await;
    // Shutdown sends the remaining spans.
    assert!(bank.terminate().await.success());

    for (method, below) in [("CreateAccount", 3), ("Withdraw", 3), ("GetBalance", 0)] {
        let (call, children) = collector.call(&format!("bank.v1.BankService/{method}"), below).await;
        assert_eq!((call.trace_id, call.parent_span_id), (vec![7; 16], vec![9; 8]), "{method}");
        if below > 0 {
            assert_eq!(children.keys().collect::<Vec<_>>(), ["commit", "decide", "queue"], "{method}");
        }
        for child in children.values() {
            assert!(child.start_time_unix_nano >= call.start_time_unix_nano, "{child:?}");
            assert!(child.end_time_unix_nano <= call.end_time_unix_nano, "{child:?}");
        }
    }
    assert!(!format!("{:?}", collector.spans()).contains("987654"), "an amount is in a span");
}

#[tokio::test]
async fn samples_traces_at_the_configured_ratio() {
    let (collector, endpoint) = Collector::start().await;
    let endpoint = format!("traces.otlp_endpoint={endpoint}");
    for (percent, expected) in [("traces.sampled_percent=0", 0), ("traces.sampled_percent=100", 2)] {
        let bank = Bank::start(&["--store", "memory", "--set", &endpoint, "--set", percent]).await;
        let mut client = connect(&bank.endpoint()).await;
        client.create_account(savings("a")).await.unwrap();
        client.deposit(deposit("a", 1)).await.unwrap();
        assert!(bank.terminate().await.success());
        let calls = collector.spans().iter().filter(|span| span.parent_span_id.is_empty()).count();
        assert_eq!(calls, expected, "{percent}");
    }
}

#[tokio::test]
async fn a_missing_collector_costs_only_its_spans() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = format!("traces.otlp_endpoint=http://{closed}");
    let bank = Bank::start(&["--store", "memory", "--set", &endpoint]).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    assert!(bank.terminate().await.success());
    assert!(bank.log().contains("opentelemetry"), "it does not say that spans are lost: {}", bank.log());
}
