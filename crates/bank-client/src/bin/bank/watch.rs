//! `bank watch`.

use std::pin::pin;

use bank_client::{BankClient, TryStreamExt as _};
use tokio::{signal, sync::mpsc};

use crate::{
    args,
    failure::{Exit, Failure},
    output::Output,
    table,
};

/// How many interruptions may wait to be reported; further ones are dropped.
const INTERRUPTIONS_WAITING_MAX: usize = 16;

pub(crate) async fn run(client: &BankClient, args: args::Watch, output: &mut Output) -> Result<(), Failure> {
    let mut call = match args.account {
        Some(account) => client.watch(account),
        None => client.watch_all().owner(args.owner),
    };
    if args.from_start {
        call = call.from_start();
    }
    if let Some(token) = args.resume_token {
        call = call.resume_token(token);
    }
    let (sender, mut interruptions) = mpsc::channel(INTERRUPTIONS_WAITING_MAX);
    let call = call.on_interruption(move |error| {
        let _ = sender.try_send(error.to_string());
    });
    let mut stop = pin!(signal::ctrl_c());
    let mut news = call.stream();
    let mut resume_token = None;
    let ended = loop {
        tokio::select! {
            // The signal handler must be installed before anything is shown.
            biased;
            stopped = &mut stop => break stopped.map_err(|error| {
                Failure::new(Exit::Failed, "INTERRUPT", format!("cannot handle Ctrl-C: {error}"))
            }),
            Some(problem) = interruptions.recv() => output.note(&format!("{problem}; trying again")),
            next = news.try_next() => match next {
                Ok(Some(news)) => {
                    if resume_token.is_none() {
                        output.detail(table::watch_titles());
                    }
                    output.watched(&news);
                    // The token of entries that could not be written is not reported: they would be skipped.
                    if let Err(failure) = output.ensure_written() {
                        break Err(failure);
                    }
                    resume_token = Some(news.resume_token);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            },
        }
    };
    if let Some(token) = resume_token {
        output.note(&format!("to continue from here, add --resume-token {token}"));
    }
    ended
}
