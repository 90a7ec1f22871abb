//! [`Job`]: one schema's part in a run.

use std::any::Any;
use std::sync::{Arc, Mutex};

use diesel::result::Error as DieselError;

use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::event::ListenerFailure;
use crate::ledger::{self, Seen};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::registry::{Kind, Registry};
use crate::script::MigrationId;
use crate::sql;

use super::plan::{Selection, plan, refuse_irreversible, refuse_unknown};
use super::run::{Run, note_changed};

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
    /// The line of the table of states that the job goes by.
    pub(super) seen: Option<Seen>,
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
    /// Other sessions can see how far it is.
    pub(crate) watched: bool,
    /// Listeners are told nothing: the schema is no tenant's yet.
    pub(crate) silent: bool,
}

/// Failures of listeners, gathered while the work goes on.
pub(crate) type Failures = Arc<Mutex<Vec<ListenerFailure>>>;

impl Job {
    pub(crate) fn new(schema: SchemaName, kind: Kind) -> Self {
        Self {
            schema,
            kind,
            tenant: None,
            seen: None,
            selection: Selection::default(),
            fake: false,
            atomic: false,
            adopt: false,
            fresh: false,
            resumed: None,
            watched: false,
            silent: false,
        }
    }

    /// The same job for a tenant whose row this is.
    pub(super) fn of<T: TenantModel>(&self, row: T) -> Self {
        Self {
            kind: Kind::Tenant(row.tenant_type()),
            tenant: Some(Arc::new(row)),
            ..self.clone()
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

    /// Runs the job on a connection that has the schema's lock.
    pub(super) fn run_locked(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
    ) -> Result<Migrated> {
        let mut run = Run::new(registry, self);
        let applied = run.prepare(conn)?;
        let steps = plan(registry, &self.kind, &applied, &self.selection)?;
        if !self.fake {
            refuse_irreversible(&steps)?;
            refuse_unknown(&self.schema, &applied, &steps)?;
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
    /// Returns what was done, and how many migrations are left because of one that can't run in
    /// this transaction. Then [`Event::PostMigrate`](crate::Event::PostMigrate) is left as well.
    /// Listeners that fail after the commit, when this is long over, are added to `failures`.
    pub(crate) fn run_in_transaction(
        &self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        failures: &Failures,
    ) -> Result<(Migrated, usize)> {
        // Where nobody has been, nobody has prepared anything: everyone else keeps what they have.
        let is_news = !self.fresh || registry.policy.has_met(&self.schema);
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
            return Ok((run.done, 0));
        }
        run.announce(conn, &steps)?;
        let now = run.as_far_as_possible(conn, &steps[..transactional])?;
        if now == 0 {
            run.write_state(conn)?;
        }
        if is_news {
            registry.bump_after_commit(conn);
        } else {
            let schema = self.schema.clone();
            conn.invalidate_after_commit(move |conn| conn.forget_plans_of(&schema));
        }
        let left = steps.len() - now;
        if left == 0 {
            run.conclude(conn)?;
        }
        Ok((run.done, left))
    }

    pub(super) fn database(&self, doing: &str, error: DieselError) -> Error {
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
    unlocked_after(conn, schema, f)
}

/// As [`locked`], but that it does not wait: `None` if another session has the lock.
pub(crate) fn try_locked<R>(
    conn: &mut TenantConnection,
    schema: &SchemaName,
    f: impl FnOnce(&mut TenantConnection) -> Result<R>,
) -> Result<Option<R>> {
    let free = conn
        .own(|inner| sql::locks::try_lock(inner, ledger::lock_key(schema)))
        .map_err(|error| Error::database(format!("taking the lock of schema {schema}"), error))?;
    if !free {
        return Ok(None);
    }
    unlocked_after(conn, schema, f).map(Some)
}

/// Runs `f` and gives the lock of a schema back that the connection has.
fn unlocked_after<R>(
    conn: &mut TenantConnection,
    schema: &SchemaName,
    f: impl FnOnce(&mut TenantConnection) -> Result<R>,
) -> Result<R> {
    let result = {
        let mut held = Held {
            conn,
            returned: false,
        };
        let result = f(held.conn);
        held.returned = true;
        result
    };
    if conn.own(|inner| ledger::unlock(inner, schema)).is_err() {
        conn.condemn();
    }
    result
}

/// Closes a connection whose work panicked: it has the lock still, and its
/// owner may catch the panic and give it back to the pool.
struct Held<'a> {
    conn: &'a mut TenantConnection,
    returned: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.returned {
            self.conn.condemn();
        }
    }
}
