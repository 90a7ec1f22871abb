//! [`TenantConnection`] as a Diesel connection: each way to send a statement makes sure of the path first.

use diesel::associations::HasTable;
use diesel::connection::{
    AnsiTransactionManager, CacheSize, Connection, ConnectionSealed, DefaultLoadingMode,
    Instrumentation, LoadConnection, SimpleConnection, TransactionManager as _,
};
use diesel::expression::{MixedAggregates, QueryMetadata, ValidGrouping, is_aggregate};
use diesel::migration::{CREATE_MIGRATIONS_TABLE, MigrationConnection};
use diesel::pg::{GetPgMetadataCache, Pg, PgConnection, PgMetadataCache, PgRowByRowLoadingMode};
use diesel::prelude::*;
use diesel::query_builder::{AsChangeset, IntoUpdateTarget, Query, QueryFragment, QueryId};
use diesel::query_dsl::UpdateAndFetchResults;
use diesel::query_dsl::methods::LoadQuery;
use diesel::r2d2::R2D2Connection;
use diesel::result::{ConnectionResult, QueryResult};

use super::watch::{self, Watch};
use super::written::Written;
use super::{TenantConnection, TenantTransactionManager};

impl ConnectionSealed for TenantConnection {}

impl SimpleConnection for TenantConnection {
    fn batch_execute(&mut self, query: &str) -> QueryResult<()> {
        self.ensure_for(query)?;
        self.inner.batch_execute(query)
    }
}

impl Connection for TenantConnection {
    type Backend = Pg;
    type TransactionManager = TenantTransactionManager;

    fn establish(database_url: &str) -> ConnectionResult<Self> {
        crate::secret::establish(database_url).map(Self::new)
    }

    fn execute_returning_count<T>(&mut self, source: &T) -> QueryResult<usize>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        let cargo = self.cargo(source)?;
        if cargo.is_none() {
            self.ensure_for_statement(source)?;
        }
        let written = self.write(source, cargo.as_ref())?;
        let count = self.inner.execute_returning_count(&written);
        self.notes.set_harmless(false);
        let Some(cargo) = cargo else {
            return count;
        };
        cargo.end(
            count,
            &mut self.carrying,
            &mut self.beliefs,
            &mut self.resident,
            &mut self.plans,
        )
    }

    fn transaction_state(&mut self) -> &mut AnsiTransactionManager {
        self.unpark();
        self.inner.transaction_state()
    }

    /// The user's own instrumentation, if there is one.
    fn instrumentation(&mut self) -> &mut dyn Instrumentation {
        self.keep_watch();
        watch::user_of(self.inner.instrumentation())
    }

    /// Sets an instrumentation that sees all statements until the connection goes back to its pool.
    fn set_instrumentation(&mut self, instrumentation: impl Instrumentation) {
        self.unpark();
        self.instrumented = true;
        let watch = Watch::new(&self.notes, Some(Box::new(instrumentation)));
        self.inner.set_instrumentation(watch);
    }

    fn set_prepared_statement_cache_size(&mut self, size: CacheSize) {
        self.unpark();
        self.cache_size = size;
        self.inner.set_prepared_statement_cache_size(size);
        // Diesel forgets its statements, and the server does not.
        self.cached = None;
        self.plans.mix();
    }
}

impl LoadConnection for TenantConnection {
    type Cursor<'conn, 'query> = <PgConnection as LoadConnection>::Cursor<'conn, 'query>;
    type Row<'conn, 'query> = <PgConnection as LoadConnection>::Row<'conn, 'query>;

