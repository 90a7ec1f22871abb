//! Questions, on a terminal.

use std::io::{self, Write as _};

use console::{Term, style};

use super::interrupt;
use super::outcome::Failure;
use super::ui::Ui;

/// Asks until the answer passes `check`. An empty answer is the default.
pub(super) fn ask<R>(
    question: &str,
    default: Option<&str>,
    mut check: impl FnMut(&str) -> Result<R, String>,
) -> Result<R, Failure> {
    let default_note = match default {
        None | Some("") => String::new(),
        Some(default) => format!(" {}", style(format!("[{default}]")).for_stderr().dim()),
    };
    loop {
        eprint!("{}{default_note}: ", style(question).for_stderr().bold());
        io::stderr().flush()?;
        let line = read_line()?;
        let answer = match (line.trim(), default) {
            ("", Some(default)) => default,
            (answer, _) => answer,
        };
        match check(answer) {
            Ok(value) => return Ok(value),
            Err(reason) => eprintln!("  {}", style(reason).for_stderr().red()),
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
        eprintln!("  {}", style(mistake).for_stderr().red());
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
        eprintln!("{what}. This can't be undone.");
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

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        eprintln!();
        return Err(Failure::usage("the input ended before the last answer"));
    }
    Ok(line)
}

fn hidden(question: &str) -> Result<String, Failure> {
    let _echo = interrupt::keep_echo();
    eprint!("{}: ", style(question).for_stderr().bold());
    io::stderr().flush()?;
    Ok(Term::stderr().read_secure_line()?)
}
