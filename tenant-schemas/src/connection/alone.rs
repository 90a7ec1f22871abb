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
            self.alone = self
                .send_alone(&prepare)
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
        // Something of this schema may be left, for the next checkout to remove.
        self.resident = None;
        if self.served.saw(schema) {
            // What was planned there before may have found tables of other schemas.
            self.send_alone(sql::DISCARD_PLANS)?;
        }
        self.served.migrate(schema, tables);
        self.send_alone(transaction)
    }

    /// Sends SQL of our own. A connection that does not recover from a failure is to be closed.
    fn send_alone(&mut self, sql: &str) -> QueryResult<()> {
        let sent = self.own(|inner| inner.batch_execute(sql));
        if sent.is_err() && self.own(|inner| inner.batch_execute("ROLLBACK")).is_err() {
            self.condemn();
        }
        sent
    }
}
