//! Authentication against the real server: which tokens are valid, what callers learn about the others,
//! and keys that change.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod keys;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bank_proto::v1::{self, operation::Kind};
use futures::stream;
use http::HeaderMap;
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient};

use crate::support::{
    Bank, Files, Process,
    api::{Client, batch, connect, deposit, failed, of_stream, savings},
    keys::{Signer, flags, jwks, now},
    until,
};

/// What becomes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    /// The caller is authenticated, and lacks the scope to read.
    MissingScope,
    Expired,
    UnfitSubject,
    /// Rejected, with the reason in the audit trail.
    Invalid(&'static str),
}

use Verdict::{Accepted, Expired, Invalid, MissingScope, UnfitSubject};

const MALFORMED: Verdict = Invalid("not a signed token of a known algorithm");
const CLAIMS: Verdict = Invalid("one of the claims exp, iss, aud, sub, nbf, scope is missing or malformed");
const AUDIENCE: Verdict = Invalid("the token is for another audience");
const ISSUER: Verdict = Invalid("the token is from another issuer");
const SIGNATURE: Verdict = Invalid("the signature is not that of the key");
const ALGORITHM: Verdict = Invalid("the algorithm is not that of the key");
const CRIT: Verdict = Invalid("the token has the header crit");

/// Every token that `tokens.py` makes, and its verdict on a server with the key set.
const CASES: &[(&str, Verdict)] = &[
    ("expired within the leeway", Accepted),
    ("not yet valid within the leeway", Accepted),
    ("ed25519", Accepted),
    ("p256", Accepted),
    ("rsa", Accepted),
    ("audience among others", Accepted),
    ("scopes as a list", Accepted),
    ("scopes as a text under scp", Accepted),
    ("a time with a fraction", Accepted),
    ("headers that mean nothing here", Accepted),
    ("a subject of 128 characters", Accepted),
    ("no scopes", MissingScope),
    ("scopes of other services", MissingScope),
    ("a list whose elements are no whole scopes", MissingScope),
    ("expired", Expired),
    ("expired long ago", Expired),
    ("not yet valid", Invalid("the token is not valid yet")),
    ("wrong audience", AUDIENCE),
    ("wrong audiences", AUDIENCE),
    ("audience in another case", AUDIENCE),
    ("wrong issuer", ISSUER),
    ("issuer with a slash", ISSUER),
    ("issuers as a list", CLAIMS),
    ("no expiry", CLAIMS),
    ("no issuer", CLAIMS),
    ("no audience", CLAIMS),
    ("no subject", CLAIMS),
    ("expiry as a text", CLAIMS),
    ("expiry before time", CLAIMS),
    ("not-before as a text", CLAIMS),
    ("subject as a number", CLAIMS),
    ("scope as a number", CLAIMS),
    ("claims as a list", CLAIMS),
    ("claims twice", CLAIMS),
    ("no claims", CLAIMS),
    ("an empty subject", UnfitSubject),
    ("a subject with a space", UnfitSubject),
    ("a subject of 129 characters", UnfitSubject),
    ("a subject with a line break", UnfitSubject),
    ("wrong key", SIGNATURE),
    ("wrong rsa key", SIGNATURE),
    ("key of another kind", ALGORITHM),
    ("another key's id", ALGORITHM),
    ("unknown key id", Invalid("there is no key with the id \"unknown\"")),
    ("no key id", Invalid("the token names no key")),
    ("a key that is left out", Invalid("there is no key with the id \"small\"")),
    ("a curve that is left out", Invalid("there is no key with the id \"p384\"")),
    ("alg none", MALFORMED),
    ("alg none with a signature", MALFORMED),
    ("alg None", MALFORMED),
    ("hs256 signed with the rsa public key", ALGORITHM),
    ("hs256 signed with the ed25519 public key", ALGORITHM),
    ("hs256 signed with the development secret", ALGORITHM),
    ("hs256", Invalid("the token names no key")),
    ("hs256 with another secret", Invalid("the token names no key")),
    ("rs512", ALGORITHM),
    ("ps256", ALGORITHM),
    ("crit", CRIT),
    ("crit of nothing", CRIT),
    ("crit of b64", CRIT),
    ("tampered", SIGNATURE),
    ("signature cut", SIGNATURE),
    ("signature missing", SIGNATURE),
    ("signature of another", SIGNATURE),
    ("two parts", MALFORMED),
    ("four parts", MALFORMED),
    ("one part", MALFORMED),
    ("dots", MALFORMED),
    ("padding", MALFORMED),
    ("header that is no json", MALFORMED),
    ("two tokens", MALFORMED),
    ("huge", Invalid("the token is too long")),
];

