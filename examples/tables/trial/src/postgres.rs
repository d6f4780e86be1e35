//! [`Server`], a private PostgreSQL.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use axum::Router;

use crate::race::{Basis, Logged, race};
use crate::server::{self, Directory, program};

/// The isolation levels that a service may run at. It is told by a default of its database.
const LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// Where Debian's packages put the programs.
const ELSEWHERE: [&str; 5] = [
    "/usr/lib/postgresql/18/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/14/bin",
];

/// Writes every state of every row.
const LOG: &str = "
    CREATE TABLE log (id text, version bigint, count bigint);
    CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO log VALUES (NEW.id, NEW.version, NEW.count);
        RETURN NULL;
    END $$;
    CREATE TRIGGER log AFTER INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION log();";

/// A new database with the isolation level of its transactions, on the one server of all tests that leave it running.
pub fn database(level: &str) -> Database {
    static SERVER: LazyLock<Server> = LazyLock::new(Server::start);
    SERVER.database(level)
}

/// [`race`] at each isolation level, in databases of their own.
pub async fn race_at_every_level(basis: Basis, service: impl AsyncFn(String) -> Router) {
    for level in LEVELS {
        println!("{basis:?}, {level}");
        let database = database(level);
        let service = service(database.url()).await;
        database.log();
        race(&service, basis, || database.logged()).await;
    }
}

/// A server of one's own, gone with the test process.
pub struct Server(server::Server);

/// A database of its own.
pub struct Database {
    port: u16,
    name: String,
}

impl Server {
    pub fn start() -> Self {
        let user = user();
        let directory = Directory::new(user);
        let mut initdb = Command::new(program("initdb", &ELSEWHERE, "postgresql"));
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C",
            "-D",
        ]);
        initdb.arg(directory.path().join("data")).current_dir(directory.path());
        user.map(|user| initdb.uid(user));
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        let mut arguments = vec!["-D", "{directory}/data", "-p", "{port}", "-k", "{directory}"];
        // What is killed here is the server, and not the machine: nothing has to reach the disk.
        for setting in ["listen_addresses=127.0.0.1", "max_connections=200", "fsync=off", "autovacuum=off"] {
            arguments.extend(["-c", setting]);
        }
        let postgres = program("postgres", &ELSEWHERE, "postgresql");
        let server = Self(server::Server::start(postgres, directory, user, &arguments));
        server.wait_for_logins();
        server
    }

    /// A new database with the isolation level of its transactions.
    pub fn database(&self, level: &str) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("trial_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let maintenance = self.maintenance();
        maintenance.run(&format!("CREATE DATABASE {name}"));
        maintenance.run(&format!("ALTER DATABASE {name} SET default_transaction_isolation = '{level}'"));
        Database { port: self.0.port, name }
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        self.0.kill();
    }

    pub fn start_again(&mut self) {
        self.0.start_again();
        self.wait_for_logins();
    }

    /// From now on a commit waits for a standby, after it was applied.
    pub(crate) fn answer_no_commit(&self) {
        let maintenance = self.maintenance();
        maintenance.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        maintenance.run("SELECT pg_reload_conf()");
        // It takes a moment until all of the server knows. The first commit that waits is let go.
        let end = Instant::now() + Duration::from_secs(30);
        let mut first = maintenance.psql("CREATE TABLE first ()").spawn().unwrap();
        while maintenance
            .run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
            != "t"
        {
            assert!(Instant::now() < end, "commits are still answered");
            if first.try_wait().unwrap().is_some() {
                first =
                    maintenance.psql("DROP TABLE IF EXISTS first; CREATE TABLE first ()").spawn().unwrap();
            }
        }
        first.wait().unwrap();
    }

    /// Undoes that, while the server is down.
    pub(crate) fn answer_commits(&self) {
        fs::write(self.0.directory().join("data/postgresql.auto.conf"), "").unwrap();
    }

    fn maintenance(&self) -> Database {
        Database { port: self.0.port, name: "postgres".to_owned() }
    }

    fn wait_for_logins(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        while let Err(refused) = self.maintenance().try_run("SELECT 1") {
            assert!(Instant::now() < end, "{refused}\n{}", self.0.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Database {
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// Runs a statement as somebody would who bypasses the service. Gives the rows as text.
    pub fn run(&self, sql: &str) -> String {
        self.try_run(sql).unwrap_or_else(|refused| panic!("{sql}: {refused}"))
    }

    /// From now on every state of every row is logged.
    pub fn log(&self) {
        self.run(LOG);
    }

    pub fn logged(&self) -> Vec<Logged> {
        let rows = self.run("SELECT id, version, count FROM log");
        let logged = rows.lines().map(|row| {
            let mut cells = row.split('|');
            let mut cell = || cells.next().unwrap();
            Logged { id: cell().to_owned(), version: cell().parse().unwrap(), count: cell().parse().unwrap() }
        });
        logged.collect()
    }

    /// All of it, as a backup has it.
    pub fn dump(&self) -> String {
        let mut dump = Command::new(program("pg_dump", &ELSEWHERE, "postgresql-client"));
        // Else the text is for `psql` alone, which has to read it from a file.
        dump.args(["--inserts", "-d", &self.url()]);
        let text = output(&mut dump).unwrap();
        text.lines().filter(|line| !line.starts_with('\\')).fold(String::new(), |all, line| all + line + "\n")
    }

    fn try_run(&self, sql: &str) -> Result<String, String> {
        output(&mut self.psql(sql))
    }

    fn psql(&self, sql: &str) -> Command {
        let mut psql = Command::new(program("psql", &ELSEWHERE, "postgresql-client"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", sql]);
        psql.stderr(Stdio::piped());
        psql
    }
}

/// What a program wrote; else what it complained of.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The server refuses to run as root: then it runs as the user that its package made.
fn user() -> Option<u32> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().ok()
    };
    match id(&["-u"]) {
        Some(0) => Some(id(&["-u", "postgres"]).expect("the package made a user `postgres`")),
        _ => None,
    }
}
