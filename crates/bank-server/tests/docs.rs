//! Compares the documentation with the code.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use bank_server::{auth::Method, config};
use clap::CommandFactory as _;

/// The reasons that errors carry: words in capitals, in the one place that makes errors. Those of
/// HTTP/2 and gRPC that are not the bank's are left out.
fn reasons() -> BTreeSet<String> {
    let sources = [
        include_str!("../src/status/describe.rs"),
        include_str!("../src/status/limit.rs"),
        include_str!("../src/status/stack.rs"),
    ];
    let is_reason =
        |word: &&str| word.len() > 5 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let quoted = |source: &'static str| source.split('"').skip(1).step_by(2);
    sources.into_iter().flat_map(quoted).filter(is_reason).map(str::to_owned).collect()
}

#[test]
fn every_reason_of_an_error_has_its_section() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let document = fs::read_to_string(document).unwrap();
    let sections: Vec<_> = document.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(sections.is_sorted(), "sections are in the order of the alphabet");
    let documented: BTreeSet<_> = sections.into_iter().map(str::to_owned).collect();
    assert!(documented.len() > 20, "{documented:?}");
    assert_eq!(documented, reasons());
}

/// The code that errors of a reason have: of all places in the source where both stand side by side.
fn codes_of_reasons() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for path in all_files().iter().filter(|path| path.starts_with("crates/bank-server/src/status")) {
        let source = fs::read_to_string(root().join(path)).unwrap();
        for made in source.split("Code::").skip(1) {
            let Some((code, rest)) = made.split_once(',') else { continue };
            let Some((reason, _)) = rest.trim_start().strip_prefix('"').and_then(|it| it.split_once('"'))
            else {
                continue;
            };
            if code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
                found.entry(reason.to_owned()).or_default().insert(on_the_wire(code));
            }
        }
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

