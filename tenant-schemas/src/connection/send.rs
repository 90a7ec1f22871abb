//! Sending the path of a scope to the server, and what has to go with it.

use std::sync::Arc;

use diesel::connection::{
    AnsiTransactionManager, CacheSize, Connection as _, SimpleConnection as _,
    TransactionDepthChange, TransactionManager as _, TransactionManagerStatus,
};
use diesel::pg::GetPgMetadataCache as _;
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};

use crate::error::{Error, Result};
use crate::path::SearchPath;
use crate::sql::{self, session::Prepared};

use super::TenantConnection;
use super::belief::is_path;
use super::carry::Carrier;
use super::scope::{Epoch, Scope, SetCalls};

/// What leaves a scope, besides the path: a nested scope keeps more than a checkout does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// The connection turns to a tenant for good: nothing of the last one may stay.
    Checkout,
    /// The connection is lent for a while: the outer scope's temporary tables stay.
    Lent,
}

/// What changes with a path, besides the path itself.
#[derive(Clone, Copy)]
pub(super) struct PathChanges {
    aged: bool,
    turns: bool,
    clears: bool,
    epoch: Epoch,
}

impl TenantConnection {
    /// Looks for the schema of a scope, and sends its path.
    pub(super) fn arrive(&mut self, scope: &mut Scope, arrival: Arrival) -> Result<()> {
        self.home.disturb();
        // What changes while it is looked for has it looked for again.
        let epoch = self.epoch_now();
        self.refuse_moved(scope)?;
        if self.beliefs.depth() == 0 {
            self.send_path(scope, Some(arrival))?;
        } else {
            // The check that travels with the path would fail the user's transaction.
            let schema = scope.schema().clone();
            match self.own_now(|inner| sql::schemas::schema_is_usable(inner, &schema)) {
                Ok(true) => self.send_path(scope, None)?,
                Ok(false) => return Err(Error::NoSuchSchema { schema }),
                Err(error) => return Err(Error::database("looking for the schema", error)),
            }
        }
        scope.looked = Some(epoch);
        scope.looked_inside = (self.beliefs.depth() > 0).then_some(self.undone);
        Ok(())
    }

    /// Sends what a checkout left to its first statement.
    pub(super) fn settle(&mut self) -> Result<()> {
        if let Some(mut scope) = self.scope.clone().filter(|_| self.carrying.due) {
            self.arrive(&mut scope, Arrival::Checkout)?;
            self.scope = Some(scope);
            self.carrying.due = false;
        }
        Ok(())
    }

    /// Refuses a scope whose name was taken away from its tenant since it was made:
    /// the schema that has it now is another's.
    pub(super) fn refuse_moved(&self, scope: &Scope) -> Result<()> {
        if self.policy.means_the_same(scope) {
            return Ok(());
        }
        Err(Error::NoSuchSchema {
            schema: scope.schema().clone(),
        })
    }

    /// Sends the path of `scope` and what has to go with it, as one message.
    pub(super) fn send_path(&mut self, scope: &Scope, arrival: Option<Arrival>) -> Result<()> {
        let local = self.beliefs.depth() > 0;
        let arrives = arrival == Some(Arrival::Checkout);
        // The name may have been another tenant's when the session had it.
        let unsure = self.epoch != self.epoch_now();
        let washes = arrives && (unsure || !is_path(&self.resident, &scope.path));
        if arrives && !washes && self.stay(scope)? {
            return Ok(());
        }
        let mut message = String::new();
        let mut resets = washes && self.notes.settings();
        if resets && self.policy.on_connect.is_empty() {
            message.push_str(sql::session::RESET_SESSION);
            message.push_str("; ");
        } else if resets {
            self.reset_session(scope)?;
            resets = false;
        }
        if arrival.is_some() {
            let required = if washes {
                sql::session::require_usable_and_unlock(scope.schema())
            } else {
                sql::session::require_usable(scope.schema())
            };
            message.push_str(&required);
            message.push_str("; ");
        }
        let changes = self.path_changes(&scope.path);
        message.push_str(&self.path_message(&scope.path, local, changes));
        if washes {
            message.push_str("; ");
            message.push_str(sql::session::WASH);
        }
        // Whatever comes of it, what was known is not known any more.
        self.beliefs.unknown();
        let sent = if arrives {
            self.outside_transactions(scope, |conn| {
                conn.own_now(|inner| inner.batch_execute(&message))
            })?
        } else {
            self.own_now(|inner| inner.batch_execute(&message))
        };
        sent.map_err(|error| self.path_refused(scope, error))?;
        self.path_sent(&scope.path, changes);
        if resets && !self.notes.raw_transaction() {
            self.notes.settings_were_reset();
        }
        if washes {
            self.resident = Some(Arc::clone(&scope.path));
            self.notes.were_closed();
            self.forget_notifications();
        }
        Ok(())
    }

