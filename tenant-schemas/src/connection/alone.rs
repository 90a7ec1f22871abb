//! A transaction of our own in a schema, as one message, on a connection without a scope.

use std::sync::Arc;

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::result::QueryResult;

use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::sql;
use crate::statement::Effects;

use super::TenantConnection;

impl TenantConnection {
    /// Makes sure that [`run_alone`](Self::run_alone) can be called; says whether it can.
    ///
    /// Not while a transaction is open, a test's for one. If the session has other settings than it began
    /// with, it is given those.
    pub(crate) fn is_ready_alone(&mut self) -> bool {
        self.observe();
        let idle = self.scope.is_none()
            && self.beliefs.depth() == 0
            && !self.is_dead()
            && !self.notes.raw_transaction();
        idle && self
            .prepare_alone()
            .inspect_err(|error| log::debug!("migrations take the longer way: {error}"))
            .unwrap_or(false)
    }

    /// Prepares what every message has in common, on the path on which it will run: that of the last
    /// tenant is no place for a trigger, and on another for each the server would plan anew.
    fn prepare_alone(&mut self) -> QueryResult<bool> {
        let public = Arc::new(SearchPath::new(self.policy.public.clone()));
        if self.notes.settings() {
            self.beliefs.forget();
            self.try_alone(|inner| inner.batch_execute(sql::session::RESET_SESSION))?;
            self.customize()?;
            self.notes.settings_were_reset();
        }
        if !self.beliefs.hold(&public) {
            self.beliefs.unknown();
            self.resident = None;
            self.try_alone(|inner| {
                inner.batch_execute(&sql::session::set_path_as_written(&public))
            })?;
            self.beliefs.sent(&public);
        }
        if let Some(is_ready) = self.alone {
            return Ok(is_ready);
        }
        let is_ready = self.try_alone(|inner| sql::ledgers::prepare(inner, public.schema()))?;
        self.alone = Some(is_ready);
        Ok(is_ready)
    }

    /// Runs `transaction`, which begins with [`begin_alone`](crate::sql::ledgers::begin_alone),
    /// opens about so many tables, ends with `COMMIT`, and leaves the session as it was.
    pub(crate) fn run_alone(
        &mut self,
        schema: &SchemaName,
        transaction: &str,
        tables: usize,
    ) -> QueryResult<()> {
        // Something of this schema may be left, for the next checkout to remove.
        self.resident = None;
        self.stained = true;
        if self.served.saw(schema) {
            // What was planned there before may have found tables of other schemas.
            self.try_alone(|inner| inner.batch_execute(sql::session::DISCARD_PLANS))?;
        }
        self.served.migrate(schema, tables);
        self.try_alone(|inner| inner.batch_execute(transaction))
    }

    /// The ledgers of these schemas were read, which the server's session keeps in mind.
    pub(crate) fn has_read_ledgers<'a>(
        &mut self,
        schemas: impl IntoIterator<Item = &'a SchemaName>,
    ) {
        for schema in schemas {
            self.served.read(schema);
        }
    }

    /// Notes that settings or the role may be others: whoever comes next has the session's first ones.
    pub(crate) fn suspect_settings(&self) {
        let calls = Effects {
            calls: true,
            ..Effects::default()
        };
        self.notes.note(calls, false);
    }

    /// Sends SQL of our own. A connection that does not recover from a failure is to be closed.
    fn try_alone<R>(
        &mut self,
        send: impl FnOnce(&mut PgConnection) -> QueryResult<R>,
    ) -> QueryResult<R> {
        let result = self.own_now(send);
        if result.is_err()
            && self
                .own_now(|inner| inner.batch_execute("ROLLBACK"))
                .is_err()
        {
            self.condemn();
        }
        result
    }
}
