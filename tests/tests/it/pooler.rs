//! PgBouncer in front of the server: session pooling works, transaction pooling is refused.
//!
//! Skipped, with a line that says so, where PgBouncer is not installed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use private_postgres::Server;
use tempfile::TempDir;
use tenant_schemas::{Error, Lifecycle as _, Tenancy};
use tenant_schemas_tests::skipped;

use crate::support::{Client, client, customers, hotels, insert_room, rooms_of, strings};

/// A PgBouncer in front of a server of its own.
struct Bouncer {
    process: Child,
    directory: TempDir,
    _server: Server,
}

impl Bouncer {
    /// `None` where PgBouncer is not installed.
    fn start(mode: &str) -> Option<Self> {
        let found = Command::new("pgbouncer").arg("--version").output();
        if found.is_err() {
            skipped("a real pooler", "apt-get install pgbouncer");
            return None;
        }
        let server = Server::start().expect("a server");
        let socket = server.socket_dir();
        let owner = fs::metadata(socket).expect("the socket's directory");
        let directory = tempfile::Builder::new()
            .prefix("bouncer")
            .tempdir_in("/tmp")
            .expect("a directory");
        let path = directory.path();
        let ini = path.join("pgbouncer.ini");
        fs::write(
            &ini,
            format!(
                "[databases]\n* = host={} port=5432 user=postgres\n[pgbouncer]\n\
                 listen_addr =\nunix_socket_dir = {}\nlisten_port = 6432\nauth_type = any\n\
                 pool_mode = {mode}\nignore_startup_parameters = extra_float_digits\n",
                socket.display(),
                path.display()
            ),
        )
        .expect("the configuration is written");
        let mut command = Command::new("pgbouncer");
        command
            .arg(&ini)
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // PgBouncer refuses root, and the socket belongs to the server's user.
        if fs::metadata(path).expect("the directory").uid() != owner.uid() {
            for path in [path, &ini] {
                chown(path, Some(owner.uid()), Some(owner.gid())).expect("given away");
            }
            command.uid(owner.uid()).gid(owner.gid());
        }
        let process = command.spawn().expect("PgBouncer starts");
        let bouncer = Self {
            process,
            directory,
            _server: server,
        };
        bouncer.wait();
        Some(bouncer)
    }

    fn wait(&self) {
        let socket = self.directory.path().join(".s.PGSQL.6432");
        let until = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < until, "PgBouncer does not listen");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn url(&self) -> String {
        url(self.directory.path())
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn url(directory: &Path) -> String {
    let host = directory.display().to_string().replace('/', "%2F");
    format!("postgres://postgres@{host}:6432/postgres")
}

#[test]
fn session_pooling_keeps_tenants_apart() {
    let Some(bouncer) = Bouncer::start("session") else {
        return;
    };
    let tenancy = Tenancy::<Client>::builder(bouncer.url())
        .app(customers())
        .app(hotels())
        .pool_size(3)
        .build()
        .expect("a tenancy");
    tenancy
        .migrate()
        .shared()
        .run()
        .and_then(tenant_schemas::Report::into_result)
        .expect("migrated");
    let [mut acme, mut globex] = ["acme", "globex"].map(client);
    for (tenant, secret) in [(&mut acme, "Blue"), (&mut globex, "Red")] {
        tenant
            .save(&mut tenancy.public().expect("public"))
            .expect("saved");
        insert_room(
            &mut tenancy.tenant(tenant).expect("a connection"),
            1,
            secret,
        );
    }
    for _ in 0..10 {
        assert_eq!(
            rooms_of(&mut tenancy.tenant(&acme).expect("acme")),
            ["Blue"]
        );
        assert_eq!(
            rooms_of(&mut tenancy.tenant(&globex).expect("globex")),
            ["Red"]
        );
    }
}

#[test]
fn transaction_pooling_is_refused() {
    let Some(bouncer) = Bouncer::start("transaction") else {
        return;
    };
    // The premise: what one client sets, another finds.
    let mut one = PgConnection::establish(&bouncer.url()).expect("a connection");
    let mut two = PgConnection::establish(&bouncer.url()).expect("a connection");
    diesel::sql_query("SET search_path TO nowhere")
        .execute(&mut one)
        .expect("set");
    let leaked = strings(&mut two, "SELECT current_setting('search_path') AS value");
    assert_eq!(leaked, ["nowhere"]);
    drop((one, two));

    let error = Tenancy::<Client>::builder(bouncer.url())
        .app(customers())
        .build()
        .expect_err("the pooler shares sessions");
    assert!(matches!(error, Error::SharedSessions), "{error}");
    assert!(error.to_string().contains("use session pooling"), "{error}");
}
