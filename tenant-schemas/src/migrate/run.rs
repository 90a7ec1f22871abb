//! [`Run`]: a job at work, step by step.

use std::iter;
use std::sync::{Arc, PoisonError};

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;

use crate::connection::{Scope, TenantConnection};
use crate::error::{Error, Result, uses_new_enum_value};
use crate::event::{Happened, ListenerFailure, UNBALANCED, What};
use crate::ledger::{self, Applied};
use crate::name::SchemaName;
use crate::registry::{Kind, Registry};
use crate::script::{self, Body, MigrationId, Script};
use crate::{sql, statement};

use super::adopt;
use super::job::{Failures, Job, Migrated};
use super::message::{Message, failed, line_of, position};
use super::plan::Step;

/// A job at work.
pub(super) struct Run<'a> {
    pub(super) registry: &'a Arc<Registry>,
    pub(super) job: &'a Job,
    pub(super) done: Migrated,
    pub(super) failures: Failures,
    /// The schema has the table of Diesel's own harness.
    diesel: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(registry: &'a Arc<Registry>, job: &'a Job) -> Self {
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
    pub(super) fn prepare(&mut self, conn: &mut TenantConnection) -> Result<Vec<Applied>> {
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
            .own(|inner| sql::ledger::diesel_ledger(inner, &job.schema))
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

    pub(super) fn announce(
        &mut self,
        conn: &mut TenantConnection,
        steps: &[Step<'_>],
    ) -> Result<()> {
        let pending = steps.iter().map(|step| step.id().clone()).collect();
        self.emit(conn, What::PreMigrate(pending))
    }

    pub(super) fn conclude(&mut self, conn: &mut TenantConnection) -> Result<()> {
        let mut applied = self.job.resumed.clone().unwrap_or_default();
        applied.extend_from_slice(&self.done.applied);
        self.emit(conn, What::PostMigrate(applied))
    }

    /// Runs as many of these steps as one transaction can, in the one that is open.
    ///
    /// A value that `ALTER TYPE .. ADD VALUE` adds can't be used before the
    /// commit: the migration that does, and those behind it, are left.
    pub(super) fn as_far_as_possible(
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

    pub(super) fn steps(&mut self, conn: &mut TenantConnection, steps: &[Step<'_>]) -> Result<()> {
        let mut rest = steps;
        while let Some(first) = rest.first() {
            let count = if self.job.fake {
                rest.len()
            } else if !first.script.transactional {
                0
            } else if first.reverted && rest.get(1).is_some_and(|next| next.id() == first.id()) {
                // Done once more, or left as it is.
                2
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
        let nested = conn.in_transaction();
        self.lend(conn, &steps[0], |conn| {
            if nested {
                self.all(conn, steps)
            } else {
                conn.transaction(|conn| self.all(conn, steps))
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
            self.lend(conn, first, |conn| self.group(conn, now))?;
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

    /// Runs `f` where a step runs. A schema that the open transaction made is not looked for.
    fn lend(
        &self,
        conn: &mut TenantConnection,
        step: &Step<'_>,
        f: impl FnOnce(&mut TenantConnection) -> Result<()>,
    ) -> Result<()> {
        let scope = self.migration_scope(step);
        if self.job.fresh && conn.in_transaction() {
            conn.lend_new(scope, f)
        } else {
            conn.lend(scope, f)
        }
    }

    /// Whether two steps fit into one message. What one begins the other must not end.
    fn goes_with(&self, first: &Step<'_>, step: &Step<'_>) -> bool {
        let is_sql =
            |step: &Step<'_>| self.job.fake || matches!(step.body(), Ok(Body::Sql(_)) | Err(_));
        is_sql(first)
            && is_sql(step)
            && first.script.is_whole
            && step.script.is_whole
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
        if let Some(message) = Message::keys_last(self, steps) {
            match conn.transaction(|conn| self.batch(conn, &message)) {
                // Everything in its own place, then, which may do better and says more.
                Err(error @ Error::Migration { .. }) if !error.is_deadlock() => {
                    log::debug!(
                        "keys to shared tables are made where they stand in schema {}: {}",
                        self.job.schema,
                        crate::error::chain(&error)
                    );
                }
                result => return result,
            }
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
        conn.batch_of(message.text(), message.effects())
            .map_err(|(error, before)| message.explain(&self.job.schema, error, before))
    }

    fn rust(
        &self,
        conn: &mut TenantConnection,
        step: &Step<'_>,
        source: &Arc<dyn diesel::migration::MigrationSource<diesel::pg::Pg> + Send + Sync>,
    ) -> Result<()> {
        let run = |conn: &mut TenantConnection| {
            let migration = script::find(source, &step.id().version)?;
            let inner: &mut PgConnection = conn;
            if step.reverted {
                migration.revert(inner)
            } else {
                migration.run(inner)
            }
        };
        let (ran, balanced) = conn.balanced(run);
        ran.and_then(|()| {
            if balanced {
                Ok(())
            } else {
                Err(UNBALANCED.into())
            }
        })
        .map_err(|source| failed(&self.job.schema, step.id(), None, source))
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
                    self.refuse_invalid_index(conn, &step, &text)?;
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

    /// An index whose making was interrupted is there and of no use: `IF NOT EXISTS` would leave it so.
    fn refuse_invalid_index(
        &self,
        conn: &mut TenantConnection,
        step: &Step<'_>,
        text: &str,
    ) -> Result<()> {
        let schema = &self.job.schema;
        let invalid = conn
            .own(|inner| sql::tables::invalid_indexes(inner, schema))
            .map_err(|error| self.job.database("looking at the indexes", error))?;
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let says = |name: &&String| {
            let quoted = text.contains(&sql::identifier(name));
            let mut words = text.split(|c| !is_part(c));
            quoted || words.any(|word| word.eq_ignore_ascii_case(name))
        };
        match invalid.iter().find(says) {
            None => Ok(()),
            Some(name) => Err(failed(
                schema,
                step.id(),
                None,
                format!(
                    "index {name} is invalid, since its making was interrupted: run \
                     `DROP INDEX CONCURRENTLY {}.{}`, and migrate again",
                    schema.quoted(),
                    sql::identifier(name)
                )
                .into(),
            )),
        }
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

    /// What makes plans that found shared tables in the place of new ones be made anew.
    pub(super) fn replan(&self) -> Option<String> {
        let is_shared = self.job.schema == self.registry.policy.public;
        (!is_shared).then(|| replan(self.registry, &self.job.schema))
    }

    pub(super) fn write_state(&self, conn: &mut TenantConnection) -> Result<()> {
        let mut statement = sql::ledger::write_state(self.registry.public(), &self.job.schema);
        if let Some(replan) = self.replan() {
            statement.push_str("; ");
            statement.push_str(&replan);
        }
        conn.own(|inner| inner.batch_execute(&statement))
            .map_err(|error| self.job.database("writing the state", error))
    }

    pub(super) fn migration_scope(&self, step: &Step<'_>) -> Scope {
        let sees_shared = step.app.app.can_see_shared();
        let policy = &self.registry.policy;
        Scope::new(policy.migration_path(&self.job.schema, sees_shared))
    }

    fn emit(&self, conn: &mut TenantConnection, what: What) -> Result<()> {
        if self.job.silent {
            return Ok(());
        }
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

    pub(super) fn finish(self) -> Migrated {
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
            let scope = Scope::new(registry.policy.path(&happened.schema));
            match &happened.tenant {
                Some(tenant) => scope.with_tenant(Arc::clone(tenant)),
                None => scope,
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

/// What makes plans that found shared tables in the place of a tenant's new ones be made anew.
pub(super) fn replan(registry: &Registry, schema: &SchemaName) -> String {
    let policy = &registry.policy;
    let others: Vec<_> = iter::once(&policy.public).chain(&policy.extra).collect();
    sql::replan::replan_shadowed(&others, schema)
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
    warn_of_changed(&job.schema, &changed);
    changed
}

pub(super) fn warn_of_changed(schema: &SchemaName, changed: &[MigrationId]) {
    for id in changed {
        log::warn!(
            "migration {id} was applied to schema {schema} with another text than it has now"
        );
    }
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
