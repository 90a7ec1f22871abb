//! Running a plan in one schema.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use crate::connection::{Scope, TenantConnection};
use crate::error::{BoxError, Error, Result};
use crate::event::{Happened, ListenerFailure, What};
use crate::ledger::{self, Applied};
use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::registry::{Kind, Registry};
use crate::script::{self, Body, MigrationId};
use crate::{sql, statement};

use super::plan::{Selection, Step, plan};

/// What was done in one schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migrated {
    /// The migrations that were applied, in order.
    pub applied: Vec<MigrationId>,
    /// The migrations that were reverted, in order.
    pub reverted: Vec<MigrationId>,
    /// Migrations that were applied earlier, with another text than they have now.
    pub changed: Vec<MigrationId>,
    /// Listeners that failed after their event was committed.
    pub listener_failures: Vec<ListenerFailure>,
}

impl Migrated {
    /// Whether nothing had to be done.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.applied.is_empty() && self.reverted.is_empty()
    }
}

/// One schema's part in a run.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) schema: SchemaName,
    pub(crate) kind: Kind,
    pub(crate) tenant: Option<Arc<dyn Any + Send + Sync>>,
    pub(crate) selection: Selection,
    /// Write the ledger, run nothing.
    pub(crate) fake: bool,
    /// Everything in one transaction, not each migration in its own.
    pub(crate) atomic: bool,
    /// Take over what Diesel's own harness has recorded.
    pub(crate) adopt: bool,
}

/// Failures of listeners, gathered while the work goes on.
pub(crate) type Failures = Arc<Mutex<Vec<ListenerFailure>>>;

/// A job at work.
pub(crate) struct Run<'a> {
    registry: &'a Arc<Registry>,
    job: &'a Job,
    done: Migrated,
    failures: Failures,
}

impl Job {
    pub(crate) fn new(schema: SchemaName, kind: Kind) -> Self {
        Self {
            schema,
            kind,
            tenant: None,
            selection: Selection::default(),
            fake: false,
            atomic: false,
            adopt: false,
        }
    }

    /// Runs the job under the schema's lock, each migration in a transaction of its own.
    pub(crate) fn run(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
    ) -> Result<Migrated> {
        let key = ledger::lock_key(&self.schema);
        conn.own(|inner| sql::lock(inner, key))
            .map_err(|error| self.database("taking the lock", error))?;
        let result = self.run_locked(conn, registry);
        if conn.own(|inner| sql::unlock(inner, key)).is_err() {
            conn.condemn();
        }
        result
    }

    fn run_locked(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
    ) -> Result<Migrated> {
        let mut run = Run::new(registry, self);
        let applied = run.prepare(conn)?;
        let steps = plan(registry, &self.kind, &applied, &self.selection)?;
        run.note_changed(&applied);
        if steps.is_empty() {
            run.write_state(conn)?;
        } else {
            run.announce(conn, &steps)?;
            let result = run.steps(conn, &steps);
            // Whatever was applied, plans may be stuck on what was there before.
            registry.policy.bump_generation();
            result?;
            run.conclude(conn)?;
        }
        Ok(run.finish())
    }

    /// Runs the job in the transaction that is open.
    ///
    /// Returns what was done, and whether migrations are left that can't run in a transaction.
    /// Listeners that fail after the commit, when this is long over, are added to `failures`.
    pub(crate) fn run_in_transaction(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        failures: &Failures,
    ) -> Result<(Migrated, bool)> {
        let mut run = Run::new(registry, self);
        run.failures = Arc::clone(failures);
        let applied = run.prepare(conn)?;
        let steps = plan(registry, &self.kind, &applied, &self.selection)?;
        let now = steps
            .iter()
            .position(|step| !step.script.transactional && !self.fake)
            .unwrap_or(steps.len());
        if now == 0 {
            run.write_state(conn)?;
        } else {
            run.announce(conn, &steps[..now])?;
            run.in_one_transaction(conn, &steps[..now])?;
            registry.bump_after_commit(conn);
            run.conclude(conn)?;
        }
        Ok((run.done, now < steps.len()))
    }

