//! The public tenant: a row whose schema is the shared one.

use tenant_schemas::{App, AppScope, DeleteOptions, Lifecycle as _};

use crate::support::{Client, Db, client, customers, hotels, sql_app};

fn notes() -> App {
    sql_app(
        "notes",
        AppScope::Both,
        &[(
            "1_notes",
            "CREATE TABLE notes (id integer)",
            "DROP TABLE notes",
        )],
    )
}

#[test]
fn c15_saving_the_public_tenant_migrates_shared_apps_and_no_others() {
    let db = Db::new();
    let mut conn = db.tenancy.public().expect("public");
    let mut public = client("public");
    public.domain_url = "my-domain.com".to_owned();
    let saved = public.save(&mut conn).expect("saved");
    assert!(saved.created && !saved.provisioned, "{saved:?}");
    assert!(saved.applied.is_empty(), "it was migrated: {saved:?}");
    // A program with one more shared app, whose deployer forgot to migrate.
    let later = db.again(|builder| builder.app(customers()).app(notes()).app(hotels()));
    public.delete(&mut conn).expect("the row");
    let mut conn = later.public().expect("public");
    let saved = public.save(&mut conn).expect("saved");
    let applied: Vec<String> = saved.applied.iter().map(ToString::to_string).collect();
    assert_eq!(applied, ["notes/1_notes"]);
    assert_eq!(
        db.tables("public"),
        [
            "__tenant_migrations",
            "__tenant_schemas",
            "clients",
            "notes",
            "plans"
        ],
        "there are no rooms"
    );
}

#[test]
fn c15_the_public_tenant_is_found_and_left_out_of_the_fleet() {
    let db = Db::new();
    let [acme, public] = db.tenants(["acme", "public"]);
    let mut conn = db.tenancy.public().expect("public");
    assert_eq!(
        Client::all(&mut conn).expect("read"),
        [acme.clone(), public.clone()]
    );
    let found = Client::by_domain(&mut conn, "public.my-domain.com").expect("read");
    assert_eq!(found.as_ref(), Some(&public));
    assert_eq!(db.tenancy.tenants().expect("read"), [acme]);
    let conn = db.tenancy.tenant(&public).expect("its scope");
    assert_eq!(conn.schema_name(), Some(&public.schema_name));
    assert_eq!(conn.tenant::<Client>(), Some(&public));
}

#[test]
fn c15_deleting_the_public_tenant_never_drops_public() {
    let db = Db::new();
    let public = db.tenant("public");
    let mut conn = db.tenancy.public().expect("public");
    let options = DeleteOptions::new().auto_drop_schema(true);
    let deleted = public.delete_with(&mut conn, options).expect("deleted");
    assert!(!deleted.schema_dropped);
    assert_eq!(Client::all(&mut conn).expect("read"), [], "the row is gone");
    assert!(db.tables("public").contains(&"plans".to_owned()));
}

#[test]
fn c15_the_public_tenant_of_a_schema_with_a_name_of_its_own() {
    let db = Db::unmigrated(|builder| {
        builder
            .app(customers())
            .app(hotels())
            .public_schema("Shared-1")
    });
    let migrated = db.tenancy.migrate().shared().run().expect("a report");
    migrated.into_result().expect("made and migrated");
    let mut public = client("Shared-1");
    public.domain_url = "my-domain.com".to_owned();
    let saved = public
        .save(&mut db.tenancy.public().expect("shared"))
        .expect("the name was admitted by the builder");
    assert!(!saved.provisioned);
    let acme = db.tenant("acme");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
    assert!(db.tables("Shared-1").contains(&"clients".to_owned()));
    assert_eq!(db.tables("public"), [""; 0]);
    assert_eq!(db.tenancy.tenants().expect("read"), [acme]);
}
