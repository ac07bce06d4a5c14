//! Where results, notes and failures go.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use bank_client::{AccountReceipt, InterestReceipt, Receipt, TryStreamExt as _, WatchNews};
use futures::stream::BoxStream;
use serde_json::json;

use crate::{
    args::{Format, Limit, Mutation},
    failure::Failure,
    json::Json,
    table::{self, Row},
};

/// Results go to standard output, notes and failures to standard error.
pub(crate) struct Output {
    format: Format,
    results: Box<dyn Write>,
    notes: Box<dyn Write>,
}

/// What the bank answers to a change.
pub(crate) trait Answer: Json {
    fn message(&self) -> &str;
    fn replayed(&self) -> bool;
}

macro_rules! answers {
    ($($receipt:ident),+) => {$(
        impl Answer for $receipt {
            fn message(&self) -> &str {
                &self.message
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
        Self { format, results: Box::new(BufWriter::new(io::stdout())), notes: Box::new(io::stderr()) }
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.results.flush()
    }

    /// One result: for people the text, which may have several lines.
    pub(crate) fn result(&mut self, result: &impl Json, text: &str) -> io::Result<()> {
        match self.format {
            Format::Text => self.text(text),
            Format::Json => self.json(result),
        }
    }

    /// The answer to a change, with a note if nothing changed.
    pub(crate) fn answer(&mut self, answer: &impl Answer, mutation: &Mutation) -> io::Result<()> {
        self.result(answer, answer.message())?;
        if answer.replayed() {
            self.note("this request was carried out before; this is the answer it got then");
        } else if mutation.validate_only {
            self.note("only checked, nothing was changed");
        }
        Ok(())
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
            if count == limit.items_max() {
                cut = true;
                break;
            }
            count += 1;
            match self.format {
                Format::Text => rows.push(item),
                Format::Json => self.json(&item)?,
            }
        }
        if !rows.is_empty() {
            self.text(&table::list(&rows))?;
        }
        if cut {
            self.note("there are more; raise --limit, or use --all");
        } else if count == 0 {
            self.note("there are none");
        }
        Ok(())
    }

    /// News of a watch, shown at once: a row for each entry for people, one line of JSON.
    pub(crate) fn watched(&mut self, news: &WatchNews) -> io::Result<()> {
        match self.format {
            Format::Text => {
                for entry in &news.entries {
                    self.text(&table::watched(entry))?;
                }
            }
            Format::Json => self.json(news)?,
        }
        self.flush()
    }

    /// Text for people about a result that JSON has whole.
    pub(crate) fn detail(&mut self, text: &str) -> io::Result<()> {
        match self.format {
            Format::Text => self.text(text),
            Format::Json => Ok(()),
        }
    }

    /// Text as it is, whatever the format.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.results, "{text}")
    }

    /// Something that people may want to know.
    pub(crate) fn note(&mut self, note: &str) {
        if self.format == Format::Text {
            self.complain(&format!("note: {note}"));
        }
    }

    /// Says why the command failed and what to do, and gives its exit code.
    pub(crate) fn fail(&mut self, failure: &Failure) -> ExitCode {
        // What there was before the failure comes before its message.
        if failure.is_broken_pipe() || self.flush().is_err() {
            return ExitCode::SUCCESS;
        }
        let exit = failure.exit() as u8;
        match self.format {
            Format::Text => {
                self.complain(&format!("error: {failure}"));
                if let Some(hint) = failure.hint() {
                    self.complain(&format!("  hint: {hint}"));
                }
            }
            Format::Json => {
                let error = json!({"error": {
                    "reason": failure.reason(),
                    "message": failure.to_string(),
                    "hint": failure.hint(),
                    "request_id": failure.request_id(),
                    "replayed": failure.replayed(),
                    "exit_code": exit,
                }});
                self.complain(&error.to_string());
            }
        }
        ExitCode::from(exit)
    }

    /// A part of a result that is neither text nor JSON.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.results.write_all(bytes)
    }

    fn json(&mut self, result: &impl Json) -> io::Result<()> {
        serde_json::to_writer(&mut self.results, &result.json())?;
        writeln!(self.results)
    }

    /// A line on standard error, after the results so far. If even that cannot be written, there is
    /// nobody to tell; if the results cannot, the end of the command finds out.
    fn complain(&mut self, line: &str) {
        let _ = self.results.flush();
        let _ = writeln!(self.notes, "{line}");
    }
}

#[cfg(test)]
mod tests;
