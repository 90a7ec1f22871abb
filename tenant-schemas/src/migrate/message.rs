//! [`Message`]: several migrations as one text, and the way back from an error to the migration.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::{BoxError, Error, Result};
use crate::keys;
use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::script::{Body, MigrationId};
use crate::sql;
use crate::statement::{self, Effects};

use super::plan::Step;
use super::run::Run;

/// Ends a migration's last statement, with or without a semicolon of its own, and a comment on its last line.
const SEPARATOR: &str = "\n;\n";

/// Several migrations as one message, and where each begins.
pub(super) struct Message<'a> {
    text: String,
    parts: Vec<Part<'a>>,
    /// What the migrations in it may do to the session.
    effects: Effects,
    /// The last of them may have moved the search path.
    moved: bool,
    /// One of them may have given something a name that a shared thing has.
    names: bool,
}

struct Part<'a> {
    id: &'a MigrationId,
    /// Where the migration's own text begins and ends.
    start: usize,
    end: usize,
}

impl<'a> Message<'a> {
    /// A message that fails before anything else if the schema is gone.
    pub(super) fn guarded(schema: &SchemaName) -> Self {
        Self::beginning(sql::session::require_schema(schema))
    }

    /// A message that begins with a statement of our own.
    pub(super) fn beginning(text: String) -> Self {
        Self {
            text,
            parts: Vec::new(),
            effects: Effects::default(),
            moved: false,
            names: false,
        }
    }

