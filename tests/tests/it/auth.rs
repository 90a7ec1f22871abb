//! Users of each tenant: hashes, isolation, a table of one's own.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use tenant_schemas::auth::{
    self, Auth, AuthError, Hasher, NewUser, Superusers, User, Users, auth_users, require_own_table,
};
use tenant_schemas::{AppScope, BoxError, PooledConnection, Report, TenantConnection};

use crate::support::{Client, Db, customers, hotels, sql_app, strings};

const PASSWORD: &str = "correct horse";

/// Users whose passwords are hashed at next to no cost.
fn cheap() -> Users {
    Users::with_hasher(Hasher::with_cost(8, 1, 1).expect("a cost"))
}

fn db() -> Db {
    Db::with(|builder| builder.app(customers()).app(Auth))
}

#[track_caller]
fn of(db: &Db, tenant: &Client) -> PooledConnection {
    db.tenancy.tenant(tenant).expect("a connection")
}

#[track_caller]
fn create(conn: &mut TenantConnection, username: &str, password: &str) -> User {
    cheap()
        .create_user(conn, NewUser::new(username, password))
        .expect("the user is stored")
}

#[track_caller]
fn login(conn: &mut TenantConnection, username: &str, password: &str) -> Option<User> {
    cheap()
        .authenticate(conn, username, password)
        .expect("the database answers")
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, AuthError>, message: &str) {
    assert_eq!(result.expect_err("refused").to_string(), message);
}

fn hash_of(db: &Db, schema: &str, username: &str) -> String {
    db.strings(&format!(
        "SELECT password_hash AS value FROM {schema}.auth_users WHERE username = '{username}'"
    ))
    .concat()
}

#[test]
fn c97_a_superuser_is_stored_with_a_salted_hash_in_that_tenant_only() {
    let db = Db::with(|builder| builder.app(customers()).app(Auth::shared_too()));
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let mut conn = of(&db, &acme);
    for name in ["ada", "bob"] {
        let new = NewUser::new(name, PASSWORD).email(format!("{name}@example.com"));
        Superusers::create_superuser(&cheap(), &mut conn, new).expect("stored");
    }
    let users: Vec<User> = auth_users::table
        .order(auth_users::id)
        .select(User::as_select())
        .load(&mut conn)
        .expect("the users are read");
    let [ada, bob] = users.as_slice() else {
        panic!("{users:?}");
    };
    assert_eq!(
        (ada.username.as_str(), ada.email.as_deref()),
        ("ada", Some("ada@example.com"))
    );
    assert!(ada.is_superuser && ada.is_active && ada.last_login.is_none());
    assert!(bob.is_superuser);
    let hashes = ["ada", "bob"].map(|name| hash_of(&db, "acme", name));
    for hash in &hashes {
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(!hash.contains(PASSWORD), "{hash}");
    }
    assert_ne!(hashes[0], hashes[1], "the same password, another salt");
    drop(conn);
    for schema in ["globex", "public"] {
        assert!(
            db.strings(&format!(
                "SELECT username AS value FROM {schema}.auth_users"
            ))
            .is_empty(),
            "{schema}"
        );
    }
    assert!(login(&mut of(&db, &globex), "ada", PASSWORD).is_none());
    assert!(login(&mut db.tenancy.public().expect("public"), "ada", PASSWORD).is_none());
}

