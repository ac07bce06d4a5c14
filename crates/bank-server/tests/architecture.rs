//! Dependencies point one way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

fn metadata() -> Metadata {
    MetadataCommand::new().other_options(["--locked".to_owned(), "--offline".to_owned()]).exec().unwrap()
}

/// Every package that a crate is built with, by way of any other.
fn tree<'a>(metadata: &'a Metadata, root: &str) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&PackageId, _> =
        metadata.resolve.as_ref().unwrap().nodes.iter().map(|node| (&node.id, node)).collect();
    let name =
        |id: &PackageId| metadata.packages.iter().find(|package| package.id == *id).unwrap().name.as_str();
    let start = &metadata.packages.iter().find(|package| package.name.as_str() == root).unwrap().id;
    let mut seen = BTreeSet::new();
    let mut todo = vec![start];
    while let Some(id) = todo.pop() {
        for dependency in &nodes[id].deps {
            let built_with = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if built_with && seen.insert(name(&dependency.pkg)) {
                todo.push(&dependency.pkg);
            }
        }
    }
    seen
}

#[test]
fn the_crates_know_only_whom_they_may() {
    let metadata = metadata();
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
fn the_rules_need_neither_a_runtime_nor_a_network_nor_a_store() {
    let metadata = metadata();
    let domain = tree(&metadata, "bank-domain");
    for unwanted in ["tokio", "futures", "async-trait", "fred", "tonic", "prost", "rand", "uuid", "tracing"] {
        assert!(!domain.contains(unwanted), "bank-domain is built with {unwanted}");
    }
    assert!(!tree(&metadata, "bank-store").contains("tonic"), "the store does not know gRPC");
    let client = tree(&metadata, "bank-client");
    assert!(!client.contains("fred") && client.contains("tonic"), "the client does not know the store");
}

#[test]
fn one_library_secures_connections_with_one_provider_of_cryptography() {
    let metadata = metadata();
    let server = tree(&metadata, "bank-server");
    let client = tree(&metadata, "bank-client");
    for unwanted in ["aws-lc-rs", "openssl", "native-tls"] {
        assert!(!server.contains(unwanted) && !client.contains(unwanted), "{unwanted}");
    }
}
