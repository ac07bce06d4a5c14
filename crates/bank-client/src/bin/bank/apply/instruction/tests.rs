use super::*;

fn row(columns: &[(&str, &str)]) -> Row {
    let mut row = Row::default();
    for (column, text) in columns {
        row.set(column, *text).unwrap();
    }
    row
}

fn read(columns: &[(&str, &str)]) -> Result<Instruction, String> {
    Instruction::read(&row(columns), None)
}

fn content(columns: &[(&str, &str)]) -> Content {
    read(columns).unwrap().content
}

const DEPOSIT: [(&str, &str); 4] =
    [("operation", "deposit"), ("account_id", "a"), ("amount", "25.00"), ("currency_code", "USD")];

#[test]
fn the_spelling_of_a_line_does_not_change_its_content() {
    let first = content(&DEPOSIT);
    for amount in ["25", "25.0", "025.00"] {
        assert_eq!(content(&[DEPOSIT[0], DEPOSIT[1], ("amount", amount), DEPOSIT[3]]), first, "{amount}");
    }
    let dollars = Some(Currency::USD);
    assert_eq!(Instruction::read(&row(&DEPOSIT[..3]), dollars).unwrap().content, first);

    let interest =
        [("operation", "calculate_interest"), ("account_id", "a"), ("annual_interest_rate", "2.5")];
    let same = [
        interest[0],
        interest[1],
        ("annual_interest_rate", "2.50"),
        ("day_count", "act_365_fixed"),
        ("compounding", "simple"),
        ("rounding_mode", "half_even"),
    ];
    assert_eq!(content(&same), content(&interest));

    let create = |labels| {
        content(&[
            ("operation", "create_account"),
            ("account_id", "a"),
            ("account_type", "savings"),
            ("labels", labels),
        ])
    };
    assert_eq!(create("b=2; a = 1;"), create("{\"a\":\"1\",\"b\":\"2\"}"));
}

#[test]
fn every_difference_changes_the_content() {
    let mut contents = vec![content(&DEPOSIT)];
    for (index, change) in [
        (0, ("operation", "withdraw")),
        (1, ("account_id", "b")),
        (2, ("amount", "25.01")),
        (3, ("currency_code", "EUR")),
    ] {
        let mut columns = DEPOSIT.to_vec();
        columns[index] = change;
        contents.push(content(&columns));
    }
    contents.push(content(&[&DEPOSIT[..], &[("description", "x")]].concat()));
    contents.push(content(&[
        ("operation", "transfer"),
        DEPOSIT[1],
        DEPOSIT[2],
        DEPOSIT[3],
        ("destination_account_id", "b"),
    ]));
    contents.push(content(&[("operation", "freeze_account"), ("account_id", "a")]));
    contents.push(content(&[("operation", "close_account"), ("account_id", "a")]));
    for (index, one) in contents.iter().enumerate() {
        assert!(!contents[..index].contains(one), "{index}");
    }
}

/// What ids are made from must stay the same from version to version, or a run that is continued with a new version
/// would pay again.
#[test]
fn the_content_of_a_line_is_the_same_in_every_version() {
    let texts = ["operation", "deposit", "account_id", "a", "amount", "25.00", "currency_code", "USD"];
    assert_eq!(content(&DEPOSIT), Content(hash(texts)));
    assert_eq!(content(&DEPOSIT).hex(), "ea62e59380ffc7fc4b8553e20bb624a6fd76508a13c7bb0c50e17eeda9396184");
}

