//! The modules of every crate form layers.
//!
//! What a file uses of its own crate is read from the code: names in paths, followed through imports and re-exports to
//! the file that defines them. Test code does not count.
//!
//! * No file uses another that uses it, by whatever way.
//! * The top-level modules of a crate use only those of lower layers. ARCHITECTURE.md draws the layers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support {
    pub(crate) mod modules;
}

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use support::modules::{self, Uses};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Every program and library of the workspace: its name and the file of its root.
fn targets() -> Vec<(String, PathBuf)> {
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().unwrap();
    let mut targets = Vec::new();
    for package in metadata.workspace_packages() {
        for target in &package.targets {
            if target.is_lib() || target.is_bin() {
                let is_named_like_library = target.is_bin() && *package.name == target.name;
                let name =
                    target.name.replace('_', "-") + if is_named_like_library { " program" } else { "" };
                targets.push((name, target.src_path.clone().into()));
            }
        }
    }
    targets
}

/// The layers of each crate in ARCHITECTURE.md, from the top: lines of code blocks that are labelled `layers NAME`.
fn drawn() -> BTreeMap<String, Vec<BTreeSet<String>>> {
    let text = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let mut drawn = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```layers ") else { continue };
        let block = lines.by_ref().take_while(|line| *line != "```");
        let layers = block.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        assert_eq!(drawn.insert(name.to_owned(), layers), None, "{name} is drawn twice");
    }
    drawn
}

/// Files that use each other in a circle, each with the uses that tie it.
fn circles(uses: &Uses) -> Vec<String> {
    let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for from in uses.keys() {
        let mut waiting = vec![from.as_str()];
        let seen = reached.entry(from).or_default();
        while let Some(at) = waiting.pop() {
            for to in uses.get(at).into_iter().flat_map(BTreeMap::keys) {
                if seen.insert(to) {
                    waiting.push(to);
                }
            }
        }
    }
    let tied = |a: &str, b: &str| reached[a].contains(b) && reached.get(b).is_some_and(|it| it.contains(a));
    let mut ties = Vec::new();
    for (from, targets) in uses {
        for (to, names) in targets {
            if tied(from, to) {
                ties.push(format!(
                    "{from} uses {to}: {}",
                    names.iter().cloned().collect::<Vec<_>>().join(", ")
                ));
            }
        }
    }
    ties
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let mut found = Vec::new();
    for (name, root) in targets() {
        found.extend(circles(&modules::uses(&root)).into_iter().map(|tie| format!("{name}: {tie}")));
    }
    assert!(found.is_empty(), "{} uses run in circles:\n{}", found.len(), found.join("\n"));
}

#[test]
fn modules_use_only_those_of_lower_layers() {
    let drawn = drawn();
    let mut wrong = Vec::new();
    for (name, root) in targets() {
        let uses = modules::uses(&root);
        let Some(layers) = drawn.get(&name) else {
            assert!(uses.is_empty() || name == "bank-proto", "draw the layers of {name} in ARCHITECTURE.md");
            continue;
        };
        let top = |file: &str| file.split("::").next().unwrap_or_default().to_owned();
        let floor = |module: &str| layers.iter().position(|layer| layer.contains(module));
        let modules: BTreeSet<_> = modules::files(&root).iter().map(|file| top(file)).collect();
        for module in modules.iter().filter(|module| !module.is_empty() && floor(module).is_none()) {
            wrong.push(format!("{name}: {module} is in no layer"));
        }
        for module in layers.iter().flatten().filter(|module| !modules.contains(*module)) {
            wrong.push(format!("{name}: {module} is drawn, but not there"));
        }
        for (from, targets) in &uses {
            for (to, names) in targets {
                let (a, b) = (top(from), top(to));
                if a != b && !a.is_empty() && !b.is_empty() && floor(&a) >= floor(&b) {
                    wrong.push(format!("{name}: {from} uses {to}: {names:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
