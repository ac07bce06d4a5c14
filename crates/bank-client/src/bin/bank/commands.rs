//! Runs a command.

use std::collections::BTreeSet;

use bank_client::{BankClient, Call, Money, Receipt, Route, TransactionId, methods};
use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    apply,
    args::{self, ChangeState, Cli, Command},
    audit, backup, bench,
    connect::connect,
    demo,
    failure::{Exit, Failure},
    json::Json as _,
    keys,
    output::Output,
    table, watch,
};

pub(crate) async fn run(cli: Cli, output: &mut Output) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Create(args) => create(&connect(global).await?, args, output).await,
        Command::Show { account } => {
            let account = connect(global).await?.account(&account).await?;
            output.result(account.json(), table::account(&account));
            Ok(())
        }
        Command::Balance(args) => {
            let client = connect(global).await?;
            let as_of = args.as_of.map(|as_of| args.zone.until(&as_of)).transpose()?;
            let balance = with(client.balance(&args.account), as_of, Call::as_of).await?;
            output.result(balance.json(), &balance.message);
            Ok(())
        }
        Command::Deposit(args) => {
            let client = connect(global).await?;
            let amount = args.amount.resolve(&client, &args.account).await?;
            let call = args.description.apply(client.deposit(&args.account, amount));
            change(call, &args.mutation, output).await
        }
        Command::Withdraw(args) => {
            let client = connect(global).await?;
            let amount = args.amount.resolve(&client, &args.account).await?;
            let call = args.description.apply(client.withdraw(&args.account, amount));
            change(call, &args.mutation, output).await
        }
        Command::Transfer(args) => {
            let client = connect(global).await?;
            let amount = args.amount.resolve(&client, &args.from).await?;
            let route = Route { from: &args.from, to: &args.to };
            let call = args.description.apply(client.transfer(route, amount));
            change(call, &args.mutation, output).await
        }
        Command::Interest(args) => interest(&connect(global).await?, args, output).await,
        Command::History(args) => history(&connect(global).await?, args, output).await,
        Command::Accounts(args) => accounts(&connect(global).await?, args, output).await,
        Command::Transaction { transaction } => {
            let call = connect(global).await?.transaction(TransactionId::from(transaction));
            let transaction = call.await?;
            output.result(transaction.json(), table::transaction(&transaction));
            Ok(())
        }
        Command::Overdraft(args) => {
            let client = connect(global).await?;
            let limit = args.limit.resolve(&client, &args.account).await?;
            change(client.set_overdraft_limit(&args.account, limit), &args.mutation, output).await
        }
        Command::Freeze(args) => {
            change_state(connect(global).await?.freeze_account(&args.account), &args, output).await
        }
        Command::Unfreeze(args) => {
            change_state(connect(global).await?.unfreeze_account(&args.account), &args, output).await
        }
        Command::Close(args) => {
            change_state(connect(global).await?.close_account(&args.account), &args, output).await
        }
        Command::Info => {
            let info = connect(global).await?.server_info().await?;
            output.result(info.json(), table::server_info(&info));
            Ok(())
        }
        Command::Apply(args) => apply::run(&connect(global).await?, global, args, output).await,
        Command::Audit { account } => audit::run(&connect(global).await?, account, output).await,
        Command::Export { file } => backup::export(&connect(global).await?, &file, output).await,
        Command::Import { file } => backup::import(&connect(global).await?, &file, output).await,
        Command::Watch(args) => watch::run(&connect(global).await?, args, output).await,
        Command::Bench(args) => bench::run(global, args, output).await,
        Command::Health => {
            connect(global).await?.health().await?;
            // As `grpc.health.v1` spells it.
            output.result(json!({"status": "SERVING"}), "serving");
            Ok(())
        }
        Command::Demo => demo::run(&connect(global).await?, output).await,
        Command::Keygen(args) => keys::keygen(&args, output),
        Command::Token(args) => keys::token(&args, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bank", &mut script);
            output.bytes(&script);
            Ok(())
        }
    }
}

async fn create(client: &BankClient, args: args::Create, output: &mut Output) -> Result<(), Failure> {
    let limit = match (&args.overdraft_limit, args.currency) {
        (Some(limit), Some(currency)) => Some(Money::parse_decimal(limit, currency)?),
        _ => None,
    };
    let mut labels = BTreeSet::new();
    if let Some((key, _)) = args.labels.iter().find(|(key, _)| !labels.insert(key)) {
        let message = format!("the label {key} is given twice; a label has one value");
        return Err(Failure::new(Exit::Usage, "LABEL_REPEATED", message));
    }
    let mut call = client.create_account(&args.account, args.account_type).owner(args.owner);
    call = with(call, args.currency, Call::currency);
    call = with(call, limit, Call::overdraft_limit);
    for (key, value) in args.labels {
        call = call.label(key, value);
    }
    let receipt = args.mutation.apply(call).await?;
    output.answer(receipt.json(), &receipt.message, receipt.replayed, &args.mutation);
    Ok(())
}

async fn interest(client: &BankClient, args: args::Interest, output: &mut Output) -> Result<(), Failure> {
    let mut call = client
        .calculate_interest(&args.account, args.annual_interest_rate)
        .day_count(args.day_count)
        .compounding(args.compounding)
        .rounding_mode(args.rounding);
    if let (Some(from), Some(to)) = (args.from, args.to) {
        call = call.period(from..to);
    }
    let receipt = args.mutation.apply(args.description.apply(call)).await?;
    output.answer(receipt.json(), &receipt.message, receipt.replayed, &args.mutation);
    if args.explain {
        output.detail(table::breakdown(&receipt.breakdown));
    }
    Ok(())
}

async fn history(client: &BankClient, args: args::History, output: &mut Output) -> Result<(), Failure> {
    let mut call = client.history(&args.account).order(args.order).page_size(args.limit.page_size());
    let from = |when: args::When| args.zone.from(&when);
    call = with(call, args.since.map(from).transpose()?, Call::since);
    call = with(call, args.before.map(from).transpose()?, Call::before);
    for kind in args.kinds {
        call = call.kind(kind);
    }
    output.list(call.stream(), &args.limit).await
}

async fn accounts(client: &BankClient, args: args::Accounts, output: &mut Output) -> Result<(), Failure> {
    let mut call = client.accounts().owner(args.owner).page_size(args.limit.page_size());
    call = with(call, args.account_type, Call::account_type);
    call = with(call, args.state, Call::state);
    output.list(call.stream(), &args.limit).await
}

async fn change_state<M>(call: Call<M>, args: &ChangeState, output: &mut Output) -> Result<(), Failure>
where
    M: methods::Method<Reply = Receipt> + methods::Mutation + methods::Described,
{
    change(args.description.apply(call), &args.mutation, output).await
}

async fn change<M>(call: Call<M>, mutation: &args::Mutation, output: &mut Output) -> Result<(), Failure>
where
    M: methods::Method<Reply = Receipt> + methods::Mutation,
{
    let receipt = mutation.apply(call).await?;
    output.answer(receipt.json(), &receipt.message, receipt.replayed, mutation);
    Ok(())
}

/// Sets an option of a call, if there is a value for it.
fn with<M, T>(call: Call<M>, value: Option<T>, set: impl FnOnce(Call<M>, T) -> Call<M>) -> Call<M> {
    match value {
        Some(value) => set(call, value),
        None => call,
    }
}
