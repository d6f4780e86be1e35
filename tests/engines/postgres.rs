//! The store on PostgreSQL, against private servers.

mod laws;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use ifmatch::Postgres;
use ifmatch::engine::ConnectError;
use ifmatch::postgres::Options;

use crate::server::{Directory, Server, program};

/// Where Debian's packages put the programs.
const ELSEWHERE: [&str; 6] = [
    "/usr/lib/postgresql/18/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/14/bin",
    "/usr/lib/postgresql/13/bin",
];

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

/// An empty cluster to copy, since making one takes a second.
fn template() -> &'static Directory {
    static TEMPLATE: LazyLock<Directory> = LazyLock::new(|| {
        let user = user();
        let directory = Directory::new(user);
        let mut initdb = Command::new(program("initdb", &ELSEWHERE, "postgresql"));
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]);
        initdb.arg(directory.path().join("data")).current_dir(directory.path());
        user.map(|user| initdb.uid(user));
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        directory
    });
    &TEMPLATE
}

/// A server of one's own, with these settings.
fn server(settings: &[&str]) -> Server {
    let directory = Directory::new(user());
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(template().path().join("data")).arg(directory.path());
    assert!(copy.status().unwrap().success());
    server_in(directory, settings)
}

/// A server on the cluster in a directory.
fn server_in(directory: Directory, settings: &[&str]) -> Server {
    let mut arguments = vec!["-D", "{directory}/data", "-p", "{port}", "-k", "{directory}"];
    arguments.extend(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]);
    for setting in settings {
        arguments.extend(["-c", setting]);
    }
    let server = Server::start(program("postgres", &ELSEWHERE, "postgresql"), directory, user(), &arguments);
    await_start(server.port);
    server
}

/// Waits until the server takes logins: it accepts connections before.
fn await_start(port: u16) {
    let end = Instant::now() + Duration::from_secs(60);
    while let Err(error) = Postgres::options().collection("start").connect(&url(port)).wait() {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let waits = matches!(error, ConnectError::Unreachable { .. }) && Instant::now() < end;
        assert!(waits, "{error}: {source:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// One server for the tests that leave it as it is.
fn shared_server() -> &'static Server {
    static SERVER: LazyLock<Server> = LazyLock::new(|| server(&[]));
    &SERVER
}

/// A name that no other test uses.
fn fresh_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("fresh_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Options of a collection that nobody else uses.
fn options() -> Options {
    Postgres::options().collection(fresh_name())
}

fn open(options: &Options, port: u16) -> Postgres {
    connect(options, port).unwrap_or_else(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        panic!("{error}: {source:?}")
    })
}

fn connect(options: &Options, port: u16) -> Result<Postgres, ConnectError> {
    options.connect(&url(port)).wait()
}

/// Runs statements as an administrator would.
fn psql(port: u16, sql: &str) -> String {
    let mut psql = Command::new(program("psql", &ELSEWHERE, "postgresql-client"));
    psql.args(["-h", "127.0.0.1", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtX", "-p"]);
    let output = psql.arg(port.to_string()).args(["-c", sql]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[allow(dead_code)]
fn write(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
}