    fn database(&self, doing: &str, error: DieselError) -> Error {
        Error::database(format!("{doing} of schema {}", self.schema), error)
    }
}

impl<'a> Run<'a> {
    fn new(registry: &'a Arc<Registry>, job: &'a Job) -> Self {
        Self {
            registry,
            job,
            done: Migrated::default(),
            failures: Arc::default(),
        }
    }

    /// Makes sure that the bookkeeping is there, and reads the ledger.
    fn prepare(&mut self, conn: &mut TenantConnection) -> Result<Vec<Applied>> {
        let (registry, job) = (self.registry, self.job);
        let public = registry.public();
        let (bookkeeping, mut applied) = conn
            .own(|inner| ledger::read(inner, &job.schema, public))
            .map_err(|error| job.database("reading the ledger", error))?;
        let take_over = bookkeeping.diesel && !bookkeeping.ledger;
        if take_over && !job.adopt && !job.fake {
            return Err(Error::NeedsAdoption {
                schema: job.schema.clone(),
            });
        }
        if !bookkeeping.ledger || !bookkeeping.state {
            conn.own(|inner| {
                inner.transaction(|inner| {
                    if !bookkeeping.state {
                        sql::lock_in_transaction(inner, ledger::lock_key(public).wrapping_add(1))?;
                        inner.batch_execute(&sql::create_state(public))?;
                    }
                    inner.batch_execute(&sql::create_ledger(&job.schema))?;
                    if take_over && job.adopt {
                        applied = adopt(inner, registry, job)?;
                    }
                    Ok::<(), Error>(())
                })
            })
            .map_err(|error| match error {
                Error::Database { source, .. } => job.database("creating the ledger", source),
                error => error,
            })?;
        }
        Ok(applied)
    }

    fn note_changed(&mut self, applied: &[Applied]) {
        self.done.changed = changed(self.registry, &self.job.kind, applied);
        for id in &self.done.changed {
            log::warn!(
                "migration {id} was applied to schema {} with another text than it has now",
                self.job.schema
            );
        }
    }

