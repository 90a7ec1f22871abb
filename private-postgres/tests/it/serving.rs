//! A server answers, with the settings it was given.

use private_postgres::{Database, Error, Server};

use crate::support::{assert_answers, psql};

#[test]
fn a_server_answers_at_its_url() {
    let server = Server::start().expect("a server");
    assert_answers(server.socket_dir());
    assert!(server.major() >= 10);
    assert!(
        server.log().contains("ready to accept connections"),
        "{}",
        server.log()
    );
    if let Some(answer) = psql(&server, &server.url(), "select 6 * 7") {
        assert_eq!(answer, "42");
        psql(&server, &server.url(), "create database \"a b\"");
        let name = psql(&server, &server.url_of("a b"), "select current_database()");
        assert_eq!(name.expect("psql"), "a b");
    }
}

#[test]
fn settings_are_ours_unless_the_caller_has_others() {
    let builder = Server::builder()
        .setting("max_connections", "7")
        .setting("work_mem", "3MB");
    let server = builder.start().expect("a server");
    let show = |name: &str| psql(&server, &server.url(), &format!("show {name}"));
    for (name, value) in [
        ("max_connections", "7"),
        ("work_mem", "3MB"),
        ("max_locks_per_transaction", "256"),
        ("fsync", "off"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("timezone", "UTC"),
    ] {
        if let Some(shown) = show(name) {
            assert_eq!(shown, value, "{name}");
        }
    }
}

#[test]
fn a_durable_server_waits_for_the_disk() {
    let server = Server::builder().durable(true).start().expect("a server");
    for name in ["fsync", "synchronous_commit", "full_page_writes"] {
        if let Some(shown) = psql(&server, &server.url(), &format!("show {name}")) {
            assert_eq!(shown, "on", "{name}");
        }
    }
}

#[test]
fn two_servers_know_nothing_of_each_other() {
    let one = Server::start().expect("a server");
    let two = Server::start().expect("another server");
    assert_ne!(one.socket_dir(), two.socket_dir());
    assert_ne!(one.pid(), two.pid());
    drop(one);
    assert_answers(two.socket_dir());
}

#[test]
fn a_setting_that_postgres_refuses_is_in_the_error_and_nothing_is_left() {
    let error = Server::builder()
        .setting("no_such_setting", "1")
        .start()
        .expect_err("refused");
    assert!(matches!(error, Error::Died { .. }), "{error:?}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn a_setting_that_moves_the_server_is_refused() {
    for name in [
        "port",
        "Port",
        "unix_socket_directories",
        "unix-socket-directories",
    ] {
        let error = Server::builder().setting(name, "6543").start();
        let error = error.expect_err(name);
        assert!(matches!(error, Error::Setting { .. }), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_server_that_takes_too_long_is_an_error_that_names_the_limit() {
    let limit = std::time::Duration::from_millis(1);
    let error = Server::builder()
        .start_timeout(limit)
        .start()
        .expect_err("too late");
    assert!(error.to_string().contains("start_timeout"), "{error}");
}

#[test]
fn without_database_url_there_is_a_private_database() {
    if std::env::var_os("DATABASE_URL").is_some() {
        println!("skipped: DATABASE_URL is set");
        return;
    }
    let database = Database::from_env().expect("a server");
    assert!(matches!(database, Database::Private(_)), "{database:?}");
    assert!(
        database.url().starts_with("postgresql://postgres@%2F"),
        "{}",
        database.url()
    );
}
