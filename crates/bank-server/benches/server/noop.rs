//! The server that does nothing: the method `Deposit` of our `.proto` on tonic's own server and the runtime
//! of `bank-server`, answered with the same reply each time. Nothing on this stack is faster.

use std::{
    convert::Infallible,
    io::Write as _,
    task::{Context, Poll},
};

use bank_proto::v1;
use futures::future::{BoxFuture, Ready, ready};
use http::{Request, Response};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::Server,
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::sample;

/// Serves until it is killed. The first line names the port, as the log of `bank-server` does.
pub(crate) fn serve() -> anyhow::Result<()> {
    // As in main.rs.
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        writeln!(std::io::stdout(), "{}", serde_json::json!({ "address": address }))?;
        let incoming = TcpListenerStream::new(listener);
        Server::builder().tcp_nodelay(true).add_service(Noop).serve_with_incoming(incoming).await?;
        Ok(())
    })
}

/// What tonic generates for a service, with one method.
#[derive(Clone)]
struct Noop;

impl NamedService for Noop {
    const NAME: &'static str = "bank.v1.BankService";
}

impl Service<Request<Body>> for Noop {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/bank.v1.BankService/Deposit" => {
                    Grpc::new(ProstCodec::default()).unary(Deposit, request).await
                }
                _ => Status::unimplemented("only Deposit is here").into_http(),
            })
        })
    }
}

struct Deposit;

impl UnaryService<v1::DepositRequest> for Deposit {
    type Response = v1::DepositResponse;
    type Future = Ready<Result<tonic::Response<v1::DepositResponse>, Status>>;

    fn call(&mut self, _: tonic::Request<v1::DepositRequest>) -> Self::Future {
        ready(Ok(tonic::Response::new(sample::reply())))
    }
}
