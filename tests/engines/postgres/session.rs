//! [`Session`], an administrator's transaction that stays open for as long as a test needs it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::ELSEWHERE;
use crate::server::program;

/// It ends, and lets go of its locks, when it is dropped.
pub(super) struct Session {
    psql: Child,
    told: ChildStdin,
    tells: BufReader<ChildStdout>,
}

impl Session {
    pub(super) fn new(port: u16) -> Self {
        let mut psql = Command::new(program("psql", &ELSEWHERE, "postgresql-client"));
        psql.args(["-h", "127.0.0.1", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtX", "-p"]);
        psql.arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        let (told, tells) = (psql.stdin.take().unwrap(), BufReader::new(psql.stdout.take().unwrap()));
        Self { psql, told, tells }
    }

    /// One that has begun, and has run this.
    pub(super) fn begin(port: u16, sql: &str) -> Self {
        let mut session = Self::new(port);
        session.run(&format!("BEGIN; {sql}"));
        session
    }

    /// Returns when the statements have run.
    pub(super) fn run(&mut self, sql: &str) {
        writeln!(self.told, "{sql};\nSELECT 'that has run';").unwrap();
        let mut line = String::new();
        while line.trim() != "that has run" {
            line.clear();
            assert!(self.tells.read_line(&mut line).unwrap() > 0, "{sql} failed");
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}
