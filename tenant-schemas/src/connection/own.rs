//! Statements of our own, among those of the program.

use diesel::connection::SimpleConnection as _;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::TenantConnection;
use super::watch::Notes;
use crate::statement::Effects;

impl TenantConnection {
    /// Runs a query by way of the tenant model in which we call functions, of PostgreSQL's own: they change no
    /// settings.
    pub(crate) fn calling_known<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let changed = self.notes.settings();
        let result = f(self);
        if !changed {
            self.notes.settings_were_reset();
        }
        result
    }

    /// Runs statements of our own: they name their schemas, and move no path behind our back.
    ///
    /// If the path was left to the first statement of the checkout, it is sent before: ours may fire
    /// triggers of the project's, and what a checkout gives back, such as locks, would be theirs.
    pub(crate) fn own<R>(&mut self, f: impl FnOnce(&mut PgConnection) -> R) -> R {
        if self.carrying.due {
            self.observe();
            if let Err(error) = self.settle() {
                log::debug!("a statement of our own runs on a path without a schema: {error}");
                if self.close_path().is_err() {
                    self.condemn();
                }
            }
        }
        self.own_now(f)
    }

    /// The same, on whatever path the session has.
    pub(super) fn own_now<R>(&mut self, f: impl FnOnce(&mut PgConnection) -> R) -> R {
        self.unpark();
        let mut own = Own {
            outer: self.notes.set_own(true),
            notes: &self.notes,
            broken: &mut self.broken,
            returned: false,
        };
        let result = f(&mut self.inner);
        own.returned = true;
        result
    }

    /// Runs SQL in the scope that is our own but for parts of these effects.
    ///
    /// An error comes with the number of characters that were sent before `sql`: in a
    /// transaction, the path goes in the same message.
    pub(crate) fn batch_of(
        &mut self,
        sql: &str,
        foreign: Effects,
    ) -> std::result::Result<(), (DieselError, usize)> {
        let alone = |error| (error, 0);
        let Some((path, changes)) = self.path_in_transaction() else {
            self.ensure().map_err(alone)?;
            self.notes.note(foreign, false);
            return self
                .own_now(|inner| inner.batch_execute(sql))
                .map_err(alone);
        };
        let before = self.path_message(&path, true, changes) + "; ";
        self.beliefs.unknown();
        self.notes.note(foreign, false);
        self.own_now(|inner| inner.batch_execute(&format!("{before}{sql}")))
            .map_err(|error| (error, before.chars().count()))?;
        self.path_sent(&path, changes);
        Ok(())
    }
}

/// Ends the connection's own statements, also when the user's instrumentation
/// panics in the middle of one: nobody knows then how far it got.
struct Own<'a> {
    notes: &'a Notes,
    outer: bool,
    broken: &'a mut bool,
    returned: bool,
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        self.notes.set_own(self.outer);
        if !self.returned {
            *self.broken = true;
            self.notes.distrust();
        }
    }
}