    fn announce(&mut self, conn: &mut TenantConnection, steps: &[Step<'_>]) -> Result<()> {
        let pending = steps.iter().map(|step| step.id().clone()).collect();
        self.emit(conn, What::PreMigrate(pending))
    }

    fn conclude(&mut self, conn: &mut TenantConnection) -> Result<()> {
        let applied = self.done.applied.clone();
        self.emit(conn, What::PostMigrate(applied))
    }

    fn steps(&mut self, conn: &mut TenantConnection, steps: &[Step<'_>]) -> Result<()> {
        let mut rest = steps;
        while let Some(first) = rest.first() {
            let count = if self.job.fake {
                rest.len()
            } else if !first.script.transactional {
                0
            } else if self.job.atomic {
                rest.iter()
                    .position(|step| !step.script.transactional)
                    .unwrap_or(rest.len())
            } else {
                1
            };
            if count == 0 {
                self.without_transaction(conn, *first)?;
                rest = &rest[1..];
            } else {
                self.in_one_transaction(conn, &rest[..count])?;
                rest = &rest[count..];
            }
        }
        Ok(())
    }

    /// Runs steps in one transaction; in the one that is open, if there is one.
    fn in_one_transaction(
        &mut self,
        conn: &mut TenantConnection,
        steps: &[Step<'_>],
    ) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let scope = self.migration_scope(&steps[0]);
        let nested = conn.in_transaction();
        let run = &mut *self;
        conn.lend(scope, |conn| {
            if nested {
                run.all(conn, steps)
            } else {
                conn.transaction(|conn| run.all(conn, steps))
            }
        })?;
        for step in steps {
            self.note_done(step);
        }
        Ok(())
    }

    fn all(&self, conn: &mut TenantConnection, steps: &[Step<'_>]) -> Result<()> {
        let mut rest = steps;
        while let Some(first) = rest.first() {
            let alike = rest
                .iter()
                .position(|step| !self.goes_with(first, step))
                .unwrap_or(rest.len())
                .max(1);
            let (now, later) = rest.split_at(alike);
            let scope = self.migration_scope(first);
            conn.lend(scope, |conn| self.group(conn, now))?;
            rest = later;
        }
        for step in steps {
            self.emit(
                conn,
                What::MigrationApplied {
                    migration: step.id().clone(),
                    reverted: step.reverted,
                },
            )?;
        }
        Ok(())
    }

    /// Whether two steps fit into one message.
    fn goes_with(&self, first: &Step<'_>, step: &Step<'_>) -> bool {
        let is_sql =
            |step: &Step<'_>| self.job.fake || matches!(body(step), Ok(Body::Sql(_)) | Err(_));
        is_sql(first)
            && is_sql(step)
            && first.app.app.can_see_shared() == step.app.app.can_see_shared()
    }

    /// Runs steps that fit into one message, or a single one written in Rust.
    fn group(&self, conn: &mut TenantConnection, steps: &[Step<'_>]) -> Result<()> {
        if let [step] = steps
            && !self.job.fake
            && let Body::Rust(source) = body(step)?
        {
            self.rust(conn, step, &source)?;
            return self.batch(conn, &Message::bookkeeping(self, step));
        }
        let mut message = Message::guarded(&self.job.schema);
        for step in steps {
            message.push(self, step)?;
        }
        message.end(self);
        if steps.len() == 1 {
            return self.batch(conn, &message);
        }
        // Some failures come without a position: run one by one then, to name the migration.
        match conn.transaction(|conn| self.batch(conn, &message)) {
            Err(Error::Migration { line: None, .. }) => {
                for step in steps {
                    self.group(conn, std::slice::from_ref(step))?;
                }
                Ok(())
            }
            result => result,
        }
    }

    fn batch(&self, conn: &mut TenantConnection, message: &Message<'_>) -> Result<()> {
        conn.batch_execute(&message.text)
            .map_err(|error| message.explain(&self.job.schema, error))
    }

    fn rust(
        &self,
        conn: &mut TenantConnection,
        step: &Step<'_>,
        source: &Arc<dyn diesel::migration::MigrationSource<diesel::pg::Pg> + Send + Sync>,
    ) -> Result<()> {
        let mut run = || {
            let migration = script::find(source, &step.id().version)?;
            let inner: &mut PgConnection = conn;
            if step.reverted {
                migration.revert(inner)
            } else {
                migration.run(inner)
            }
        };
        run().map_err(|source| failed(&self.job.schema, step.id(), None, source))
    }

    /// Runs one step outside any transaction: statement by statement, then the ledger.
    fn without_transaction(&mut self, conn: &mut TenantConnection, step: Step<'_>) -> Result<()> {
        let scope = self.migration_scope(&step);
        conn.lend(scope, |conn| {
            match body(&step)? {
                Body::Rust(source) => self.rust(conn, &step, &source)?,
                Body::Sql(text) => {
                    for part in statement::split(&text) {
                        conn.batch_execute(part.text).map_err(|error| {
                            let line = line_of(&text, part.start + position(&error, part.text));
                            failed(&self.job.schema, step.id(), Some(line), error.into())
                        })?;
                    }
                }
            }
            conn.transaction(|conn| self.batch(conn, &Message::bookkeeping(self, &step)))
        })?;
        self.emit(
            conn,
            What::MigrationApplied {
                migration: step.id().clone(),
                reverted: step.reverted,
            },
        )?;
        self.note_done(&step);
        Ok(())
    }

    fn note_done(&mut self, step: &Step<'_>) {
        let done = if step.reverted {
            &mut self.done.reverted
        } else {
            &mut self.done.applied
        };
        done.push(step.id().clone());
    }

    fn write_state(&self, conn: &mut TenantConnection) -> Result<()> {
        let statement = sql::write_state(self.registry.public(), &self.job.schema);
        conn.own(|inner| inner.batch_execute(&statement))
            .map_err(|error| self.job.database("writing the state", error))
    }

    /// Migrations see their schema alone, and the extra ones, unless their app asks for more.
    fn migration_scope(&self, step: &Step<'_>) -> Scope {
        let policy = &self.registry.policy;
        let path = SearchPath::new(self.job.schema.clone());
        let path = if step.app.app.can_see_shared() {
            path.shared(policy.public.clone())
        } else {
            path
        };
        Scope::new(path.extra(policy.extra.iter().cloned()))
    }

    fn emit(&self, conn: &mut TenantConnection, what: What) -> Result<()> {
        emit(
            conn,
            self.registry,
            Happened {
                what,
                schema: self.job.schema.clone(),
                tenant: self.job.tenant.clone(),
            },
            &self.failures,
        )
    }

    fn finish(self) -> Migrated {
        let failures = std::mem::take(&mut *lock(&self.failures));
        Migrated {
            listener_failures: failures,
            ..self.done
        }
    }
}

/// Tells the listeners: those inside the transaction now, the others after the commit.
pub(crate) fn emit(
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    happened: Happened,
    failures: &Failures,
) -> Result<()> {
    if !registry.listeners.inside.is_empty() {
        let scope = if matches!(happened.what, What::SchemaNeedsSync) {
            // There is no schema yet.
            Scope::new(registry.policy.path(registry.public()))
        } else {
            Scope {
                tenant: happened.tenant.clone(),
                ..Scope::new(registry.policy.path(&happened.schema))
            }
        };
        conn.lend(scope, |conn| {
            conn.transaction(|conn| registry.listeners.tell_inside(&happened, conn))
        })?;
    }
    if !registry.listeners.after.is_empty() {
        let registry = Arc::clone(registry);
        let failures = Arc::clone(failures);
        conn.after_commit(move |_| {
            let new = registry.listeners.tell_after(&happened);
            lock(&failures).extend(new);
        });
    }
    Ok(())
}

pub(crate) fn lock(failures: &Failures) -> std::sync::MutexGuard<'_, Vec<ListenerFailure>> {
    failures.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The applied migrations of a schema whose text is another now.
pub(crate) fn changed(registry: &Registry, kind: &Kind, applied: &[Applied]) -> Vec<MigrationId> {
    registry
        .apps_of(kind)
        .flat_map(|app| &app.scripts)
        .filter(|script| {
            applied.iter().any(|own| {
                own.app == script.id.app
                    && own.version == script.id.version
                    && script.has_changed_since(&own.checksum)
            })
        })
        .map(|script| script.id.clone())
        .collect()
}

/// Writes what Diesel's own harness has applied into the new ledger.
fn adopt(conn: &mut PgConnection, registry: &Registry, job: &Job) -> Result<Vec<Applied>> {
    let versions = sql::diesel_ledger(conn, &job.schema)?;
    let mut adopted: Vec<Applied> = Vec::new();
    for app in registry.apps_of(&job.kind) {
        for script in &app.scripts {
            if !versions.contains(&script.id.version) {
                continue;
            }
            if let Some(twin) = adopted.iter().find(|own| own.version == script.id.version) {
                return Err(Error::AmbiguousVersion {
                    schema: job.schema.clone(),
                    version: script.id.version.clone(),
                    apps: [twin.app.clone(), script.id.app.clone()],
                });
            }
            conn.batch_execute(&sql::record(&job.schema, &script.id, &script.checksum))?;
            adopted.push(Applied {
                app: script.id.app.clone(),
                version: script.id.version.clone(),
                checksum: script.checksum.clone(),
            });
        }
    }
    Ok(adopted)
}

/// What a step runs.
fn body(step: &Step<'_>) -> Result<Body> {
    if !step.reverted {
        return Ok(step.script.up.clone());
    }
    step.script.down.clone().ok_or_else(|| Error::Irreversible {
        app: step.id().app.clone(),
        version: step.id().name.clone(),
    })
}

fn failed(schema: &SchemaName, id: &MigrationId, line: Option<usize>, source: BoxError) -> Error {
    Error::Migration {
        schema: schema.clone(),
        app: id.app.clone(),
        version: id.name.clone(),
        line,
        source,
    }
}

/// Where in a text of one statement the database stopped, in characters from the start.
fn position(error: &DieselError, _text: &str) -> usize {
    match error {
        DieselError::DatabaseError(_, information) => information
            .statement_position()
            .and_then(|position| usize::try_from(position).ok())
            .map_or(0, |position| position.saturating_sub(1)),
        _ => 0,
    }
}

fn has_position(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(_, information)
        if information.statement_position().is_some_and(|position| position > 0))
}

/// The line of a character, counted from 1.
fn line_of(text: &str, position: usize) -> usize {
    1 + text.chars().take(position).filter(|c| *c == '\n').count()
}

/// Several migrations as one message, and where each begins.
struct Message<'a> {
    text: String,
    parts: Vec<Part<'a>>,
}

struct Part<'a> {
    id: &'a MigrationId,
    /// Where the migration's own text begins and ends, in characters.
    start: usize,
    end: usize,
}

impl<'a> Message<'a> {
    /// A message that fails before anything else if the schema is gone.
    fn guarded(schema: &SchemaName) -> Self {
        Self {
            text: sql::require_schema(schema),
            parts: Vec::new(),
        }
    }

