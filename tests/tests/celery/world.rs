//! The tasks, the workers, and the Django project of `tests/celery/project`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ::redis::{Commands as _, Connection};
use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tenant_schemas::jobs::celery::{CeleryTask, Delivery, Producer, Worker};
use tenant_schemas::jobs::{InTenant, SharedJob, Stop};
use tenant_schemas::{Tenancy, TenantConnection};
use tenant_schemas_tests::skipped;

use crate::redis::Redis;
use crate::support::{Client, Db, plans, rooms_of};

/// Adds a room to a hotel, numbered from 1 in each.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AddRoom {
    pub(crate) name: String,
}

impl CeleryTask for AddRoom {
    const NAME: &str = "rust.add_room";
    const PARAMETERS: &[&str] = &["name"];
}

/// The same in Python.
#[derive(Debug, Serialize)]
pub(crate) struct AddRoomInPython {
    pub(crate) name: String,
}

impl CeleryTask for AddRoomInPython {
    const NAME: &str = "hotels.tasks.add_room";
}

/// Counts the plans, which all share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CountPlans;

impl CeleryTask for CountPlans {
    const NAME: &str = "rust.count_plans";
}

impl SharedJob for CountPlans {}

pub(crate) fn to(tenant: &Client, name: &str) -> InTenant<AddRoom> {
    let name = name.to_owned();
    InTenant::new(tenant, AddRoom { name }).expect("an envelope")
}

/// What Python's task returns too: where it ran, and how many rooms there are.
pub(crate) fn add(conn: &mut TenantConnection, name: &str) -> QueryResult<Value> {
    diesel::sql_query("INSERT INTO rooms SELECT count(*) + 1, $1 FROM rooms")
        .bind::<diesel::sql_types::Text, _>(name)
        .execute(conn)?;
    let schema = conn.schema_name().map(ToString::to_string);
    Ok(json!({"schema": schema, "rooms": rooms_of(conn).len()}))
}

pub(crate) fn add_room(
    conn: &mut TenantConnection,
    task: &Delivery<AddRoom>,
) -> QueryResult<Value> {
    add(conn, &task.job.name)
}

pub(crate) fn count_plans(
    conn: &mut TenantConnection,
    _: &Delivery<CountPlans>,
) -> QueryResult<Value> {
    let plans: i64 = plans::table.count().get_result(conn)?;
    let schema = conn.schema_name().map(ToString::to_string);
    Ok(json!({"schema": schema, "plans": plans}))
}

/// A database, a Redis, and perhaps Python.
pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) redis: Redis,
}

impl World {
    /// `None` where Redis is not installed.
    pub(crate) fn start() -> Option<Self> {
        Redis::start().map(Self::with)
    }

    pub(crate) fn with(redis: Redis) -> Self {
        Self {
            db: Db::new(),
            redis,
        }
    }

    /// A worker of ours on the queue `rust`, which looks for tasks often and has no handlers yet.
    pub(crate) fn worker(&self) -> Worker<Client> {
        worker(self.db.tenancy.clone(), &self.redis.url())
    }

    /// The worker of most tests.
    pub(crate) fn hotel_worker(&self) -> Worker<Client> {
        self.worker().task(add_room).shared_task(count_plans)
    }

    /// Sends to the queue `rust`.
    pub(crate) fn producer(&self) -> Producer {
        Producer::new(&self.redis.url())
            .expect("a URL")
            .queue("rust")
    }

    pub(crate) fn rooms(&self, tenant: &Client) -> Vec<String> {
        rooms_of(&mut self.db.tenancy.tenant(tenant).expect("a connection"))
    }

    /// Makes a table `rooms` in the public schema, so that what lands there by accident is seen.
    pub(crate) fn trap(&self) -> impl Fn() -> Vec<String> {
        use diesel::connection::{Connection as _, SimpleConnection as _};
        let mut raw = self.db.raw();
        raw.batch_execute("CREATE TABLE public.rooms (id integer PRIMARY KEY, name text NOT NULL)")
            .expect("a table");
        let url = self.db.database.url();
        move || {
            let mut raw = PgConnection::establish(&url).expect("a connection");
            crate::support::strings(&mut raw, "SELECT name AS value FROM public.rooms")
        }
    }

    /// What is in a list of Redis.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        self.raw_redis().lrange(key, 0, -1).expect("a list")
    }

    pub(crate) fn raw_redis(&self) -> Connection {
        let client = ::redis::Client::open(self.redis.url()).expect("a URL");
        client.get_connection().expect("Redis answers")
    }

    /// A Django project on the same database and the same Redis; `None` where it can't be had.
    pub(crate) fn django(&self) -> Option<Django> {
        Some(Django {
            venv: venv()?,
            database: self.db.database.url(),
            celery: format!("redis+socket://{}", self.redis.socket().display()),
        })
    }
}

pub(crate) fn worker(tenancy: Tenancy<Client>, url: &str) -> Worker<Client> {
    Worker::new(tenancy, url)
        .expect("a URL")
        .queue("rust")
        .poll_interval(Duration::from_millis(20))
        .countdown(Duration::from_millis(50))
}

