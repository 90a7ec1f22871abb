//! Turning a connection to a scope: at a checkout, inside one, and before each statement.

use std::sync::Arc;
#[cfg(feature = "jobs")]
use std::time::Instant;

use diesel::connection::{Connection as _, SimpleConnection as _, get_default_instrumentation};
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{QueryBuilder as _, QueryFragment};
use diesel::result::QueryResult;

use super::TenantConnection;
use super::belief::is_path;
use super::scope::{Epoch, Scope, SetCalls};
use super::send::Arrival;
use super::watch::Watch;
use crate::error::{Error, Result};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::path::SearchPath;
use crate::{sql, statement};

impl TenantConnection {
    pub(crate) fn tenant_scope<T: TenantModel>(&self, tenant: &T) -> Scope {
        Scope::new(self.policy.path(tenant.schema_name())).with_tenant(Arc::new(tenant.clone()))
    }

    /// As [`set_tenant`](Self::set_tenant), with a row that was not read before `read`.
    #[cfg(feature = "jobs")]
    pub(crate) fn set_tenant_read_at<T: TenantModel>(
        &mut self,
        tenant: &T,
        read: Instant,
    ) -> Result<()> {
        let scope = self.tenant_scope(tenant).read_at(read);
        self.turn_to(scope)
    }

    /// Turns to `scope` at a checkout.
    pub(crate) fn enter(&mut self, scope: Scope) -> Result<()> {
        self.unpark_for(&scope.path);
        self.observe();
        // A test transaction stays; what was left open inside it is nobody's.
        while self.in_test_transaction() && self.beliefs.depth() > 1 {
            self.rollback()?;
        }
        // What the library itself does first on the public schema may fire triggers of the project's.
        let later = self.policy.set_calls == SetCalls::FirstStatement
            && *scope.schema() != self.policy.public;
        self.turn(scope, later)
    }

    /// Turns to `scope` and sends its path, between transactions.
    pub(crate) fn turn_to(&mut self, scope: Scope) -> Result<()> {
        self.turn(scope, false)
    }

    /// Turns to `scope`; `later` if its path may go with the first statement.
    fn turn(&mut self, mut scope: Scope, later: bool) -> Result<()> {
        self.observe();
        let depth = self.beliefs.depth();
        if depth > 1 || depth == 1 && !self.in_test_transaction() {
            return Err(Error::InsideTransaction {
                schema: scope.schema().clone(),
            });
        }
        self.scope = None;
        self.stained = true;
        self.carrying.due = false;
        // Diesel does not notice each death: ask the server after a failure.
        let failed = self.notes.take_failed();
        let stays = !failed
            && self.policy.set_calls == SetCalls::WhenChanged
            && self.has_path(&scope.path)
            && is_path(&self.resident, &scope.path);
        // What has to be reset is a message of its own: one that fails is for the pool to replace.
        let kept = !self.notes.settings() || is_path(&self.resident, &scope.path);
        self.carrying.due = later && kept && !failed && depth == 0;
        if stays || self.carrying.due {
            self.refuse_moved(&scope)?;
            // Whoever is resident was looked for, and no schema was changed since.
            scope.looked = stays.then_some(self.epoch);
            if let Some(path) = self.cached.as_ref().filter(|path| **path == scope.path) {
                scope.path = Arc::clone(path);
            }
        } else {
            self.arrive(&mut scope, Arrival::Checkout)?;
        }
        self.visit(&scope);
        self.scope = Some(scope);
        Ok(())
    }