    /// Sends the path to a session that has it, and had at the last checkout; says whether it did.
    ///
    /// Prepared, it need not be read and planned each time; without Diesel's cache it would be.
    fn stay(&mut self, scope: &Scope) -> Result<bool> {
        let path = &scope.path;
        let changes = self.path_changes(path);
        let uncached = matches!(self.cache_size, CacheSize::Disabled);
        if self.beliefs.depth() > 0 || changes.turns || changes.clears || uncached {
            return Ok(false);
        }
        let as_written = self.policy.set_calls == SetCalls::FirstStatement;
        let Some(stay) = self.plans.stay(path, as_written) else {
            return Ok(false);
        };
        self.beliefs.unknown();
        let sent = self.outside_transactions(scope, |conn| {
            conn.own_now(|inner| inner.execute_returning_count(&Prepared(&stay)))
        })?;
        if sent.is_ok() {
            self.path_sent(path, changes);
        } else {
            // Someone may have deallocated it. If that is not why, the text will say so.
            self.cached = None;
            self.plans.mix();
        }
        Ok(sent.is_ok())
    }

    /// Gives the session the settings that it began with, and what the program does to each.
    fn reset_session(&mut self, scope: &Scope) -> Result<()> {
        self.beliefs.forget();
        self.outside_transactions(scope, |conn| {
            conn.own_now(|inner| inner.batch_execute(sql::session::RESET_SESSION))
        })?
        .map_err(|error| self.path_refused(scope, error))?;
        if let Err(error) = self.customize() {
            self.broken = true;
            return Err(Error::database("preparing the connection", error));
        }
        if !self.notes.raw_transaction() {
            self.notes.settings_were_reset();
        }
        Ok(())
    }

    /// Sends something for the next checkout, and notices a transaction that nobody knows of.
    ///
    /// After each statement Diesel corrects its bookkeeping if the server says
    /// that no transaction is open. So it is told that one is, and asked afterwards.
    fn outside_transactions<R>(
        &mut self,
        scope: &Scope,
        f: impl FnOnce(&mut Self) -> QueryResult<R>,
    ) -> Result<QueryResult<R>> {
        let (sent, open) = self.asking_whether_open(f);
        if open {
            self.broken = true;
            return Err(Error::InsideTransaction {
                schema: scope.schema().clone(),
            });
        }
        self.beliefs.unmark();
        Ok(sent)
    }

    /// Sends something outside of Diesel's transactions, and says whether another one is open.
    pub(super) fn asking_whether_open<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> (R, bool) {
        if let TransactionManagerStatus::Valid(status) = self.status() {
            let _ = status.change_transaction_depth(TransactionDepthChange::IncreaseDepth);
        }
        let sent = f(self);
        let open = matches!(self.status().transaction_depth(), Ok(Some(_)));
        if open {
            *self.status() = TransactionManagerStatus::default();
        }
        (sent, open)
    }

    /// Diesel's bookkeeping of transactions.
    pub(super) fn status(&mut self) -> &mut TransactionManagerStatus {
        self.unpark();
        AnsiTransactionManager::transaction_manager_status_mut(&mut *self.inner)
    }

    /// Drops the messages of channels that the last tenant listened to.
    pub(super) fn forget_notifications(&mut self) {
        for notification in self.inner.notifications_iter() {
            if notification.is_err() {
                break;
            }
        }
    }

    /// What changes in our caches if the server is given `path`.
    pub(super) fn path_changes(&self, path: &Arc<SearchPath>) -> PathChanges {
        let epoch = self.epoch_now();
        let aged = epoch.generation != self.epoch.generation;
        let turns = aged || !is_path(&self.cached, path);
        PathChanges {
            aged,
            turns,
            clears: aged || turns && self.plans.have_to_go(path, self.policy.max_tenants),
            epoch,
        }
    }

    /// What to send so that the server has `path`, and our caches fit it.
    pub(super) fn path_message(
        &self,
        path: &SearchPath,
        local: bool,
        changes: PathChanges,
    ) -> String {
        let mut message = if local {
            sql::session::set_local_path(path)
        } else if self.policy.set_calls == SetCalls::FirstStatement {
            // As it goes with statements, which compare it with what is there.
            sql::session::set_path_as_written(path)
        } else {
            sql::session::set_path(path)
        };
        if changes.clears {
            message.push_str("; ");
            message.push_str(sql::session::DEALLOCATE);
        }
        if changes.aged {
            message.push_str("; ");
            message.push_str(sql::session::DISCARD_PLANS);
        }
        message
    }

