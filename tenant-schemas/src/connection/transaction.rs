//! Transactions: the path travels with `BEGIN`, and what we know of it follows every savepoint.

use std::fmt;
use std::sync::Arc;

use diesel::connection::{
    AnsiTransactionManager, InTransactionStatus, SimpleConnection as _, TransactionManager,
    TransactionManagerStatus, ValidTransactionManagerStatus,
};
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};

use crate::error::Error;
use crate::sql;

use super::{AfterCommit, Scope, SetCalls, TenantConnection};

/// Diesel's transaction manager, and the search path along with it.
///
/// A transaction that begins before the path of the scope was sent has it in the same message as
/// `BEGIN`, in front: no round trip more.
#[derive(Debug)]
pub struct TenantTransactionManager(());

impl TransactionManager<TenantConnection> for TenantTransactionManager {
    type TransactionStateData = AnsiTransactionManager;

    fn begin_transaction(conn: &mut TenantConnection) -> QueryResult<()> {
        conn.begin("BEGIN")
    }

    fn rollback_transaction(conn: &mut TenantConnection) -> QueryResult<()> {
        conn.rollback()
    }

    fn commit_transaction(conn: &mut TenantConnection) -> QueryResult<()> {
        conn.commit()
    }

    /// As Diesel's, but that a rollback which fails does not hide why there was one.
    fn transaction<F, R, E>(conn: &mut TenantConnection, callback: F) -> Result<R, E>
    where
        F: FnOnce(&mut TenantConnection) -> Result<R, E>,
        E: From<DieselError>,
    {
        conn.begin("BEGIN")?;
        conn.end(callback)
    }

    fn transaction_manager_status_mut(
        conn: &mut TenantConnection,
    ) -> &mut TransactionManagerStatus {
        conn.status()
    }
}

impl TenantConnection {
    fn begin(&mut self, begin: &str) -> QueryResult<()> {
        self.observe();
        self.settle()?;
        if self.beliefs.depth() == 0 {
            self.look_again()?;
        }
        let Some(scope) = self.scope.clone() else {
            return Err(Error::NoScope.into());
        };
        if self.beliefs.depth() > 0 {
            self.own_now(AnsiTransactionManager::begin_transaction)?;
            self.beliefs.begun();
        } else if self.has_path(&scope.path) {
            self.own_now(|inner| AnsiTransactionManager::begin_transaction_sql(inner, begin))?;
            self.beliefs.begun();
        } else {
            // The path of the session, or a text that ends the transaction and goes on would go on
            // elsewhere. What somebody began by hand is not ended with it.
            let local = self.notes.raw_transaction();
            let changes = self.path_changes(&scope.path);
            let path = self.path_message(&scope.path, local, changes);
            let message = if local {
                format!("{begin}; {path}")
            } else {
                format!("BEGIN; {path}; COMMIT; {begin}")
            };
            let outcome = self
                .own_now(|inner| AnsiTransactionManager::begin_transaction_sql(inner, &message));
            if let Err(error) = outcome {
                // The server may have got as far as `BEGIN`, which Diesel does not know of.
                self.condemn();
                let _ = self.own_now(|inner| inner.batch_execute("ROLLBACK"));
                return Err(error);
            }
            if local {
                self.beliefs.begun();
                self.path_sent(&scope.path, changes);
            } else {
                self.path_sent(&scope.path, changes);
                self.beliefs.begun();
            }
        }
        Ok(())
    }