/// Keys and tokens of another implementation.
struct Foreign {
    files: Files,
    tokens: BTreeMap<String, String>,
}

impl Foreign {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let python = root.join("target/python/bin/python");
        assert!(python.exists(), "{} is missing: scripts/setup installs it", python.display());
        let files = Files::new();
        let output = Command::new(python)
            .arg(root.join("crates/bank-server/tests/tokens/tokens.py"))
            .arg(files.path(""))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { files, tokens: serde_json::from_slice(&output.stdout).unwrap() }
    }

    /// A server that has these keys.
    async fn start(&self, key: &str, file: &str, more: &[&str]) -> Bank {
        start(&[&self.files.set(key, file).each_ref().map(String::as_str), more].concat()).await
    }
}

/// A server that requires tokens.
async fn start(more: &[&str]) -> Bank {
    Bank::start(&[&flags().iter().map(String::as_str).collect::<Vec<_>>(), more].concat()).await
}

/// A server with the keys of a file `jwks`, which the test writes. It reads the file often.
async fn start_on(files: &Files, more: &[&str]) -> Bank {
    let set = files.set("auth.jwt.jwks_file", "jwks");
    let often = ["--set", "auth.jwt.refresh_interval_ms=50"];
    start(&[&set.each_ref().map(String::as_str)[..], &often, more].concat()).await
}

/// A call with exactly these authorization headers.
async fn call(client: &mut Client, authorization: &[&str]) -> Result<(), Status> {
    let mut headers = HeaderMap::new();
    for value in authorization {
        headers.append("authorization", value.parse().unwrap());
    }
    let mut request = Request::new(v1::GetBalanceRequest { account_id: "nobody".to_owned(), as_of: None });
    *request.metadata_mut() = MetadataMap::from_headers(headers);
    match client.get_balance(request).await {
        Ok(_) => panic!("nobody has an account"),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status),
    }
}

async fn call_with(client: &mut Client, token: &str) -> Result<(), Status> {
    call(client, &[&format!("Bearer {token}")]).await
}

fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn audit_trail(bank: &Bank) -> Vec<Value> {
    bank.lines().into_iter().filter(|line| line["target"] == "bank::audit").collect()
}

/// How a call is rejected: the reason for its caller, and the one in the audit trail.
async fn rejection(bank: &Bank, client: &mut Client, authorization: &[&str]) -> Result<(), (String, String)> {
    let audited_before = audit_trail(bank).len();
    let Err(status) = call(client, authorization).await else { return Ok(()) };
    // The reply may arrive before the log line.
    until("it is written down", async || audit_trail(bank).len() > audited_before).await;
    assert_eq!(audit_trail(bank).len(), audited_before + 1, "once");
    let challenge = status.metadata().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let failed = failed(Err::<(), _>(status));
    if failed.code == Code::PermissionDenied {
        return Err((failed.reason, String::new()));
    }
    assert_eq!(failed.code, Code::Unauthenticated, "{failed:?}");
    assert!(failed.metadata.is_empty(), "{failed:?}");
    let (message, expected_challenge) = match &*failed.reason {
        "CREDENTIALS_MISSING" => {
            ("this call needs a token: send it as `authorization: Bearer <token>`", "Bearer")
        }
        "CREDENTIALS_EXPIRED" => ("the token has expired: get a new one", "Bearer error=\"invalid_token\""),
        "CREDENTIALS_INVALID" if failed.message.starts_with("the subject") => (
            "the subject of the token must be 1 to 128 visible ASCII characters",
            "Bearer error=\"invalid_token\"",
        ),
        "CREDENTIALS_INVALID" if failed.message.starts_with("the token is longer") => (
            "the token is longer than half of server.header_bytes_max: 8192 bytes",
            "Bearer error=\"invalid_token\"",
        ),
        "CREDENTIALS_INVALID" => ("the token is not valid here", "Bearer error=\"invalid_token\""),
        _ => panic!("{failed:?}"),
    };
    assert_eq!((failed.message.as_str(), challenge.as_deref()), (message, Some(expected_challenge)));
    let audited = audit_trail(bank).pop().unwrap();
    assert_eq!((&audited["event"], &audited["method"]), (&"unauthenticated".into(), &"GetBalance".into()));
    assert_eq!((&audited["subject"], &audited["outcome"]), (&"".into(), &"Unauthenticated".into()));
    assert!(audited["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{audited}");
    Err((failed.reason, audited["reason"].as_str().unwrap().to_owned()))
}

async fn check(bank: &Bank, client: &mut Client, name: &str, authorization: &[&str], says: Verdict) {
    let rejected = |reason: &str, why: &str| Err((reason.to_owned(), why.to_owned()));
    let expected = match says {
        Accepted => Ok(()),
        MissingScope => rejected("SCOPE_MISSING", ""),
        Expired => rejected("CREDENTIALS_EXPIRED", "the token has expired"),
        UnfitSubject => rejected("CREDENTIALS_INVALID", "the subject of the token cannot own an account"),
        Invalid(why) => rejected("CREDENTIALS_INVALID", why),
    };
    assert_eq!(rejection(bank, client, authorization).await, expected, "{name}");
}

#[tokio::test]
async fn verifies_tokens_of_another_implementation() {
    let foreign = Foreign::new();
    let bank = foreign.start("auth.jwt.jwks_file", "jwks.json", &[]).await;
    let mut client = connect(&bank.endpoint()).await;
    let made: Vec<_> = foreign.tokens.keys().map(String::as_str).collect();
    let mut expected: Vec<_> = CASES.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(made, expected, "each token has its answer, and each answer its token");
    for (name, says) in CASES {
        let bearer = format!("Bearer {}", foreign.tokens[*name]);
        check(&bank, &mut client, name, &[&bearer], *says).await;
    }

    // Again: cached tokens have the same outcome.
    for (name, says) in CASES.iter().filter(|(_, says)| matches!(says, Accepted | MissingScope)).skip(2) {
        let bearer = format!("Bearer {}", foreign.tokens[*name]);
        check(&bank, &mut client, name, &[&bearer], *says).await;
    }

    let said = bank.logged("callers need a token").await;
    assert_eq!(said["keys"], "ec (ES256), ed (EdDSA), rsa (RS256)");
    let left_out: Vec<_> =
        bank.lines().into_iter().filter(|line| line["message"] == "a key is ignored").collect();
    let reasons: Vec<_> = left_out.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "key \"small\": it is of a wrong size",
            "key \"p384\": the bank takes Ed25519, P-256 and RSA only",
            "key \"for encryption\": it is not for signatures",
            "key \"private\": it is a private key; the bank needs the public one only",
            "key \"shared\": the bank takes Ed25519, P-256 and RSA only",
            "key 9: it has no id (kid), so no token can name it",
            "key 10: it is malformed",
        ]
    );
}

