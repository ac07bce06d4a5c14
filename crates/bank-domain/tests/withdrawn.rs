//! Accounts in a currency that was withdrawn: none can be opened, and those that there are can be used up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use bank_domain::{
    Account, AccountType, Amount, ChangeState, Command, Context, Currency, Deposit, Description,
    InvalidOpenAccount, Labels, Money, OpenAccount, Owner, Timestamp, Withdraw, WithdrawnCurrency, decide,
};

fn open(code: &str) -> Result<Command, InvalidOpenAccount> {
    let (id, currency) = ("a".parse().unwrap(), code.parse().unwrap());
    let open =
        OpenAccount::try_new(id, AccountType::Savings, currency, Owner::default(), Labels::default(), None);
    open.map(Command::OpenAccount)
}

#[test]
fn none_can_be_opened_and_the_error_names_the_month() {
    for (code, since) in
        [("BGN", "2026-01"), ("CUC", "2021-06"), ("HRK", "2023-01"), ("SLL", "2023-12"), ("ZWL", "2024-09")]
    {
        let currency = code.parse().unwrap();
        let error = InvalidOpenAccount::WithdrawnCurrency(WithdrawnCurrency { currency, since });
        assert_eq!(open(code), Err(error));
        assert_eq!(
            error.to_string(),
            format!(
                "{code} was withdrawn in {since}: accounts held in it can be used, but none can be opened"
            )
        );
    }
    for code in ["EUR", "CUP", "SLE", "ZWG", "VES", "VED", "XCG", "CHE"] {
        assert!(open(code).is_ok(), "{code}");
    }
}

#[test]
fn an_account_that_is_held_in_one_can_be_used_and_closed() {
    let context =
        Context { now: Timestamp::UNIX_EPOCH, ahead_max: std::time::Duration::MAX, request_id: None };
    let opened = decide(|_| None, &open("EUR").unwrap(), &context).unwrap().primary.account;
    // As it was opened while the kuna was in force.
    let kuna: Currency = "HRK".parse().unwrap();
    let zero = Money::zero(kuna);
    let mut account = Account { currency: kuna, balance: zero, overdraft_limit: zero, ..(*opened).clone() };

    let (account_id, description) = (account.id.clone(), Description::default());
    let amount = Amount::try_new(Some(kuna), 5).unwrap();
    let deposit = Deposit { account_id: account_id.clone(), amount, description: description.clone() };
    let withdraw = Withdraw { account_id: account_id.clone(), amount, description: description.clone() };
    let close = ChangeState { account_id, description };
    for command in [Command::Deposit(deposit), Command::Withdraw(withdraw), Command::Close(close)] {
        let plan = decide(|_| Some(&account), &command, &context).unwrap();
        account = (*plan.primary.account).clone();
    }
    assert_eq!((account.version, account.balance), (4, zero));
}
