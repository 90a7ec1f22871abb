//! Questions, on a terminal.

use std::io::{self, Write as _};

use console::{Term, style};

use crate::error::Error;

use super::interrupt;
use super::outcome::Failure;
use super::ui::{self, Ui};

/// Why an answer is not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is wrong, in words: another one is asked for.
    Answer(String),
    /// Nobody can say whether it is right.
    Failure(Failure),
}

impl From<String> for Refused {
    fn from(mistake: String) -> Self {
        Self::Answer(mistake)
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Usage(mistake) => Self::Answer(mistake),
            failure => Self::Failure(failure),
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Failure(error.into())
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Answer(mistake) => Self::Usage(mistake),
            Refused::Failure(failure) => failure,
        }
    }
}

/// Asks until the answer passes `check`. An empty answer is the default.
pub(super) fn ask<R>(
    question: &str,
    default: Option<&str>,
    mut check: impl FnMut(&str) -> Result<R, Refused>,
) -> Result<R, Failure> {
    let _mode = interrupt::rest();
    let default_note = match default {
        None | Some("") => String::new(),
        Some(default) => format!(" {}", style(format!("[{default}]")).for_stderr().dim()),
    };
    loop {
        let question = style(question).for_stderr().bold();
        put(&format!("{question}{default_note}: "))?;
        let line = read_line()?;
        let answer = match (line.trim(), default) {
            ("", Some(default)) => default,
            (answer, _) => answer,
        };
        match check(answer) {
            Ok(value) => return Ok(value),
            Err(Refused::Answer(mistake)) => refuse(&mistake),
            Err(Refused::Failure(failure)) => return Err(failure),
        }
    }
}

/// Asks for a password twice, and shows none of it.
pub(super) fn ask_password(check: impl Fn(&str) -> Result<(), String>) -> Result<String, Failure> {
    loop {
        let password = hidden("password")?;
        let mistake = match check(&password) {
            Ok(()) if password == hidden("password (again)")? => return Ok(password),
            Ok(()) => "the two differ, type it again".to_owned(),
            Err(mistake) => mistake,
        };
        refuse(&mistake);
    }
}

impl Ui {
    /// Has the tenant's name typed before something that can't be undone.
    pub(super) fn confirm(self, what: &str, name: &str, noinput: bool) -> Result<(), Failure> {
        if noinput {
            return Ok(());
        }
        if !self.interactive {
            return Err(Failure::usage(format!(
                "there is no terminal to confirm it on, say `--noinput` if it is meant: {what}"
            )));
        }
        ui::say(&format!("{what}. This can't be undone."));
        let typed = ask(&format!("Type `{name}` to go on"), None, |text| {
            Ok(text.to_owned())
        })?;
        if typed == name {
            Ok(())
        } else {
            Err(Failure::Error(
                format!("{typed:?} is not `{name}`: nothing was changed").into(),
            ))
        }
    }
}

/// Writes a question, which somebody has to see.
fn put(question: &str) -> io::Result<()> {
    let mut terminal = io::stderr().lock();
    terminal.write_all(question.as_bytes())?;
    terminal.flush()
}

fn refuse(mistake: &str) {
    ui::say(&format!("  {}", style(mistake).for_stderr().red()));
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        ui::say("");
        return Err(Failure::usage("the input ended before the last answer"));
    }
    Ok(line)
}

fn hidden(question: &str) -> Result<String, Failure> {
    let _mode = interrupt::rest();
    let _echo = interrupt::keep_echo();
    put(&format!("{}: ", style(question).for_stderr().bold()))?;
    Ok(Term::stderr().read_secure_line()?)
}
