//! Authentication against the real server: which tokens are good, what callers are told of the others,
//! and keys that change.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

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
use support::{
    Bank, Files, Process,
    api::{Client, batch, connect, deposit, failed, of_stream, savings},
    keys::{Signer, flags, jwks, now},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_client::ServerReflectionClient};

/// How long anything may take. Only a broken server needs that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a server says to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    LetIn,
    /// It knows who calls, and they have no leave to read.
    NoLeave,
    Expired,
    UnfitSubject,
    /// It is not good, and this is why, for the operator only.
    Invalid(&'static str),
}

use Says::{Expired, Invalid, LetIn, NoLeave, UnfitSubject};

const MALFORMED: Says = Invalid("not a signed token of a known algorithm");
const CLAIMS: Says = Invalid("one of the claims exp, iss, aud, sub, nbf, scope is missing or malformed");
const AUDIENCE: Says = Invalid("the token is for another audience");
const ISSUER: Says = Invalid("the token is from another issuer");
const SIGNATURE: Says = Invalid("the signature is not that of the key");
const ALGORITHM: Says = Invalid("the algorithm is not that of the key");
const CRIT: Says = Invalid("the token has the header crit");

/// Every token that `tokens.py` makes, and what a server says to it that has the key set.
const CASES: &[(&str, Says)] = &[
    ("expired within the leeway", LetIn),
    ("not yet valid within the leeway", LetIn),
    ("ed25519", LetIn),
    ("p256", LetIn),
    ("rsa", LetIn),
    ("audience among others", LetIn),
    ("scopes as a list", LetIn),
    ("scopes as a text under scp", LetIn),
    ("a time with a fraction", LetIn),
    ("headers that mean nothing here", LetIn),
    ("a subject of 128 characters", LetIn),
    ("no scopes", NoLeave),
    ("scopes of other services", NoLeave),
    ("a list whose elements are no whole scopes", NoLeave),
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

/// A server that takes tokens.
async fn start(more: &[&str]) -> Bank {
    Bank::start(&[&flags().iter().map(String::as_str).collect::<Vec<_>>(), more].concat()).await
}

/// A server with the keys of a file `jwks`, which the test writes, and looks at it often.
async fn start_on(files: &Files, more: &[&str]) -> Bank {
    let set = files.set("auth.jwt.jwks_file", "jwks");
    let often = ["--set", "auth.jwt.refresh_interval_ms=50"];
    start(&[&set.each_ref().map(String::as_str)[..], &often, more].concat()).await
}

/// A call with these authorization headers, as they are.
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

/// What the server says to a call: what its caller is told, and what the audit trail has.
async fn told(bank: &Bank, client: &mut Client, authorization: &[&str]) -> Result<(), (String, String)> {
    let audited_before = audit_trail(bank).len();
    let Err(status) = call(client, authorization).await else { return Ok(()) };
    // The reply may be here before the line is.
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
            "the token is longer than auth.jwt.token_bytes_max allows: 8192 bytes",
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

async fn check(bank: &Bank, client: &mut Client, name: &str, authorization: &[&str], says: Says) {
    let rejected = |reason: &str, why: &str| Err((reason.to_owned(), why.to_owned()));
    let expected = match says {
        LetIn => Ok(()),
        NoLeave => rejected("SCOPE_MISSING", ""),
        Expired => rejected("CREDENTIALS_EXPIRED", "the token has expired"),
        UnfitSubject => rejected("CREDENTIALS_INVALID", "the subject of the token cannot own an account"),
        Invalid(why) => rejected("CREDENTIALS_INVALID", why),
    };
    assert_eq!(told(bank, client, authorization).await, expected, "{name}");
}

/// Waits until what is so.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let give_up_at = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < give_up_at, "not so: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn tokens_of_another_implementation_are_taken_or_refused_as_they_should_be() {
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

    // Again: what is remembered says the same.
    for (name, says) in CASES.iter().filter(|(_, says)| matches!(says, LetIn | NoLeave)).skip(2) {
        let bearer = format!("Bearer {}", foreign.tokens[*name]);
        check(&bank, &mut client, name, &[&bearer], *says).await;
    }

    let said = bank.said("callers need a token").await;
    assert_eq!(said["keys"], "ec (ES256), ed (EdDSA), rsa (RS256)");
    let left_out: Vec<_> =
        bank.lines().into_iter().filter(|line| line["message"] == "a key is left out").collect();
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
async fn one_header_one_scheme_one_token() {
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
    let missing = told(&bank, &mut client, &[]).await;
    assert_eq!(missing, Err(("CREDENTIALS_MISSING".to_owned(), "no token".to_owned())));

    // Beyond server.header_bytes_max nobody looks at it at all.
    let beyond = "x".repeat(64 * 1024);
    call_with(&mut client, &beyond).await.unwrap_err();
    call(&mut connect(&bank.endpoint()).await, &[&bearer]).await.unwrap();
}

#[tokio::test]
async fn one_key_in_pem_form_or_a_secret_does_for_a_small_bank() {
    let foreign = Foreign::new();
    for (key, file, good, name) in [
        ("auth.jwt.public_key_file", "ed25519.pem", "ed25519", "EdDSA"),
        ("auth.jwt.public_key_file", "p256.pem", "p256", "ES256"),
        ("auth.jwt.public_key_file", "rsa.pem", "rsa", "RS256"),
        ("auth.jwt.development_secret_file", "secret", "hs256", "HS256"),
    ] {
        let bank = foreign.start(key, file, &[]).await;
        assert_eq!(bank.said("callers need a token").await["keys"], name);
        let mut client = connect(&bank.endpoint()).await;
        for (other, token) in foreign.tokens.iter().filter(|(name, _)| {
            ["ed25519", "p256", "rsa", "hs256", "hs256 with another secret", "alg none"]
                .contains(&name.as_str())
                || name.starts_with("hs256 signed")
        }) {
            // The secret signs this one too; it names a key, which means nothing here.
            let is_good =
                other == good || (good == "hs256" && other == "hs256 signed with the development secret");
            assert_eq!(call_with(&mut client, token).await.is_ok(), is_good, "{other} with {file}");
        }
        let warned = bank.lines().iter().any(|line| {
            line["message"] == "tokens are signed with a shared secret: for development only"
                && line["level"] == "WARN"
        });
        assert_eq!(warned, good == "hs256");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used_end_it_at_start() {
    let foreign = Foreign::new();
    let signer = Signer::new("a");
    let twice = jwks(&[&signer, &Signer::new("a")]);
    for (key, contents, said) in [
        ("jwks_file", "nonsense", "is not a JSON Web Key Set (line 1, column 2)"),
        ("jwks_file", "[]", "is not a JSON Web Key Set"),
        ("jwks_file", "{\"keys\": []}", "RSA of 2048 to 8192 bits; it is empty"),
        (
            "jwks_file",
            "{\"keys\": [{\"kty\": \"oct\", \"kid\": \"s3cret\", \"k\": \"czNjcmV0\"}]}",
            "Ed25519, P-256 and RSA only",
        ),
        ("jwks_file", &*twice, "has two keys with the id \"a\""),
        ("public_key_file", "nonsense", "holds no public key in PEM form"),
        (
            "public_key_file",
            &fs::read_to_string(foreign.files.path("p384.pem")).unwrap(),
            "it takes Ed25519, P-256",
        ),
        (
            "public_key_file",
            &fs::read_to_string(foreign.files.path("small-rsa.pem")).unwrap(),
            "RSA of 2048 to 8192",
        ),
        ("development_secret_file", "too short\n", "holds a secret of 9 bytes; it must have at least 32"),
    ] {
        let files = Files::new();
        files.write("keys", contents);
        let set = files.set(&format!("auth.jwt.{key}"), "keys");
        let all: Vec<_> = flags().into_iter().chain(set).collect();
        let process = Process::start(&all.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(process.wait_exit().await.code(), Some(1), "{contents}");
        let log = process.log();
        let place = files.path("keys").display().to_string();
        assert!(log.contains("cannot verify tokens") && log.contains(&place), "{log}");
        assert!(log.replace('\\', "").contains(said), "{said:?} is not in: {log}");
        assert!(!log.contains("czNjcmV0") && !log.contains("too short"), "{log}");
    }
}

#[tokio::test]
async fn health_and_reflection_ask_for_no_token_and_everything_of_the_bank_does() {
    let files = Files::new();
    files.write("jwks", jwks(&[&Signer::new("a")]));
    let bank = start_on(&files, &[]).await;
    let channel = Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap();
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    ServerReflectionClient::new(channel.clone())
        .server_reflection_info(stream::iter([ServerReflectionRequest::default()]))
        .await
        .unwrap();

    // Methods that there are, and one that there is not.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_without_a_failed_call() {
    let files = Files::new();
    let mut signer = Arc::new(Signer::new("0"));
    files.write("jwks", jwks(&[&signer]));
    let bank = start_on(&files, &["--set", "auth.jwt.refresh_pause_ms_min=10"]).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(bearing(&signer.token("alice"), savings("a"))).await.unwrap();

    let done = Arc::new(AtomicBool::new(false));
    let current = Arc::new(RwLock::new(Arc::clone(&signer)));
    let calls: Arc<[AtomicUsize; 8]> = Arc::default();
    let mut tasks = JoinSet::new();
    for task in 0..calls.len() {
        let (mut client, done) = (connect(&bank.endpoint()).await, Arc::clone(&done));
        let (calls, current) = (Arc::clone(&calls), Arc::clone(&current));
        tasks.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                // Some tokens are new, some have been seen before.
                let signer = Arc::clone(&current.read().unwrap());
                let number = calls[task].load(Ordering::Relaxed) as u64;
                let token = signer.token_until("alice", now() + 3600 + number % 3);
                client.deposit(bearing(&token, deposit("a", 1))).await.unwrap();
                calls[task].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 1..=5 {
        // Both for a time, as long as tokens of the one before are on their way; then the new one only.
        let next = Arc::new(Signer::new(&round.to_string()));
        files.write("jwks", jwks(&[&signer, &next]));
        // At once: whoever names a key that is not known has the file looked at.
        *current.write().unwrap() = Arc::clone(&next);
        let before: Vec<_> = calls.iter().map(|calls| calls.load(Ordering::Relaxed)).collect();
        let made = |calls: &AtomicUsize, before: &usize| calls.load(Ordering::Relaxed) - before;
        until("nobody calls with the one before any more", async || {
            calls.iter().zip(&before).all(|(calls, before)| made(calls, before) >= 2)
                || tasks.len() < calls.len()
        })
        .await;
        let old = signer.token("alice");
        call_with(&mut client, &old).await.unwrap();
        files.write("jwks", jwks(&[&next]));
        // It was remembered as good; that ends with its key.
        until("the old key is gone", async || call_with(&mut client, &old).await.is_err()).await;
        // That one was not known, so it had the file looked at: longer than the pause after that.
        sleep(Duration::from_millis(50)).await;
        signer = next;
    }
    done.store(true, Ordering::Relaxed);
    tasks.join_all().await;
}

#[tokio::test]
async fn a_token_that_is_remembered_ends_all_the_same() {
    let (files, signer) = (Files::new(), Signer::new("a"));
    files.write("jwks", jwks(&[&signer]));
    let bank = start_on(&files, &["--set", "auth.jwt.leeway_seconds=0"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let token = signer.token_until("alice", now() + 5);
    call_with(&mut client, &token).await.unwrap();
    until("it has expired", async || {
        let result = call_with(&mut client, &token).await;
        result.is_err_and(|status| failed(Err::<(), _>(status)).reason == "CREDENTIALS_EXPIRED")
    })
    .await;
}

#[tokio::test]
async fn a_key_file_that_does_not_do_is_told_once_and_leaves_the_keys_before_in_effect() {
    let (files, first, second) = (Files::new(), Signer::new("first"), Signer::new("second"));
    files.write("jwks", jwks(&[&first]));
    let bank = start_on(&files, &["--set", "auth.jwt.refresh_pause_ms_min=10"]).await;
    let mut client = connect(&bank.endpoint()).await;
    call_with(&mut client, &first.token("alice")).await.unwrap();

    files.write("jwks", "{");
    let error = bank.said("the keys before stay in effect for now").await;
    assert_eq!(error["level"], "ERROR");
    assert!(error["message"].as_str().unwrap().contains("is not a JSON Web Key Set"), "{error}");
    call_with(&mut client, &first.token("bob")).await.unwrap();
    files.remove("jwks").unwrap();
    until("it is told", async || bank.log().contains("cannot be read: No such file")).await;
    call_with(&mut client, &first.token("carol")).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(bank.log().matches("the keys before stay in effect for now").count(), 2, "once each");

    files.write("jwks", jwks(&[&first]));
    bank.said("the keys can be read again").await;
    files.write("jwks", jwks(&[&second]));
    assert_eq!(bank.said("new keys are in effect").await["keys"], "second (EdDSA)");
    call_with(&mut client, &second.token("alice")).await.unwrap();
    call_with(&mut client, &first.token("alice")).await.unwrap_err();

    // A set without a key is meant so: somebody shuts everybody out.
    files.write("jwks", "{\"keys\": []}");
    assert_eq!(bank.said("no key is left").await["level"], "ERROR");
    call_with(&mut client, &second.token("alice")).await.unwrap_err();
    files.write("jwks", jwks(&[&second]));
    until("they are let in again", async || call_with(&mut client, &second.token("alice")).await.is_ok())
        .await;
}

/// The bug: a stream that was open when its key was withdrawn went on moving money, or telling of it, for as long as
/// the token would have lasted.
#[tokio::test]
async fn streams_end_when_the_key_that_verified_their_token_is_withdrawn() {
    let (files, leaving, staying) = (Files::new(), Signer::new("leaving"), Signer::new("staying"));
    files.write("jwks", jwks(&[&leaving, &staying]));
    let bank = start_on(&files, &[]).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(bearing(&staying.token("alice"), savings("a"))).await.unwrap();
    let one = || of_stream(batch([Kind::Deposit(deposit("a", 1))]));
    let mut open = Vec::new();
    for signer in [&leaving, &staying] {
        let token = signer.token("alice");
        let watch = bearing(&token, v1::WatchTransactionsRequest::default());
        let mut watch = client.watch_transactions(watch).await.unwrap().into_inner();
        watch.message().await.unwrap().unwrap();
        let (send, batches) = mpsc::channel(1);
        let batches = bearing(&token, ReceiverStream::new(batches));
        send.send(one()).await.unwrap();
        let mut replies = client.execute_stream(batches).await.unwrap().into_inner();
        replies.message().await.unwrap().unwrap();
        open.push((watch, send, replies));
    }
    let (mut watch, send, mut replies) = open.remove(0);
    let balance = v1::GetBalanceRequest { account_id: "a".to_owned(), as_of: None };
    // Another key is no reason to end.
    files.write("jwks", jwks(&[&leaving, &staying, &Signer::new("new")]));
    let names = "leaving (EdDSA), new (EdDSA), staying (EdDSA)";
    until("the new key is in effect", async || bank.log().contains(names)).await;
    send.send(one()).await.unwrap();
    replies.message().await.unwrap().unwrap();

    files.write("jwks", jwks(&[&staying]));
    let withdrawn = |result: Result<(), Status>| {
        let error = failed(result);
        assert_eq!((error.code, &*error.reason), (Code::Unauthenticated, "CREDENTIALS_INVALID"), "{error:?}");
        assert!(error.message.contains("no longer accepted"), "{error:?}");
    };
    withdrawn(replies.message().await.map(drop));
    withdrawn(loop {
        match watch.message().await {
            Ok(Some(_)) => {}
            other => break other.map(drop),
        }
    });
    // Nothing that is sent from then on is carried out.
    let _ = send.send(one()).await;
    let (_watch, send, mut replies) = open.remove(0);
    send.send(one()).await.unwrap();
    replies.message().await.unwrap().unwrap();
    let read = client.get_balance(bearing(&staying.token("alice"), balance)).await.unwrap().into_inner();
    assert_eq!(read.balance.unwrap().minor_units, 4);
}

#[tokio::test]
async fn keys_that_nobody_confirms_are_used_for_a_bounded_time() {
    let (files, signer) = (Files::new(), Signer::new("a"));
    files.write("jwks", jwks(&[&signer]));
    let bank = start_on(&files, &["--set", "auth.jwt.keys_unconfirmed_seconds_max=3"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let token = signer.token("alice");
    let watch = bearing(&token, v1::WatchTransactionsRequest::default());
    let mut watch = client.watch_transactions(watch).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    // Longer than that, and confirmed all the while.
    sleep(Duration::from_secs(4)).await;
    call_with(&mut client, &token).await.unwrap();
    files.remove("jwks").unwrap();
    let ended = loop {
        match watch.message().await {
            // It tells that it lives.
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(failed(ended).reason, "KEYS_UNAVAILABLE");
    let mut refused = None;
    until("they are too old", async || {
        refused = call_with(&mut client, &token).await.err();
        refused.is_some()
    })
    .await;
    let refused = failed(Err::<(), _>(refused.unwrap()));
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "KEYS_UNAVAILABLE"));
    assert!(refused.details.retry_info().is_some(), "{refused:?}");
    assert_eq!(bank.said("the keys have not been confirmed for too long").await["level"], "ERROR");
    files.write("jwks", jwks(&[&signer]));
    until("it serves again", async || call_with(&mut client, &token).await.is_ok()).await;
}

#[tokio::test]
async fn a_token_is_never_printed() {
    let (files, signer) = (Files::new(), Signer::new("a"));
    files.write("jwks", jwks(&[&signer]));
    let bank = start_on(&files, &["--log-level", "trace", "--set", "log.filter=trace"]).await;
    let mut client = connect(&bank.endpoint()).await;
    let good = signer.token("alice");
    let bad = [&good[..good.len() - 6], "AAAAAA"].concat();
    client.create_account(bearing(&good, savings("a"))).await.unwrap();
    client.deposit(bearing(&good, deposit("a", 1))).await.unwrap();
    call_with(&mut client, &bad).await.unwrap_err();
    call(&mut client, &[&format!("Bearer {good}"), &format!("Bearer {bad}")]).await.unwrap_err();
    call(&mut client, &[&format!("Basic {good}")]).await.unwrap_err();
    assert!(bank.terminate().await.success());
    let log = bank.log() + &bank.errors();
    assert!(log.contains("TRACE"));
    for part in good.split('.').chain(bad.split('.')) {
        assert!(!log.contains(part), "it prints {part}");
    }
}

#[tokio::test]
async fn who_may_call_is_decided_before_it_starts() {
    let everywhere = ["--listen", "0.0.0.0:0"];
    let jwt = ["--set", "auth.mode=jwt", "--set", "auth.jwt.issuer=i", "--set", "auth.jwt.audience=a"];
    let keys = ["--set", "auth.jwt.jwks_file=/nowhere"];
    for (flags, said) in [
        (&[&everywhere[..]][..], "with auth.mode = \"disabled\" whoever reaches it can move anyone's money"),
        (&[&everywhere, &jwt, &keys], "without TLS whoever is on the way can read the tokens"),
        (&[&jwt], "needs exactly one of auth.jwt.jwks_file, jwks_url, public_key_file"),
        (&[&jwt, &keys, &["--set", "auth.jwt.public_key_file=x"]], "needs exactly one of"),
        (
            &[&keys, &["--set", "auth.mode=jwt"]],
            "needs auth.jwt.issuer\nauth.mode = \"jwt\" needs auth.jwt.audience",
        ),
        (&[&["--set", "tls.key_file=x"]], "tls.certificate_file and tls.key_file go together"),
        (&[&["--set", "tls.client_ca_file=x"]], "tls.client_ca_file is of no use without"),
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

    // Whoever insists is warned.
    let bank =
        Bank::memory_with(&["--listen", "0.0.0.0:0", "--set", "auth.allow_unauthenticated_network=true"])
            .await;
    assert_eq!(bank.said("whoever reaches the port can move anyone's money").await["level"], "WARN");
    let files = Files::new();
    files.write("jwks", jwks(&[&Signer::new("a")]));
    let insisting = ["--listen", "0.0.0.0:0", "--set", "auth.allow_tokens_without_tls=true"];
    let bank = start_on(&files, &insisting).await;
    assert_eq!(bank.said("whoever is on the way to the port can read tokens").await["level"], "WARN");
}
