//! Ctrl-C, and what ends a program otherwise: what it does depends on what goes on.
//!
//! At rest and at a prompt it ends the process. During work over tenants the
//! first one is remembered, so that the tenant at hand is finished and no other
//! started; the second ends the process, and the server rolls back what was
//! open. While another program has the terminal it is that program's, and is
//! remembered too.

use std::process;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use super::outcome::Exit;
use super::ui;

/// Signals are the process's, so is what is known of them.
static MODE: AtomicU8 = AtomicU8::new(REST);
static PRESSED: AtomicBool = AtomicBool::new(false);

const REST: u8 = 0;
const WORK: u8 = 1;
const CHILD: u8 = 2;

/// Begins to listen, and forgets what an earlier command was told.
///
/// A program that has a handler of its own keeps it. So does one that is to ignore a signal, as
/// `nohup` says of the one for a terminal that is gone: the signals are taken together or not at all.
pub(super) fn listen() {
    static LISTEN: Once = Once::new();
    LISTEN.call_once(|| {
        if let Err(error) = ctrlc::try_set_handler(pressed_now) {
            log::debug!("Ctrl-C is handled elsewhere, or ignored: {error}");
        }
    });
    PRESSED.store(false, Ordering::Relaxed);
}

/// Whether someone wants the work to stop.
pub(super) fn pressed() -> bool {
    PRESSED.load(Ordering::Relaxed)
}

/// A stretch of time in which Ctrl-C has another meaning.
#[must_use]
pub(super) struct Mode {
    before: u8,
}

/// While this lives, the first Ctrl-C is remembered.
pub(super) fn work() -> Mode {
    Mode {
        before: MODE.swap(WORK, Ordering::Relaxed),
    }
}

/// While this lives, Ctrl-C ends the process.
pub(super) fn rest() -> Mode {
    Mode {
        before: MODE.swap(REST, Ordering::Relaxed),
    }
}

/// While this lives, another program is told of Ctrl-C by the terminal; it is remembered, and nothing said.
pub(super) fn child() -> Mode {
    Mode {
        before: MODE.swap(CHILD, Ordering::Relaxed),
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        MODE.store(self.before, Ordering::Relaxed);
    }
}

fn pressed_now() {
    match MODE.load(Ordering::Relaxed) {
        CHILD => PRESSED.store(true, Ordering::Relaxed),
        WORK if !PRESSED.swap(true, Ordering::Relaxed) => {
            ui::say(
                "\ninterrupted: finishing what is at hand; \
                 once more ends at once, and the server rolls back what is open",
            );
        }
        _ => {
            restore_echo();
            ui::say("");
            process::exit(Exit::Interrupted.code().into());
        }
    }
}

#[cfg(unix)]
static TERMINAL: Mutex<Option<rustix::termios::Termios>> = Mutex::new(None);
#[cfg(not(unix))]
static TERMINAL: Mutex<Option<()>> = Mutex::new(None);

/// Keeps what has to be undone if the process ends while nothing that is typed is shown.
#[must_use]
pub(super) struct Echo(());

pub(super) fn keep_echo() -> Echo {
    #[cfg(unix)]
    {
        let terminal = rustix::termios::tcgetattr(std::io::stdin()).ok();
        *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = terminal;
    }
    Echo(())
}

impl Drop for Echo {
    fn drop(&mut self) {
        *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn restore_echo() {
    #[cfg(unix)]
    if let Some(terminal) = &*TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) {
        let now = rustix::termios::OptionalActions::Now;
        let _ = rustix::termios::tcsetattr(std::io::stdin(), now, terminal);
    }
}