#[test]
fn every_error_has_the_code_that_its_section_names() {
    let document = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let made = codes_of_reasons();
    let mut wrong = Vec::new();
    for section in document.split("\n### ").skip(1) {
        let (reason, text) = section.split_once("\n\n").unwrap();
        let code = text.strip_prefix('`').and_then(|text| text.split('`').next()).unwrap_or_default();
        if !codes().any(|known| known == code) {
            wrong.push(format!("{reason} does not begin with a code"));
        }
        if made.get(reason).is_some_and(|made| made.iter().any(|made| made != code)) {
            wrong.push(format!("{reason} has the code {:?}, and not {code}", made[reason]));
        }
        let retry = text.split("**").nth(1).unwrap_or_default();
        if !document.contains(&format!("\n| **{retry}** |")) {
            wrong.push(format!("{reason} does not say whether to send the call again: {retry:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_methods_and_their_scopes_are_those_of_the_server() {
    let document = fs::read_to_string(root().join("docs/api.md")).unwrap();
    let (_, table) = document.split_once("| method | what it does | scope |").unwrap();
    let mut documented = BTreeMap::new();
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        for method in cells[0].split('`').skip(1).step_by(2) {
            let scope = cells[2].trim_matches('`').to_owned();
            assert_eq!(documented.insert(method, scope), None, "{method} is listed twice");
        }
    }
    let scope = |method: &Method| {
        let scope = method.rule().scope;
        scope.map_or_else(|| "per operation".to_owned(), |scope| scope.to_string())
    };
    let served: BTreeMap<_, _> = Method::ALL.iter().map(|method| (method.name(), scope(method))).collect();
    assert_eq!(documented, served);
}

/// The flags of `bank-server` in commands that documents show.
#[test]
fn every_flag_of_the_server_that_is_shown_exists() {
    let server = config::Args::command();
    let known: BTreeSet<_> = server.get_arguments().filter_map(clap::Arg::get_long).collect();
    let (mut shown, mut wrong) = (0, Vec::new());
    for path in all_files().iter().filter(|path| has_extension(path, &["md"])) {
        let text = fs::read_to_string(root().join(path)).unwrap().replace("\\\n", " ");
        for line in text.lines() {
            let Some((before, flags)) = line.split_once("bank-server ") else { continue };
            // With `cargo run` the flags of the server come after `--`; other commands of cargo have none.
            let flags = match before.split_once("cargo ") {
                None => flags,
                Some((_, cargo)) if cargo.starts_with("run ") => {
                    flags.split_once("-- ").unwrap_or_default().1
                }
                Some(_) => continue,
            };
            let flags = flags.split(['`', '#', ';', '|']).next().unwrap_or_default();
            for flag in flags.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
                shown += 1;
                if !known.contains(flag) && !["help", "version"].contains(&flag) {
                    wrong.push(format!("{path}: --{flag}"));
                }
            }
        }
    }
    assert!(shown > 10, "{shown}");
    assert!(wrong.is_empty(), "bank-server has no such flags:\n{}", wrong.join("\n"));
}

/// Messages that documents quote, of errors and of the log: `…` stands for values.
#[test]
fn every_message_that_is_quoted_occurs_in_the_source() {
    /// What else is quoted and has spaces: commands, by their first word, and lines of other software.
    const COMMANDS: [&str; 9] =
        ["bank", "bank-server", "chronyc", "date", "docker", "grpcurl", "kubectl", "redis-cli", "systemctl"];
    const OTHERS: [&str; 9] = [
        "4 16k",
        "appendfsync always",
        "appendonly yes",
        "authorization: Bearer TOKEN",
        "makestep 1 3",
        "maxmemory-policy noeviction",
        "min-replicas-to-write 1",
        "stream-node-max-bytes 1024",
        "timeout: 0s",
    ];
    let is_source = |path: &&String| {
        path.contains("/src/") && has_extension(path, &["rs", "lua"]) && !path.ends_with("/tests.rs")
    };
    let mut source = String::new();
    for path in all_files().iter().filter(is_source) {
        // A message may be written on several lines.
        let text = fs::read_to_string(root().join(path)).unwrap();
        let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        while let Some(line) = lines.next() {
            let mut line = line.to_owned();
            while line.ends_with('\\') {
                line.pop();
                line.push_str(lines.next().unwrap().trim_start());
            }
            source.push_str(&line);
            source.push('\n');
        }
    }
    let (mut quoted, mut wrong) = (0, Vec::new());
    // docs/performance.md names the loads of the benchmarks.
    let is_document = |path: &&String| path.starts_with("docs/") && !path.ends_with("/performance.md");
    for path in all_files().iter().filter(is_document).filter(|path| has_extension(path, &["md"])) {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let prose = text.split("```").step_by(2);
        for message in prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)) {
            let first = message.split_whitespace().next().unwrap_or_default();
            let is_command = COMMANDS.contains(&first)
                || first.starts_with("--")
                || first.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
            let is_message = message.contains(' ') && !message.contains(['=', '<', '(', '{']);
            if !is_message || is_command || OTHERS.contains(&message) {
                continue;
            }
            quoted += 1;
            if !message.split('…').all(|part| source.contains(part.trim())) {
                wrong.push(format!("{path}: {message}"));
            }
        }
    }
    assert!(quoted >= 8, "{quoted}");
    assert!(wrong.is_empty(), "the source has no such messages:\n{}", wrong.join("\n"));
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The files of the repository below a directory, by their paths from the root. What builds and tools leave is not
/// among them.
fn files(directory: &Path, found: &mut Vec<String>) {
    const LEFT: [&str; 6] = ["target", ".git", "node_modules", "data", "__pycache__", ".venv"];
    for item in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, name) = (item.path(), item.file_name().into_string().unwrap());
        if item.file_type().unwrap().is_dir() {
            if !LEFT.contains(&name.as_str()) {
                files(&path, found);
            }
        } else {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn all_files() -> Vec<String> {
    let mut found = Vec::new();
    files(&root(), &mut found);
    assert!(found.len() > 300, "{}", found.len());
    found
}

fn has_extension(path: &str, extensions: &[&str]) -> bool {
    path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
}

/// What people read about the bank: the place of each line, and the line. All of a document; of code, of the API
/// and of the settings the comments.
fn prose() -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for path in all_files() {
        let marks: &[&str] = match path.as_str() {
            path if has_extension(path, &["md"]) => &[""],
            path if has_extension(path, &["proto"]) => &["//"],
            path if has_extension(path, &["toml", "yml", "yaml", "service"]) => &["#"],
            path if has_extension(path, &["rs"]) => &["//"],
            _ => continue,
        };
        let text = fs::read_to_string(root().join(&path)).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            if marks.iter().any(|mark| line.trim_start().starts_with(mark)) {
                lines.push((format!("{path}:{number}"), line.to_owned()));
            }
        }
    }
    assert!(lines.len() > 5_000, "{}", lines.len());
    lines
}

/// The longest pieces of a line that are made of letters, digits and these; without what ends a sentence.
fn words<'a>(line: &'a str, and: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(move |letter: char| !letter.is_ascii_alphanumeric() && !and.contains(letter))
        .map(|word| word.trim_end_matches(['.', '/', '-', ':']).trim_start_matches(['.', '/', '-', ':']))
        .filter(|word| !word.is_empty())
}

