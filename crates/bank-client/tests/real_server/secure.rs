//! The library and the tool with a server that is locked down, and the keys and tokens that the tool makes.

use std::{
    env, fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicBool, Ordering},
};

use bank_client::{AccountType, BankClient, Currency, Error, Money, TokenError, tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{
    process::{Server, binary},
    proxy::{Cut, Proxy},
};

/// A directory to work in, with nothing of the caller's environment in the way.
struct Shell(TempDir);

impl Shell {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("BANK_") {
                command.env_remove(name);
            }
        }
        let directory = binary().parent().unwrap().display();
        let path = format!("{directory}:{}", env::var("PATH").unwrap());
        command.env("PATH", path).env("COLUMNS", "100").current_dir(self.0.path());
        command
    }

    /// A line as a person types it.
    fn line(&self, line: &str) -> Command {
        let mut command = self.command("sh");
        command.args(["-c", line]);
        command
    }

    fn run(&self, line: &str) -> Output {
        self.line(line).output().unwrap()
    }

    /// What a line prints, which succeeds.
    fn prints(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a line complains of, with its exit code.
    fn complains(&self, line: &str) -> (i32, String) {
        let output = self.run(line);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), contents).unwrap();
    }
}

/// The commands of a section of `docs/secure-server.md`.
fn documented_commands(heading: &str) -> Vec<String> {
    let page =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("docs/secure-server.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("## {heading}\n")).unwrap();
    let (_, block) = section.split_once("```console\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.replace("\\\n", "").lines().map(|line| line.strip_prefix("$ ").unwrap().to_owned()).collect()
}

#[test]
fn the_five_documented_commands_start_a_secure_server() {
    let shell = Shell::new();
    // Nobody listens on it now.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let commands = documented_commands("Five commands");
    let commands: Vec<_> = commands.iter().map(|line| line.replace("50051", &port.to_string())).collect();
    let [certificate, key, token, server, call] = &commands[..] else { panic!("{commands:?}") };
    for line in [certificate, key, token] {
        shell.prints(line);
    }
    let _server = Server::run(
        &mut shell.line(&format!("exec {} --admin-listen off", server.strip_suffix(" &").unwrap())),
    );
    assert_eq!(shell.prints(call), "Account alice created successfully\n");

    let (code, complaint) = shell.complains(&call.replace("--token-file alice.token ", ""));
    assert_eq!(code, 8);
    assert!(complaint.contains("this call needs a token"), "{complaint}");
    assert!(complaint.contains("hint: pass a token with --token-file"), "{complaint}");
    let (code, complaint) = shell.complains(&call.replace("--ca-file tls.pem ", ""));
    assert_eq!(code, 6);
    assert!(complaint.contains("invalid peer certificate"), "{complaint}");
}

/// The settings that `bank token` below issues tokens for.
const JWT: &str = "--store memory --listen 127.0.0.1:0 --admin-listen off --set auth.mode=jwt --set auth.jwt.issuer=i --set auth.jwt.audience=a --set auth.jwt";

#[test]
fn keys_are_made_once_and_are_for_their_owner() {
    let shell = Shell::new();
    let printed = shell.prints("bank keygen k");
    assert!(printed.contains("k.pem: the private key") && printed.contains("k.jwks.json: the key set"));
    let mode = |name| fs::metadata(shell.0.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("k.pem"), 0o600);
    let jwks: serde_json::Value = serde_json::from_str(&shell.read("k.jwks.json")).unwrap();
    assert_eq!((&jwks["keys"][0]["crv"], &jwks["keys"][0]["alg"]), (&"Ed25519".into(), &"EdDSA".into()));
    assert!(jwks["keys"][0]["d"].is_null(), "nothing secret is in it");
    // OpenSSL reads the private key, and finds the same public one.
    let public =
        shell.prints("openssl pkey -in k.pem -pubout -outform DER | tail -c 32 | base64 | tr '/+' '_-'");
    assert_eq!(jwks["keys"][0]["x"], public.trim().trim_end_matches('='));

    let before = shell.read("k.pem");
    assert_eq!(
        shell.complains("bank keygen k"),
        (2, "error: k.pem: already exists and is not overwritten\n".into())
    );
    assert_eq!(shell.prints("bank keygen k --keep"), "");
    assert_eq!(shell.read("k.pem"), before);
    shell.prints("rm k.pem");
    assert_eq!(shell.complains("bank keygen k --keep").0, 2, "half a key is none");
    let (code, complaint) = shell.complains("bank keygen k");
    assert_eq!(
        (code, complaint.as_str()),
        (2, "error: k.jwks.json: already exists and is not overwritten\n")
    );
    assert!(!shell.0.path().join("k.pem").exists(), "no key without its key set");
    assert_eq!(shell.complains("bank keygen nowhere/k").0, 2);

    let json: serde_json::Value = serde_json::from_str(&shell.prints("bank keygen other -o json")).unwrap();
    assert_eq!(json["signing_key_file"], "other.pem");
    assert_ne!(before, shell.read("other.pem"));
}

#[test]
fn tokens_are_issued_for_a_key_and_for_a_secret() {
    let shell = Shell::new();
    shell.prints("bank keygen k; openssl genpkey -algorithm ed25519 -out o.pem; openssl pkey -in o.pem -pubout -out o.pub");
    shell.write("secret", "a secret of thirty-two bytes or more\n");
    let issue =
        |signer: &str| format!("bank token {signer} --issuer i --audience a --subject s --scope bank.write");
    for (source, signer) in [
        ("jwks_file=k.jwks.json", "--signing-key k.pem"),
        ("public_key_file=o.pub", "--signing-key o.pem"),
        ("development_secret_file=secret", "--secret-file secret"),
    ] {
        let server = Server::run(&mut shell.line(&format!("exec bank-server {JWT}.{source}")));
        let call = format!("bank --server {} create s", server.endpoint());
        let token = shell.prints(&issue(signer));
        assert_eq!(token.lines().count(), 1, "the token and nothing else");
        shell.write("token", &token);
        shell.prints(&format!("BANK_TOKEN={} {call}1", token.trim()));
        shell.prints(&format!("{call}2 --token-file token"));
        shell.prints(&format!("BANK_TOKEN_FILE=token BANK_TOKEN=other {call}3"));
        assert_eq!(shell.complains(&format!("BANK_TOKEN=other {call}4")).0, 8);
        let (code, complaint) = shell.complains(&format!("{call}5 --token-file nowhere"));
        assert!(code == 2 && complaint.contains("nowhere: cannot be read"), "{complaint}");
        shell.write("token", shell.prints(&issue(signer).replace("--audience a", "--audience b")));
        assert_eq!(shell.complains(&format!("{call}6 --token-file token")).0, 8);
        shell.write("token", shell.prints(&format!("{} --expires-in 1s", issue(signer))));
        shell.prints(&format!("{call}7 --token-file token"));
    }

    let token = serde_json::from_str::<serde_json::Value>(
        &shell.prints(&format!("{} --scope bank.read,bank.admin -o json", issue("--signing-key k.pem"))),
    );
    assert!(token.unwrap()["expires_at_unix_seconds"].is_u64());
    for (line, complaint) in [
        (issue(""), "--signing-key"),
        (issue("--signing-key k.pem --secret-file secret"), "cannot be used with"),
        (
            issue("--signing-key k.pem --scope bank.owner"),
            "[possible values: bank.read, bank.write, bank.admin]",
        ),
        (issue("--signing-key o.pub"), "o.pub: contains no Ed25519 private key in PEM form"),
        (issue("--signing-key nowhere"), "nowhere: cannot be read"),
        (issue("--secret-file /dev/null"), "/dev/null: contains a secret of 0 bytes; at least 32 are needed"),
        (issue("--signing-key k.pem --expires-in soon"), "write it like 500ms, 10s or 2m"),
    ] {
        let (code, said) = shell.complains(&line);
        assert!(code == 2 && said.contains(complaint), "{line}: {said}");
    }
}

/// A server that asks callers for certificates, and the files that they need.
fn mutual_tls(shell: &Shell) -> Server {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    shell.write("ca.pem", authority.pem());
    for name in ["bank.test", "client"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        shell.write(&format!("{name}.pem"), params.signed_by(&key, &authority).unwrap().pem());
        shell.write(&format!("{name}.key"), key.serialize_pem());
    }
    Server::run(&mut shell.line(
        "exec bank-server --store memory --listen 127.0.0.1:0 --admin-listen off --set tls.certificate_file=bank.test.pem \
         --set tls.key_file=bank.test.key --set tls.client_ca_file=ca.pem",
    ))
}

#[test]
fn the_tool_shows_a_certificate_and_knows_the_server_by_another_name() {
    let shell = Shell::new();
    let server = mutual_tls(&shell);
    let bank = format!("bank --server https://{}", server.address);
    let all = "--ca-file ca.pem --cert-file client.pem --key-file client.key --server-name bank.test";
    shell.prints(&format!("{bank} {all} create a"));
    let variables =
        "BANK_CA_FILE=ca.pem BANK_CERT_FILE=client.pem BANK_KEY_FILE=client.key BANK_SERVER_NAME=bank.test";
    shell.prints(&format!("{variables} {bank} create b"));
    for (options, code, complaint) in [
        (all.replace("--ca-file ca.pem", ""), 6, "invalid peer certificate: UnknownIssuer"),
        (all.replace("--server-name bank.test", ""), 6, "not valid for name \"127.0.0.1\""),
        (all.replace("--cert-file client.pem", ""), 2, "--key-file needs --cert-file"),
        (all.replace("--key-file client.key", ""), 2, "--cert-file needs --key-file"),
        (all.replace("ca.pem", "client.key"), 2, "client.key: contains no certificate in PEM form"),
        (all.replace("ca.pem", "nowhere"), 2, "nowhere: cannot be read"),
        (all.replace("client.key", "bank.test.key"), 2, "keys may not be consistent"),
    ] {
        let (exit, said) = shell.complains(&format!("{bank} {options} create c"));
        assert!(exit == code && said.contains(complaint), "{options}: {exit} {said}");
    }
    // Without a certificate the handshake fails, on one side or the other.
    let options = "--ca-file ca.pem --server-name bank.test --timeout 2s";
    assert!(!shell.run(&format!("{bank} {options} create c")).status.success());
    let (code, said) =
        shell.complains(&format!("bank --server http://{} --ca-file ca.pem accounts", server.address));
    assert!(code == 2 && said.contains("is without TLS, which is set up; write https://"), "{said}");
}

#[tokio::test]
async fn the_library_shows_a_certificate_and_renews_its_token() {
    let shell = Shell::new();
    let server = mutual_tls(&shell);
    let config = tls::ClientTlsConfig::new()
        .ca_certificate(tls::Certificate::from_pem(shell.read("ca.pem")))
        .identity(tls::Identity::from_pem(shell.read("client.pem"), shell.read("client.key")))
        .domain_name("bank.test");
    let client = BankClient::builder(format!("https://{}", server.address))
        .tls(config)
        .connections(2)
        .connect()
        .await
        .unwrap();
    for number in 0..4 {
        client.create_account(format!("a{number}"), AccountType::Savings).await.unwrap();
    }

    shell.prints("bank keygen k");
    let server = Server::run(&mut shell.line(&format!("exec bank-server {JWT}.jwks_file=k.jwks.json")));
    let issue = |scope: &str| {
        let token =
            format!("bank token --signing-key k.pem --issuer i --audience a --subject s --scope {scope}");
        shell.write("token", shell.prints(&token));
    };
    issue("bank.read");
    let path = shell.0.path().join("token");
    let client = BankClient::builder(server.endpoint())
        .token_source(move || {
            let token = fs::read_to_string(&path).map(|token| token.trim().to_owned());
            std::future::ready(token.map_err(TokenError::from))
        })
        .connect()
        .await
        .unwrap();
    let error = client.create_account("a", AccountType::Savings).await.unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
    issue("bank.write");
    client.create_account("a", AccountType::Savings).await.unwrap();
    shell.write("token", "nonsense");
    let error = client.create_account("b", AccountType::Savings).await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated { .. }), "{error:?}");
}

