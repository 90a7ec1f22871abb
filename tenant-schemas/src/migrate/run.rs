//! Running a plan in one schema.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use crate::connection::{Scope, TenantConnection};
use crate::error::{Error, Result, uses_new_enum_value};
use crate::event::{Happened, ListenerFailure, What};
use crate::ledger::{self, Applied};
use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::registry::{Kind, Registry};
use crate::script::{self, Body, MigrationId, Script};
use crate::{sql, statement};

use super::adopt;
use super::message::{Message, failed, line_of, position};
use super::plan::{Selection, Step, plan, refuse_irreversible};

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
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch that goes with every other"
)]
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
    /// The schema was created just now, with an empty ledger.
    pub(crate) fresh: bool,
    /// What was applied before, if this is the rest of a job that was announced then.
    pub(crate) resumed: Option<Vec<MigrationId>>,
}

/// Failures of listeners, gathered while the work goes on.
pub(crate) type Failures = Arc<Mutex<Vec<ListenerFailure>>>;

/// A job at work.
pub(super) struct Run<'a> {
    pub(super) registry: &'a Arc<Registry>,
    pub(super) job: &'a Job,
    done: Migrated,
    failures: Failures,
    /// The schema has the table of Diesel's own harness.
    diesel: bool,
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
            fresh: false,
            resumed: None,
        }
    }

    /// Runs the job under the schema's lock, each migration in a transaction of its own.
    pub(crate) fn run(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
    ) -> Result<Migrated> {
        locked(conn, &self.schema, |conn| self.run_locked(conn, registry))
    }

    fn run_locked(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
    ) -> Result<Migrated> {
        let mut run = Run::new(registry, self);
        let applied = run.prepare(conn)?;
        let steps = plan(registry, &self.kind, &applied, &self.selection)?;
        if !self.fake {
            refuse_irreversible(&steps)?;
        }
        run.done.changed = note_changed(registry, self, &applied);
        if steps.is_empty() {
            run.write_state(conn)?;
        } else {
            if self.resumed.is_none() {
                run.announce(conn, &steps)?;
            }
            let result = run.steps(conn, &steps);
            // Whatever was applied, plans may be stuck on what was there before.
            registry.policy.bump_generation();
            result?;
        }
        if self.resumed.is_some() || !steps.is_empty() {
            run.conclude(conn)?;
        }
        Ok(run.finish())
    }

    /// Runs the job in the transaction that is open.
    ///
    /// Returns what was done, and whether migrations are left that can't run in this
    /// transaction. Then [`Event::PostMigrate`](crate::Event::PostMigrate) is left as well.
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
        let transactional = steps
            .iter()
            .position(|step| !step.script.transactional && !self.fake)
            .unwrap_or(steps.len());
        if steps.is_empty() {
            run.write_state(conn)?;
            return Ok((run.done, false));
        }
        run.announce(conn, &steps)?;
        let now = run.as_far_as_possible(conn, &steps[..transactional])?;
        if now == 0 {
            run.write_state(conn)?;
        }
        registry.bump_after_commit(conn);
        let unfinished = now < steps.len();
        if !unfinished {
            run.conclude(conn)?;
        }
        Ok((run.done, unfinished))
    }

    fn database(&self, doing: &str, error: DieselError) -> Error {
        Error::database(format!("{doing} of schema {}", self.schema), error)
    }
}

/// Runs `f` while the connection has the lock of a schema.
pub(crate) fn locked<R>(
    conn: &mut TenantConnection,
    schema: &SchemaName,
    f: impl FnOnce(&mut TenantConnection) -> Result<R>,
) -> Result<R> {
    conn.own(|inner| ledger::lock(inner, schema))
        .map_err(|error| Error::database(format!("taking the lock of schema {schema}"), error))?;
    let result = f(conn);
    if conn.own(|inner| ledger::unlock(inner, schema)).is_err() {
        conn.condemn();
    }
    result
}

impl<'a> Run<'a> {
    fn new(registry: &'a Arc<Registry>, job: &'a Job) -> Self {
        Self {
            registry,
            job,
            done: Migrated::default(),
            failures: Arc::default(),
            diesel: false,
        }
    }

    pub(super) fn has_diesel_ledger(&self) -> bool {
        self.diesel
    }

    /// Makes sure that the bookkeeping is there, and reads the ledger.
    fn prepare(&mut self, conn: &mut TenantConnection) -> Result<Vec<Applied>> {
        let (registry, job) = (self.registry, self.job);
        if job.fresh {
            return Ok(Vec::new());
        }
        let public = registry.public();
        let (bookkeeping, mut applied) = conn
            .own(|inner| ledger::read(inner, &job.schema, public))
            .map_err(|error| job.database("reading the ledger", error))?;
        if !bookkeeping.schema {
            // It was there when the connection turned to it.
            return Err(Error::NoSuchSchema {
                schema: job.schema.clone(),
            });
        }
        self.diesel = bookkeeping.diesel;
        let adopted = self.adopted(conn, bookkeeping.ledger, &applied)?;
        conn.own(|inner| ledger::make(inner, &job.schema, public, bookkeeping, &adopted))
            .map_err(|error| job.database("creating the ledger", error))?;
        applied.extend(adopted.into_iter().map(Applied::of));
        Ok(applied)
    }

