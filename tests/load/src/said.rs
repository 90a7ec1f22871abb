//! Why requests failed: the warnings and errors in the log, counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};

static SAID: Said = Said(Mutex::new(BTreeMap::new()));

struct Said(Mutex<BTreeMap<String, u64>>);

/// Counts from now on.
pub(crate) fn listen() {
    // Nobody else sets one.
    let _ = log::set_logger(&SAID);
    log::set_max_level(LevelFilter::Warn);
}

/// Each message with how often it came, the most frequent first.
pub(crate) fn report() -> String {
    let said = SAID.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<_> = said.iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut lines = format!("log: {} different warnings and errors", all.len());
    for (message, count) in all.into_iter().take(25) {
        let _ = write!(lines, "\n  {count:>7} {message}");
    }
    lines
}

impl Log for Said {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // Numbers, such as those of tenants, are left out, so that equal causes are counted together.
        let message = record.args().to_string();
        let mut kind = format!("{} {}: ", record.level(), record.target());
        for part in message.split(|c: char| c.is_ascii_digit()) {
            if !part.is_empty() {
                kind.push_str(part);
            }
        }
        let kind = kind.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *said.entry(kind).or_default() += 1;
    }

    fn flush(&self) {}
}
