//! What the tests share: a database for each, and ways to run the program on it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use rexpect::session::PtySession;
use tenant_schemas::testing::TestDatabase;

/// The program, on a database of its own.
pub(crate) struct Program {
    database: TestDatabase,
    /// The words of `PROGRAM`.
    words: String,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    /// On an empty database.
    pub(crate) fn fresh() -> Self {
        Self {
            database: TestDatabase::new().expect("a database"),
            words: String::new(),
        }
    }

    /// With the shared schema migrated and these tenants.
    #[track_caller]
    pub(crate) fn with_tenants(schemas: &[&str]) -> Self {
        Self::fresh().and_tenants(schemas)
    }

    #[track_caller]
    pub(crate) fn and_tenants(self, schemas: &[&str]) -> Self {
        self.ok("migrate_schemas --shared");
        for schema in schemas {
            self.create(schema);
        }
        self
    }

    /// Another release of the program, say, on the same database.
    pub(crate) fn words(mut self, words: &str) -> Self {
        words.clone_into(&mut self.words);
        self
    }

    #[track_caller]
    pub(crate) fn create(&self, schema: &str) {
        if self.words.contains("domains") {
            self.ok(&format!("create_tenant --schema_name={schema}"));
        } else {
            self.ok(&format!(
                "create_tenant --schema_name={schema} --domain_url={schema}.com --name={schema}"
            ));
        }
    }

    pub(crate) fn url(&self) -> String {
        self.database.url()
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_manage-program"));
        command
            .env("DATABASE_URL", self.database.url())
            .env("PROGRAM", &self.words)
            .env_remove("NO_COLOR")
            .env_remove("TENANT_SUPERUSER_PASSWORD")
            .env("COLUMNS", "100")
            .stdin(Stdio::null());
        command
    }

    /// Runs with arguments that are separated by blanks.
    #[track_caller]
    pub(crate) fn run(&self, args: &str) -> Ran {
        self.run_args(&args.split_whitespace().collect::<Vec<_>>())
    }

    #[track_caller]
    pub(crate) fn run_args(&self, args: &[&str]) -> Ran {
        finished(self.command().args(args))
    }

    /// Runs with something on standard input.
    #[track_caller]
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdin = child.stdin.take().expect("an input");
        // It may end before it has read everything.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the program ends");
        ran(&output)
    }

    /// Runs, and expects it to go well.
    #[track_caller]
    pub(crate) fn ok(&self, args: &str) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args}: {ran:?}");
        ran
    }

    #[track_caller]
    pub(crate) fn ok_args(&self, args: &[&str]) -> Ran {
        let ran = self.run_args(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran
    }

    /// Starts on a terminal.
    pub(crate) fn on_terminal(&self, args: &str) -> PtySession {
        let mut command = self.command();
        command
            .args(args.split_whitespace())
            .stdin(Stdio::inherit());
        command.env("NO_COLOR", "1");
        rexpect::session::spawn_command(command, Some(30_000)).expect("a terminal")
    }

    pub(crate) fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.database.url()).expect("a connection")
    }

    /// The first column of the rows that a statement gives, as text.
    #[track_caller]
    pub(crate) fn strings(&self, sql: &str) -> Vec<String> {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::Text)]
            value: String,
        }
        let sql = format!("SELECT v::text AS value FROM ({sql}) AS s(v)");
        let rows: Vec<Row> = diesel::sql_query(&sql)
            .load(&mut self.connect())
            .expect(&sql);
        rows.into_iter().map(|row| row.value).collect()
    }

    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) {
        use diesel::connection::SimpleConnection as _;
        self.connect().batch_execute(sql).expect(sql);
    }

    /// Waits until this many connections wait for an advisory lock, or for that of a table.
    #[track_caller]
    pub(crate) fn wait_for_waiting(&self, expected: &str) {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event IN ('advisory', 'relation')";
        for _ in 0..2_000 {
            if self.strings(waiting) == [expected] {
                return;
            }
        }
        panic!("there were never {expected} waiting");
    }

    pub(crate) fn schema_exists(&self, schema: &str) -> bool {
        !self
            .strings(&format!(
                "SELECT nspname FROM pg_namespace WHERE nspname = '{schema}'"
            ))
            .is_empty()
    }

    pub(crate) fn tables(&self, schema: &str) -> Vec<String> {
        self.strings(&format!(
            "SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1"
        ))
    }
}

#[track_caller]
pub(crate) fn finished(command: &mut Command) -> Ran {
    ran(&command.output().expect("the program starts"))
}

fn ran(output: &std::process::Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    /// Expects this end, and these words on standard error.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(
                self.err.contains(word),
                "{word:?} is missing in: {}",
                self.err
            );
        }
    }
}

/// Reads what is left to read, and expects the program on the terminal to end so.
#[track_caller]
pub(crate) fn ends_with(mut terminal: PtySession, code: i32) -> String {
    let rest = terminal.exp_eof().expect("the end");
    let status = terminal.process().wait().expect("ended");
    // The type of the status belongs to a crate that is not ours to name.
    let status = format!("{status:?}");
    assert!(
        status.starts_with("Exited") && status.ends_with(&format!(", {code})")),
        "{status}: {rest}"
    );
    rest
}