#[test]
fn one_name_is_two_people_in_two_tenants() {
    let db = db();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    create(&mut of(&db, &acme), "ada", "password of acme");
    // Control: the user is there to be leaked, under the name and the id of the other one.
    assert!(login(&mut of(&db, &acme), "ada", "password of acme").is_some());
    assert!(login(&mut of(&db, &globex), "ada", "password of acme").is_none());
    create(&mut of(&db, &globex), "ada", "password of globex");
    for (tenant, own, other) in [
        (&acme, "password of acme", "password of globex"),
        (&globex, "password of globex", "password of acme"),
    ] {
        let mut conn = of(&db, tenant);
        assert_eq!(login(&mut conn, "ada", own).map(|user| user.id), Some(1));
        assert!(login(&mut conn, "ada", other).is_none());
    }
    cheap()
        .set_password(&mut of(&db, &acme), "ada", "another of acme")
        .expect("set");
    assert!(login(&mut of(&db, &acme), "ada", "another of acme").is_some());
    assert!(login(&mut of(&db, &acme), "ada", "password of acme").is_none());
    assert!(login(&mut of(&db, &globex), "ada", "password of globex").is_some());
}

#[test]
fn a_nested_scope_has_its_own_users() {
    let db = db();
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let mut conn = of(&db, &acme);
    conn.transaction::<_, AuthError, _>(|conn| {
        conn.with_tenant(&globex, |conn| {
            cheap().create_user(conn, NewUser::new("ada", PASSWORD))
        })?;
        assert!(login(conn, "ada", PASSWORD).is_none());
        Ok(())
    })
    .expect("committed");
    drop(conn);
    assert!(login(&mut of(&db, &globex), "ada", PASSWORD).is_some());
    assert!(login(&mut of(&db, &acme), "ada", PASSWORD).is_none());
}

#[test]
fn a_tenant_without_users_never_falls_back_on_those_of_public() {
    let db = Db::with(|builder| builder.app(customers()).app(hotels()));
    let acme = db.tenant("acme");
    let with_users = db.again(|builder| builder.app(customers()).app(Auth::shared_too()));
    with_users
        .migrate()
        .shared()
        .run()
        .and_then(Report::into_result)
        .expect("public has users");
    create(&mut with_users.public().expect("public"), "root", PASSWORD);
    let mut conn = of(&db, &acme);
    // Control: by its path alone, the tenant sees the users of `public`.
    assert_eq!(auth_users::table.count().get_result(&mut *conn), Ok(1));
    let message = "schema acme has no table auth_users of its own, and one of another schema is not used: \
                   give the builder the app that creates it, and migrate";
    let users = cheap();
    let new = NewUser::new("ada", PASSWORD);
    refused(users.create_superuser(&mut conn, new.clone()), message);
    refused(users.create_user(&mut conn, new), message);
    refused(users.authenticate(&mut conn, "root", PASSWORD), message);
    refused(
        users.set_password(&mut conn, "root", "another one"),
        message,
    );
    refused(users.find(&mut conn, "root"), message);
    drop(conn);
    assert_eq!(
        db.strings("SELECT username AS value FROM public.auth_users"),
        ["root"]
    );
    assert!(login(&mut with_users.public().expect("public"), "root", PASSWORD).is_some());
}

#[test]
fn a_temporary_table_does_not_take_the_users() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    conn.batch_execute("CREATE TEMP TABLE auth_users (LIKE auth_users INCLUDING ALL)")
        .expect("a temporary table");
    create(&mut conn, "ada", PASSWORD);
    assert!(login(&mut conn, "ada", PASSWORD).is_some());
    // Seen from another session, which has no such temporary table.
    assert_eq!(
        db.strings("SELECT username AS value FROM acme.auth_users"),
        ["ada"]
    );
}

#[test]
fn a_connection_without_a_scope_has_no_users() {
    let db = db();
    let mut conn = TenantConnection::establish(&db.database.url()).expect("a connection");
    let error = auth::find(&mut conn, "ada").expect_err("refused");
    assert!(
        error
            .to_string()
            .starts_with("this connection has no tenant")
    );
}