/// Settings that are named in prose and are none.
#[test]
fn every_setting_that_is_named_exists() {
    /// They begin as settings do, and are scopes, packages of the API, and files.
    const SCOPES: [&str; 3] = ["bank.read", "bank.write", "bank.admin"];
    const FILES: [&str; 13] =
        ["rs", "md", "toml", "json", "jsonl", "redb", "com", "pem", "crt", "key", "proto", "lua", "py"];
    let keys: BTreeSet<_> = config::names().collect();
    let sections: BTreeSet<_> =
        keys.iter().flat_map(|key| key.match_indices('.').map(|(end, _)| &key[..end])).collect();
    let mut wrong = Vec::new();
    let mut named = 0;
    // The table of removed settings names former settings.
    let is_removed =
        |(place, line): &(String, String)| place.starts_with("docs/upgrade.md:") && line.starts_with("| `");
    for (place, line) in prose().into_iter().filter(|it| !is_removed(it)) {
        let variables = words(&line, "_").filter_map(|word| {
            let name = word.strip_prefix("BANK__").filter(|name| !name.starts_with("SECTION"))?;
            Some(name.replace("__", ".").to_lowercase())
        });
        let names = words(&line, "._-/:").map(str::to_owned).filter(|word| {
            let name = |part: &str| {
                part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            };
            let (section, rest) = word.split_once('.').unwrap_or_default();
            let is_call = line.contains(&format!("{word}("));
            let is_other = SCOPES.contains(&word.as_str()) || word.starts_with("bank.v") || is_call;
            let is_other = is_other || has_extension(word, &FILES);
            sections.contains(section) && rest.split('.').all(name) && !is_other
        });
        for name in variables.chain(names) {
            named += 1;
            if !keys.contains(name.as_str()) && !sections.contains(name.as_str()) {
                wrong.push(format!("{place}: {name}"));
            }
        }
    }
    assert!(named > 200, "{named}");
    assert!(wrong.is_empty(), "there are no such settings:\n{}", wrong.join("\n"));
}

/// Names in capitals, such as reasons of errors, values of enums and variables, are those of the code.
#[test]
fn every_name_in_capitals_is_one_of_the_code() {
    let is_name = |word: &&str| {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        word.contains('_')
            && word.starts_with(|letter: char| letter.is_ascii_uppercase())
            && word.bytes().all(allowed)
    };
    let mut known = BTreeSet::new();
    for path in all_files() {
        if has_extension(&path, &["md"]) || path == "crates/bank-server/tests/docs.rs" {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        let comment = if has_extension(&path, &["rs", "proto"]) { "//" } else { "#" };
        let code = text.lines().filter(|line| !line.trim_start().starts_with(comment));
        known.extend(code.flat_map(|line| words(line, "_").filter(is_name).map(str::to_owned)));
    }
    let mut wrong = Vec::new();
    let mut named = 0;
    for (place, line) in prose() {
        // What is written in full is checked as a setting.
        for name in words(&line, "_").filter(is_name).filter(|name| !name.starts_with("BANK__")) {
            named += 1;
            let is_known =
                known.contains(name) || OUTSIDE.contains(&name) || codes().any(|code| code == name);
            if !is_known {
                wrong.push(format!("{place}: {name}"));
            }
        }
    }
    assert!(named > 100, "{named}");
    assert!(wrong.is_empty(), "the code has no such names:\n{}", wrong.join("\n"));
}

/// Names in capitals of other software.
const OUTSIDE: [&str; 5] =
    ["RUST_LOG", "CREDENTIALS_DIRECTORY", "ENHANCE_YOUR_CALM", "CLOCK_BOOTTIME", "RING_HASH"];

/// The codes of gRPC, as they are written on the wire.
fn codes() -> impl Iterator<Item = String> {
    (0..=16).map(|code| on_the_wire(&format!("{:?}", tonic::Code::from(code))))
}

/// The name of a code of gRPC as it is written on the wire: `NOT_FOUND` of `NotFound`.
fn on_the_wire(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

/// Paths from the root, and in Markdown what stands between backticks or is linked to.
#[test]
fn every_path_that_is_named_exists() {
    const TOP: [&str; 8] =
        ["docs/", "config/", "deploy/", "scripts/", "examples/", "proto/", "crates/", "findings/"];
    let known = all_files();
    let exists = |path: &str| {
        let (inside, path) = (format!("/{path}/"), format!("/{path}"));
        let source = format!("{path}.rs");
        known
            .iter()
            .map(|file| format!("/{file}"))
            .any(|file| file.ends_with(&path) || file.ends_with(&source) || file.contains(&inside))
    };
    let mut wrong = Vec::new();
    let mut named = 0;
    for (place, line) in prose() {
        let (document, _) = place.split_once(':').unwrap();
        let mut check = |path: &str, is_there: bool| {
            named += 1;
            if !is_there {
                wrong.push(format!("{place}: {path}"));
            }
        };
        for path in words(&line, "._-/").filter(|word| TOP.iter().any(|top| word.starts_with(top))) {
            check(path, root().join(path).exists() || exists(path));
        }
        if !has_extension(document, &["md"]) {
            continue;
        }
        let quoted = line.split('`').skip(1).step_by(2).filter(|word| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
            let is_source = has_extension(word, &["rs", "md", "lua", "proto"]);
            is_source
                && word.bytes().all(plain)
                && !word.starts_with(['/', '.'])
                && !word.starts_with("google/")
        });
        for path in quoted {
            check(path, exists(path) || path == "name.rs");
        }
        for link in line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let document = root().join(document);
            let target = if path.is_empty() { document } else { document.parent().unwrap().join(path) };
            check(link, target.exists() && (anchor.is_empty() || anchors(&target).contains(anchor)));
        }
    }
    assert!(named > 150, "{named}");
    assert!(wrong.is_empty(), "there are no such files or sections:\n{}", wrong.join("\n"));
}

/// What the headings of a document are linked to by.
fn anchors(document: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(document).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}
