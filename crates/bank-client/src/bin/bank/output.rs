//! Writes results, notes and failures.
//!
//! A command ends with its own exit code whatever happens to its output. So writing a result returns no error:
//! [`Output`] remembers the first error, drops what comes after it, and reports it when the command has ended
//! ([`Output::finish`]). A command that is useless without a reader calls [`Output::ensure_written`] as it goes on.

use std::{
    fmt::Display,
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use bank_client::{TryStreamExt as _, WatchNews, json::Json};
use bank_domain::{redacted, visible};
use futures::stream::BoxStream;
use serde::Serialize;
use serde_json::json;

use crate::{
    args::{Format, Limit, Mutation},
    failure::{self, Exit, Failure},
    table::{self, Row},
    text::Text,
};

/// Writes results to standard output, notes and failures to standard error.
pub(crate) struct Output {
    format: Format,
    results: Box<dyn Write>,
    notes: Box<dyn Write>,
    /// The first error of writing results. Nothing is written after it: results with a gap would look complete.
    lost: Option<io::Error>,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let results = Box::new(BufWriter::new(io::stdout()));
        Self { format, results, notes: Box::new(io::stderr()), lost: None }
    }

    /// One result, as JSON or as text.
    pub(crate) fn result(&mut self, json: impl Serialize, text: impl Into<Text>) {
        match self.format {
            Format::Text => self.text(text),
            Format::Json => self.json(&json),
        }
    }

    /// The answer to a change, with a note if nothing changed.
    pub(crate) fn answer(
        &mut self,
        json: impl Serialize,
        message: &str,
        replayed: bool,
        mutation: &Mutation,
    ) {
        self.result(json, message);
        if replayed {
            self.note("this request was carried out before; this is its original answer");
        } else if mutation.validate_only {
            self.note("dry run: nothing was changed");
        }
    }

    /// The items of a list: one table, once all of them are known, or one line of JSON for each as it arrives.
    pub(crate) async fn list<T: Row + Json>(
        &mut self,
        mut items: BoxStream<'static, Result<T, bank_client::Error>>,
        limit: &Limit,
    ) -> Result<(), Failure> {
        let mut rows = Vec::new();
        let mut count = 0;
        while let Some(item) = items.try_next().await? {
            self.ensure_written()?;
            count += 1;
            if count > limit.items_max() {
                break;
            }
            match self.format {
                Format::Text => rows.push(item),
                Format::Json => self.json(&item.json()),
            }
        }
        if !rows.is_empty() {
            self.text(table::list(T::COLUMNS, &rows));
        }
        if count > limit.items_max() {
            self.note("there are more; raise --limit, or use --all");
        } else if count == 0 {
            self.note("none found");
        }
        Ok(())
    }

    /// New entries of a watch, shown at once: a row for each entry, or one line of JSON for all.
    pub(crate) fn watched(&mut self, news: &WatchNews) {
        match self.format {
            Format::Text => news.entries.iter().for_each(|entry| self.text(table::watched(entry))),
            Format::Json => self.json(&news.json()),
        }
        self.flush();
    }

    /// Text that adds to a result; its JSON has this already.
    pub(crate) fn detail(&mut self, text: impl Into<Text>) {
        if self.format == Format::Text {
            self.text(text);
        }
    }

    /// Text, whatever the format.
    pub(crate) fn text(&mut self, text: impl Into<Text>) {
        let text = text.into();
        self.write(|results| writeln!(results, "{text}"));
    }

    /// A part of a result, as it is.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.write(|results| results.write_all(bytes));
    }

    /// Writes what is buffered.
    pub(crate) fn flush(&mut self) {
        self.write(|results| results.flush());
    }

    /// Fails once results could not be written, for commands that have nothing left to do then.
    pub(crate) fn ensure_written(&self) -> Result<(), Failure> {
        self.lost.as_ref().map_or(Ok(()), |error| Err(Failure::output(error)))
    }

    /// Additional information for people.
    pub(crate) fn note(&mut self, note: &str) {
        if self.format == Format::Text {
            self.complain(Text::line(&format!("note: {note}")));
        }
    }

    /// Reports the failures of the command and of its output. The exit code is that of the command if it failed.
    pub(crate) fn finish(mut self, ended: Result<(), Failure>) -> ExitCode {
        self.flush();
        let lost = self.lost.take().map(|error| Failure::output(&error));
        let exit = ended.as_ref().err().or(lost.as_ref()).map(|failure| failure.exit);
        let Some(exit) = exit else { return ExitCode::SUCCESS };
        let failed = ended.err().filter(|failure| failure.reason != failure::OUTPUT);
        for failure in [lost, failed].into_iter().flatten() {
            self.fail(&failure, exit);
        }
        ExitCode::from(exit as u8)
    }

    fn fail(&mut self, failure: &Failure, exit: Exit) {
        match self.format {
            Format::Text => {
                self.complain(format!("error: {}", failure.text()));
                if let Some(hint) = &failure.hint {
                    self.complain(Text::line(&format!("  hint: {hint}")));
                }
            }
            Format::Json => {
                let error = json!({"error": {
                    "reason": failure.reason,
                    "message": failure.to_string(),
                    "hint": failure.hint,
                    "request_id": failure.request_id,
                    "replayed": failure.replayed,
                    "exit_code": exit as u8,
                }});
                self.complain(visible::json(&error.to_string()));
            }
        }
    }

    fn json(&mut self, result: &impl Serialize) {
        let document = serde_json::to_string(result).map_err(io::Error::from);
        self.write(|results| writeln!(results, "{}", visible::json(&document?)));
    }

    fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.lost.is_none() {
            self.lost = write(&mut *self.results).err();
        }
    }

    /// A line on standard error, after the results so far. An error of that is ignored: there is no place to report it.
    fn complain(&mut self, line: impl Display) {
        self.flush();
        let _ = writeln!(self.notes, "{line}");
    }
}

/// Prints the help, the version, or the usage error that parsing the command line has ended with.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let mut output = Output::new(Format::Text);
    if error.use_stderr() {
        output.complain(Text::lines(redacted(&error.render().to_string()).trim_end()));
        return ExitCode::from(Exit::Usage as u8);
    }
    output.write(|_| error.print());
    output.finish(Ok(()))
}

#[cfg(test)]
pub(crate) mod tests;