#[test]
fn a_login_needs_the_right_password_and_writes_itself_down() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    create(&mut conn, "ada", PASSWORD);
    for (username, password) in [
        ("ada", "correct hors"),
        ("ada", "Correct horse"),
        ("ada", ""),
        ("bob", PASSWORD),
        ("", PASSWORD),
        ("ada\0", PASSWORD),
        ("ada' OR '1'='1", PASSWORD),
        ("ada", &"x".repeat(5000)),
    ] {
        assert!(login(&mut conn, username, password).is_none(), "{username}");
    }
    let never = auth::find(&mut conn, "ada").expect("found").expect("ada");
    assert_eq!(never.last_login, None);
    let user = login(&mut conn, "ADA", PASSWORD).expect("the right password");
    assert!(user.last_login.is_some());
    assert_eq!(auth::find(&mut conn, "ada").expect("found"), Some(user));
}

#[test]
fn someone_who_is_not_active_can_not_log_in() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    let ada = create(&mut conn, "ada", PASSWORD);
    assert!(login(&mut conn, "ada", PASSWORD).is_some());
    diesel::update(&ada)
        .set(auth_users::is_active.eq(false))
        .execute(&mut *conn)
        .expect("locked out");
    assert!(login(&mut conn, "ada", PASSWORD).is_none());
}

#[test]
fn a_username_is_taken_in_any_case_and_costs_no_transaction() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    create(&mut conn, "Änne", PASSWORD);
    conn.transaction::<_, AuthError, _>(|conn| {
        refused(
            cheap().create_user(conn, NewUser::new("äNNE", "another one")),
            "username \"äNNE\" is taken in schema acme: choose another",
        );
        // Decomposed: an A and its two dots.
        refused(
            cheap().create_user(conn, NewUser::new("A\u{308}nne", "another one")),
            "username \"Änne\" is taken in schema acme: choose another",
        );
        create(conn, "bob", PASSWORD);
        Ok(())
    })
    .expect("committed");
    let user = login(&mut conn, "änne", PASSWORD).expect("the first one");
    assert_eq!(user.username, "Änne");
    assert!(login(&mut conn, "bob", PASSWORD).is_some());
    assert!(Superusers::exists(&cheap(), &mut conn, "ÄNNE").expect("looked up"));
    assert!(!Superusers::exists(&Auth, &mut conn, "eve").expect("looked up"));
    assert!(Superusers::exists(&Auth, &mut conn, "e v e").is_err());
}

#[test]
fn what_breaks_a_rule_is_not_stored() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    let users = cheap();
    refused(
        users.create_user(&mut conn, NewUser::new("ada", "short")),
        "the password has 5 characters, it needs at least 8",
    );
    refused(
        users.create_user(&mut conn, NewUser::new("ada", "x".repeat(4097))),
        "the password is 4097 bytes long, at most 4096 are accepted",
    );
    refused(
        users.create_user(&mut conn, NewUser::new("a da", PASSWORD)),
        "username \"a da\" can't be used: it has the character ' ', and may have letters, digits and @ . + - _",
    );
    refused(
        users.create_user(&mut conn, NewUser::new("ada", PASSWORD).email("nowhere")),
        "email address \"nowhere\" can't be used: write one like \"ada@example.com\", or none",
    );
    assert!(
        db.strings("SELECT username AS value FROM acme.auth_users")
            .is_empty()
    );
    create(&mut conn, "ada", PASSWORD);
    refused(
        users.set_password(&mut conn, "ada", "short"),
        "the password has 5 characters, it needs at least 8",
    );
    refused(
        users.set_password(&mut conn, "bob", "long enough"),
        "schema acme has no user \"bob\"",
    );
    assert!(login(&mut conn, "ada", PASSWORD).is_some());
}

