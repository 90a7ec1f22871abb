//! Connections that trust what they know look again once a change is committed, not before.

use diesel::Connection as _;
use diesel::connection::{BoxableConnection, SimpleConnection as _};
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource};
use diesel::pg::Pg;
use tenant_schemas::{DeleteOptions, Error, Lifecycle as _, SaveOptions, SetCalls};

use crate::support::{Db, Name, client, customers, hotels, insert_room, name, rooms_of};

/// The table of rooms also in `public`, so that there is something to fall through to.
fn db() -> Db {
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .set_calls(SetCalls::WhenChanged)
    });
    let mut conn = db.tenancy.public().expect("public");
    conn.batch_execute(
        "CREATE TABLE public.rooms (id integer PRIMARY KEY, name text NOT NULL); \
         INSERT INTO public.rooms VALUES (1, 'Everybody''s')",
    )
    .expect("the shared rooms");
    db
}

#[test]
fn a_tenant_whose_schema_was_dropped_is_not_served_from_public() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.public().expect("public");
    let mut other = db.tenancy.tenant(&acme).expect("acme");
    insert_room(&mut other, 1, "Blue");
    assert_eq!(rooms_of(&mut other), ["Blue"]);
    drop(other);
    conn.transaction(|conn| {
        acme.delete_with(conn, DeleteOptions::new().auto_drop_schema(true))?;
        // Others still see the schema, and the connection that looks now must look again later.
        drop(db.tenancy.tenant(&acme)?);
        Ok::<_, Error>(())
    })
    .expect("deleted");
    let error = db.tenancy.tenant(&acme).expect_err("the schema is gone");
    assert!(matches!(error, Error::NoSuchSchema { .. }), "{error}");
}

#[test]
fn a_tenant_that_was_renamed_is_not_served_under_its_old_name() {
    let db = db();
    let mut acme = db.tenant("acme");
    let old = acme.clone();
    let mut conn = db.tenancy.public().expect("public");
    drop(db.tenancy.tenant(&acme).expect("acme"));
    conn.transaction(|conn| {
        acme.rename(conn, &name("apex"))?;
        drop(db.tenancy.tenant(&old)?);
        Ok::<_, Error>(())
    })
    .expect("renamed");
    let error = db.tenancy.tenant(&old).expect_err("the schema is gone");
    assert!(matches!(error, Error::NoSuchSchema { .. }), "{error}");
    assert!(rooms_of(&mut db.tenancy.tenant(&acme).expect("apex")).is_empty());
}

/// A migration that panics.
#[derive(Clone)]
struct Panics(Name);

impl MigrationSource<Pg> for Panics {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        Ok(vec![Box::new(self.clone())])
    }
}

impl Migration<Pg> for Panics {
    fn run(&self, _: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        panic!("half-way")
    }

    fn revert(&self, _: &mut dyn BoxableConnection<Pg>) -> diesel::migration::Result<()> {
        Ok(())
    }

    fn metadata(&self) -> &dyn MigrationMetadata {
        self
    }

    fn name(&self) -> &dyn MigrationName {
        &self.0
    }
}

impl MigrationMetadata for Panics {}

#[test]
fn a_run_that_panics_half_way_leaves_no_plan_on_public() {
    let panics = Panics(Name("2024-03-01-000000_panics".to_owned()));
    let hotels = hotels().rust_migrations(panics);
    let db = Db::with(|builder| builder.app(customers()).app(hotels));
    let mut acme = client("acme");
    let mut conn = db.tenancy.public().expect("public");
    let later = SaveOptions::new().auto_create_schema(false);
    acme.save_with(&mut conn, later).expect("saved");
    conn.batch_execute(
        "CREATE SCHEMA acme; CREATE TABLE public.rooms (id integer PRIMARY KEY, name text NOT NULL); \
         INSERT INTO public.rooms VALUES (1, 'Everybody''s')",
    )
    .expect("the shared rooms");
    let mut open = db.tenancy.tenant(&acme).expect("acme");
    assert_eq!(rooms_of(&mut open), ["Everybody's"]);
    let report = db.tenancy.migrate().tenants().run().expect("a report");
    let (_, error) = report.failed().next().expect("a failure");
    assert!(matches!(error, Error::Panicked { .. }), "{error}");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
    assert!(rooms_of(&mut open).is_empty());
}