    /// Runs `f` in the transaction that has just begun, and ends it.
    fn end<R, E>(&mut self, f: impl FnOnce(&mut Self) -> Result<R, E>) -> Result<R, E>
    where
        E: From<DieselError>,
    {
        match f(self) {
            Ok(value) => {
                self.commit()?;
                Ok(value)
            }
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// Rolls back what failed; a failure of that does not hide the first one.
    fn give_up(&mut self) {
        if let Err(rollback) = self.rollback() {
            log::warn!("a transaction could not be rolled back: {rollback}");
            self.condemn();
        }
    }

    /// Runs code of others, and says whether it left alone the transactions that it found.
    ///
    /// What it began and did not end is rolled back.
    pub(crate) fn balanced<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> (R, bool) {
        self.observe();
        let depth = self.beliefs.depth();
        let controls = self.notes.controls();
        let result = f(self);
        self.observe();
        // Outside, one may begin and end by hand.
        let balanced =
            self.beliefs.depth() == depth && (depth == 0 || self.notes.controls() == controls);
        while self.beliefs.depth() > depth && self.rollback().is_ok() {}
        if !balanced {
            self.condemn();
        }
        (result, balanced)
    }

    fn commit(&mut self) -> QueryResult<()> {
        self.observe();
        if self.beliefs.depth() == 1 {
            self.before_commit()?;
        }
        let failed = self.transaction_has_failed();
        let depth = self.beliefs.depth();
        if let Err(error) = self.own_now(AnsiTransactionManager::commit_transaction) {
            // The server may have come so far, and be gone since.
            let unsure = if self.is_dead() || is_lost(&error) {
                self.take_work(|one| one.invalidates && one.depth >= depth)
            } else {
                Vec::new()
            };
            self.forget_work_from(depth);
            self.resync();
            self.work_off(unsure);
            return Err(error);
        }
        self.beliefs.committed();
        if failed {
            self.forget_work_from(depth);
            self.undone.0 += 1;
        }
        for one in &mut self.after_commit {
            one.depth = one.depth.min(self.beliefs.depth());
        }
        if self.beliefs.depth() == 0 {
            let first = self.take_work(|one| one.invalidates);
            self.work_off(first);
            let rest = self.take_work(|_| true);
            self.work_off(rest);
        }
        Ok(())
    }

    /// Gives the transaction the path of its scope, if a nested one had another: what was deferred runs on it.
    fn before_commit(&mut self) -> QueryResult<()> {
        let always = self.policy.set_calls == SetCalls::EveryStatement;
        let unsent = |scope: &&Scope| always || !self.beliefs.hold(&scope.path);
        let path = self.scope.as_ref().filter(unsent);
        let path = path.map(|scope| Arc::clone(&scope.path));
        if let Some(path) = path.filter(|_| !self.transaction_has_failed()) {
            let text = sql::session::set_local_path(&path);
            let sent = self.own_now(|inner| inner.batch_execute(&text));
            // Diesel does not know of every failure: not of one in a `COPY`.
            if let Err(error) = sent {
                self.give_up();
                return Err(error);
            }
        } else if !self.after_commit.is_empty() {
            // PostgreSQL answers `COMMIT` of a failed transaction with a rollback, and no error.
            let _ = self.own_now(|inner| inner.batch_execute(sql::session::NOTHING));
        }
        Ok(())
    }

    /// Takes out the work of this kind that waits for a commit.
    pub(super) fn take_work(&mut self, which: impl Fn(&AfterCommit) -> bool) -> Vec<AfterCommit> {
        let waiting = std::mem::take(&mut self.after_commit);
        let (taken, left) = waiting.into_iter().partition(which);
        self.after_commit = left;
        taken
    }

    pub(super) fn work_off(&mut self, waiting: Vec<AfterCommit>) {
        for one in waiting {
            (one.work)(self);
        }
    }

    pub(super) fn rollback(&mut self) -> QueryResult<()> {
        self.observe();
        self.forget_work_from(self.beliefs.depth());
        self.own_now(AnsiTransactionManager::rollback_transaction)
            .inspect_err(|_| self.resync())?;
        self.beliefs.rolled_back();
        self.undone.0 += 1;
        Ok(())
    }

    /// Drops the work that waited for the commit of this level.
    fn forget_work_from(&mut self, depth: usize) {
        self.after_commit.retain(|one| one.depth < depth);
    }

    pub(super) fn transaction_has_failed(&mut self) -> bool {
        matches!(
            self.status(),
            TransactionManagerStatus::Valid(ValidTransactionManagerStatus {
                in_transaction: Some(InTransactionStatus {
                    requires_rollback_maybe_up_to_top_level: true,
                    ..
                }),
                ..
            })
        )
    }

    /// Learns the depth from Diesel, in case a transaction ended without our doing.
    pub(super) fn resync(&mut self) {
        let depth = depth(self.status());
        if depth != self.beliefs.depth() {
            self.beliefs.resync(depth);
            self.undone.0 += 1;
            // Nobody knows whether what waits was committed.
            let unsure = self.take_work(|one| one.invalidates && one.depth > depth);
            self.after_commit.retain(|one| one.depth <= depth);
            self.work_off(unsure);
        }
    }
}

/// Whether an error is that of a connection, whose server may have done all the same what it was told.
fn is_lost(error: &DieselError) -> bool {
    matches!(
        error,
        DieselError::DatabaseError(
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
            _
        )
    )
}

/// The depth in Diesel's own bookkeeping; a broken connection has none.
fn depth(status: &TransactionManagerStatus) -> usize {
    status
        .transaction_depth()
        .ok()
        .flatten()
        .map_or(0, |depth| depth.get() as usize)
}

/// A transaction with an isolation level or an access mode.
///
/// Made by [`TenantConnection::build_transaction`]; the counterpart of Diesel's
/// [`TransactionBuilder`](diesel::pg::TransactionBuilder).
#[must_use = "a transaction builder does nothing until `run` is called"]
pub struct TenantTransactionBuilder<'a> {
    conn: &'a mut TenantConnection,
    isolation: &'static str,
    access: &'static str,
    deferrable: &'static str,
}

impl<'a> TenantTransactionBuilder<'a> {
    pub(super) fn new(conn: &'a mut TenantConnection) -> Self {
        Self {
            conn,
            isolation: "",
            access: "",
            deferrable: "",
        }
    }

