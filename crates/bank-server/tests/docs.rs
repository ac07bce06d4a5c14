//! Documents that say what the code does, held against the code.

use std::{collections::BTreeSet, fs, path::Path};

/// The reasons that errors carry: words in capitals, in the one place that makes errors. Those of
/// HTTP/2 and gRPC that are not the bank's are left out.
fn reasons() -> BTreeSet<String> {
    let sources = [include_str!("../src/grpc/status.rs"), include_str!("../src/grpc/status/edge.rs")];
    let is_reason =
        |word: &&str| word.len() > 5 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let quoted = |source: &'static str| source.split('"').skip(1).step_by(2);
    sources.into_iter().flat_map(quoted).filter(is_reason).map(str::to_owned).collect()
}

#[test]
fn every_reason_of_an_error_has_its_section() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let document = fs::read_to_string(document).unwrap();
    let sections: Vec<_> = document.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(sections.is_sorted(), "sections are in the order of the alphabet");
    let documented: BTreeSet<_> = sections.into_iter().map(str::to_owned).collect();
    assert!(documented.len() > 20, "{documented:?}");
    assert_eq!(documented, reasons());
}
