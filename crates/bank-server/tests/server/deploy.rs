//! The files in `deploy/` and the Compose file, as far as they can be checked without running them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bank_client::{BankClient, Error, Rejection, tls};

use crate::support::{Bank, Files, Process, Redis, certificates::Authority, keys};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn systemd_kubernetes_and_compose_accept_the_samples() {
    let output = Command::new(root().join("deploy/check")).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}

/// With the files where the deployment mounts them, and with the one setting that operators must add.
#[tokio::test]
async fn a_server_starts_with_the_settings_for_kubernetes() {
    let settings = read("deploy/kubernetes/bank.toml");
    let deployment = read("deploy/kubernetes/deployment.yaml");
    let files = Files::new();
    let mounted: Vec<_> = settings.split('"').filter_map(|text| text.strip_prefix("/etc/bank/")).collect();
    assert!(mounted.len() >= 4, "{mounted:?}");
    for path in mounted {
        let (directory, _) = path.split_once('/').unwrap();
        assert!(deployment.contains(&format!("mountPath: /etc/bank/{directory}\n")), "{path} is not mounted");
        fs::create_dir_all(files.path(directory)).unwrap();
    }
    let (redis, authority) = (Redis::start_durable().await, Authority::new("authority"));
    let (signer, certified) = (keys::Signer::new("key"), authority.server());
    files.write("redis/url", redis.url());
    files.write("tls/tls.crt", certified.certificate);
    files.write("tls/tls.key", certified.key);
    files.write("jwks/jwks.json", keys::jwks(&[&signer]));
    files.write("bank.toml", settings.replace("/etc/bank/", files.path("").to_str().unwrap()));
    let bank = Bank::of(Process::start_in(
        &["--config", files.path("bank.toml").to_str().unwrap()],
        &[
            ("BANK__SERVER__LISTEN", "0.0.0.0:0"),
            ("BANK__ADMIN__LISTEN", "0.0.0.0:0"),
            ("BANK__AUTH__JWT__ISSUER", keys::ISSUER),
        ],
    ))
    .await;
    let trusted = tls::ClientTlsConfig::new().ca_certificate(tls::Certificate::from_pem(authority.pem()));
    let caller = BankClient::builder(bank.secure_endpoint()).tls(trusted);
    let unauthenticated = caller.clone().connect().await.unwrap();
    let error = unauthenticated.account("nobody").await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated { .. }), "{error:?}");
    let caller = caller.token(signer.token("alice")).connect().await.unwrap();
    let error = caller.account("nobody").await.unwrap_err();
    assert!(
        matches!(error, Error::Rejected { rejection: Rejection::AccountNotFound { .. }, .. }),
        "{error:?}"
    );
}

/// The metrics that `docs/metrics.md` documents; a test of the admin port compares them with the real ones.
fn documented() -> BTreeSet<String> {
    let mut names = BTreeSet::from(["up".to_owned()]);
    for row in read("docs/metrics.md").lines().filter_map(|line| line.strip_prefix("| `")) {
        let (name, rest) = row.split_once("` | ").unwrap();
        names.insert(name.to_owned());
        if rest.starts_with("histogram") {
            names.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}")));
        }
    }
    names
}

/// The names of metrics in an expression: words that are followed by a selector, a range or the end
/// of an operand, and are neither functions nor labels.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let mut without_texts = String::new();
    for (place, part) in expression.split('"').enumerate() {
        without_texts.push_str(if place % 2 == 0 { part } else { "\"\"" });
    }
    without_texts
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("bank_") || word.starts_with("process_") || *word == "up")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_dashboard_names_metrics_that_exist() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("deploy/grafana/dashboards/bank.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut named = BTreeSet::new();
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let names = metrics_in(target["expr"].as_str().unwrap());
            assert!(!names.is_empty(), "{} shows nothing", panel["title"]);
            named.extend(names);
        }
    }
    assert!(named.len() > 10, "{named:?}");
    let unknown: Vec<_> = named.difference(&documented()).cloned().collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn alerts_name_metrics_that_exist_and_have_a_page_each() {
    let rules = read("deploy/prometheus/alerts.yml");
    let mut alerts = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let (name, rest) = rule.split_once('\n').unwrap();
        let expression = rest.split_once(">-").unwrap().1.split_once("for:").unwrap().0;
        let names = metrics_in(expression);
        assert!(!names.is_empty(), "{name} looks at nothing");
        let unknown: Vec<_> = names.difference(&documented()).cloned().collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
        assert!(rest.contains(&format!("runbook: docs/runbooks/{name}.md")), "{name} names no page");
        alerts.insert(PathBuf::from(format!("{name}.md")));
    }
    let pages: BTreeSet<_> = fs::read_dir(root().join("docs/runbooks"))
        .unwrap()
        .map(|entry| PathBuf::from(entry.unwrap().file_name()))
        .collect();
    assert_eq!(alerts, pages);
}
