//! The same work for many schemas: several at once, interruptible, each with its own outcome.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{BoxError, Error};
use crate::event::panic_message;
use crate::migrate::{Executor as _, Parallel};
use crate::model::TenantModel;
use crate::name::SchemaName;

use super::context::Context;
use super::interrupt;
use super::outcome::{Exit, Failure};
use super::output::Out;
use super::progress::{Did, Progress};
use super::table::count;
use super::targets::Target;
use super::ui;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Walk {
    /// How many tenants are worked on at once; no more than the pool has connections.
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_jobs)]
    pub(super) jobs: usize,
    /// Start no further tenant once one has failed.
    #[arg(long)]
    pub(super) fail_fast: bool,
}

/// A number of jobs: at least one.
pub(super) fn parse_jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 tenant has to be worked on at once".to_owned()),
        Ok(jobs) => Ok(jobs),
        Err(_) => Err("it is no number of tenants".to_owned()),
    }
}

/// What became of each schema, in their order; `None` for those that are left.
pub(super) struct Walked<R> {
    pub(super) outcomes: Vec<(SchemaName, Option<Result<R, BoxError>>)>,
}

/// Runs `work` for every target, and shows how far it is.
///
/// `work` says what it did with each.
pub(super) fn walk<T, R>(
    context: &Context<T>,
    targets: &[Target<T>],
    walk: &Walk,
    work: impl Fn(&Target<T>, &Progress) -> Result<(R, Did), BoxError> + Sync,
) -> Result<Walked<R>, Failure>
where
    T: TenantModel,
    R: Send,
{
    let _mode = interrupt::work();
    let tenancy = context.tenancy()?;
    let most = usize::try_from(tenancy.pool().max_size()).unwrap_or(usize::MAX);
    let progress = Progress::new(context.ui, targets.len());
    let results: Vec<Mutex<Option<Result<R, BoxError>>>> =
        targets.iter().map(|_| Mutex::new(None)).collect();
    let stop = AtomicBool::new(false);
    Parallel::new(walk.jobs.min(most)).execute(targets.len(), &|number| {
        if stop.load(Ordering::Relaxed) || interrupt::pressed() {
            return;
        }
        let target = &targets[number];
        let schema = target.schema.as_str();
        progress.start(schema);
        let run = catch_unwind(AssertUnwindSafe(|| work(target, &progress)));
        let result = run.unwrap_or_else(|panic| {
            Err(Error::Panicked {
                schema: target.schema.clone(),
                message: panic_message(&*panic),
            }
            .into())
        });
        let result = match result {
            Ok((value, done)) => {
                progress.finish(schema, &done);
                Ok(value)
            }
            Err(error) => {
                progress.fail(schema, &*error);
                if walk.fail_fast {
                    stop.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        };
        *results[number]
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(result);
    });
    progress.end();
    let outcomes = targets
        .iter()
        .zip(results)
        .map(|(target, result)| {
            let result = result.into_inner().unwrap_or_else(PoisonError::into_inner);
            (target.schema.clone(), result)
        })
        .collect();
    Ok(Walked { outcomes })
}

impl<R> Walked<R> {
    /// Says what is left and how many failed, and how the command ends.
    pub(super) fn conclude(&self) -> Exit {
        let failed = self
            .outcomes
            .iter()
            .filter(|(_, result)| matches!(result, Some(Err(_))))
            .count();
        let left: Vec<&str> = self
            .outcomes
            .iter()
            .filter(|(_, result)| result.is_none())
            .map(|(schema, _)| schema.as_str())
            .collect();
        conclude(self.outcomes.len(), failed, &left)
    }
}

/// Says what is left and how many failed, and how the command ends.
pub(super) fn conclude(total: usize, failed: usize, left: &[&str]) -> Exit {
    if failed > 0 {
        ui::warn(&format!("{failed} of {} failed", count(total, "schema")));
    }
    if !left.is_empty() {
        ui::warn(&format!(
            "left to do: {}: {}",
            count(left.len(), "schema"),
            shortened(left)
        ));
    }
    if !left.is_empty() && interrupt::pressed() {
        Exit::Interrupted
    } else if failed > 0 || !left.is_empty() {
        Exit::Failed
    } else {
        Exit::Done
    }
}

/// The first of many names.
pub(super) fn shortened(names: &[&str]) -> String {
    const SOME: usize = 20;
    let mut text = names
        .iter()
        .take(SOME)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SOME {
        text.push_str(", …");
    }
    text
}

/// Says whose results follow.
pub(super) fn heading(schema: &str) {
    let heading = console::style(format!("-- {schema}")).for_stderr().dim();
    ui::say(&heading.to_string());
}

/// Writes what a tenant's work gave, in one piece.
pub(super) fn write_aside(
    progress: &Progress,
    heading: Option<&str>,
    text: &[u8],
) -> std::io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    progress.aside(|| {
        if let Some(schema) = heading {
            self::heading(schema);
        }
        Out.write_all(text)?;
        Out.flush()
    })
}
