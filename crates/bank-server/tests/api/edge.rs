//! What the server answers before the bank is asked: requests that are not gRPC, messages that cannot be read, methods
//! that do not exist.
//!
//! The bugs: the gRPC stack answered these by itself, without `google.rpc.ErrorInfo`. A message that could not be decoded
//! was an `INTERNAL` error, which raised an alert; one that was too large was `OUT_OF_RANGE`; a token of 15 KB was a
//! bare HTTP 431, after which a client had to assume that its call may have been carried out. GET and `text/plain`
//! were served as gRPC.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bank_proto::v1;
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Method, StatusCode};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{
    Bank, admin,
    api::{Failed, connect, deposit, failed, savings},
    tokens::Issuer,
};

const DEPOSIT: &str = "/bank.v1.BankService/Deposit";
const BATCH: &str = "/bank.v1.BankService/ExecuteBatch";
const CHECK: &str = "/grpc.health.v1.Health/Check";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

type Change = fn(&mut http::Request<()>);

/// A reply, with its headers and trailers.
struct Answer {
    http: StatusCode,
    headers: HeaderMap,
}

/// HTTP/2 without gRPC.
async fn speak(bank: &Bank) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(("127.0.0.1", bank.port())).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    requests.ready().await.unwrap()
}

async fn ask(
    requests: &mut SendRequest<Bytes>,
    path: &str,
    change: impl FnOnce(&mut http::Request<()>),
    body: &[u8],
) -> Answer {
    let request = http::Request::post(format!("http://bank{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    let mut request = request.body(()).unwrap();
    change(&mut request);
    *requests = requests.clone().ready().await.unwrap();
    let (response, mut message) = requests.send_request(request, false).unwrap();
    // It may have been answered by its headers alone.
    let _ = message.send_data(Bytes::copy_from_slice(body), true);
    let (parts, mut body) = response.await.unwrap().into_parts();
    while let Some(data) = body.data().await {
        let length = data.unwrap().len();
        body.flow_control().release_capacity(length).unwrap();
    }
    let mut headers = parts.headers;
    headers.extend(body.trailers().await.unwrap().unwrap_or_default());
    Answer { http: parts.status, headers }
}

/// A message in its frame.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

fn good() -> Vec<u8> {
    frame(0, &deposit("a", 1).encode_to_vec())
}

fn error(answer: &Answer) -> Failed {
    assert_eq!(answer.headers["content-type"], "application/grpc", "{:?}", answer.headers);
    failed(Err::<(), _>(Status::from_header_map(&answer.headers).unwrap()))
}

fn header(name: &'static str, value: &'static str) -> impl Fn(&mut http::Request<()>) {
    move |request| {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
}

#[tokio::test]
async fn rejects_requests_that_are_no_grpc_calls_before_authentication() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let mut requests = speak(&bank).await;
    let method =
        |method: Method| move |request: &mut http::Request<()>| *request.method_mut() = method.clone();
    for path in
        [DEPOSIT, BATCH, CHECK, REFLECTION, "/", "/bank.v1.Unknown/Deposit", "/bank.v1.BankService/Unknown"]
    {
        for wrong in [Method::GET, Method::PUT, Method::OPTIONS, Method::HEAD, Method::DELETE] {
            let answer = ask(&mut requests, path, method(wrong.clone()), &good()).await;
            assert_eq!(answer.http, StatusCode::METHOD_NOT_ALLOWED, "{path} {wrong}");
            assert_eq!(answer.headers["allow"], "POST");
            let error = error(&answer);
            assert_eq!((error.code, &*error.reason), (Code::InvalidArgument, "NOT_GRPC"), "{error:?}");
            assert!(error.message.contains(wrong.as_str()), "{error:?}");
        }
        for wrong in ["text/plain", "application/json", "application/grpc-web", "application/grpc+json", ""] {
            let answer = ask(&mut requests, path, header("content-type", wrong), &good()).await;
            assert_eq!(answer.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path} {wrong}");
            let error = error(&answer);
            assert_eq!((error.code, &*error.reason), (Code::InvalidArgument, "NOT_GRPC"), "{error:?}");
            assert!(error.message.contains(wrong), "{error:?}");
        }
        let without = |request: &mut http::Request<()>| drop(request.headers_mut().remove("content-type"));
        let answer = ask(&mut requests, path, without, &good()).await;
        assert_eq!(answer.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{path}");
        assert!(error(&answer).message.starts_with("no content-type"));
    }
    // A gRPC call in each spelling gets as far as authentication.
    for right in ["application/grpc", "application/grpc+proto", "Application/GRPC", "application/grpc;a=b"] {
        let answer = ask(&mut requests, DEPOSIT, header("content-type", right), &good()).await;
        assert_eq!((answer.http, &*error(&answer).reason), (StatusCode::OK, "CREDENTIALS_MISSING"));
    }
    bank.terminate().await;
    let denied = bank.lines().iter().filter(|line| line["event"] == "unauthenticated").count();
    assert_eq!(denied, 4, "nobody was asked for a token but by the calls of gRPC");
}

/// Makes calls that the gRPC stack answers by itself, on one connection, which must stay open.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn errors_of_the_grpc_stack_carry_a_reason() {
    let bank = Bank::memory().await;
    connect(&bank.endpoint()).await.create_account(savings("a")).await.unwrap();
    let mut requests = speak(&bank).await;
    let large =
        frame(0, &v1::DepositRequest { description: "d".repeat(70_000), ..deposit("a", 1) }.encode_to_vec());
    let gzip = header("grpc-encoding", "gzip");
    let as_is: Change = |_| {};
    let malformed = (Code::InvalidArgument, "MALFORMED_MESSAGE");
    let too_large = (Code::ResourceExhausted, "MESSAGE_TOO_LARGE");
    for (what, path, body, (code, reason), says) in [
        ("a field of another type", DEPOSIT, frame(0, &[0x08, 1]), malformed, "account_id"),
        ("a field that is cut short", DEPOSIT, frame(0, &[0x0a, 9, b'a']), malformed, "cannot be read"),
        ("text that is not UTF-8", DEPOSIT, frame(0, &[0x0a, 1, 0xff]), malformed, "UTF-8"),
        ("random bytes", DEPOSIT, frame(0, &[0xff; 20]), malformed, "cannot be read"),
        ("a message that is cut short", DEPOSIT, good()[..8].to_vec(), malformed, "cannot be read"),
        ("no message", DEPOSIT, Vec::new(), malformed, "Missing request message"),
        ("a flag that does not exist", DEPOSIT, frame(2, &[]), malformed, "flag"),
        ("a compressed message without an encoding", DEPOSIT, frame(1, &[]), malformed, "grpc-encoding"),
        (
            "a message that is too large",
            DEPOSIT,
            large.clone(),
            too_large,
            "server.message_bytes_max allows: 65536",
        ),
        (
            "a length that is too large",
            DEPOSIT,
            vec![0, 255, 255, 255, 255],
            too_large,
            "server.message_bytes_max",
        ),
        (
            "a batch that is too large",
            BATCH,
            vec![0, 255, 255, 255, 255],
            too_large,
            "server.batch_bytes_max allows: 2097152",
        ),
        ("a health check that is too large", CHECK, large.clone(), too_large, "server.message_bytes_max"),
        ("a health check that is malformed", CHECK, frame(0, &[0x08, 1]), malformed, "service"),
        (
            "a method that does not exist",
            "/bank.v1.BankService/Steal",
            good(),
            (Code::Unimplemented, "METHOD_NOT_FOUND"),
            "no such",
        ),
        (
            "a service that does not exist",
            "/bank.v9.Bank/Deposit",
            good(),
            (Code::Unimplemented, "METHOD_NOT_FOUND"),
            "no such",
        ),
        ("no path", "/", good(), (Code::Unimplemented, "METHOD_NOT_FOUND"), "no such"),
        (
            "a method of health that does not exist",
            "/grpc.health.v1.Health/List",
            good(),
            (Code::Unimplemented, "METHOD_NOT_FOUND"),
            "no such",
        ),
    ] {
        let answer = ask(&mut requests, path, as_is, &body).await;
        let error = error(&answer);
        assert_eq!(
            (answer.http, error.code, &*error.reason),
            (StatusCode::OK, code, reason),
            "{what}: {error:?}"
        );
        assert!(error.message.contains(says), "{what}: {error:?}");
    }
    for path in [DEPOSIT, CHECK, REFLECTION] {
        let answer = ask(&mut requests, path, &gzip, &good()).await;
        let error = error(&answer);
        assert_eq!(
            (error.code, &*error.reason),
            (Code::Unimplemented, "COMPRESSION_NOT_SUPPORTED"),
            "{error:?}"
        );
        assert_eq!(answer.headers["grpc-accept-encoding"], "identity");
        for timeout in ["", "1", "S", "1x", "-1S", "123456789S", "1 S", "١S"] {
            let odd = |request: &mut http::Request<()>| {
                let value = http::HeaderValue::from_bytes(timeout.as_bytes()).unwrap();
                request.headers_mut().insert("grpc-timeout", value);
            };
            let error = self::error(&ask(&mut requests, path, odd, &good()).await);
            assert_eq!(
                (error.code, &*error.reason),
                (Code::InvalidArgument, "INVALID_ARGUMENT"),
                "{error:?}"
            );
            let violations = &error.details.bad_request().unwrap().field_violations;
            assert_eq!(violations[0].field, "grpc-timeout", "{error:?}");
        }
    }
    // Valid calls pass: without a timeout, with one, and with the identity encoding.
    for change in [
        as_is,
        |request| header("grpc-timeout", "5S")(request),
        |request| header("grpc-encoding", "identity")(request),
    ] {
        let answer = ask(&mut requests, DEPOSIT, change, &good()).await;
        assert_eq!(answer.headers["grpc-status"], "0", "{:?}", answer.headers);
    }
    let metrics = admin::metrics(&bank).await;
    for code in ["Internal", "Unknown", "Unavailable", "DataLoss", "DeadlineExceeded"] {
        assert!(
            !metrics.contains(&format!(r#"bank_calls_total{{code="{code}""#)),
            "it raises an alert: {metrics}"
        );
    }
    let malformed = admin::value(&metrics, r#"bank_calls_total{code="InvalidArgument",method="Deposit"}"#);
    assert!(malformed >= 16.0, "{malformed}");
}

#[tokio::test]
async fn rejects_oversized_headers_with_an_error() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let mut requests = speak(&bank).await;
    let token = |bytes: usize| {
        move |request: &mut http::Request<()>| {
            request
                .headers_mut()
                .insert("authorization", format!("Bearer {}", "x".repeat(bytes)).parse().unwrap());
        }
    };
    for path in [DEPOSIT, BATCH] {
        let failed = error(&ask(&mut requests, path, token(15_000), &good()).await);
        assert_eq!(
            (failed.code, &*failed.reason),
            (Code::Unauthenticated, "CREDENTIALS_INVALID"),
            "{failed:?}"
        );
        assert!(failed.message.contains("half of server.header_bytes_max: 8192 bytes"), "{failed:?}");
    }
    for path in [DEPOSIT, CHECK, REFLECTION, "/bank.v9.Bank/Deposit"] {
        for bytes in [16_384, 20_000, 32_000] {
            let failed = error(&ask(&mut requests, path, token(bytes), &good()).await);
            assert_eq!(
                (failed.code, &*failed.reason),
                (Code::ResourceExhausted, "HEADERS_TOO_LARGE"),
                "{failed:?}"
            );
            assert!(failed.message.contains("server.header_bytes_max allows 16384"), "{failed:?}");
            assert_eq!(failed.metadata["header_bytes_max"], "16384");
            assert!(failed.details.retry_info().is_none(), "it is no use to send it again: {failed:?}");
        }
    }
    // Many small headers count like a large one.
    let many = |request: &mut http::Request<()>| {
        for number in 0..500 {
            request
                .headers_mut()
                .insert(http::HeaderName::try_from(format!("x-{number}")).unwrap(), "x".parse().unwrap());
        }
    };
    assert_eq!(error(&ask(&mut requests, DEPOSIT, many, &good()).await).reason, "HEADERS_TOO_LARGE");
    // Even larger ones are answered by HTTP/2 itself, as docs/errors.md says.
    let answer = ask(&mut requests, DEPOSIT, token(33_000), &[]).await;
    assert_eq!(answer.http, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn health_and_reflection_report_unknown_names() {
    let bank = Bank::memory().await;
    let channel = crate::support::health::channel(&bank).await;
    let request = HealthCheckRequest { service: "bank.v1.Nothing".to_owned() };
    let mut health = HealthClient::new(channel.clone());
    for error in [failed(health.check(request.clone()).await), failed(health.watch(request).await)] {
        assert_eq!((error.code, &*error.reason), (Code::NotFound, "NOT_FOUND"), "{error:?}");
    }
    let unknown = |message_request| ServerReflectionRequest { host: String::new(), message_request };
    for (asked, code, reason) in [
        (
            Some(MessageRequest::FileContainingSymbol("bank.v1.Nothing".to_owned())),
            Code::NotFound,
            "NOT_FOUND",
        ),
        (Some(MessageRequest::FileByFilename("nothing.proto".to_owned())), Code::NotFound, "NOT_FOUND"),
        (None, Code::InvalidArgument, "MALFORMED_MESSAGE"),
    ] {
        let requests = futures::stream::iter([unknown(asked)]);
        let replies = ServerReflectionClient::new(channel.clone()).server_reflection_info(requests).await;
        let error = failed(replies.unwrap().into_inner().message().await);
        assert_eq!((error.code, &*error.reason), (code, reason), "{error:?}");
    }
}

/// The bug: grpcurl and buf showed error details as base64, because reflection did not have their types.
#[tokio::test]
async fn reflection_has_the_types_of_error_details() {
    let bank = Bank::memory().await;
    let channel = crate::support::health::channel(&bank).await;
    let described = async |message_request| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(message_request) };
        let requests = futures::stream::iter([request]);
        let replies = ServerReflectionClient::new(channel.clone()).server_reflection_info(requests).await;
        let reply = replies.unwrap().into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::FileDescriptorResponse(response)) = reply.message_response else {
            panic!("{reply:?}")
        };
        FileDescriptorProto::decode(&*response.file_descriptor_proto[0]).unwrap()
    };
    for (symbol, file) in [
        ("google.rpc.ErrorInfo", "google/rpc/error_details.proto"),
        ("google.rpc.BadRequest", "google/rpc/error_details.proto"),
        ("google.rpc.BadRequest.FieldViolation", "google/rpc/error_details.proto"),
        ("google.rpc.RetryInfo", "google/rpc/error_details.proto"),
        ("google.rpc.QuotaFailure", "google/rpc/error_details.proto"),
        ("google.rpc.PreconditionFailure", "google/rpc/error_details.proto"),
        ("google.rpc.ResourceInfo", "google/rpc/error_details.proto"),
        ("google.rpc.Status", "google/rpc/status.proto"),
    ] {
        let by_symbol = described(MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
        assert_eq!(by_symbol.name(), file, "{symbol}");
        assert_eq!(described(MessageRequest::FileByFilename(file.to_owned())).await, by_symbol);
        // The files it imports are there as well.
        for dependency in &by_symbol.dependency {
            let name = described(MessageRequest::FileByFilename(dependency.clone())).await.name().to_owned();
            assert_eq!(&name, dependency);
        }
    }
}
