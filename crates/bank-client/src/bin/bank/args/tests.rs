use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(shell_words(line))
}

/// Splits at blanks, except within single quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(ToOwned::to_owned));
        }
    }
    words
}

#[test]
fn the_commands_are_consistent() {
    Cli::command().debug_assert();
}

/// Every command shows how it is used, and every example is understood.
#[test]
fn every_example_parses() {
    let mut examples = 0;
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (_, lines) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{}", command.get_name()));
        for line in lines.lines() {
            let line = line.split(" > ").next().unwrap();
            parse(line).unwrap_or_else(|error| panic!("{line}\n{error}"));
            examples += 1;
        }
    }
    assert!(examples >= 25, "{examples}");
}

#[test]
fn amounts_take_a_currency_beside_or_as_an_option() {
    for line in ["bank deposit 123 10.00 EUR", "bank deposit 123 10.00 --currency EUR"] {
        let Command::Online(Online::Deposit(args)) = parse(line).unwrap().command else { panic!("{line}") };
        assert_eq!(args.amount.decimal, "10.00");
        let currency = args.amount.currency.or(args.amount.currency_option);
        assert_eq!(currency, Some("EUR".parse().unwrap()));
    }
    let Command::Online(Online::Withdraw(args)) = parse("bank withdraw 123 -5").unwrap().command else {
        panic!()
    };
    assert_eq!(args.amount.decimal, "-5", "the bank rejects it");
}

#[test]
fn usage_errors_name_the_wrong_argument() {
    for (line, complaint) in [
        ("bank deposit 123", "<AMOUNT>"),
        ("bank deposit 'a b' 10", "allowed are A-Z a-z 0-9 . _ : -"),
        ("bank deposit 123 10 euros", "use an ISO 4217 code in upper case"),
        ("bank deposit 123 10 EUR --currency EUR", "cannot be used with"),
        ("bank create 123 --type current", "[possible values: savings, checking]"),
        ("bank create 123 --overdraft-limit 5", "--currency"),
        ("bank create 123 --label north", "write it like key=value"),
        ("bank balance 123 --as-of noon", "write it like 2026-01-31"),
        ("bank balance 123 --as-of 2026-01-31 --time-zone CEST", "such as UTC or Europe/Zurich"),
        ("bank interest 123 2.5 --from 2026-01-01", "--to"),
        ("bank history 123 --all --limit 5", "cannot be used with"),
        ("bank history 123 --kind gift", "deposit"),
        ("bank demo --timeout soon", "write it like 500ms"),
        ("bank deposit 123 10 --request-id 'a b'", "visible ASCII"),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.to_string().contains(complaint), "{line}\n{error}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn pages_are_as_large_as_needed() {
    for (line, items_max, page_size) in [
        ("bank history 123", 50, 51),
        ("bank history 123 --limit 3", 3, 4),
        ("bank history 123 --limit 5000", 5_000, 1_000),
        ("bank history 123 --all", usize::MAX, 1_000),
    ] {
        let Command::Online(Online::History(args)) = parse(line).unwrap().command else { panic!("{line}") };
        assert_eq!(args.limit.items_max(), items_max, "{line}");
        assert_eq!(args.limit.page_size(), page_size, "{line}");
    }
}