#[test]
fn a_login_brings_a_hash_of_another_cost_up_to_date() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    create(&mut conn, "ada", PASSWORD);
    let old = hash_of(&db, "acme", "ada");
    let dearer = Users::with_hasher(Hasher::with_cost(16, 2, 1).expect("a cost"));
    let wrong = dearer.authenticate(&mut conn, "ada", "wrong password");
    assert_eq!(wrong.expect("answered"), None);
    assert_eq!(
        hash_of(&db, "acme", "ada"),
        old,
        "a wrong password changes nothing"
    );
    let right = dearer.authenticate(&mut conn, "ada", PASSWORD);
    assert!(right.expect("answered").is_some());
    let new = hash_of(&db, "acme", "ada");
    assert!(new.starts_with("$argon2id$v=19$m=16,t=2,p=1$"), "{new}");
    let again = dearer.authenticate(&mut conn, "ada", PASSWORD);
    assert!(again.expect("answered").is_some());
    assert_eq!(hash_of(&db, "acme", "ada"), new, "once is enough");
}

#[test]
fn logins_at_the_same_time_all_succeed_while_the_hash_is_brought_up_to_date() {
    let db = db();
    let acme = db.tenant("acme");
    create(&mut of(&db, &acme), "ada", PASSWORD);
    let dearer = Users::with_hasher(Hasher::with_cost(1024, 2, 1).expect("a cost"));
    let (tenancy, barrier) = (&db.tenancy, Barrier::new(4));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut conn = tenancy.tenant(&acme).expect("a connection");
                barrier.wait();
                let user = dearer.authenticate(&mut conn, "ada", PASSWORD);
                assert!(user.expect("answered").is_some());
            });
        }
    });
}

#[test]
fn a_login_does_not_outrun_what_was_changed_while_the_password_was_checked() {
    let db = db();
    let acme = db.tenant("acme");
    create(&mut of(&db, &acme), "ada", PASSWORD);
    let other = Hasher::with_cost(8, 1, 1).and_then(|hasher| hasher.hash(&"another one".into()));
    let new_password = format!("password_hash = '{}'", other.expect("a hash"));
    let tenancy = &db.tenancy;
    for change in ["is_active = false", &new_password] {
        let reset = "UPDATE acme.auth_users SET is_active = true";
        db.raw().batch_execute(reset).expect("active again");
        assert!(login(&mut of(&db, &acme), "ada", PASSWORD).is_some());
        let mut meanwhile = db.raw();
        meanwhile
            .batch_execute(&format!("BEGIN; UPDATE acme.auth_users SET {change}"))
            .expect("changed");
        let user = thread::scope(|scope| {
            let login = scope.spawn(|| {
                let mut conn = tenancy.tenant(&acme).expect("a connection");
                login(&mut conn, "ada", PASSWORD)
            });
            // The password was found right, and the login waits to be written down.
            until_someone_waits(&db);
            meanwhile.batch_execute("COMMIT").expect("committed");
            login.join().expect("no panic")
        });
        assert_eq!(user, None, "{change}");
    }
}

/// Returns once a session waits for another one's row; gives up after half a minute.
#[track_caller]
fn until_someone_waits(db: &Db) {
    let mut conn = db.raw();
    for _ in 0..3000 {
        let waiting = "SELECT 'x' AS value FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        if !strings(&mut conn, waiting).is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nobody waits");
}

#[test]
fn a_string_that_is_no_hash_lets_nobody_in() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    let ada = create(&mut conn, "ada", PASSWORD);
    for hash in ["", "!", PASSWORD, "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ"] {
        diesel::update(&ada)
            .set(auth_users::password_hash.eq(hash))
            .execute(&mut *conn)
            .expect("set");
        for password in [PASSWORD, "", hash] {
            assert!(login(&mut conn, "ada", password).is_none(), "{hash}");
        }
    }
}

#[test]
fn the_functions_hash_at_the_documented_cost() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    auth::create_superuser(&mut conn, NewUser::new("ada", PASSWORD)).expect("stored");
    let hash = hash_of(&db, "acme", "ada");
    assert!(
        hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{hash}"
    );
    let user = auth::authenticate(&mut conn, "ada", PASSWORD).expect("answered");
    assert!(user.is_some_and(|user| user.is_superuser));
    auth::create_user(&mut conn, NewUser::new("bob", PASSWORD)).expect("stored");
    let bob = auth::find(&mut conn, "bob").expect("answered");
    assert!(bob.is_some_and(|user| !user.is_superuser));
    auth::set_password(&mut conn, "bob", "another one").expect("set");
    let wrong = auth::authenticate(&mut conn, "bob", PASSWORD).expect("answered");
    assert_eq!(wrong, None);
}

