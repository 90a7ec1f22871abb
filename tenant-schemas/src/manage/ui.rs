//! The terminal, or what is there instead: messages on standard error.

use std::error::Error;
use std::io::IsTerminal as _;

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
        let terminal = std::io::stderr().is_terminal();
        Self {
            verbosity,
            terminal,
            interactive: terminal && std::io::stdin().is_terminal(),
        }
    }

    /// Whether messages of this level are wanted: 1 what was done, 2 more of it, 3 everything.
    pub(super) fn wants(self, level: u8) -> bool {
        self.verbosity >= level
    }

    /// Says what was done.
    pub(super) fn note(self, message: &str) {
        if self.wants(1) {
            eprintln!("{message}");
        }
    }
}

/// Says what deserves a look, and stops nothing.
pub(super) fn warn(message: &str) {
    eprintln!("{}", warning(message));
}

/// Says what failed, and why.
pub(super) fn error(error: &(dyn Error + 'static)) {
    eprintln!("{}", failure(None, error));
}

/// Says what was wrong with the command line, or with an answer.
pub(super) fn usage(message: &str) {
    eprintln!("{} {message}", style("error:").for_stderr().red().bold());
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
