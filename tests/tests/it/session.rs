//! A session that counts for one tenant alone.

use diesel::connection::SimpleConnection as _;
use tenant_schemas::session::{SessionError, SessionSeal, SessionTenant};
use tenant_schemas::{DeleteOptions, Error, Lifecycle as _};

use crate::support::{Client, Db, client, name};

fn seal() -> SessionSeal {
    SessionSeal::new([7; 32]).expect("long enough")
}

#[track_caller]
fn refused(opened: Result<String, SessionError>) {
    let error = opened.expect_err("refused");
    // The same to the letter as a forged one.
    let forged = seal().open(SessionTenant::public(), "forged");
    let forged = forged.expect_err("forged");
    assert_eq!(format!("{error:?} {error}"), format!("{forged:?} {forged}"));
    assert!(matches!(error, SessionError::Refused));
}

#[test]
fn a_session_of_one_tenant_is_refused_by_another_as_a_forged_one_is() {
    let db = Db::new();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let mine = seal().seal(&acme, "user 1").expect("sealed");
    let theirs = seal().seal(&globex, "user 1").expect("sealed");
    assert_ne!(mine, theirs);
    assert_eq!(seal().open(&acme, &mine).expect("it counts"), "user 1");
    assert_eq!(seal().open(&globex, &theirs).expect("it counts"), "user 1");
    refused(seal().open(&globex, &mine));
    refused(seal().open(&acme, &theirs));
    refused(seal().open(SessionTenant::public(), &mine));
    let public = seal().seal(SessionTenant::public(), "user 1");
    let public = public.expect("sealed");
    seal()
        .open(SessionTenant::public(), &public)
        .expect("it counts");
    refused(seal().open(&acme, &public));
    refused(
        SessionSeal::new([8; 32])
            .expect("a seal")
            .open(&acme, &mine),
    );
}

#[test]
fn a_session_outlives_a_rename_and_not_its_tenant() {
    let db = Db::new();
    let mut acme = db.tenant("acme");
    let mut conn = db.tenancy.public().expect("public");
    let sealed = seal().seal(&acme, "user 1").expect("sealed");
    let looked_up = SessionTenant::look_up(&acme, &mut conn).expect("there");
    let strict = seal().seal(looked_up, "user 1").expect("sealed");

    acme.rename(&mut conn, &name("initech")).expect("renamed");
    seal().open(&acme, &sealed).expect("it counts");
    let looked_up = SessionTenant::look_up(&acme, &mut conn).expect("there");
    seal().open(looked_up.clone(), &strict).expect("it counts");
    refused(seal().open(&acme, &strict));
    refused(seal().open(looked_up, &sealed));
    // Another tenant takes the name that is free now.
    let mut other = client("acme");
    other.domain_url = "other.example.com".to_owned();
    other.save(&mut conn).expect("the name is free");
    refused(seal().open(&other, &sealed));

    let options = DeleteOptions::new().auto_drop_schema(true);
    acme.delete_with(&mut conn, options).expect("deleted");
    let mut again = client("initech");
    again.domain_url = "initech.example.com".to_owned();
    again.save(&mut conn).expect("the name is free");
    refused(seal().open(&again, &sealed));
}

#[test]
fn where_a_key_is_given_twice_the_identity_of_the_schema_tells_tenants_apart() {
    let db = Db::new();
    let acme = db.tenant("acme");
    let mut conn = db.tenancy.public().expect("public");
    let plain = seal().seal(&acme, "user 1").expect("sealed");
    let looked_up = SessionTenant::look_up(&acme, &mut conn).expect("there");
    let strict = seal().seal(looked_up, "user 1").expect("sealed");
    let options = DeleteOptions::new().auto_drop_schema(true);
    acme.delete_with(&mut conn, options).expect("deleted");
    let gone = SessionTenant::look_up(&acme, &mut conn);
    assert!(matches!(gone, Err(Error::NoSuchSchema { .. })));
    db.raw()
        .batch_execute("ALTER TABLE clients ALTER id RESTART")
        .expect("the sequence starts again");
    let again = db.tenant("acme");
    assert_eq!(again.id, acme.id, "control: the key was given twice");
    seal()
        .open(&again, &plain)
        .expect("control: the key alone does not tell");
    let looked_up = SessionTenant::look_up(&again, &mut conn).expect("there");
    refused(seal().open(looked_up, &strict));
}

#[test]
fn tenants_that_were_never_saved_have_no_sessions() {
    let unsaved: Client = client("acme");
    let message = "tenant acme has no row: save it first";
    let error = seal().seal(&unsaved, "user 1").expect_err("not saved");
    assert_eq!(error.to_string(), message);
    let error = seal().open(&unsaved, "forged").expect_err("not saved");
    assert_eq!(error.to_string(), message);
}
