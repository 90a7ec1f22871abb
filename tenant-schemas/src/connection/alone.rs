//! A transaction of our own in a schema, as one message, on a connection without a scope.

use diesel::connection::SimpleConnection as _;
use diesel::result::QueryResult;

use crate::name::SchemaName;
use crate::sql;

use super::TenantConnection;

impl TenantConnection {
    /// Makes sure that [`run_alone`](Self::run_alone) can be called; says whether it can.
    ///
    /// Not while a transaction is open, a test's for one, or the session has other settings
    /// than it began with.
    pub(crate) fn is_ready_alone(&mut self) -> bool {
        self.observe();
        let idle = self.scope.is_none()
            && self.beliefs.depth() == 0
            && !self.is_dead()
            && !self.notes.raw_transaction()
            && !self.notes.settings();
        if idle && !self.alone {
            let prepare = sql::ledgers::prepare(&self.policy.public);
            let prepared = self.own(|inner| inner.batch_execute(&prepare));
            self.alone = prepared
                .inspect_err(|error| log::debug!("migrations take the longer way: {error}"))
                .is_ok();
        }
        idle && self.alone
    }

    /// Runs `transaction`, which begins with [`begin_alone`](crate::sql::ledgers::begin_alone),
    /// opens about so many tables, ends with `COMMIT`, and leaves the session as it was.
    pub(crate) fn run_alone(
        &mut self,
        schema: &SchemaName,
        transaction: &str,
        tables: usize,
    ) -> QueryResult<()> {
        if self.served.saw(schema) {
            // What was planned there before may have found tables of other schemas.
            self.own(|inner| inner.batch_execute(sql::DISCARD_PLANS))?;
        }
        self.served.migrate(schema, tables);
        // Something of this schema may be left, for the next checkout to remove.
        self.resident = None;
        let ran = self.own(|inner| inner.batch_execute(transaction));
        if ran.is_err() && self.own(|inner| inner.batch_execute("ROLLBACK")).is_err() {
            self.condemn();
        }
        ran
    }
}