    /// Runs `f` in `scope`, which may have a path that no public method would give it.
    pub(crate) fn lend<R, E>(
        &mut self,
        mut scope: Scope,
        f: impl FnOnce(&mut Self) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E>
    where
        E: From<Error>,
    {
        match self.scope.as_ref().filter(|outer| outer.path == scope.path) {
            // Whether the name means the same is up to each of them.
            Some(outer) => {
                scope.looked = outer.looked;
                scope.looked_inside = outer.looked_inside;
            }
            None => self.turn_aside(&mut scope)?,
        }
        let outer = self.scope.replace(scope);
        Lent::new(self, outer).call(f)
    }

    /// Turns to the scope for which the connection is lent, out of another one or none.
    fn turn_aside(&mut self, scope: &mut Scope) -> Result<()> {
        self.observe();
        self.settle()?;
        if self.scope.is_none() && self.beliefs.depth() > 0 && !self.in_test_transaction() {
            return Err(Error::NoScope);
        }
        // Whoever is lent it next is another, also if this is the one who left something.
        self.resident = None;
        if self.scope.is_none() && self.stained {
            // Whatever there is was left by the tenant before. What comes later is the holder's own.
            self.arrive(scope, Arrival::Checkout)?;
            // In a test's transaction nothing is removed.
            self.stained = self.beliefs.depth() > 0;
        } else {
            self.arrive(scope, Arrival::Lent)?;
        }
        self.visit(scope);
        Ok(())
    }

    /// Runs `f` in a scope whose schema the open transaction has made: it is not looked for,
    /// and the path goes with the first statement.
    pub(crate) fn lend_new<R, E>(
        &mut self,
        mut scope: Scope,
        f: impl FnOnce(&mut Self) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        self.observe();
        self.resident = None;
        scope.looked = Some(self.epoch_now());
        scope.looked_inside = Some(self.undone);
        self.visit(&scope);
        let outer = self.scope.replace(scope);
        Lent::new(self, outer).call(f)
    }

    fn visit(&mut self, scope: &Scope) {
        if self.served.visit(scope.schema()) {
            self.policy.meet(scope.schema());
        }
    }

    /// Makes sure that the server has the path of the scope, whatever happened since.
    pub(super) fn ensure(&mut self) -> QueryResult<()> {
        self.home.disturb();
        self.observe();
        if std::mem::take(&mut self.carrying.unheard) {
            self.forget_notifications();
        }
        let Some(scope) = &self.scope else {
            return Err(Error::NoScope.into());
        };
        if self.has_path(&scope.path) && self.was_looked_for(scope) {
            return Ok(());
        }
        if self.carrying.due {
            return Ok(self.settle()?);
        }
        self.look_again()?;
        let unsent = |scope: &&Scope| !self.has_path(&scope.path);
        if let Some(scope) = self.scope.as_ref().filter(unsent).cloned() {
            // What moved the path may have dropped its schema as well. In a transaction to look for
            // it would be a message more.
            let arrival = (self.beliefs.depth() == 0).then_some(Arrival::Lent);
            self.send_path(&scope, arrival)?;
        }
        Ok(())
    }

    /// Makes sure of the path for a text, which may end a transaction.
    ///
    /// The end brings back the path of before; it may have been another scope's.
    pub(super) fn ensure_for(&mut self, text: &str) -> QueryResult<()> {
        if self.scope.is_some() && statement::is_rollback(text) {
            // It looks nothing up, and in a transaction that has failed no path can be sent.
            self.observe();
            return Ok(());
        }
        self.ensure()?;
        if self.has_path_throughout() || !statement::goes_on_behind_an_end(text) {
            return Ok(());
        }
        // Of what was begun by hand nobody said whether it has ended.
        if self.beliefs.depth() == 0 {
            let nothing =
                |conn: &mut Self| conn.own_now(|inner| inner.batch_execute(sql::session::NOTHING));
            let (_, open) = self.asking_whether_open(nothing);
            if !open {
                self.beliefs.unmark();
                return Ok(());
            }
        }
        let schema = self.schema_name().cloned().ok_or(Error::NoScope)?;
        Err(Error::PathOfBefore { schema }.into())
    }

    /// The same for a statement that Diesel has built.
    pub(super) fn ensure_for_statement<T>(&mut self, statement: &T) -> QueryResult<()>
    where
        T: QueryFragment<Pg>,
    {
        // Only then it may be a rollback that needs no path.
        if self.notes.raw_transaction() || self.transaction_has_failed() {
            let mut text = PgQueryBuilder::new();
            statement.to_sql(&mut text, &Pg)?;
            if self.scope.is_some() && statement::is_rollback(&text.finish()) {
                self.observe();
                return Ok(());
            }
        }
        self.ensure()
    }

    /// Looks for the schema of the scope again if schemas were changed meanwhile:
    /// one that was dropped or renamed would be skipped in silence.
    pub(super) fn look_again(&mut self) -> Result<()> {
        let unsure = |scope: &&Scope| !self.was_looked_for(scope);
        if let Some(mut scope) = self.scope.as_ref().filter(unsure).cloned() {
            self.arrive(&mut scope, Arrival::Lent)?;
            self.scope = Some(scope);
        }
        Ok(())
    }

    /// Whether no schema was changed since that of `scope` was looked for. That another scope's was,
    /// in between, says nothing of it.
    pub(super) fn was_looked_for(&self, scope: &Scope) -> bool {
        scope.looked == Some(self.epoch_now())
            && scope
                .looked_inside
                .is_none_or(|undone| undone == self.undone)
    }

    /// Takes notice of everything that happened since the last time.
    pub(super) fn observe(&mut self) {
        self.keep_watch();
        self.resync();
        if self.notes.take_controlled() {
            self.beliefs.mark();
        }
        if self.notes.take_savepoint() {
            self.beliefs.pass_savepoint();
            self.undone.0 += 1;
        }
        if self.notes.take_role() {
            self.roles += 1;
        }
        if self.notes.take_moved() {
            self.beliefs.forget();
            // It may have been a rollback.
            self.undone.0 += 1;
        }
        self.hear_of_schemas();
        if self.notes.take_prepared() {
            self.plans.mix();
        }
        if self.notes.take_unprepared() {
            // Ours among them, which may be asked for next.
            self.forget_prepared();
            self.alone = None;
            self.cached = None;
            self.plans.mix();
        }
    }

    /// Lets all connections look for their schemas again if someone has dropped one, or given it another name.
    fn hear_of_schemas(&mut self) {
        if self.notes.take_schemas() {
            self.policy.bump_generation();
            // Until then the others find what was there before.
            self.invalidate_after_commit(|conn| conn.policy.bump_generation());
        }
    }

    /// Takes the watch up again if someone put another instrumentation on the
    /// inner connection, or another connection in its place.
    pub(super) fn keep_watch(&mut self) {
        self.unpark();
        if !Watch::is_kept(self.inner.instrumentation(), &self.notes) {
            self.notes.distrust();
            self.resident = None;
            self.watch();
        }
    }

    pub(super) fn watch(&mut self) {
        let watch = Watch::new(&self.notes, get_default_instrumentation());
        self.inner.set_instrumentation(watch);
    }

    /// Whether the session is known to have `path`, and plans that fit it.
    pub(super) fn has_path(&self, path: &Arc<SearchPath>) -> bool {
        self.policy.set_calls != SetCalls::EveryStatement
            && !self.carrying.due
            && !self.notes.raw_transaction()
            && self.beliefs.hold(path)
            && is_path(&self.cached, path)
            && self.epoch == self.epoch_now()
    }

    /// What has changed so far that plans, and whoever left something, take notice of.
    pub(super) fn epoch_now(&self) -> Epoch {
        Epoch {
            roles: self.roles,
            ..self.policy.epoch()
        }
    }

    /// The scope's schema has another name now.
    pub(crate) fn follow(&mut self, schema: &SchemaName) {
        if let Some(scope) = &mut self.scope {
            *scope = scope.followed(self.policy.path(schema));
        }
        // Who has the old name next is another.
        self.resident = None;
        self.beliefs.forget();
    }

    /// Gives up the tenant; the pool calls it when the connection comes back.
    pub(super) fn leave(&mut self) {
        self.hear_of_schemas();
        self.scope = None;
        self.stained = true;
        self.carrying.due = false;
        // Nobody knows whether what waits was committed.
        let unsure = self.take_work(|one| one.invalidates);
        self.after_commit.clear();
        self.work_off(unsure);
        if std::mem::take(&mut self.instrumented) {
            self.watch();
        }
    }
}

/// Gives the outer scope back, also when the closure panics.
struct Lent<'a> {
    conn: &'a mut TenantConnection,
    outer: Option<Scope>,
    /// The outer scope's path was left to its first statement.
    due: bool,
}

impl<'a> Lent<'a> {
    fn new(conn: &'a mut TenantConnection, outer: Option<Scope>) -> Self {
        let due = conn.carrying.due;
        Self { conn, outer, due }
    }

    fn call<R>(self, f: impl FnOnce(&mut TenantConnection) -> R) -> R {
        f(&mut *self.conn)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut outer = self.outer.take();
        if let (Some(outer), Some(inner)) = (&mut outer, &self.conn.scope)
            && inner.path == outer.path
            && self.conn.policy.means_the_same(outer)
        {
            // The same schema, which was looked for inside.
            outer.looked = inner.looked;
            outer.looked_inside = inner.looked_inside;
        }
        let stays = |outer: &Scope| is_path(&self.conn.resident, &outer.path);
        let stays = outer.as_ref().is_some_and(stays);
        // A tenant may have been chosen inside for good, or none: what comes now is not that one's.
        self.conn.carrying.due |= self.due && !stays;
        if !self.conn.carrying.due && !stays {
            self.conn.resident = None;
        }
        self.conn.scope = outer;
    }
}
