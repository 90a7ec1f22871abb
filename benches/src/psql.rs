//! `psql`, as one uses it who has no library: a script, of which each statement is a message.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Result;
use crate::server::Bench;

/// A `psql` that is connected and waits for statements.
pub(crate) struct Psql {
    program: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Psql {
    /// Starts the one that belongs to the server, and returns when it is connected.
    pub(crate) fn connect(bench: &Bench, url: &str) -> Result<Self> {
        let program = bench.server().bin_dir().join("psql");
        let mut command = Command::new(&program);
        command.args(["--no-psqlrc", "--quiet"]);
        command.args(["--set", "ON_ERROR_STOP=1", "--dbname", url]);
        let program = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} was not started: {error}", program.display()))?;
        let mut psql = Self::of(program)?;
        psql.run("")?;
        Ok(psql)
    }

    fn of(mut program: Child) -> Result<Self> {
        Ok(Self {
            input: program.stdin.take(),
            output: BufReader::new(program.stdout.take().ok_or("no output")?),
            program,
        })
    }

    /// Runs statements that return no rows, to their end.
    pub(crate) fn run(&mut self, script: &str) -> Result<()> {
        let input = self.input.as_mut().ok_or("no input")?;
        write!(input, "{script}\n\\echo done\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line != "done\n" {
            return Err(format!("psql failed, having said {line:?}").into());
        }
        Ok(())
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        drop(self.input.take());
        // It has nothing left to do, or has said why it failed.
        let _ = self.program.wait();
    }
}
