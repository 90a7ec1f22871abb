//! Saving: row, schema and migrations in the transaction, and what has to wait for its end.

use std::sync::Arc;

use super::options::SchemaChoice;
use super::{SaveOptions, Saved, duplicate, happened, keep_name, not_saved, ready, saved_row};
use crate::connection::TenantConnection;
use crate::domain::check_domain;
use crate::error::{Error, Result};
use crate::event::{Happened, What};
use crate::ledger;
use crate::migrate::{Failures, Job, Migrated, emit, lock};
use crate::model::TenantModel;
use crate::name::SchemaName;
use crate::registry::{Kind, Registry};
use crate::sql;
use crate::sql::tables::RowLock;

/// What is left to do when the transaction is over.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) saved: Saved,
    /// The job whose rest can't run in a transaction.
    rest: Option<Job>,
    /// Events that wait for that rest.
    events: Vec<Happened>,
    pub(crate) failures: Failures,
    /// Other sessions can see how far it is.
    watched: bool,
}

impl Work {
    /// Work that other sessions can see the progress of.
    #[cfg(feature = "jobs")]
    pub(crate) fn watched() -> Self {
        Self {
            watched: true,
            ..Self::default()
        }
    }

    pub(super) fn save<T: TenantModel>(
        tenant: &T,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        options: SaveOptions,
    ) -> Result<(T, Self)> {
        let mut work = Self::default();
        if let Some(row) = saved_row(tenant, conn)? {
            keep_name(tenant, conn, registry, RowLock::Change)?;
            if row.domain_url() != tenant.domain_url() {
                tenant.domain_url().map_or(Ok(()), check_domain)?;
            }
            let stored = conn
                .with_public(|conn| tenant.update_row(conn))
                .map_err(|error| duplicate(tenant.schema_name(), error))?
                .ok_or_else(|| not_saved(tenant))?;
            if options.schema == SchemaChoice::Adopt {
                work.provision(&stored, conn, registry, true)?;
            }
            return Ok((stored, work));
        }
        let is_public = tenant.schema_name() == registry.public();
        if !is_public {
            SchemaName::with_policy(tenant.schema_name().as_str(), registry.names)?;
            registry.refuse_protected(tenant.schema_name(), "taken by a tenant")?;
        }
        tenant.domain_url().map_or(Ok(()), check_domain)?;
        let stored = conn
            .with_public(|conn| tenant.insert_row(conn))
            .map_err(|error| duplicate(tenant.schema_name(), error))?;
        work.saved.created = true;
        let create = match options.schema {
            SchemaChoice::Model => T::AUTO_CREATE_SCHEMA,
            SchemaChoice::Create | SchemaChoice::Adopt => true,
            SchemaChoice::Leave => false,
        };
        if create || is_public {
            let adopt = options.schema == SchemaChoice::Adopt;
            work.provision(&stored, conn, registry, adopt)?;
        } else {
            // It would be somebody else's, a deleted tenant's perhaps, and the new one would read it.
            let schema = stored.schema_name();
            let is_there = conn
                .own(|inner| {
                    ledger::lock_in_transaction(inner, schema)?;
                    sql::schemas::schema_exists(inner, schema)
                })
                .map_err(|error| Error::database("looking for the schema", error))?;
            if is_there {
                return Err(Error::SchemaExists {
                    schema: schema.clone(),
                });
            }
            let event = happened(&stored, What::SchemaNeedsSync);
            emit(conn, registry, event, &work.failures)?;
        }
        Ok((stored, work))
    }

    /// Makes the schema and migrates it, as far as a transaction can.
    pub(crate) fn provision<T: TenantModel>(
        &mut self,
        tenant: &T,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        adopt: bool,
    ) -> Result<()> {
        let schema = tenant.schema_name();
        let is_public = schema == registry.public();
        let public = registry.public();
        if !is_public {
            registry.refuse_protected(schema, "provisioned")?;
        }
        let there = conn
            .own(|inner| ledger::lock_and_look(inner, schema, public))
            .map_err(|error| Error::database("looking for the schema", error))?;
        match (there.schema, adopt || is_public) {
            (true, false) => {
                return Err(Error::SchemaExists {
                    schema: schema.clone(),
                });
            }
            (false, true) => {
                return Err(Error::NoSuchSchema {
                    schema: schema.clone(),
                });
            }
            (true, true) => {}
            (false, false)
                if there.ready && there.state && self.take(tenant, conn, registry)? =>
            {
                return Ok(());
            }
            (false, false) => conn
                .own(|inner| ledger::make(inner, schema, public, there, &[]))
                .map_err(|error| Error::database(format!("creating schema {schema}"), error))?,
        }
        let kind = if is_public {
            Kind::Shared
        } else {
            Kind::Tenant(tenant.tenant_type())
        };
        let mut job = Job::new(schema.clone(), kind);
        job.tenant = Some(Arc::new(tenant.clone()));
        job.fresh = !there.schema;
        job.atomic = true;
        job.adopt = adopt;
        job.watched = self.watched;
        let (done, left) = job.run_in_transaction(conn, registry, &self.failures)?;
        self.saved.provisioned = !is_public;
        self.saved.applied = done.applied;
        let synced = happened(tenant, What::PostSchemaSync);
        self.saved.left = left;
        if left > 0 {
            job.fresh = false;
            job.resumed = Some(self.saved.applied.clone());
            self.rest = Some(job);
            self.events.push(synced);
        } else {
            emit(conn, registry, synced, &self.failures)?;
        }
        Ok(())
    }

    /// Gives the tenant a schema that was made ahead, if there is one.
    fn take<T: TenantModel>(
        &mut self,
        tenant: &T,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
    ) -> Result<bool> {
        let Some(applied) = ready::take(tenant, conn, registry, &self.failures)? else {
            return Ok(false);
        };
        self.saved.provisioned = true;
        self.saved.made_ahead = true;
        self.saved.applied = applied;
        let synced = happened(tenant, What::PostSchemaSync);
        emit(conn, registry, synced, &self.failures)?;
        Ok(true)
    }

    /// Does the rest: now, or when the caller's transaction is committed.
    pub(crate) fn finish(
        self,
        conn: &mut TenantConnection,
        registry: &Arc<Registry>,
        outer: bool,
    ) -> Result<Saved> {
        let Self {
            mut saved,
            rest,
            events,
            failures,
            watched: _,
        } = self;
        if let Some(job) = rest {
            if outer {
                let registry = Arc::clone(registry);
                conn.after_commit(move |conn| {
                    let schema = job.schema.clone();
                    if let Err(error) = finish(&job, &events, conn, &registry) {
                        log::error!(
                            "schema {schema} is not fully migrated, run the migrations again: {}",
                            crate::error::chain(&error)
                        );
                    }
                });
            } else {
                let done = finish(&job, &events, conn, registry)?;
                saved.left = 0;
                saved.applied.extend(done.applied);
                saved.listener_failures.extend(done.listener_failures);
            }
        }
        saved
            .listener_failures
            .extend(std::mem::take(&mut *lock(&failures)));
        Ok(saved)
    }
}

/// Runs what can't run in a transaction, and tells those who waited for it.
fn finish(
    job: &Job,
    events: &[Happened],
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
) -> Result<Migrated> {
    let failures = Arc::default();
    let mut done = conn.with_schema(&job.schema, |conn| job.run(conn, registry))?;
    for event in events {
        emit(conn, registry, event.clone(), &failures)?;
    }
    done.listener_failures
        .extend(std::mem::take(&mut *lock(&failures)));
    Ok(done)
}