    /// A message in which keys to shared tables come last; `None` if there are none, or it can't be told.
    pub(super) fn keys_last(run: &Run<'_>, steps: &[Step<'a>]) -> Option<Self> {
        let policy = &run.registry.policy;
        if !run.job.fresh || run.job.fake {
            return None;
        }
        let bodies: Vec<&str> = steps
            .iter()
            .filter_map(|step| match &step.script.up {
                Body::Sql(sql) if !step.reverted => Some(sql.as_str()),
                _ => None,
            })
            .collect();
        if bodies.len() < steps.len() {
            return None;
        }
        let is_shared = |schema: &str| {
            policy.public == *schema || policy.extra.iter().any(|extra| *extra == *schema)
        };
        let ids = steps.iter().map(|step| step.id().clone()).collect();
        let last = run
            .registry
            .new_schemas
            .of(ids, || keys::last(&bodies, is_shared))?;
        let mut message = Self::guarded(&run.job.schema);
        for ((step, text), effects) in steps.iter().zip(&last.texts).zip(&last.effects) {
            message.push_step(step, text, *effects, &run.migration_scope(step).path);
            message.push_record(run, step);
        }
        message.end(run);
        for key in &last.keys {
            message.push_own(key);
        }
        Some(message)
    }

    /// The bookkeeping of one step alone.
    pub(super) fn bookkeeping(run: &Run<'_>, step: &Step<'a>) -> Self {
        let mut message = Self::guarded(&run.job.schema);
        message.push_record(run, step);
        message.end(run);
        message.parts.push(Part {
            id: &step.script.id,
            start: 0,
            end: 0,
        });
        message
    }

    /// What the migrations in it may do to the session; the rest is our own.
    pub(super) fn effects(&self) -> Effects {
        self.effects
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Adds a step that runs on `path`, and its line in the ledger.
    pub(super) fn push(&mut self, run: &Run<'_>, step: &Step<'a>, path: &SearchPath) -> Result<()> {
        if !run.job.fake
            && let Body::Sql(sql) = step.body()?
        {
            self.push_step(step, &sql, Effects::of(&sql), path);
        }
        self.push_record(run, step);
        Ok(())
    }

    /// Adds what a step runs, with these effects.
    fn push_step(&mut self, step: &Step<'a>, sql: &str, effects: Effects, path: &SearchPath) {
        if self.moved {
            // The text of a dump, perhaps: `set_config('search_path', '', false)`.
            self.push_own(&sql::session::set_local_path(path));
        }
        self.effects = self.effects.and(effects);
        self.moved = effects.moves_path;
        // The next one's are those of the session, and the ledger is written by the role of the session.
        let settings = statement::local_settings(sql);
        for name in &settings {
            self.push_own(&sql::session::keep_setting(name));
        }
        self.push_text(&step.script.id, sql);
        for name in &settings {
            self.push_own(&sql::session::restore_setting(name));
        }
    }

    /// Adds the text of a migration.
    pub(super) fn push_text(&mut self, id: &'a MigrationId, sql: &str) {
        self.text.push_str(SEPARATOR);
        let start = self.text.len();
        self.text.push_str(sql);
        self.parts.push(Part {
            id,
            start,
            end: self.text.len(),
        });
    }

    /// Adds a statement of our own.
    pub(super) fn push_own(&mut self, statement: &str) {
        self.text.push_str(SEPARATOR);
        self.text.push_str(statement);
    }

    fn push_record(&mut self, run: &Run<'_>, step: &Step<'_>) {
        let schema = &run.job.schema;
        self.names |= run.job.fake || step.reverted || !step.script.names_nothing;
        if step.reverted {
            self.push_own(&sql::ledger::erase(schema, step.id()));
            if run.has_diesel_ledger() {
                // Or it would count as applied when Diesel's record is taken over once more.
                self.push_own(&sql::ledger::erase_from_diesel(schema, step.id()));
            }
        } else {
            self.push_own(&sql::ledger::record(
                schema,
                step.id(),
                &step.script.checksum,
            ));
        }
        if run.job.watched {
            let all = run.registry.apps_of(&run.job.kind);
            let done = all
                .flat_map(|app| &app.scripts)
                .position(|script| script.id == *step.id())
                .map_or(0, |before| before + 1);
            self.push_own(&sql::locks::show_progress(schema, done));
        }
    }

    pub(super) fn end(&mut self, run: &Run<'_>) {
        self.push_own(&sql::ledger::write_state(
            run.registry.public(),
            &run.job.schema,
        ));
        if let Some(replan) = self.names.then(|| run.replan()).flatten() {
            self.push_own(&replan);
        }
    }

    /// Finds the migration and the line at which the database stopped; so many characters were
    /// sent before the message.
    pub(super) fn explain(&self, schema: &SchemaName, error: DieselError, before: usize) -> Error {
        let hit = self.position(&error, before).and_then(|at| {
            // What ends too early is noticed at the separator.
            let part = self
                .parts
                .iter()
                .find(|part| (part.start..part.end + SEPARATOR.len()).contains(&at))?;
            Some((part, at))
        });
        match (hit, self.parts.as_slice()) {
            (Some((part, at)), _) => {
                let mut before = self.text[part.start..at.min(part.end)].chars();
                if at >= part.end {
                    // The end of the last line is not another one.
                    before.next_back();
                }
                let line = 1 + before.filter(|c| *c == '\n').count();
                failed(schema, part.id, Some(line), error.into())
            }
            (None, [first, ..]) => failed(schema, first.id, None, error.into()),
            (None, []) => Error::database(format!("writing the ledger of schema {schema}"), error),
        }
    }

    /// Whether the database stopped before the first migration.
    pub(super) fn stopped_early(&self, error: &DieselError) -> bool {
        let gave_up = matches!(error, DieselError::DatabaseError(kind, information)
            if sql::ledgers::is_not_as_known(information.message())
                // The ledger has what the state did not know of.
                || matches!(kind, DatabaseErrorKind::UniqueViolation)
                    && information.table_name().is_some_and(sql::ledger::is_ledger));
        let first = self.parts.first().map_or(usize::MAX, |part| part.start);
        gave_up || self.position(error, 0).is_some_and(|at| at < first)
    }

    /// Where in the text the database stopped, if it says so.
    fn position(&self, error: &DieselError, before: usize) -> Option<usize> {
        let at = position(error)?.checked_sub(before)?;
        let found = self.text.char_indices().nth(at);
        Some(found.map_or(self.text.len(), |(at, _)| at))
    }
}

pub(super) fn failed(
    schema: &SchemaName,
    id: &MigrationId,
    line: Option<usize>,
    source: BoxError,
) -> Error {
    Error::Migration {
        schema: schema.clone(),
        app: id.app.clone(),
        version: id.name.clone(),
        line,
        source,
    }
}

/// Where in a text the database stopped, in characters from the start, if it says so.
pub(super) fn position(error: &DieselError) -> Option<usize> {
    let DieselError::DatabaseError(_, information) = error else {
        return None;
    };
    usize::try_from(information.statement_position()?)
        .ok()?
        .checked_sub(1)
}

/// The line of a character, counted from 1.
pub(super) fn line_of(text: &str, position: usize) -> usize {
    1 + text.chars().take(position).filter(|c| *c == '\n').count()
}
