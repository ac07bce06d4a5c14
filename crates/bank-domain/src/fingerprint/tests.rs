use crate::{Amount, ChangeState, Command, Deposit, Description, Transfer, Withdraw};

fn deposit(account_id: &str, minor_units: i64, description: &str) -> Command {
    Command::Deposit(Deposit {
        account_id: account_id.parse().unwrap(),
        amount: Amount::try_new(None, minor_units).unwrap(),
        description: description.parse().unwrap(),
    })
}

/// Records written by one version of the bank are read by the next: these never change.
#[test]
fn fingerprints_stay_the_same_from_version_to_version() {
    let transfer = Transfer::try_new(
        "a".parse().unwrap(),
        "b".parse().unwrap(),
        Amount::try_new("USD".parse().ok(), 1).unwrap(),
        Description::default(),
    );
    for (command, expected) in [
        (deposit("123", 100_000, ""), "f21e5072f41d2b36"),
        (Command::Transfer(transfer.unwrap()), "7ede107d2f39cb46"),
    ] {
        assert_eq!(command.fingerprint().to_string(), expected, "{command:?}");
    }
}

#[test]
fn different_meanings_have_different_fingerprints() {
    let change = ChangeState { account_id: "a".parse().unwrap(), description: Description::default() };
    let withdraw = Withdraw {
        account_id: "a".parse().unwrap(),
        amount: Amount::try_new(None, 1).unwrap(),
        description: Description::default(),
    };
    let commands = [
        deposit("a", 1, ""),
        deposit("a", 2, ""),
        deposit("b", 1, ""),
        deposit("a", 1, "x"),
        Command::Withdraw(withdraw),
        Command::Freeze(change.clone()),
        Command::Unfreeze(change.clone()),
        Command::Close(change),
    ];
    let mut fingerprints: Vec<_> = commands.iter().map(|it| it.fingerprint().to_bits()).collect();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), commands.len());
    assert_eq!(deposit("a", 1, "").fingerprint(), deposit("a", 1, "").fingerprint());
}
