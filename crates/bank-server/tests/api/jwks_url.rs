//! Keys from a URL, against the real server and a stand-in for an issuer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bank_proto::v1;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use tonic::{Code, Request};

use crate::support::{
    Bank, Files, Process,
    api::{Client, connect, failed},
    certificates::{Authority, Certified},
    keys::{Signer, flags, jwks, now},
    until,
};

/// The reply of the stand-in.
#[derive(Clone)]
enum Answer {
    /// 200, with this body.
    Keys(String),
    /// Another status, with these headers.
    Status(&'static str, String),
    /// None.
    Silence,
}

/// A stand-in for an issuer. It ends with the test.
struct Issuer {
    address: String,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
}

impl Issuer {
    async fn start(answer: Answer) -> Self {
        Self::start_with(answer, None).await
    }

    async fn start_with(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let answer = Arc::new(Mutex::new(answer));
        let requests = Arc::new(AtomicUsize::new(0));
        let (current, counted) = (Arc::clone(&answer), Arc::clone(&requests));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (current, counted, tls) = (Arc::clone(&current), Arc::clone(&counted), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => respond(stream, &current, &counted).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => respond(stream, &current, &counted).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, answer, requests }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// `--set auth.jwt.jwks_url=...`
    fn url(&self, scheme: &str) -> [String; 2] {
        let Self { address, .. } = self;
        ["--set".to_owned(), format!("auth.jwt.jwks_url={scheme}://{address}/.well-known/jwks.json?v=1")]
    }
}

/// Reads a request, and answers it; `None` if the client has left.
async fn respond(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Mutex<Answer>,
    requests: &AtomicUsize,
) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /.well-known/jwks.json?v=1 http/1.1\r\n"), "{request}");
    for header in ["host: localhost:", "accept: application/json", "user-agent: bank-server/"] {
        assert!(request.contains(header), "{request}");
    }
    requests.fetch_add(1, Ordering::Relaxed);
    let answer = answer.lock().unwrap().clone();
    let answer = match answer {
        Answer::Keys(body) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        Answer::Status(status, headers) => {
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n{headers}\r\n")
        }
        Answer::Silence => std::future::pending().await,
    };
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

fn flags_with(issuer: &[String; 2], settings: &[&str]) -> Vec<String> {
    let settings = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]);
    flags().into_iter().chain(issuer.clone()).chain(settings).collect()
}

fn borrowed(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

async fn start(issuer: &Issuer, settings: &[&str]) -> Bank {
    Bank::start(&borrowed(&flags_with(&issuer.url("http"), settings))).await
}

/// The code and the reason of a rejected call; `Ok` if it is accepted.
async fn call(client: &mut Client, token: &str) -> Result<(), (Code, String)> {
    let mut request = Request::new(v1::GetBalanceRequest { account_id: "nobody".to_owned(), as_of: None });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let failed = failed(client.get_balance(request).await);
    if failed.code == Code::NotFound { Ok(()) } else { Err((failed.code, failed.reason)) }
}

fn refused() -> Result<(), (Code, String)> {
    Err((Code::Unauthenticated, "CREDENTIALS_INVALID".to_owned()))
}

#[tokio::test]
async fn fetches_an_unknown_key_while_the_call_waits() {
    let (first, second) = (Signer::new("first"), Signer::new("second"));
    let issuer = Issuer::start(Answer::Keys(jwks(&[&first]))).await;
    // By itself it refreshes only once an hour.
    let bank = start(&issuer, &["auth.jwt.refresh_interval_ms=3600000"]).await;
    let mut client = connect(&bank.endpoint()).await;
    call(&mut client, &first.token("alice")).await.unwrap();
    assert_eq!(issuer.requests(), 1);

    issuer.answers(Answer::Keys(jwks(&[&first, &second])));
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let (mut client, token) = (client.clone(), second.token_until("alice", now() + 3600 + number));
        calls.spawn(async move { call(&mut client, &token).await.unwrap() });
    }
    calls.join_all().await;
    assert_eq!(issuer.requests(), 2, "all of them waited for one look");
    call(&mut client, &first.token("alice")).await.unwrap();
}