    /// Makes the transaction `READ ONLY`. Defaults to the session's access mode.
    pub fn read_only(self) -> Self {
        Self {
            access: " READ ONLY",
            ..self
        }
    }

    /// Makes the transaction `READ WRITE`. Defaults to the session's access mode.
    pub fn read_write(self) -> Self {
        Self {
            access: " READ WRITE",
            ..self
        }
    }

    /// Makes the transaction `DEFERRABLE`, which matters if it is serializable and read only.
    pub fn deferrable(self) -> Self {
        Self {
            deferrable: " DEFERRABLE",
            ..self
        }
    }

    /// Makes the transaction `NOT DEFERRABLE`.
    pub fn not_deferrable(self) -> Self {
        Self {
            deferrable: " NOT DEFERRABLE",
            ..self
        }
    }

    /// Makes the transaction `READ COMMITTED`. Defaults to the session's level.
    pub fn read_committed(self) -> Self {
        Self {
            isolation: " ISOLATION LEVEL READ COMMITTED",
            ..self
        }
    }

    /// Makes the transaction `REPEATABLE READ`. Defaults to the session's level.
    pub fn repeatable_read(self) -> Self {
        Self {
            isolation: " ISOLATION LEVEL REPEATABLE READ",
            ..self
        }
    }

    /// Makes the transaction `SERIALIZABLE`. Defaults to the session's level.
    pub fn serializable(self) -> Self {
        Self {
            isolation: " ISOLATION LEVEL SERIALIZABLE",
            ..self
        }
    }

    /// Runs `f` in the transaction: committed if it returns `Ok`, rolled back if not.
    ///
    /// # Errors
    ///
    /// Whatever `f` returns, [`AlreadyInTransaction`](DieselError::AlreadyInTransaction)
    /// inside a transaction, or what the database says to `BEGIN` and `COMMIT`.
    pub fn run<T, E>(self, f: impl FnOnce(&mut TenantConnection) -> Result<T, E>) -> Result<T, E>
    where
        E: From<DieselError>,
    {
        let Self {
            conn,
            isolation,
            access,
            deferrable,
        } = self;
        if conn.in_transaction() {
            return Err(DieselError::AlreadyInTransaction.into());
        }
        conn.begin(&format!("BEGIN TRANSACTION{isolation}{access}{deferrable}"))?;
        conn.end(f)
    }
}

impl fmt::Debug for TenantTransactionBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TenantTransactionBuilder(BEGIN TRANSACTION{}{}{})",
            self.isolation, self.access, self.deferrable
        )
    }
}
