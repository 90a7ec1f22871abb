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
