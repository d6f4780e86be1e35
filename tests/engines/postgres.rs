//! The store on PostgreSQL, against private servers.

mod clocks;
mod faults;
mod feed;
mod laws;
mod load;
mod moved;
mod opening;
mod plans;
mod pooled;
mod remembered;
mod rights;
mod rows;
mod session;
#[cfg(feature = "postgres-tls")]
mod tls;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use ifmatch::engine::ConnectError;
use ifmatch::postgres::Options;
use ifmatch::store::{Outcome, WriteId};
use ifmatch::{Error, Postgres, Store};

use session::Session;

use crate::faults::newest;
use crate::patience;
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
    static TEMPLATE: LazyLock<Directory> = LazyLock::new(new_cluster);
    &TEMPLATE
}

/// A new cluster. A copy of one can't be told from it.
fn new_cluster() -> Directory {
    let user = user();
    let directory = Directory::new(user);
    let mut initdb = Command::new(program("initdb", &ELSEWHERE, "postgresql"));
    initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]);
    initdb.arg(directory.path().join("data")).current_dir(directory.path());
    user.map(|user| initdb.uid(user));
    let output = initdb.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    directory
}

/// A server of one's own, with these settings.
fn server(settings: &[&str]) -> Server {
    server_in(copy(), settings)
}

/// A copy of an empty cluster.
fn copy() -> Directory {
    let directory = Directory::new(user());
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(template().path().join("data")).arg(directory.path());
    assert!(copy.status().unwrap().success());
    directory
}

/// A server that another program runs, which is given these arguments first.
fn server_run_by(program: PathBuf, first: &[&str], settings: &[&str]) -> Server {
    start(program, first, copy(), settings)
}

/// A server on the cluster in a directory.
fn server_in(directory: Directory, settings: &[&str]) -> Server {
    start(program("postgres", &ELSEWHERE, "postgresql"), &[], directory, settings)
}

fn start(program: PathBuf, first: &[&str], directory: Directory, settings: &[&str]) -> Server {
    let mut arguments = first.to_vec();
    arguments.extend(["-D", "{directory}/data", "-p", "{port}", "-k", "{directory}"]);
    arguments.extend(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]);
    for setting in settings {
        arguments.extend(["-c", setting]);
    }
    let server = Server::start(program, directory, user(), &arguments);
    // It accepts connections before it takes logins.
    open(&Postgres::options().namespace("start"), server.port);
    server
}

pub(crate) fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// One server for the tests that leave it as it is. It syncs nothing, since no machine loses power here, and others may
/// keep the disk busy.
pub(crate) fn shared_server() -> &'static Server {
    patience::watch();
    static SERVER: LazyLock<Server> = LazyLock::new(|| server(&["fsync=off"]));
    &SERVER
}

/// A name that no other test uses.
fn fresh_name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("fresh_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Options of a namespace that nobody else uses.
fn options() -> Options {
    Postgres::options().namespace(fresh_name())
}

/// Opens a store, as soon as the server takes logins.
fn open(options: &Options, port: u16) -> Postgres {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match connect(options, port) {
            Ok(store) => return store,
            Err(ConnectError::Unreachable { .. }) if Instant::now() < end => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                panic!("{error}: {source:?}");
            }
        }
    }
}

fn connect(options: &Options, port: u16) -> Result<Postgres, ConnectError> {
    options.connect(&url(port)).wait()
}

/// A write id at the newest version of a store.
fn drawn(store: &(impl Store<[u8]> + ?Sized)) -> WriteId {
    newest(store).unwrap().write()
}

/// Runs statements as an administrator would.
fn psql(port: u16, sql: &str) -> String {
    let mut psql = Command::new(program("psql", &ELSEWHERE, "postgresql-client"));
    psql.args(["-h", "127.0.0.1", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtX", "-p"]);
    let output = psql.arg(port.to_string()).args(["-c", sql]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The process ids of a server: the main one, then those that serve its connections, which would go on without it.
fn processes(server: &Server) -> Vec<String> {
    let main = fs::read_to_string(server.directory().join("data/postmaster.pid")).unwrap();
    let main = main.lines().next().unwrap().to_owned();
    let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap();
    [main].into_iter().chain(children.split_whitespace().map(str::to_owned)).collect()
}

/// Sends all of them a signal.
fn signal(processes: &[String], signal: &str) {
    // One may have ended since.
    Command::new("kill").arg(signal).args(processes).stderr(Stdio::null()).status().unwrap();
}

/// Kills a server with all its processes, as the machine's end would, and starts it again.
fn crash(server: &mut Server) {
    // Stopped first, so that none of them is born meanwhile.
    signal(&processes(server)[..1], "-STOP");
    let processes = processes(server);
    signal(&processes, "-KILL");
    server.kill();
    // The new one is refused as long as one of the old is there.
    while processes.iter().any(|process| is_alive(process)) {
        thread::sleep(Duration::from_millis(1));
    }
    server.start_again();
}

fn is_alive(process: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn key_of(namespace: &str, id: &str) -> String {
    format!(
        "hashtextextended('{id}', hashtextextended('{namespace}', hashtextextended('public.ifmatch', 0)))"
    )
}

/// Takes the lock of an id, for a [`Session`] to hold.
fn lock_of(namespace: &str, id: &str) -> String {
    format!("SELECT pg_advisory_xact_lock({})", key_of(namespace, id))
}

/// What commits are told that wait for a lock longer than they may. On a busy machine an answer may come after the call has
/// given it up, so that some say less than is known.
fn refused_in_time(commit: impl Fn() -> Error) -> Error {
    let refused = || Some(commit()).filter(|error| error.outcome() == Outcome::NotApplied);
    (0..10).find_map(|_| refused()).expect("it is known that it was not applied")
}

/// How many commits wait for the lock of an id.
fn waiting_for(port: u16, namespace: &str, id: &str) -> usize {
    let count = format!(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
            AND (classid::bigint << 32) | objid::bigint = {}",
        key_of(namespace, id)
    );
    psql(port, &count).parse().unwrap()
}