#[test]
fn a_password_is_in_no_debug_output_and_no_message() {
    let db = db();
    let acme = db.tenant("acme");
    let mut conn = of(&db, &acme);
    let new = NewUser::new("ada", PASSWORD);
    assert_eq!(
        format!("{new:?}"),
        "NewUser { username: \"ada\", email: None, password: Password(..) }"
    );
    let user = cheap().create_user(&mut conn, new.clone()).expect("stored");
    assert!(!format!("{user:?}").contains("argon2"));
    let taken = cheap().create_user(&mut conn, new).expect_err("taken");
    assert!(!format!("{taken:?} {taken}").contains(PASSWORD));
    let short = cheap().create_user(&mut conn, NewUser::new("bob", "s3cr3t!"));
    let short = short.expect_err("too short");
    assert!(!format!("{short:?} {short}").contains("s3cr3t!"));
}

#[test]
fn the_migration_can_be_reverted() {
    let db = db();
    db.tenant("acme");
    assert_eq!(db.tables("acme"), ["__tenant_migrations", "auth_users"]);
    db.tenancy
        .migrate()
        .tenants()
        .app("auth")
        .to_zero()
        .run()
        .and_then(Report::into_result)
        .expect("reverted");
    assert_eq!(db.tables("acme"), ["__tenant_migrations"]);
}

diesel::table! {
    staff (login) {
        login -> Text,
        secret -> Text,
    }
}

/// A program's own users.
struct Staff;

impl Superusers for Staff {
    fn create_superuser(&self, conn: &mut TenantConnection, new: NewUser) -> Result<(), BoxError> {
        require_own_table(conn, "staff")?;
        new.password.check()?;
        let hasher = Hasher::with_cost(8, 1, 1)?;
        diesel::insert_into(staff::table)
            .values((
                staff::login.eq(new.username),
                staff::secret.eq(hasher.hash(&new.password)?),
            ))
            .execute(conn)?;
        Ok(())
    }
}

#[test]
fn superusers_can_be_kept_in_a_table_of_ones_own() {
    let table = "CREATE TABLE staff (login text PRIMARY KEY, secret text NOT NULL);";
    let migrations = [("1_staff", table, "DROP TABLE staff;")];
    let db = Db::with(|builder| {
        builder
            .app(customers())
            .app(sql_app("staff", AppScope::Both, &migrations))
    });
    let [acme, globex] = db.tenants(["acme", "globex"]);
    let superusers: &dyn Superusers = &Staff;
    let mut conn = of(&db, &acme);
    superusers
        .create_superuser(&mut conn, NewUser::new("ada", PASSWORD))
        .expect("stored");
    assert!(!superusers.exists(&mut conn, "ada").expect("not known"));
    let secret: String = staff::table
        .select(staff::secret)
        .first(&mut *conn)
        .expect("read");
    assert!(Hasher::default().verify(&PASSWORD.into(), &secret));
    drop(conn);
    assert_eq!(
        staff::table.count().get_result(&mut *of(&db, &globex)),
        Ok(0)
    );
    db.raw()
        .batch_execute("DROP TABLE globex.staff")
        .expect("dropped");
    let error = superusers
        .create_superuser(&mut of(&db, &globex), NewUser::new("eve", PASSWORD))
        .expect_err("refused");
    assert!(
        error
            .to_string()
            .starts_with("schema globex has no table staff of its own"),
        "{error}"
    );
    assert!(
        db.strings("SELECT login AS value FROM public.staff")
            .is_empty()
    );
}