    /// The migrations that are taken over from Diesel's own harness.
    ///
    /// Something to take over that nobody said may be is an error: its
    /// migrations would run again.
    fn adopted(
        &self,
        conn: &mut TenantConnection,
        has_ledger: bool,
        applied: &[Applied],
    ) -> Result<Vec<&'a Script>> {
        let job = self.job;
        if !self.diesel || (job.fake && !job.adopt) {
            return Ok(Vec::new());
        }
        let versions = conn
            .own(|inner| sql::diesel_ledger(inner, &job.schema))
            .map_err(|error| job.database("reading the record of Diesel", error))?;
        let claims = adopt::claims(self.registry, job, &versions, applied);
        if job.adopt {
            return adopt::settle(job, claims);
        }
        if claims.is_empty() && (has_ledger || versions.is_empty()) {
            return Ok(Vec::new());
        }
        Err(Error::NeedsAdoption {
            schema: job.schema.clone(),
        })
    }

    fn announce(&mut self, conn: &mut TenantConnection, steps: &[Step<'_>]) -> Result<()> {
        let pending = steps.iter().map(|step| step.id().clone()).collect();
        self.emit(conn, What::PreMigrate(pending))
    }

    fn conclude(&mut self, conn: &mut TenantConnection) -> Result<()> {
        let mut applied = self.job.resumed.clone().unwrap_or_default();
        applied.extend_from_slice(&self.done.applied);
        self.emit(conn, What::PostMigrate(applied))
    }

    /// Runs as many of these steps as one transaction can, in the one that is open.
    ///
    /// A value that `ALTER TYPE .. ADD VALUE` adds can't be used before the
    /// commit: the migration that does, and those behind it, are left.
    fn as_far_as_possible(
        &mut self,
        conn: &mut TenantConnection,
        steps: &[Step<'_>],
    ) -> Result<usize> {
        if !steps.iter().any(|step| step.script.adds_enum_value()) {
            self.in_one_transaction(conn, steps)?;
            return Ok(steps.len());
        }
        let error = match conn.transaction(|conn| self.in_one_transaction(conn, steps)) {
            Ok(()) => return Ok(steps.len()),
            Err(error) => error,
        };
        let stuck = if let Error::Migration {
            app,
            version,
            source,
            ..
        } = &error
            && uses_new_enum_value(&**source)
        {
            steps
                .iter()
                .position(|step| step.id().app == *app && step.id().name == *version)
        } else {
            None
        };
        match stuck {
            Some(stuck) if stuck > 0 && !steps[stuck].script.adds_enum_value() => {
                self.as_far_as_possible(conn, &steps[..stuck])
            }
            _ => Err(error),
        }
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
            self.note_done(conn, step);
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
            |step: &Step<'_>| self.job.fake || matches!(step.body(), Ok(Body::Sql(_)) | Err(_));
        is_sql(first)
            && is_sql(step)
            && first.app.app.can_see_shared() == step.app.app.can_see_shared()
    }

    /// Runs steps that fit into one message, or a single one written in Rust.
    fn group(&self, conn: &mut TenantConnection, steps: &[Step<'_>]) -> Result<()> {
        if let [step] = steps
            && !self.job.fake
            && let Body::Rust(source) = step.body()?
        {
            self.rust(conn, step, &source)?;
            return self.batch(conn, &Message::bookkeeping(self, step));
        }
        let mut message = Message::guarded(&self.job.schema);
        for step in steps {
            message.push(self, step, &self.migration_scope(step).path)?;
        }
        message.end(self);
        if steps.len() == 1 {
            return self.batch(conn, &message);
        }
        // Where the database stopped need not be in the migration that is to blame:
        // run them one by one then, to name it.
        match conn.transaction(|conn| self.batch(conn, &message)) {
            Err(Error::Migration { .. }) => {
                for step in steps {
                    self.group(conn, std::slice::from_ref(step))?;
                }
                Ok(())
            }
            result => result,
        }
    }

    fn batch(&self, conn: &mut TenantConnection, message: &Message<'_>) -> Result<()> {
        conn.batch_execute(message.text())
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
            match step.body()? {
                Body::Rust(source) => self.rust(conn, &step, &source)?,
                Body::Sql(text) => {
                    for part in statement::split(&text) {
                        conn.batch_execute(part.text).map_err(|error| {
                            let within = position(&error).unwrap_or_default();
                            let line = line_of(&text, part.start + within);
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
        self.note_done(conn, &step);
        Ok(())
    }

    fn note_done(&mut self, conn: &mut TenantConnection, step: &Step<'_>) {
        if step.script.changes_session {
            // Its settings are not for the next user of the connection.
            conn.condemn();
        }
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

/// Finds the applied migrations whose text is another now, and says so in the log.
pub(super) fn note_changed(
    registry: &Registry,
    job: &Job,
    applied: &[Applied],
) -> Vec<MigrationId> {
    let changed = changed(registry, &job.kind, applied);
    for id in &changed {
        log::warn!(
            "migration {id} was applied to schema {} with another text than it has now",
            job.schema
        );
    }
    changed
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