    /// The bookkeeping of one step alone.
    fn bookkeeping(run: &Run<'_>, step: &Step<'a>) -> Self {
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

    fn push(&mut self, run: &Run<'_>, step: &Step<'a>) -> Result<()> {
        if !run.job.fake
            && let Body::Sql(sql) = body(step)?
        {
            self.text.push_str(SEPARATOR);
            let start = self.text.chars().count();
            self.text.push_str(&sql);
            self.parts.push(Part {
                id: &step.script.id,
                start,
                end: self.text.chars().count(),
            });
        }
        self.push_record(run, step);
        Ok(())
    }

    fn push_record(&mut self, run: &Run<'_>, step: &Step<'_>) {
        let schema = &run.job.schema;
        self.text.push_str(SEPARATOR);
        self.text.push_str(&if step.reverted {
            sql::erase(schema, step.id())
        } else {
            sql::record(schema, step.id(), &step.script.checksum)
        });
    }

    fn end(&mut self, run: &Run<'_>) {
        self.text.push_str(SEPARATOR);
        self.text
            .push_str(&sql::write_state(run.registry.public(), &run.job.schema));
    }

    /// Finds the migration and the line at which the database stopped.
    fn explain(&self, schema: &SchemaName, error: DieselError) -> Error {
        let at = position(&error, &self.text);
        let hit = self
            .parts
            .iter()
            .find(|part| has_position(&error) && (part.start..=part.end).contains(&at));
        match (hit, self.parts.as_slice()) {
            (Some(part), _) => {
                let own: String = self.text.chars().skip(part.start).collect();
                let line = line_of(&own, at - part.start);
                failed(schema, part.id, Some(line), error.into())
            }
            (None, [first, ..]) => failed(schema, first.id, None, error.into()),
            (None, []) => Error::database(format!("writing the ledger of schema {schema}"), error),
        }
    }
}

/// Ends a migration's last statement, with or without a semicolon of its own, and a comment on its last line.
const SEPARATOR: &str = "\n;\n";
