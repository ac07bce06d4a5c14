//! Where results, notes and failures go.
//!
//! A command ends with its own exit code whatever becomes of its output. So writing a result gives no error to
//! handle on the spot: [`Output`] remembers the first, drops what comes after it, and tells when the command has ended
//! ([`Output::finish`]). A command that is of no use without a reader asks [`Output::is_taken`] as it goes on.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use bank_client::{
    AccountReceipt, Entry, EntryKind, InterestReceipt, Money, Receipt, TryStreamExt as _, WatchNews,
};
use bank_domain::{redacted, visible};
use futures::stream::BoxStream;
use serde_json::json;

use crate::{
    args::{Format, Limit, Mutation},
    failure::{Exit, Failure},
    json::Json,
    table::{self, Row},
    text::Text,
};

/// Results go to standard output, notes and failures to standard error.
pub(crate) struct Output {
    format: Format,
    results: Box<dyn Write>,
    notes: Box<dyn Write>,
    /// Why results could not be written. None is written after that: a gap would look like all of them.
    lost: Option<io::Error>,
}

/// What the bank answers to a change.
pub(crate) trait Answer: Json {
    fn message_mut(&mut self) -> &mut String;
    fn entry(&self) -> &Entry;
    fn replayed(&self) -> bool;
}

macro_rules! answers {
    ($($receipt:ident),+) => {$(
        impl Answer for $receipt {
            fn message_mut(&mut self) -> &mut String {
                &mut self.message
            }

            fn entry(&self) -> &Entry {
                &self.entry
            }

            fn replayed(&self) -> bool {
                self.replayed
            }
        }
    )+};
}

answers! { Receipt, AccountReceipt, InterestReceipt }

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let results = Box::new(BufWriter::new(io::stdout()));
        Self { format, results, notes: Box::new(io::stderr()), lost: None }
    }

    /// One result: for people the text.
    pub(crate) fn result(&mut self, result: &impl Json, text: impl Into<Text>) {
        match self.format {
            Format::Text => self.text(text),
            Format::Json => self.json(result),
        }
    }

    /// The answer to a change, with a note if nothing changed.
    pub(crate) fn answer(&mut self, answer: &mut impl Answer, mutation: &Mutation) {
        // The bank answers as if it had been done.
        if mutation.validate_only {
            *answer.message_mut() = would(answer.entry());
        }
        let message = Text::from(&*answer.message_mut());
        self.result(answer, message);
        if answer.replayed() {
            self.note("this request was carried out before; this is the answer it got then");
        } else if mutation.validate_only {
            self.note("only checked, nothing was changed");
        }
    }

    /// The items of a list: a table for people, which is aligned when all of them are known; a line of
    /// JSON for each as it comes.
    pub(crate) async fn list<T: Row + Json>(
        &mut self,
        mut items: BoxStream<'static, Result<T, bank_client::Error>>,
        limit: &Limit,
    ) -> Result<(), Failure> {
        let mut rows = Vec::new();
        let mut count = 0;
        let mut cut = false;
        while let Some(item) = items.try_next().await? {
            self.is_taken()?;
            if count == limit.items_max() {
                cut = true;
                break;
            }
            count += 1;
            match self.format {
                Format::Text => rows.push(item),
                Format::Json => self.json(&item),
            }
        }
        if !rows.is_empty() {
            self.text(table::list(&rows));
        }
        if cut {
            self.note("there are more; raise --limit, or use --all");
        } else if count == 0 {
            self.note("there are none");
        }
        Ok(())
    }

    /// News of a watch, shown at once: a row for each entry for people, one line of JSON.
    pub(crate) fn watched(&mut self, news: &WatchNews) {
        match self.format {
            Format::Text => {
                for entry in &news.entries {
                    self.text(table::watched(entry));
                }
            }
            Format::Json => self.json(news),
        }
        self.flush();
    }

    /// Text for people about a result that JSON has whole.
    pub(crate) fn detail(&mut self, text: impl Into<Text>) {
        match self.format {
            Format::Text => self.text(text),
            Format::Json => {}
        }
    }

    /// Text as it is, whatever the format.
    pub(crate) fn text(&mut self, text: impl Into<Text>) {
        let text = text.into();
        self.write(|results| writeln!(results, "{text}"));
    }

    /// A part of a result that is neither text nor JSON.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.write(|results| results.write_all(bytes));
    }

    /// Writes out what there is so far.
    pub(crate) fn flush(&mut self) {
        self.write(|results| results.flush());
    }

    /// Fails once results have been lost, for commands that then have nothing left to do.
    pub(crate) fn is_taken(&self) -> Result<(), Failure> {
        if self.lost.is_some() { Err(Failure::NotTaken) } else { Ok(()) }
    }

    /// Something that people may want to know.
    pub(crate) fn note(&mut self, note: &str) {
        if self.format == Format::Text {
            self.complain(&Text::line(&format!("note: {note}")));
        }
    }

    /// Says what went wrong, and gives the exit code: that of the command if it failed, else that of its output.
    pub(crate) fn finish(mut self, ended: Result<(), Failure>) -> ExitCode {
        self.flush();
        let lost = self.lost.take().map(Failure::Output);
        let exit = ended.as_ref().err().or(lost.as_ref()).map(Failure::exit);
        let Some(exit) = exit else { return ExitCode::SUCCESS };
        let failures = [lost, ended.err().filter(|failure| !matches!(failure, Failure::NotTaken))];
        for failure in failures.into_iter().flatten() {
            self.fail(&failure, exit);
        }
        ExitCode::from(exit as u8)
    }

    /// Says why the command failed and what to do.
    fn fail(&mut self, failure: &Failure, exit: Exit) {
        match self.format {
            Format::Text => {
                self.complain(&Text::lines(&format!("error: {}", failure.text())));
                if let Some(hint) = failure.hint() {
                    self.complain(&Text::line(&format!("  hint: {hint}")));
                }
            }
            Format::Json => {
                let error = json!({"error": {
                    "reason": failure.reason(),
                    "message": failure.to_string(),
                    "hint": failure.hint(),
                    "request_id": failure.request_id(),
                    "replayed": failure.replayed(),
                    "exit_code": exit as u8,
                }});
                self.complain(&visible::json(&error.to_string()));
            }
        }
    }

    fn json(&mut self, result: &impl Json) {
        let document = serde_json::to_string(&result.json()).map_err(io::Error::from);
        self.write(|results| writeln!(results, "{}", visible::json(&document?)));
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.lost.is_none() {
            self.lost = write(&mut *self.results).err();
        }
    }

    /// A line on standard error, after the results so far. If it cannot be written, there is nobody to tell.
    fn complain(&mut self, line: &impl ToString) {
        self.flush();
        let _ = writeln!(self.notes, "{}", line.to_string());
    }
}