    /// The path of the scope, and what to send of it with the next statement, if that can be one message.
    ///
    /// Outside a transaction it can't: a statement that is alone in its message may need that. Nor
    /// can what a failure of the statement would not undo.
    pub(super) fn path_in_transaction(&mut self) -> Option<(Arc<SearchPath>, PathChanges)> {
        self.observe();
        let scope = self.scope.as_ref()?;
        let path = Arc::clone(&scope.path);
        let fits = self.beliefs.depth() > 0
            && !self.has_path(&path)
            && self.was_looked_for(scope)
            && self.epoch == self.epoch_now();
        let changes = fits.then(|| self.path_changes(&path))?;
        (!changes.clears).then_some((path, changes))
    }

    pub(super) fn path_sent(&mut self, path: &Arc<SearchPath>, changes: PathChanges) {
        self.beliefs.sent(path);
        if changes.epoch != self.epoch {
            // Whoever left something may have another name now, and someone else the path.
            self.resident = None;
        }
        self.epoch = changes.epoch;
        if changes.aged {
            self.home.clear();
        }
        if changes.clears {
            self.forget_prepared();
            self.plans.clear();
            self.texts.clear();
            self.alone = None;
            self.cached = None;
            // A migration may have made it.
            self.carrying.carrier = Carrier::Unasked;
        }
        if changes.turns {
            let types = self.inner.get_metadata_cache();
            self.plans.turn(self.cached.as_ref(), path, types);
            self.cached = Some(Arc::clone(path));
        }
    }

    /// Empties Diesel's half of the cache of statements. There is no other public way.
    pub(super) fn forget_prepared(&mut self) {
        self.inner
            .set_prepared_statement_cache_size(CacheSize::Disabled);
        self.inner
            .set_prepared_statement_cache_size(self.cache_size);
    }

    /// Finds out why a path was refused. Nothing is known of the connection then.
    fn path_refused(&mut self, scope: &Scope, error: DieselError) -> Error {
        self.beliefs.forget();
        let schema = scope.schema().clone();
        if self.beliefs.depth() == 0 {
            let exists = self.is_dead() || {
                let exists = self.own_now(|inner| sql::schemas::schema_is_usable(inner, &schema));
                !matches!(exists, Ok(false))
            };
            if !exists {
                return Error::NoSuchSchema { schema };
            }
            self.broken = true;
        }
        Error::database(format!("turning to schema {schema}"), error)
    }

    /// Whether libpq itself says that there is no server any more.
    pub(super) fn is_gone(&mut self) -> bool {
        self.broken = true;
        matches!(
            self.own_now(|inner| inner.batch_execute(sql::session::NOTHING)),
            Err(DieselError::DatabaseError(
                DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection,
                _
            ))
        )
    }

    /// Sets the path on which nothing is found, for a connection without a scope. Temporary tables
    /// would be found all the same: whatever a tenant left is removed.
    pub(super) fn close_path(&mut self) -> QueryResult<()> {
        // What is known is known of a session, not of the shell that stands for one.
        self.unpark();
        self.beliefs.forget();
        // What is left on it is not the last tenant's.
        self.resident = None;
        if !self.stained || self.beliefs.depth() > 0 {
            return self.own_now(|inner| inner.batch_execute(sql::session::CLOSED_PATH));
        }
        let resets = self.notes.settings() && !self.notes.raw_transaction();
        let along = resets && self.policy.on_connect.is_empty();
        if resets && !along {
            let reset = self.own_now(|inner| inner.batch_execute(sql::session::RESET_SESSION));
            match reset.and_then(|()| self.customize()) {
                Ok(()) => self.notes.settings_were_reset(),
                // The path is closed all the same, and nobody is given the session after this.
                Err(error) => {
                    log::warn!("the settings of a session could not be reset: {error}");
                    self.condemn();
                }
            }
        }
        let first = along.then_some(sql::session::RESET_SESSION);
        let rest = [
            sql::session::UNLOCK,
            sql::session::CLOSED_PATH,
            sql::session::WASH,
        ];
        let message: Vec<&str> = first.into_iter().chain(rest).collect();
        self.own_now(|inner| inner.batch_execute(&message.join("; ")))?;
        if along {
            self.notes.settings_were_reset();
        }
        self.stained = false;
        self.notes.were_closed();
        self.forget_notifications();
        Ok(())
    }
}