#[tokio::test]
async fn a_withdrawn_key_is_rejected_after_the_next_refresh() {
    let (first, second) = (Signer::new("first"), Signer::new("second"));
    let issuer = Issuer::start(Answer::Keys(jwks(&[&first, &second]))).await;
    let bank = start(&issuer, &["auth.jwt.refresh_interval_ms=50"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let token = first.token("alice");
    call(&mut client, &token).await.unwrap();
    issuer.answers(Answer::Keys(jwks(&[&second])));
    until("the first key is gone", async || call(&mut client, &token).await == refused()).await;
    call(&mut client, &second.token("alice")).await.unwrap();
}

#[tokio::test]
async fn unauthenticated_callers_cannot_exceed_the_rate_of_key_fetches() {
    let signer = Signer::new("known");
    let issuer = Issuer::start(Answer::Keys(jwks(&[&signer]))).await;
    let settings = ["auth.jwt.refresh_interval_ms=3600000", "auth.jwt.refresh_pause_ms_min=3600000"];
    let bank = start(&issuer, &settings).await;
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let mut client = connect(&bank.endpoint()).await;
        callers.spawn(async move {
            for number in 0..50 {
                let unknown = Signer::new(&format!("unknown {caller} {number}"));
                assert_eq!(call(&mut client, &unknown.token("alice")).await, refused());
            }
        });
    }
    let mut client = connect(&bank.endpoint()).await;
    while !callers.is_empty() {
        call(&mut client, &signer.token("alice")).await.unwrap();
        while callers.try_join_next().is_some() {}
    }
    assert_eq!(issuer.requests(), 2, "one at start, one for all unauthenticated callers");
}

#[tokio::test]
async fn keys_stay_in_use_for_a_bounded_time_while_the_issuer_is_unavailable() {
    let (signer, unknown) = (Signer::new("known"), Signer::new("unknown"));
    let issuer = Issuer::start(Answer::Keys(jwks(&[&signer]))).await;
    let settings = [
        "auth.jwt.refresh_interval_ms=50",
        "auth.jwt.refresh_pause_ms_min=10",
        "auth.jwt.fetch_timeout_ms=2000",
    ];
    let bank = start(&issuer, &settings).await;
    let mut client = connect(&bank.endpoint()).await;
    for (answer, said) in [
        (Answer::Silence, "no answer within 2000 ms"),
        (
            Answer::Status("500 Internal Server Error", String::new()),
            "the answer is 500 Internal Server Error",
        ),
        (
            Answer::Status("302 Found", "location: http://localhost:1/jwks\r\n".to_owned()),
            "the answer is 302 Found",
        ),
        (Answer::Keys("{\"keys\": 7}".to_owned()), "is not a JSON Web Key Set"),
        (Answer::Keys(" ".repeat((1 << 20) + 1)), "the answer cannot be read: length limit exceeded"),
    ] {
        issuer.answers(answer);
        until(said, async || bank.log().contains(said)).await;
        call(&mut client, &signer.token("alice")).await.unwrap();
        // A caller with an unknown key waits for an issuer that does not reply, but not up to the deadline.
        assert_eq!(call(&mut client, &unknown.token("alice")).await, refused());
        issuer.answers(Answer::Keys(jwks(&[&signer])));
        until("it is logged", async || {
            let log = bank.log();
            log.rfind("the keys can be read again") > log.rfind("the previous keys stay in effect")
        })
        .await;
    }

    let bank = start(&issuer, &[&settings[..], &["auth.jwt.keys_unconfirmed_seconds_max=1"]].concat()).await;
    let mut client = connect(&bank.endpoint()).await;
    issuer.answers(Answer::Silence);
    let unavailable = Err((Code::Unavailable, "KEYS_UNAVAILABLE".to_owned()));
    until("the keys are too old", async || call(&mut client, &signer.token("alice")).await == unavailable)
        .await;
    issuer.answers(Answer::Keys(jwks(&[&signer])));
    until("they are good again", async || call(&mut client, &signer.token("alice")).await.is_ok()).await;
}

#[tokio::test]
async fn does_not_start_without_keys() {
    let issuer = Issuer::start(Answer::Silence).await;
    let ends = async |issuer: &Issuer| {
        let settings = ["auth.jwt.fetch_timeout_ms=2000"];
        let process = Process::start(&borrowed(&flags_with(&issuer.url("http"), &settings)));
        assert_eq!(process.wait_exit().await.code(), Some(1));
        assert!(process.log().contains("cannot verify tokens: http://localhost:"), "{}", process.log());
        process.log()
    };
    assert!(ends(&issuer).await.contains("no answer within 2000 ms"));
    issuer.answers(Answer::Status("404 Not Found", String::new()));
    assert!(ends(&issuer).await.contains("the answer is 404 Not Found"));
    issuer.answers(Answer::Keys("{\"keys\": []}".to_owned()));
    assert!(ends(&issuer).await.contains("has no key that the bank can use"));
    let nowhere = Issuer { address: "localhost:1".to_owned(), ..issuer };
    assert!(ends(&nowhere).await.contains("cannot connect: Connection refused"));
}

#[tokio::test]
async fn an_https_issuer_must_be_trusted_by_the_system() {
    let (authority, other, signer) = (Authority::new("ours"), Authority::new("other"), Signer::new("a"));
    let Certified { certificate, key } = authority.server();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let issuer = Issuer::start_with(Answer::Keys(jwks(&[&signer])), Some(tls)).await;
    let flags = flags_with(&issuer.url("https"), &[]);

    let files = Files::new();
    for (name, authority) in [("ours.pem", &authority), ("other.pem", &other)] {
        files.write(name, authority.pem());
    }
    let trusting = |name: &str| files.path(name).display().to_string();
    let bank = Bank::start_in(&borrowed(&flags), &[("SSL_CERT_FILE", &trusting("ours.pem"))]).await;
    call(&mut connect(&bank.endpoint()).await, &signer.token("alice")).await.unwrap();
    let variables = [("BANK__SERVER__LISTEN", "127.0.0.1:0"), ("SSL_CERT_FILE", &trusting("other.pem"))];
    let distrusting = Process::start_in(&borrowed(&flags), &variables);
    assert_eq!(distrusting.wait_exit().await.code(), Some(1));
    assert!(distrusting.log().contains("cannot connect: invalid peer certificate"), "{}", distrusting.log());
}
