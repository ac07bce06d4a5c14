//! Output of the command line, with the exit code that it leads to.

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use bank_domain::{redacted, visible};

/// The exit code for a wrong command line or setting.
const USAGE_ERROR: u8 = 2;

/// Prints the requested help or version, or the usage error.
pub fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() { fail(&error.render().to_string().trim_end()) } else { printed(error.print()) }
}

/// Prints text on standard output.
pub fn print(text: &str) -> ExitCode {
    printed(io::stdout().write_all(text.as_bytes()))
}

/// Fails if the output could not be written.
fn printed(result: io::Result<()>) -> ExitCode {
    match result.and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            fail(&format_args!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Reports an error of the command line, a setting or the start. It may quote a mistyped URL, so it is redacted.
pub fn fail(problem: &dyn Display) -> ExitCode {
    // If standard error is closed, the exit code has to do.
    let _ = writeln!(io::stderr(), "{}", visible::lines(&redacted(&problem.to_string())));
    ExitCode::from(USAGE_ERROR)
}
