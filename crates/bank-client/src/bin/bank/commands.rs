//! Runs a command.

use std::collections::BTreeSet;

use bank_client::{BankClient, Call, Money, Receipt, Route, TransactionId, json::Json as _, methods};
use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    apply,
    args::{self, ChangeState, Cli, Command, Global, Online},
    audit, backup, bench,
    connect::connect,
    demo,
    failure::{Exit, Failure},
    keys,
    output::Output,
    table, watch,
};

pub(crate) async fn run(cli: Cli, output: &mut Output) -> Result<(), Failure> {
    match cli.command {
        Command::Online(command) => {
            if let Online::Bench(args) = &command {
                // A usage error does not need a bank.
                bench::check(args)?;
            }
            call(&connect(&cli.global).await?, &cli.global, command, output).await
        }
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

async fn call(
    client: &BankClient,
    global: &Global,
    command: Online,
    output: &mut Output,
) -> Result<(), Failure> {
    match command {
        Online::Create(args) => return create(client, args, output).await,
        Online::Show { account } => {
            let account = client.account(&account).await?;
            output.result(account.json(), table::account(&account));
        }
        Online::Balance(args) => {
            let as_of = args.as_of.map(|as_of| args.zone.until(&as_of)).transpose()?;
            let balance = with(client.balance(&args.account), as_of, Call::as_of).await?;
            output.result(balance.json(), &balance.message);
        }
        Online::Deposit(args) => {
            let amount = args.amount.resolve(client, &args.account).await?;
            let call = args.description.apply(client.deposit(&args.account, amount));
            return change(call, &args.mutation, output).await;
        }
        Online::Withdraw(args) => {
            let amount = args.amount.resolve(client, &args.account).await?;
            let call = args.description.apply(client.withdraw(&args.account, amount));
            return change(call, &args.mutation, output).await;
        }
        Online::Transfer(args) => {
            let amount = args.amount.resolve(client, &args.from).await?;
            let route = Route { from: &args.from, to: &args.to };
            let call = args.description.apply(client.transfer(route, amount));
            return change(call, &args.mutation, output).await;
        }
        Online::Interest(args) => return interest(client, args, output).await,
        Online::History(args) => return history(client, args, output).await,
        Online::Accounts(args) => return accounts(client, args, output).await,
        Online::Transaction { transaction } => {
            let transaction = client.transaction(TransactionId::from(transaction)).await?;
            output.result(transaction.json(), table::transaction(&transaction));
        }
        Online::Overdraft(args) => {
            let limit = args.limit.resolve(client, &args.account).await?;
            return change(client.set_overdraft_limit(&args.account, limit), &args.mutation, output).await;
        }
        Online::Freeze(args) => {
            return change_state(client.freeze_account(&args.account), &args, output).await;
        }
        Online::Unfreeze(args) => {
            return change_state(client.unfreeze_account(&args.account), &args, output).await;
        }
        Online::Close(args) => return change_state(client.close_account(&args.account), &args, output).await,
        Online::Info => {
            let info = client.server_info().await?;
            output.result(info.json(), table::server_info(&info));
        }
        Online::Apply(args) => return apply::run(client, global, args, output).await,
        Online::Audit { account } => return audit::run(client, account, output).await,
        Online::Export { file } => return backup::export(client, &file, output).await,
        Online::Import { file } => return backup::import(client, &file, output).await,
        Online::Watch(args) => return watch::run(client, args, output).await,
        Online::Bench(args) => return bench::run(client, global, args, output).await,
        Online::Health => {
            client.health().await?;
            // As `grpc.health.v1` spells it.
            output.result(json!({"status": "SERVING"}), "serving");
        }
        Online::Demo => return demo::run(client, output).await,
    }
    Ok(())
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
