//! How far the work has come: a bar on a terminal, plain lines elsewhere.

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use console::style;
use indicatif::{ProgressBar, ProgressStyle};

use super::ui::{self, Ui};

/// Shows how far work over schemas has come. Shared by the threads that do it.
#[derive(Debug)]
pub(super) struct Progress {
    ui: Ui,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

/// What was done in a schema.
#[derive(Debug)]
pub(super) enum Did {
    This(String),
    /// Something whose results speak for themselves.
    Quietly,
    /// Nothing had to be done.
    Nothing,
}

impl From<Option<String>> for Did {
    fn from(done: Option<String>) -> Self {
        done.map_or(Self::Nothing, Self::This)
    }
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    done: usize,
    failed: usize,
    running: Vec<String>,
}

/// How many of the tenants at hand the bar names.
const NAMED: usize = 3;

impl Progress {
    /// Where the messages go.
    pub(super) fn ui(&self) -> Ui {
        self.ui
    }

    /// Begins with this many schemas.
    pub(super) fn new(ui: Ui, total: usize) -> Self {
        let bar = (ui.terminal && ui.wants(1)).then(|| {
            let bar = ProgressBar::new(total as u64);
            set_style(&bar, total);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            ui,
            bar,
            state: Mutex::new(State {
                total,
                ..State::default()
            }),
        }
    }

    /// Begins with something that takes a while, and can't say how far it is.
    pub(super) fn waiting(ui: Ui, message: &'static str) -> Self {
        let progress = Self::new(ui, 0);
        if let Some(bar) = &progress.bar {
            bar.set_message(message);
            bar.tick();
        }
        progress
    }

    /// More schemas than was known at first.
    pub(super) fn grow(&self, more: usize) {
        let mut state = self.state();
        state.total += more;
        if let Some(bar) = &self.bar {
            set_style(bar, state.total);
        }
        self.show(&state);
    }

    /// Says what deserves a look.
    pub(super) fn warn(&self, message: &str) {
        self.line(&ui::warning(message));
    }

    /// Work on a schema begins.
    pub(super) fn start(&self, schema: &str) {
        let mut state = self.state();
        state.running.push(schema.to_owned());
        self.show(&state);
        if self.ui.wants(3) {
            self.line(&format!("{schema}: begins"));
        }
    }

    /// Work on a schema is over.
    pub(super) fn finish(&self, schema: &str, done: &Did) {
        let state = self.over(schema, false);
        let level = match (done, &self.bar) {
            (Did::This(_), None) => 1,
            _ => 2,
        };
        if self.ui.wants(level) {
            let of = match state {
                // The shared schema comes before the tenants are counted.
                (_, 0) => String::new(),
                (done, total) => {
                    let of = format!("[{done}/{total}]");
                    format!("{} ", style(of).for_stderr().dim())
                }
            };
            let done = match done {
                Did::This(done) => done,
                Did::Quietly => "done",
                Did::Nothing => "nothing to do",
            };
            self.line(&format!("{of}{schema}: {done}"));
        }
    }

    /// Work on a schema failed.
    pub(super) fn fail(&self, schema: &str, error: &(dyn Error + 'static)) {
        self.over(schema, true);
        self.line(&ui::failure(Some(schema), error));
    }

    /// Runs something that writes to the terminal, with the bar out of the way.
    pub(super) fn aside<R>(&self, f: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(f),
            None => f(),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn over(&self, schema: &str, failed: bool) -> (usize, usize) {
        let mut state = self.state();
        state.running.retain(|running| running != schema);
        // Of one that was done, it may turn out at the end that it failed.
        state.done = state.total.min(state.done + 1);
        state.failed += usize::from(failed);
        self.show(&state);
        (state.done, state.total)
    }

    fn show(&self, state: &State) {
        let Some(bar) = &self.bar else { return };
        let mut message = state
            .running
            .iter()
            .take(NAMED)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if state.running.len() > NAMED {
            message.push_str(", …");
        }
        if state.failed > 0 {
            let failed = format!("{} failed", state.failed);
            message = format!("{} {message}", style(failed).for_stderr().red());
        }
        bar.set_length(state.total as u64);
        bar.set_position(state.done as u64);
        bar.set_message(message);
    }

    fn line(&self, text: &str) {
        self.aside(|| ui::say(text));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bar, once it is known of how much.
fn set_style(bar: &ProgressBar, total: usize) {
    let template = if total == 0 {
        "{spinner} {msg}"
    } else {
        "{bar:24.green} {pos}/{len} {msg}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸ "));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
