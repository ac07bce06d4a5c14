//! Dependencies point one way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use cargo_metadata::{CargoOpt, DependencyKind, MetadataCommand};

/// Every package that a crate is built with when it is built alone, by way of any other.
fn tree(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--all-features", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--package", package])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn crates_depend_only_on_allowed_crates() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let allowed: BTreeMap<&str, BTreeSet<&str>> = [
        ("bank-proto", vec![]),
        ("bank-domain", vec![]),
        ("bank-store", vec!["bank-domain"]),
        ("bank-server", vec!["bank-domain", "bank-proto", "bank-store"]),
        ("bank-client", vec!["bank-domain", "bank-proto"]),
    ]
    .into_iter()
    .map(|(name, allowed)| (name, allowed.into_iter().collect()))
    .collect();

    let mut members = BTreeSet::new();
    for package in metadata.workspace_packages() {
        let known: BTreeSet<&str> = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal && dependency.path.is_some())
            .map(|dependency| dependency.name.as_str())
            .collect();
        let name = package.name.as_str();
        assert_eq!(Some(&known), allowed.get(name), "{name}: change ARCHITECTURE.md first");
        members.insert(name);
    }
    assert_eq!(members, allowed.keys().copied().collect::<BTreeSet<_>>());
}

#[test]
fn bank_domain_depends_on_no_runtime_network_or_store() {
    let domain = tree("bank-domain");
    for unwanted in ["tokio", "futures", "async-trait", "fred", "tonic", "prost", "rand", "uuid", "tracing"] {
        assert!(!domain.contains(unwanted), "bank-domain is built with {unwanted}");
    }
    assert!(!tree("bank-store").contains("tonic"), "the store does not know gRPC");
    let client = tree("bank-client");
    assert!(!client.contains("fred") && client.contains("tonic"), "the client does not know the store");
}

#[test]
fn one_library_secures_connections_with_one_provider_of_cryptography() {
    // Everything that anything here is built with, tests among it.
    let metadata = MetadataCommand::new().features(CargoOpt::AllFeatures).exec().unwrap();
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    // Of a package that is there once.
    let features = |name: &str| {
        let found: Vec<_> = metadata.packages.iter().filter(|package| package.name == name).collect();
        let [package] = &found[..] else { panic!("{name} is there {} times", found.len()) };
        let node = nodes.iter().find(|node| node.id == package.id).unwrap();
        node.features.iter().map(ToString::to_string).collect::<BTreeSet<_>>()
    };
    let rustls = features("rustls");
    assert!(
        rustls.contains("ring") && !rustls.contains("aws_lc_rs") && !rustls.contains("fips"),
        "{rustls:?}"
    );
    // Tokens are verified with what TLS is made of.
    let tokens = features("jsonwebtoken");
    assert!(!tokens.contains("rust_crypto") && !tokens.contains("aws_lc_rs"), "{tokens:?}");
    features("ring");
    let names: BTreeSet<_> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    for unwanted in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "rsa", "p256"] {
        assert!(!names.contains(unwanted), "{unwanted}");
    }
}