/// The next attempt is denied without a look at what the first one did.
#[tokio::test]
async fn a_batch_that_is_denied_after_its_reply_was_lost_has_an_unknown_outcome() {
    let shell = Shell::new();
    shell.prints("bank keygen k");
    let server = Server::run(&mut shell.line(&format!("exec bank-server {JWT}.jwks_file=k.jwks.json")));
    let proxy = Proxy::start(&server.address).await;
    let token = |scope: &str| {
        let issue = "bank token --signing-key k.pem --issuer i --audience a --subject s --scope";
        shell.prints(&format!("{issue} {scope}")).trim().to_owned()
    };
    let (write, read) = (token("bank.write,bank.read"), token("bank.read"));
    let writer = BankClient::builder(server.endpoint()).token(&write).connect().await.unwrap();
    writer.create_account("a", AccountType::Savings).currency(Currency::USD).await.unwrap();
    let amount = Money { currency: Currency::USD, minor_units: 1 };
    for (atomic, version) in [(false, 3), (true, 5)] {
        let (first, others) = (write.clone(), read.clone());
        let drawn = AtomicBool::new(false);
        let token = move || if drawn.swap(true, Ordering::Relaxed) { others.clone() } else { first.clone() };
        let client = BankClient::builder(&proxy.endpoint)
            .token_source(move || std::future::ready(Ok::<_, TokenError>(token())))
            .connect()
            .await
            .unwrap();
        proxy.cut([Cut::AfterTheEffect]);
        let batch = client.batch().add(client.deposit("a", amount)).add(client.deposit("a", amount));
        let batch = if atomic { batch.atomic() } else { batch };
        let results = batch.clone().await.unwrap();
        for (result, operation) in results.iter().zip(batch.operations()) {
            let error = result.as_ref().unwrap_err();
            assert!(error.outcome_unknown(), "{error:?}");
            assert_eq!(error.request_id(), operation.request_id());
        }
        assert_eq!(writer.account("a").await.unwrap().version, version);
        // Nothing is in doubt for a client that is denied from the start.
        let results =
            client.batch().add(client.deposit("a", amount)).add(client.deposit("a", amount)).await.unwrap();
        let is_denied = |error: &Error| matches!(error, Error::PermissionDenied { .. });
        assert!(results.iter().all(|result| result.as_ref().is_err_and(is_denied)), "{results:?}");
    }
}
