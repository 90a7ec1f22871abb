//! Making a schema ahead, and dropping one that is out of date.

use std::sync::Arc;

use diesel::pg::PgConnection;

use crate::catalog::{self, Session, queries};
use crate::connection::TenantConnection;
use crate::error::{Error, Result};
use crate::ledger;
use crate::migrate::{Failures, Job, locked};
use crate::name::SchemaName;
use crate::provision::delete::{forget_state, refuse_dependents};
use crate::provision::transaction;
use crate::random;
use crate::registry::{Kind, Registry};
use crate::script::hex;
use crate::sql;
use crate::sql::ready::{MAKING, READY};

/// Makes one schema, with every migration of its kind.
///
/// It gets the name by which it is found when it is whole. What fails, or is interrupted, has another, and
/// is dropped by the next that fills. The name is given in a transaction of its own: in that of the
/// migrations, shared tables that keys refer to would be locked while the schema is looked through.
pub(super) fn make(
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    kind: &Kind,
) -> Result<()> {
    let number = random::number();
    let making: SchemaName = format!("{MAKING}{number}").parse()?;
    // Another number, or what says that one could not be told from what has the name it should.
    let ready: SchemaName = format!("{READY}{}", random::number()).parse()?;
    locked(conn, &making, |conn| {
        let rest = transaction(conn, registry, |conn| begin(conn, registry, kind, &making))?;
        let made = match rest {
            Some(job) => conn
                .with_schema(&making, |conn| job.run(conn, registry))
                .map(drop),
            None => Ok(()),
        };
        let named = made.and_then(|()| {
            transaction(conn, registry, |conn| {
                name_it(conn, registry, &making, &ready, &number)
            })
        });
        if named.is_err()
            && let Err(error) = drop_schema(conn, registry, &making)
        {
            log::warn!("schema {making} is left for the next that fills: {error}");
        }
        named
    })
}

/// Makes the schema as far as a transaction can; returns the rest.
fn begin(
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    kind: &Kind,
    schema: &SchemaName,
) -> Result<Option<Job>> {
    conn.own(|inner| {
        let there = sql::ledger::bookkeeping(inner, schema, registry.public())?;
        ledger::make(inner, schema, registry.public(), there, &[])
    })
    .map_err(|error| Error::database(format!("creating schema {schema}"), error))?;
    let mut job = Job::new(schema.clone(), kind.clone());
    job.fresh = true;
    job.atomic = true;
    job.silent = true;
    let (done, left) = job.run_in_transaction(conn, registry, &Failures::default())?;
    job.fresh = false;
    job.resumed = Some(done.applied);
    Ok((left > 0).then_some(job))
}

/// Gives a schema that is whole the name by which it is found, unless something in it says the name it has.
fn name_it(
    conn: &mut TenantConnection,
    registry: &Registry,
    making: &SchemaName,
    ready: &SchemaName,
    number: &str,
) -> Result<()> {
    conn.own(|inner| {
        sql::ready::rename(inner, registry.public(), making, ready)
            .map_err(|error| Error::database(format!("renaming schema {making}"), error))?;
        let says = that_say(inner, ready, number)?;
        if says.is_empty() {
            Ok(())
        } else {
            Err(Error::NamesItself { says })
        }
    })
}

/// What in a schema has the name in it that the schema had before, with this number: it is text, and
/// would be wrong once more when a tenant takes the schema. Whatever PostgreSQL knows by number has the
/// new name now.
///
/// Half of the name will do, in either case: an identifier that it stands in may have been cut.
fn that_say(conn: &mut PgConnection, schema: &SchemaName, number: &str) -> Result<Vec<String>> {
    let reading = |error| Error::database(format!("reading the catalog of schema {schema}"), error);
    let session = Session::begin(conn).map_err(reading)?;
    Session::enter(conn, schema).map_err(reading)?;
    let oid = queries::number(conn, schema)
        .map_err(reading)?
        .ok_or_else(|| Error::NoSuchSchema {
            schema: schema.clone(),
        })?;
    let structure = catalog::read(conn, schema, oid).map_err(reading)?;
    let in_bytes = hex(number.as_bytes());
    let words = [MAKING, number, &in_bytes];
    let statements = structure.before.iter().chain(&structure.after);
    let mut says: Vec<String> = statements
        .filter(|statement| {
            let text = statement.text.to_lowercase();
            words.iter().any(|word| text.contains(word))
        })
        .map(|statement| statement.name.clone())
        .collect();
    says.extend(sql::ready::that_say(conn, schema, &words).map_err(reading)?);
    session.end(conn).map_err(reading)?;
    Ok(says)
}

/// Drops a schema that nobody has taken; whether it did.
pub(super) fn drop_ready(
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    schema: &SchemaName,
) -> Result<bool> {
    transaction(conn, registry, |conn| {
        let ours = conn
            .own(|inner| sql::ready::hold(inner, registry.public(), schema))
            .map_err(|error| Error::database("looking for ready-made schemas", error))?;
        Ok(ours && drop_schema(conn, registry, schema)?)
    })
}

/// Drops what was being made; whether it did. Where tenants depend on something in it, an extension that their
/// migrations found there, it stays.
pub(super) fn drop_schema(
    conn: &mut TenantConnection,
    registry: &Arc<Registry>,
    schema: &SchemaName,
) -> Result<bool> {
    match refuse_dependents(conn, schema) {
        Err(Error::Dependents { dependents, .. }) => {
            log::warn!(
                "schema {schema}, which was made ahead, is not dropped, since what is elsewhere depends on it: {}; \
                 if that is for an extension, move it with `ALTER EXTENSION .. SET SCHEMA ..`",
                dependents.join(", ")
            );
            return Ok(false);
        }
        looked => looked?,
    }
    conn.own(|inner| {
        sql::schemas::drop_schema_cascade(inner, schema)?;
        forget_state(inner, registry, schema)
    })
    .map_err(|error| Error::database(format!("dropping schema {schema}"), error))?;
    Ok(true)
}