    fn load<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> QueryResult<Self::Cursor<'conn, 'query>>
    where
        T: Query + QueryFragment<Pg> + QueryId + 'query,
        Pg: QueryMetadata<T::SqlType>,
    {
        if let Some(qualified) = self.qualified(&source)? {
            let written = Written::qualified(&source, qualified.text());
            self.notes.set_harmless(true);
            let rows = LoadConnection::<DefaultLoadingMode>::load(&mut *self.inner, written);
            self.notes.set_harmless(false);
            if let Some(rows) = self.end_qualified(qualified, rows) {
                return rows;
            }
        }
        let cargo = self.cargo(&source)?;
        if cargo.is_none() {
            self.ensure()?;
        }
        let written = self.write(source, cargo.as_ref())?;
        let rows = LoadConnection::<DefaultLoadingMode>::load(&mut *self.inner, written);
        self.notes.set_harmless(false);
        let Some(cargo) = cargo else {
            return rows;
        };
        cargo.end(
            rows,
            &mut self.carrying,
            &mut self.beliefs,
            &mut self.resident,
            &mut self.plans,
        )
    }
}

/// Row by row, a statement is not over when its first row is there: it takes no path along.
impl LoadConnection<PgRowByRowLoadingMode> for TenantConnection {
    type Cursor<'conn, 'query> =
        <PgConnection as LoadConnection<PgRowByRowLoadingMode>>::Cursor<'conn, 'query>;
    type Row<'conn, 'query> =
        <PgConnection as LoadConnection<PgRowByRowLoadingMode>>::Row<'conn, 'query>;

    fn load<'conn, 'query, T>(
        &'conn mut self,
        source: T,
    ) -> QueryResult<Self::Cursor<'conn, 'query>>
    where
        T: Query + QueryFragment<Pg> + QueryId + 'query,
        Pg: QueryMetadata<T::SqlType>,
    {
        self.ensure()?;
        let written = self.write(source, None)?;
        let rows = LoadConnection::<PgRowByRowLoadingMode>::load(&mut *self.inner, written);
        self.notes.set_harmless(false);
        rows
    }
}

impl GetPgMetadataCache for TenantConnection {
    fn get_metadata_cache(&mut self) -> &mut PgMetadataCache {
        self.unpark();
        if self.carrying.due && self.ensure().is_err() {
            // Those of before are another tenant's.
            self.cached = None;
            self.plans.mix();
            *self.inner.get_metadata_cache() = PgMetadataCache::new();
        }
        self.inner.get_metadata_cache()
    }
}

/// Creates the table of Diesel's own migration harness in the schema of the scope.
impl MigrationConnection for TenantConnection {
    fn setup(&mut self) -> QueryResult<usize> {
        diesel::sql_query(CREATE_MIGRATIONS_TABLE).execute(self)
    }
}

impl<'b, Changes, Output> UpdateAndFetchResults<Changes, Output> for TenantConnection
where
    Changes: Copy + AsChangeset<Target = <Changes as HasTable>::Table> + IntoUpdateTarget,
    diesel::dsl::Update<Changes, Changes>: LoadQuery<'b, TenantConnection, Output>,
    <Changes::Table as Table>::AllColumns: ValidGrouping<()>,
    <<Changes::Table as Table>::AllColumns as ValidGrouping<()>>::IsAggregate:
        MixedAggregates<is_aggregate::No, Output = is_aggregate::No>,
{
    fn update_and_fetch(&mut self, changeset: Changes) -> QueryResult<Output> {
        diesel::update(changeset).set(changeset).get_result(self)
    }
}

impl R2D2Connection for TenantConnection {
    /// Sends nothing: the path of the next scope takes the ping's place, and
    /// without a scope no statement is sent.
    fn ping(&mut self) -> QueryResult<()> {
        Ok(())
    }

    /// Gives up the tenant, and says whether the connection has to be closed.
    ///
    /// It is over then: the session waits for the next checkout.
    fn is_broken(&mut self) -> bool {
        if self.is_shell() {
            return false;
        }
        self.keep_watch();
        self.leave();
        let broken = self.broken
            || self.notes.raw_transaction()
            || self.served.load() > self.policy.max_tenants
            || self.is_expired()
            || AnsiTransactionManager::is_broken_transaction_manager(&mut *self.inner);
        if !broken {
            self.park();
        }
        broken
    }
}