/// Lets a worker work while something is done.
pub(crate) fn working<R>(worker: &Worker<Client>, meanwhile: impl FnOnce() -> R) -> R {
    struct AtLast<'a>(&'a Stop);

    impl Drop for AtLast<'_> {
        fn drop(&mut self) {
            self.0.stop();
        }
    }

    let stop = Stop::new();
    thread::scope(|scope| {
        let running = scope.spawn(|| worker.run(&stop).expect("Redis answers"));
        let at_last = AtLast(&stop);
        let result = meanwhile();
        drop(at_last);
        running.join().expect("no panic");
        result
    })
}

/// Waits until something is so; fails when it takes far too long.
#[track_caller]
pub(crate) fn until(mut done: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_mins(1);
    while !done() {
        assert!(Instant::now() < patience, "it never came to that");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A virtual environment with what the Django project needs, made by the first who asks.
fn venv() -> Option<PathBuf> {
    static VENV: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let made = VENV.get_or_init(|| {
        let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("celery-venv");
        let output = Command::new(in_tests("celery/setup.sh"))
            .arg(&venv)
            .output()
            .map_err(|error| format!("bash ({error})"))?;
        if output.status.success() {
            return Ok(venv);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(said.lines().last().unwrap_or("reasons unknown").to_owned())
    });
    match made {
        Ok(venv) => Some(venv.clone()),
        Err(missing) => {
            skipped("Celery's own workers", missing);
            None
        }
    }
}

fn in_tests(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The Django project, with settings for one test.
pub(crate) struct Django {
    venv: PathBuf,
    database: String,
    celery: String,
}

impl Django {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.venv.join("bin").join(program));
        command
            .current_dir(in_tests("celery/project"))
            .env("DATABASE_URL", &self.database)
            .env("CELERY_URL", &self.celery)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// A command of `manage.py`.
    #[track_caller]
    pub(crate) fn manage(&self, args: &[&str]) {
        let output = self
            .command("python")
            .arg("manage.py")
            .args(args)
            .output()
            .expect("Python runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {said}");
    }

    /// A worker of Celery's on the queue `python`, gone with this value.
    pub(crate) fn worker(&self) -> Running {
        let mut command = self.command("celery");
        command
            .args(["-A", "project", "worker", "-Q", "python", "--pool", "solo"])
            .args([
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Running(command.spawn().expect("Celery starts"))
    }

    /// A program that sends tasks, and waits for them.
    pub(crate) fn talk(&self) -> Talk {
        let mut child = self
            .command("python")
            .arg("talk.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let stdin = child.stdin.take().expect("its input");
        let stdout = child.stdout.take().expect("its output");
        Talk {
            lines: Mutex::new((stdin, BufReader::new(stdout))),
            _child: Running(child),
        }
    }
}

/// A process that is ended with this value.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `talk.py`, which does what it is asked.
pub(crate) struct Talk {
    lines: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _child: Running,
}

impl Talk {
    #[track_caller]
    pub(crate) fn ask(&self, function: &str, args: &Value, options: &Value) -> Value {
        let mut lines = self.lines.lock().expect("no panic");
        let (stdin, stdout) = &mut *lines;
        writeln!(stdin, "{}", json!([function, args, options])).expect("it listens");
        let mut answer = String::new();
        stdout.read_line(&mut answer).expect("it answers");
        serde_json::from_str(&answer).expect("it answers in JSON")
    }

    /// Sends a task from a tenant's scope.
    #[track_caller]
    pub(crate) fn send(&self, schema: &str, task: &str, kwargs: &Value, options: &Value) -> String {
        id(&self.ask("send", &json!([schema, task, [], kwargs]), options))
    }

    /// Sends a task from no scope at all.
    #[track_caller]
    pub(crate) fn send_without_tenant(&self, task: &str, kwargs: &Value) -> String {
        id(&self.ask(
            "send_without_tenant",
            &json!([task, [], kwargs]),
            &json!({}),
        ))
    }

    /// What `AsyncResult.get` returns.
    #[track_caller]
    pub(crate) fn result(&self, id: &str) -> Value {
        let answer = self.ask("result", &json!([id]), &json!({}));
        answer
            .get("is")
            .unwrap_or_else(|| panic!("it failed: {answer}"))
            .clone()
    }

    /// The name and the message of the exception that `AsyncResult.get` raises.
    #[track_caller]
    pub(crate) fn failure(&self, id: &str) -> (String, String) {
        let answer = self.ask("result", &json!([id]), &json!({}));
        let text = |key: &str| answer[key].as_str().map(ToOwned::to_owned);
        text("raises")
            .zip(text("message"))
            .unwrap_or_else(|| panic!("it succeeded: {answer}"))
    }
}

#[track_caller]
fn id(answer: &Value) -> String {
    answer.as_str().expect("an identifier").to_owned()
}
