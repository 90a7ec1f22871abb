//! The program of the README's first page.

use tenant_schemas::Lifecycle as _;

use crate::support::{Client, Db, client, insert_room, rooms_of};

#[test]
fn c01_saving_a_tenant_makes_it_ready() {
    let db = Db::new();
    let mut acme = client("acme");
    let saved = acme
        .save(&mut db.tenancy.public().expect("a connection"))
        .expect("saved");
    assert!(saved.created && saved.provisioned, "{saved:?}");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "rooms"]);
    let mut conn = db.tenancy.tenant(&acme).expect("a connection");
    insert_room(&mut conn, 1, "Blue");
    assert_eq!(rooms_of(&mut conn), ["Blue"]);
    assert_eq!(conn.tenant::<Client>(), Some(&acme));
}

#[test]
fn c20_rows_of_one_tenant_are_invisible_to_another() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    insert_room(&mut db.tenancy.tenant(&acme).expect("acme"), 1, "Blue");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
    assert!(rooms_of(&mut db.tenancy.tenant(&globex).expect("globex")).is_empty());
    insert_room(&mut db.tenancy.tenant(&globex).expect("globex"), 1, "Red");
    assert_eq!(
        rooms_of(&mut db.tenancy.tenant(&acme).expect("acme")),
        ["Blue"]
    );
}
