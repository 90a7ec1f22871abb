//! The terminal, or what is there instead: messages on standard error.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};

use console::style;

/// Where messages go, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ui {
    verbosity: u8,
    /// Standard error is a terminal.
    pub(super) terminal: bool,
    /// Someone can be asked.
    pub(super) interactive: bool,
}

impl Ui {
    pub(super) fn new(verbosity: u8) -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            verbosity,
            terminal,
            interactive: terminal && io::stdin().is_terminal(),
        }
    }

    /// Whether messages of this level are wanted: 1 what was done, 2 more of it, 3 everything.
    /// Failures and warnings always are.
    pub(super) fn wants(self, level: u8) -> bool {
        self.verbosity >= level
    }

    /// Says what was done.
    pub(super) fn note(self, message: &str) {
        if self.wants(1) {
            say(message);
        }
    }
}

/// Writes a line on standard error. That nobody can read it any more stops no work.
pub(super) fn say(line: &str) {
    // In one piece: several threads may have something to say.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Says what deserves a look, and stops nothing.
pub(super) fn warn(message: &str) {
    say(&warning(message));
}

/// Says what failed, and why.
pub(super) fn error(error: &(dyn Error + 'static)) {
    say(&failure(None, error));
}

/// Says what was wrong with the command line, or with an answer.
pub(super) fn usage(message: &str) {
    let error = style("error:").for_stderr().red().bold();
    say(&format!("{error} {message}"));
}

pub(super) fn warning(message: &str) -> String {
    format!(
        "{} {message}",
        style("warning:").for_stderr().yellow().bold()
    )
}

/// An error and its causes, a line each.
pub(super) fn failure(schema: Option<&str>, error: &(dyn Error + 'static)) -> String {
    let whose = schema.map_or_else(String::new, |schema| format!("{schema}: "));
    let mut last = error.to_string();
    let mut text = format!(
        "{} {whose}{last}",
        style("error:").for_stderr().red().bold()
    );
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if message != last {
            text.push_str("\n  caused by: ");
            text.push_str(&message.replace('\n', "\n    "));
        }
        last = message;
        cause = error.source();
    }
    text
}