/// What would be done, for people.
fn would(entry: &Entry) -> String {
    let Entry { account_id, amount, .. } = entry;
    let magnitude = amount.to_string();
    let magnitude = magnitude.trim_start_matches('-');
    match entry.kind {
        EntryKind::AccountOpened => format!("Would open account {account_id}"),
        EntryKind::Deposit => format!("Would deposit {magnitude}"),
        EntryKind::Withdrawal => format!("Would withdraw {magnitude}"),
        EntryKind::TransferOut => {
            let to = entry.counterparty.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("Would transfer {magnitude} to account {to}")
        }
        EntryKind::Interest => {
            let rate = entry.interest_terms.as_ref().map(|terms| &*terms.annual_interest_rate);
            let principal = entry.balance_after.minor_units.saturating_sub(amount.minor_units);
            let principal = Money { minor_units: principal, ..*amount };
            format!("Would book interest of {amount} on {principal} at {} % a year", rate.unwrap_or_default())
        }
        EntryKind::OverdraftLimitSet => {
            let limit = entry.overdraft_limit.map(|limit| limit.to_string()).unwrap_or_default();
            format!("Would set the overdraft limit of account {account_id} to {limit}")
        }
        EntryKind::AccountFrozen => format!("Would freeze account {account_id}"),
        EntryKind::AccountUnfrozen => format!("Would unfreeze account {account_id}"),
        EntryKind::AccountClosed => format!("Would close account {account_id}"),
        // From a newer server.
        kind => format!("Would change account {account_id}: {kind}"),
    }
}

/// Prints the help or the version that was asked for, or what is wrong with the command line.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let mut output = Output::new(Format::Text);
    if error.use_stderr() {
        let text = Text::lines(redacted(&error.render().to_string()).trim_end());
        output.complain(&text);
        return ExitCode::from(Exit::Usage as u8);
    }
    output.write(|_| error.print());
    output.finish(Ok(()))
}

#[cfg(test)]
mod tests;
