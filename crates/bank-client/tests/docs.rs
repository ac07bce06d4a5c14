//! Commands of `bank` in documents: the tool has them, with the options that are shown.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn help(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bank")).args(arguments).arg("--help").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The long options that a help text lists.
fn options(help: &str) -> BTreeSet<String> {
    let words = help.split(|letter: char| letter.is_whitespace() || "[],=`".contains(letter));
    words.filter_map(|word| word.strip_prefix("--")).map(str::to_owned).collect()
}

/// Each command of the tool with its options.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let help_text = help(&[]);
    let (_, list) = help_text.split_once("Commands:\n").unwrap();
    let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        // What is indented further continues the line above.
        line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next()
    });
    names
        .map(|name| (name.to_owned(), options(&if name == "help" { help(&[]) } else { help(&[name]) })))
        .collect()
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let mut found = Vec::new();
    for directory in [root.to_owned(), root.join("docs"), root.join("docs/runbooks")] {
        let paths = fs::read_dir(directory).unwrap().map(|item| item.unwrap().path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

#[test]
fn every_command_that_is_shown_exists_with_its_options() {
    let commands = commands();
    assert!(commands.len() > 20, "{commands:?}");
    let general = options(&help(&[]));
    let (mut shown, mut wrong) = (BTreeSet::new(), Vec::new());
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap().replace("\\\n", " ");
        let in_blocks = text.lines().filter_map(|line| line.strip_prefix("$ bank "));
        let in_text =
            text.split('`').filter_map(|code| code.strip_prefix("bank ")).filter(|code| !code.contains('\n'));
        for line in in_blocks.chain(in_text) {
            let line = line.split(['#', '>', '|', '&']).next().unwrap();
            let words: Vec<_> = line.split_whitespace().collect();
            if words.iter().all(|word| word.starts_with("--")) {
                let missing = words.iter().find(|word| !general.contains(&word[2..]));
                wrong.extend(missing.map(|word| format!("{}: bank has no {word}", document.display())));
                continue;
            }
            // Options of the tool itself, with their values, may come before the command.
            let command = words.iter().find(|word| commands.contains_key(**word));
            let is_first =
                words.first().is_some_and(|first| first.starts_with("--") || Some(first) == command);
            let (Some(command), true) = (command, is_first) else {
                wrong.push(format!("{}: bank {line}", document.display()));
                continue;
            };
            shown.insert((*command).to_owned());
            for option in words.iter().filter_map(|word| word.strip_prefix("--")) {
                let option = option.split('=').next().unwrap().trim_end_matches([',', '.', ';', ':']);
                if !commands[*command].contains(option) {
                    wrong.push(format!("{}: bank {command} has no --{option}", document.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(shown.len() > 8, "{shown:?}");
}