#[test]
fn malformed_lines_are_rejected_with_the_reason() {
    for (columns, what) in [
        (&[("account_id", "a")][..], "operation is empty; it must be one of deposit, withdraw, transfer,"),
        (&[("operation", "pay")], "operation is \"pay\"; it must be one of deposit, withdraw, transfer,"),
        (&[("operation", "deposit"), ("owner", "x")], "owner does not apply to deposit; leave it empty"),
        (
            &[("operation", "freeze_account"), ("account_id", "a"), ("amount", "1")],
            "amount does not apply to freeze_account",
        ),
        (&[("operation", "deposit"), ("account_id", "{}")], "account_id has '{' at position 0"),
        (&[DEPOSIT[0], DEPOSIT[1], DEPOSIT[3]], "amount is empty; write it like 1000.00"),
        (
            &[DEPOSIT[0], DEPOSIT[1], DEPOSIT[2]],
            "currency_code is empty; name one, or one for all lines with --currency",
        ),
        (
            &[DEPOSIT[0], DEPOSIT[1], DEPOSIT[3], ("amount", "25.0000")],
            "amount 25.0000 has 4 decimals; USD has 2",
        ),
        (
            &[DEPOSIT[0], DEPOSIT[1], DEPOSIT[3], ("amount", "1,000.00")],
            "amount \"1,000.00\" is not an amount; write it like 1000.00",
        ),
        (&[DEPOSIT[0], DEPOSIT[1], DEPOSIT[3], ("amount", "0")], "amount must be more than zero"),
        (
            &[("operation", "transfer"), DEPOSIT[1], DEPOSIT[2], DEPOSIT[3], ("destination_account_id", "a")],
            "destination_account_id is the source",
        ),
        (
            &[("operation", "create_account"), ("account_id", "a")],
            "account_type \"\" is not one of savings, checking",
        ),
        (
            &[
                ("operation", "create_account"),
                ("account_id", "a"),
                ("account_type", "checking"),
                ("overdraft_limit", "5"),
            ],
            "overdraft_limit needs a currency_code",
        ),
        (
            &[
                ("operation", "create_account"),
                ("account_id", "a"),
                ("account_type", "savings"),
                ("currency_code", "USD"),
                ("overdraft_limit", "5"),
            ],
            "overdraft_limit does not apply to savings accounts",
        ),
        (
            &[
                ("operation", "create_account"),
                ("account_id", "a"),
                ("account_type", "savings"),
                ("labels", "north"),
            ],
            "labels must be written like branch=north;tier=gold",
        ),
        (
            &[
                ("operation", "create_account"),
                ("account_id", "a"),
                ("account_type", "savings"),
                ("labels", "a=1;a=2"),
            ],
            "labels have the key \"a\" twice",
        ),
        (
            &[
                ("operation", "set_overdraft_limit"),
                ("account_id", "a"),
                ("currency_code", "USD"),
                ("overdraft_limit", "-5"),
            ],
            "overdraft_limit must be zero or more",
        ),
        (
            &[("operation", "calculate_interest"), ("account_id", "a"), ("annual_interest_rate", "much")],
            "annual_interest_rate \"much\" is not a rate",
        ),
    ] {
        let said = read(columns).unwrap_err();
        assert!(said.starts_with(what), "{columns:?}: {said}");
    }
}

#[test]
fn every_operation_is_read_with_all_its_columns() {
    for (name, _, columns) in OPERATIONS {
        let mut row = row(&[("operation", name), ("account_id", "a")]);
        for column in *columns {
            let text = match *column {
                "destination_account_id" => "b",
                "amount" | "overdraft_limit" => "5.00",
                "currency_code" => "USD",
                "annual_interest_rate" => "2.5",
                "start_date" => "2026-01-01",
                "end_date" => "2026-07-01",
                "day_count" => "act_360",
                "compounding" => "monthly",
                "rounding_mode" => "down",
                "account_type" => "checking",
                "owner" => "alice",
                "labels" => "{\"branch\":\"north\"}",
                _ => "why",
            };
            row.set(column, text).unwrap();
        }
        let instruction = Instruction::read(&row, None).unwrap();
        assert_eq!(instruction.name, *name);
        assert!(entry_kind(name).is_some());
        assert_eq!(instruction.content, Content::of(&row), "every column counts");
    }
}
