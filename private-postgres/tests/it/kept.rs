//! Clusters that outlive their servers.

use private_postgres::{Error, Server};

use crate::support::{Parent, assert_answers, kill, psql, scratch};

#[test]
fn a_kept_cluster_keeps_its_data() {
    let scratch = scratch();
    let start = || {
        Server::builder()
            .keep_in(scratch.0.join("kept"))
            .start()
            .expect("a server")
    };
    let server = start();
    let made = psql(
        &server,
        &server.url(),
        "create table t as select 42 as answer",
    );
    let dir = server.socket_dir().to_owned();
    drop(server);
    assert!(!dir.exists());
    assert!(scratch.0.join("kept/data/PG_VERSION").exists());
    let server = start();
    assert_answers(server.socket_dir());
    if made.is_some() {
        let answer = psql(&server, &server.url(), "select answer from t");
        assert_eq!(answer.expect("psql"), "42");
    }
    assert!(
        !server.log().contains("not properly shut down"),
        "{}",
        server.log()
    );
}

#[test]
fn a_kept_cluster_survives_the_killing_of_its_parent() {
    let scratch = scratch();
    let mut command = Parent::command("kept::parent", scratch.0.to_str().expect("UTF-8"));
    let mut parent = Parent::spawn_command(&mut command);
    kill("KILL", &parent.process.id().to_string());
    parent.reap();
    parent.assert_server_goes();
    let server = Server::builder()
        .keep_in(&scratch.0)
        .start()
        .expect("a server");
    if let Some(answer) = psql(&server, &server.url(), "select answer from t") {
        assert_eq!(answer, "42");
    }
}

/// The other side of [`Parent`]; without `PARENT_MODE`, a test that passes.
#[test]
fn parent() {
    let Ok(directory) = std::env::var("PARENT_MODE") else {
        return;
    };
    let server = Server::builder()
        .keep_in(directory)
        .start()
        .expect("a server");
    psql(
        &server,
        &server.url(),
        "create table t as select 42 as answer",
    );
    crate::support::announce(&server);
    std::thread::sleep(std::time::Duration::from_secs(100));
}

#[test]
fn a_kept_cluster_has_one_server_at_a_time() {
    let scratch = scratch();
    let server = Server::builder()
        .keep_in(&scratch.0)
        .start()
        .expect("a server");
    let error = Server::builder()
        .keep_in(&scratch.0)
        .start()
        .expect_err("in use");
    assert!(matches!(error, Error::InUse { .. }), "{error:?}");
    let process = format!("process {}", server.pid());
    assert!(error.to_string().contains(&process), "{error}");
    assert_answers(server.socket_dir());
}

#[test]
fn without_a_postgres_no_directory_is_made() {
    let scratch = scratch();
    let kept = scratch.0.join("kept");
    // No release has this number.
    let error = Server::builder().keep_in(&kept).major(9999).start();
    let error = error.expect_err("no PostgreSQL");
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert!(!kept.exists());
}

#[test]
fn a_cluster_below_a_directory_closed_to_postgres_is_refused_with_its_name() {
    use std::os::unix::fs::PermissionsExt as _;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only for root PostgreSQL runs as another user");
        return;
    }
    let scratch = scratch();
    let closed = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&scratch.0, closed).expect("a closed directory");
    let error = Server::builder()
        .keep_in(scratch.0.join("kept"))
        .start()
        .expect_err("closed");
    let named = format!("could not enter {} as user ", scratch.0.display());
    assert!(error.to_string().starts_with(&named), "{error}");
}

#[test]
fn a_kept_cluster_keeps_its_major_version() {
    let scratch = scratch();
    let server = Server::builder()
        .keep_in(&scratch.0)
        .start()
        .expect("a server");
    let other = server.major() + 1;
    drop(server);
    let error = Server::builder()
        .keep_in(&scratch.0)
        .major(other)
        .start()
        .expect_err("other");
    assert!(matches!(error, Error::OtherMajor { .. }), "{error:?}");
    assert!(error.to_string().contains("another directory"), "{error}");
}

#[test]
fn a_cluster_can_be_kept_in_an_empty_directory_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = scratch();
    let closed = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&scratch.0, closed).expect("a closed directory");
    let server = Server::builder()
        .keep_in(&scratch.0)
        .start()
        .expect("a server");
    assert_answers(server.socket_dir());
}

#[test]
fn a_directory_that_postgres_cannot_enter_is_named_in_the_error() {
    let scratch = scratch();
    let file = scratch.0.join("file");
    std::fs::write(&file, "").expect("a file");
    let error = Server::builder()
        .keep_in(&file)
        .start()
        .expect_err("not a directory");
    assert!(
        error.to_string().contains(file.to_str().expect("UTF-8")),
        "{error}"
    );
}
