//! A transaction of our own in a schema, as one message, on a connection without a scope.

use diesel::connection::SimpleConnection as _;
use diesel::result::QueryResult;

use crate::name::SchemaName;

use super::TenantConnection;

impl TenantConnection {
    /// Whether nothing has to be seen to before [`run_alone`](Self::run_alone): no transaction
    /// is open, a test's for one, and the session has the settings that it began with.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.observe();
        self.scope.is_none()
            && self.beliefs.depth() == 0
            && !self.is_dead()
            && !self.notes.raw_transaction()
            && !self.notes.settings()
    }

    /// Runs `transaction`, which begins with [`begin_alone`](crate::sql::ledgers::begin_alone),
    /// ends with `COMMIT`, and leaves the session as it was.
    pub(crate) fn run_alone(&mut self, schema: &SchemaName, transaction: &str) -> QueryResult<()> {
        self.serve(schema);
        // Something of this schema may be left, for the next checkout to remove.
        self.resident = None;
        let ran = self.own(|inner| inner.batch_execute(transaction));
        if ran.is_err() && self.own(|inner| inner.batch_execute("ROLLBACK")).is_err() {
            self.condemn();
        }
        ran
    }
}
