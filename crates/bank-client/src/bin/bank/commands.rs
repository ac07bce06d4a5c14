//! What each command does.

use std::collections::BTreeSet;

use bank_client::{Account, BankClient, Call, Money, Route, TransactionId, methods};
use clap::CommandFactory as _;

use crate::{
    apply,
    args::{self, ChangeState, Cli, Command, Completions},
    audit, backup, bench,
    connect::connect,
    demo,
    failure::Failure,
    json, keys,
    output::Output,
    table, watch,
};

pub(crate) async fn run(cli: Cli, output: &mut Output) -> Result<(), Failure> {
    match &cli.command {
        Command::Completions(completions) => {
            print_completions(completions, output);
            return Ok(());
        }
        Command::Keygen(args) => return keys::keygen(args, output),
        Command::Token(args) => return keys::token(args, output),
        Command::Bench(args) => return bench::run(&cli.global, args, output).await,
        _ => {}
    }
    let client = connect(&cli.global).await?;
    match cli.command {
        Command::Create(args) => create(&client, args, output).await?,
        Command::Show(args) => {
            let account = client.account(&args.account).await?;
            output.result(&account, table::account(&account));
        }
        Command::Balance(args) => {
            let call = client.balance(&args.account);
            let as_of = args.as_of.map(|as_of| args.zone.until(&as_of)).transpose()?;
            let balance = with(call, as_of, Call::as_of).await?;
            output.result(&balance, &balance.message);
        }
        Command::Deposit(args) => {
            let amount = args.amount.resolve(&client, &args.account).await?;
            let call = args.description.apply(client.deposit(&args.account, amount));
            output.answer(&mut args.mutation.apply(call).await?, &args.mutation);
        }
        Command::Withdraw(args) => {
            let amount = args.amount.resolve(&client, &args.account).await?;
            let call = args.description.apply(client.withdraw(&args.account, amount));
            output.answer(&mut args.mutation.apply(call).await?, &args.mutation);
        }
        Command::Transfer(args) => {
            let amount = args.amount.resolve(&client, &args.from).await?;
            let route = Route { from: &args.from, to: &args.to };
            let call = args.description.apply(client.transfer(route, amount));
            output.answer(&mut args.mutation.apply(call).await?, &args.mutation);
        }
        Command::Interest(args) => interest(&client, args, output).await?,
        Command::History(args) => history(&client, args, output).await?,
        Command::Accounts(args) => accounts(&client, args, output).await?,
        Command::Transaction(args) => {
            let transaction = client.transaction(TransactionId::from(args.transaction)).await?;
            output.result(&transaction, table::transaction(&transaction));
        }
        Command::Overdraft(args) => {
            let limit = args.limit.resolve(&client, &args.account).await?;
            let call = args.mutation.apply(client.set_overdraft_limit(&args.account, limit));
            output.answer(&mut call.await?, &args.mutation);
        }
        Command::Freeze(args) => change_state(client.freeze_account(&args.account), &args, output).await?,
        Command::Unfreeze(args) => {
            change_state(client.unfreeze_account(&args.account), &args, output).await?;
        }
        Command::Close(args) => change_state(client.close_account(&args.account), &args, output).await?,
        Command::Info => {
            let info = client.server_info().await?;
            output.result(&info, table::server_info(&info));
        }
        Command::Apply(args) => apply::run(&client, &cli.global, args, output).await?,
        Command::Audit(args) => audit::run(&client, args, output).await?,
        Command::Export(args) => backup::export(&client, args, output).await?,
        Command::Import(args) => backup::import(&client, args, output).await?,
        Command::Watch(args) => watch::run(&client, args, output).await?,
        Command::Health => {
            client.health().await?;
            output.result(&json::Serving, "serving");
        }
        Command::Demo => demo::run(&client, output).await?,
        Command::Completions(_) | Command::Keygen(_) | Command::Token(_) | Command::Bench(_) => {}
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
        return Err(Failure::LabelRepeated(key.clone()));
    }
    let mut call = client.create_account(&args.account, args.account_type).owner(args.owner);
    call = with(call, args.currency, Call::currency);
    call = with(call, limit, Call::overdraft_limit);
    for (key, value) in args.labels {
        call = call.label(key, value);
    }
    output.answer(&mut args.mutation.apply(call).await?, &args.mutation);
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
    let mut receipt = args.mutation.apply(args.description.apply(call)).await?;
    output.answer(&mut receipt, &args.mutation);
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
    output.list::<Account>(call.stream(), &args.limit).await
}

async fn change_state<M>(call: Call<M>, args: &ChangeState, output: &mut Output) -> Result<(), Failure>
where
    M: methods::Method<Reply = bank_client::Receipt> + methods::Mutation + methods::Described,
{
    let call = args.mutation.apply(args.description.apply(call));
    output.answer(&mut call.await?, &args.mutation);
    Ok(())
}

/// Sets an option of a call, if there is a value for it.
fn with<M, T>(call: Call<M>, value: Option<T>, set: impl FnOnce(Call<M>, T) -> Call<M>) -> Call<M> {
    match value {
        Some(value) => set(call, value),
        None => call,
    }
}

fn print_completions(completions: &Completions, output: &mut Output) {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Cli::command(), "bank", &mut script);
    output.bytes(&script);
}
