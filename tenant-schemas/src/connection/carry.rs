//! [`Cargo`]: the path of a checkout, on its way with the checkout's first statement.
//!
//! A prepared statement's plan may depend on the values of its parameters, so PostgreSQL reads
//! these first, and looks afterwards whether the plan fits the search path. A parameter of a
//! type that sets the path when it is read thus turns the session within the statement's own
//! message: no round trip is spent on it, and nothing that has to be read as text.
//!
//! The statement has to be prepared already under the path that it brings: to prepare one means to look its
//! names up under the path of before.

use std::any::TypeId;
use std::io::Write as _;
use std::sync::Arc;

use diesel::connection::CacheSize;
use diesel::pg::{GetPgMetadataCache as _, Pg, PgMetadataCacheKey, PgTypeMetadata};
use diesel::query_builder::{QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error as DieselError, QueryResult};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::HasSqlType;

use crate::error::Error;
use crate::path::SearchPath;
use crate::sql::{self, carrier::CARRIER};

use super::TenantConnection;
use super::belief::{Belief, Beliefs, is_path};
use super::plans::Plans;
use super::scope::Scope;

/// What a connection knows of paths that go with statements.
#[derive(Debug, Default)]
pub(super) struct Carrying {
    /// The path of the scope goes with the first statement of the checkout, which is yet to come.
    pub(super) due: bool,
    /// Messages may wait that are for the tenant of before.
    pub(super) unheard: bool,
    pub(super) carrier: Carrier,
}

/// The type whose values bring a path along.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    #[default]
    Unasked,
    Missing,
    /// Its number, and whether the function is there that vouches for plain tables.
    Found {
        oid: u32,
        plain: bool,
    },
}

/// What goes with a statement, and which.
pub(super) struct Cargo {
    statement: TypeId,
    path: Arc<SearchPath>,
    /// The statement has brought the path before.
    again: bool,
    /// What waits in the session is the tenant's own.
    stays: bool,
}

/// The type that sets the path.
pub(super) struct Turning;

/// A path, as a value of it.
#[derive(Debug)]
pub(super) struct Turn(pub(super) Arc<SearchPath>);

impl TenantConnection {
    /// What `statement` has to take along; nothing if the path is sent already.
    pub(super) fn cargo<T>(&mut self, statement: &T) -> QueryResult<Option<Cargo>>
    where
        T: QueryFragment<Pg> + QueryId,
    {
        // A statement whose types are not known beforehand might ask for them, on another path.
        let id = T::query_id().filter(|_| self.carrying.due && T::HAS_STATIC_QUERY_ID);
        let Some(id) = id else {
            return Ok(None);
        };
        self.observe();
        let epoch = self.epoch_now();
        let Some(scope) = self.scope.clone() else {
            return Ok(None);
        };
        if !self.can_carry(&scope) || !statement.is_safe_to_cache_prepared(&Pg)? {
            return Ok(None);
        }
        let Carrier::Found { oid, .. } = self.carrier() else {
            return Ok(None);
        };
        let path = scope.path;
        let again = self.plans.carries(&path, id);
        if again {
            if self.is_at_home() {
                self.home.disturb();
            } else {
                self.home.rest();
            }
            // The type looks for the schema. If the statement fails, the path is due still.
            if let Some(scope) = &mut self.scope {
                scope.looked = Some(epoch);
            }
            if !is_path(&self.cached, &path) {
                let types = self.inner.get_metadata_cache();
                self.plans.turn(self.cached.as_ref(), &path, types);
                self.cached = Some(Arc::clone(&path));
            }
        } else {
            self.ensure()?;
        }
        let stays = is_path(&self.resident, &path);
        // Whatever comes of it, what was known is not known any more.
        self.beliefs.unknown();
        self.resident = None;
        self.carrying.due = true;
        let key = PgMetadataCacheKey::new(None, CARRIER.into());
        self.inner.get_metadata_cache().store_type(key, (oid, 0));
        Ok(Some(Cargo {
            statement: id,
            path,
            again,
            stays,
        }))
    }

    /// Whether nothing has to be sent before a statement but what it can take along.
    pub(super) fn can_carry(&self, scope: &Scope) -> bool {
        let path = &scope.path;
        // What the tenant itself left may stay. Where several may have left something, the path
        // that is there does not say whose it is.
        let kept = is_path(&self.resident, path);
        let plain = self.resident.is_some() && !self.notes.settings() && !self.notes.left_open();
        self.beliefs.depth() == 0
            && (kept || plain)
            && !self.notes.raw_transaction()
            && self.epoch == self.epoch_now()
            && !matches!(self.cache_size, CacheSize::Disabled)
            && !self.plans.have_to_go(path, self.policy.max_tenants)
            && self.policy.means_the_same(scope)
    }

    /// The type that sets the path, if the database has it.
    pub(super) fn carrier(&mut self) -> Carrier {
        if self.carrying.carrier == Carrier::Unasked {
            let public = self.policy.public.clone();
            let found = self.own_now(|inner| sql::carrier::carrier(inner, &public));
            self.carrying.carrier = match found {
                Ok(Some((oid, plain))) => Carrier::Found { oid, plain },
                _ => Carrier::Missing,
            };
        }
        self.carrying.carrier
    }
}

impl Cargo {
    /// The path, as a value that sets it.
    pub(super) fn turn(&self) -> Turn {
        Turn(Arc::clone(&self.path))
    }

    /// Notes what came of the statement: if it ran, its transaction is committed, and what it brought
    /// is there.
    pub(super) fn end<R>(
        self,
        result: QueryResult<R>,
        carrying: &mut Carrying,
        beliefs: &mut Beliefs,
        resident: &mut Belief,
        plans: &mut Plans,
    ) -> QueryResult<R> {
        let result = result.map_err(|error| self.refused(error))?;
        if !self.again {
            plans.carried(&self.path, self.statement);
        }
        beliefs.sent(&self.path);
        *resident = Some(self.path);
        carrying.due = false;
        carrying.unheard |= !self.stays;
        Ok(result)
    }

    /// Why the statement was refused.
    fn refused(&self, error: DieselError) -> DieselError {
        match error {
            DieselError::DatabaseError(DatabaseErrorKind::CheckViolation, information)
                if information.constraint_name() == Some(sql::carrier::IS_THERE) =>
            {
                let schema = self.path.schema().clone();
                Error::NoSuchSchema { schema }.into()
            }
            error => error,
        }
    }
}

impl HasSqlType<Turning> for Pg {
    fn metadata(lookup: &mut Self::MetadataLookup) -> PgTypeMetadata {
        lookup.lookup_type(CARRIER, None)
    }
}

impl ToSql<Turning, Pg> for Turn {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        write!(out, "{}", self.0)?;
        Ok(IsNull::No)
    }
}