#[tokio::test]
async fn the_subject_of_the_token_is_the_owner() {
    let foreign = Foreign::new();
    let bank = foreign.start("auth.jwt.jwks_file", "jwks.json", &[]).await;
    let mut client = connect(&bank.endpoint()).await;
    let token = &foreign.tokens["p256"];
    client.create_account(bearing(token, savings("a"))).await.unwrap();
    let request = v1::GetAccountRequest { account_id: "a".to_owned() };
    let account = client.get_account(bearing(token, request)).await.unwrap().into_inner().account.unwrap();
    assert_eq!(account.owner, "alice");
}

#[tokio::test]
async fn accepts_one_authorization_header_with_one_bearer_token() {
    let foreign = Foreign::new();
    let bank = foreign.start("auth.jwt.jwks_file", "jwks.json", &[]).await;
    let mut client = connect(&bank.endpoint()).await;
    let good = &foreign.tokens["ed25519"];
    let bearer = format!("Bearer {good}");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        call(&mut client, &[&format!("{scheme} {good}")]).await.unwrap();
    }
    let two = Invalid("more than one authorization header");
    let form = Invalid("the authorization header is not `Bearer` and a token");
    let scheme = Invalid("the authorization scheme is not Bearer");
    for (headers, says) in [
        (&[&*bearer, &*bearer][..], two),
        (&[&bearer, "Basic YTpi"], two),
        (&["Basic YTpi", &bearer], two),
        (&[""], form),
        (&["Bearer"], form),
        (&[good], form),
        (&["Basic YTpi"], scheme),
        (&[&format!("DPoP {good}")], scheme),
        (&["Bearer "], MALFORMED),
        (&[&format!("Bearer  {good}")], MALFORMED),
        (&[&format!("Bearer {good} {good}")], MALFORMED),
    ] {
        check(&bank, &mut client, &format!("{headers:?}"), headers, says).await;
    }
    let missing = rejection(&bank, &mut client, &[]).await;
    assert_eq!(missing, Err(("CREDENTIALS_MISSING".to_owned(), "no token".to_owned())));

    // Beyond server.header_bytes_max a call does not get as far as its token.
    let beyond = "x".repeat(64 * 1024);
    let code = call_with(&mut client, &beyond).await.unwrap_err().code();
    assert!(!matches!(code, Code::Unauthenticated), "{code:?}");
    call(&mut connect(&bank.endpoint()).await, &[&bearer]).await.unwrap();
}

#[tokio::test]
async fn only_health_and_reflection_need_no_token() {
    let files = Files::new();
    files.write("jwks", jwks(&[&Signer::new("a")]));
    let bank = start_on(&files, &[]).await;
    let channel = Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap();
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    ServerReflectionClient::new(channel.clone())
        .server_reflection_info(stream::iter([ServerReflectionRequest::default()]))
        .await
        .unwrap();

    // All methods, and one that does not exist.
    let methods = bank_server::auth::Method::ALL.iter().map(|method| method.name()).chain(["Nonsense"]);
    for method in methods {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let path = format!("/bank.v1.BankService/{method}").parse().unwrap();
        let answer: Result<Response<()>, Status> =
            grpc.unary(Request::new(()), path, tonic_prost::ProstCodec::default()).await;
        assert_eq!(failed(answer).reason, "CREDENTIALS_MISSING", "{method}");
    }
}

#[tokio::test]
async fn never_logs_a_token() {
    let (files, signer) = (Files::new(), Signer::new("a"));
    files.write("jwks", jwks(&[&signer]));
    let bank = start_on(&files, &["--log-level", "trace", "--set", "log.filter=trace"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let good = signer.token("alice");
    let bad = [&good[..good.len() - 6], "AAAAAA"].concat();
    client.create_account(bearing(&good, savings("a"))).await.unwrap();
    client.deposit(bearing(&good, deposit("a", 1))).await.unwrap();
    let two = [format!("Bearer {good}"), format!("Bearer {bad}")];
    let other = format!("Basic {good}");
    for headers in [&[&*format!("Bearer {bad}")][..], &two.each_ref().map(|it| &**it), &[&other]] {
        assert_eq!(failed(call(&mut client, headers).await).reason, "CREDENTIALS_INVALID");
    }
    assert!(bank.terminate().await.success());
    let log = bank.log() + &bank.errors();
    assert!(log.contains("TRACE"));
    for part in good.split('.').chain(bad.split('.')) {
        assert!(!log.contains(part), "it prints {part}");
    }
}

#[tokio::test]
async fn authentication_must_be_configured_before_the_start() {
    let everywhere = ["--listen", "0.0.0.0:0"];
    let jwt = ["--set", "auth.mode=jwt", "--set", "auth.jwt.issuer=i", "--set", "auth.jwt.audience=a"];
    let keys = ["--set", "auth.jwt.jwks_file=/nowhere"];
    for (flags, said) in [
        (&[&everywhere[..]][..], "with auth.mode = \"disabled\" everyone there can move anyone's money"),
        (&[&everywhere, &jwt, &keys], "without TLS tokens can be read and used on their way"),
        (&[&jwt], "needs exactly one of auth.jwt.jwks_file, jwks_url, public_key_file"),
        (&[&jwt, &keys, &["--set", "auth.jwt.public_key_file=x"]], "needs exactly one of"),
        (
            &[&keys, &["--set", "auth.mode=jwt"]],
            "needs auth.jwt.issuer\nauth.mode = \"jwt\" needs auth.jwt.audience",
        ),
        (&[&["--set", "tls.key_file=x"]], "tls.certificate_file and tls.key_file go together"),
        (&[&["--set", "tls.client_ca_file=x"]], "tls.client_ca_file has no effect without"),
        (
            &[&["--set", "auth.jwt.jwks_url=http://id.example.com/jwks"]],
            "must be an https URL without credentials",
        ),
        (&[&["--set", "tls.version_min=1.1"]], "must be one of \"1.2\", \"1.3\""),
    ] {
        let process = Process::start_in(&flags.concat(), &[]);
        assert_eq!(process.wait_exit().await.code(), Some(2), "{flags:?}");
        assert!(process.errors().contains(said), "{said:?} is not in: {}", process.errors());
    }

    // Operators can insist, and are warned.
    let bank =
        Bank::memory_with(&["--listen", "0.0.0.0:0", "--set", "auth.allow_unauthenticated_network=true"])
            .await;
    assert_eq!(bank.logged("anyone who reaches the port can move all money").await["level"], "WARN");
    let files = Files::new();
    files.write("jwks", jwks(&[&Signer::new("a")]));
    let insisting = ["--listen", "0.0.0.0:0", "--set", "auth.allow_tokens_without_tls=true"];
    let bank = start_on(&files, &insisting).await;
    assert_eq!(bank.logged("anyone on the network path can read").await["level"], "WARN");
}
