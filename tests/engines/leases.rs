//! Leases between two processes: a holder that is stopped past its time, taken over, and goes on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, io};

use ifmatch::lease::Leases;
use ifmatch::{Collection, Database, Error, Kind};

const ROUNDS: u64 = 100;

/// Short, for the clocks here are real: what is shown does not depend on it.
const LASTS: Duration = Duration::from_millis(30);

/// Names the store to the other process, which is this program again.
const STORE: &str = "IFMATCH_LEASES_OF";

struct Office {
    leases: Leases,
    work: Collection<String>,
}

impl Office {
    fn new(database: &Database) -> Self {
        let leases = Leases::new(database, "leases").unwrap().lasting(LASTS);
        Self { leases, work: database.collection("work").unwrap() }
    }
}

/// The holder, a process of its own.
struct Holder {
    process: Child,
    told: ChildStdin,
    tells: BufReader<ChildStdout>,
}

impl Holder {
    fn start(store: &str) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", "leases::the_holder_in_a_process_of_its_own", "--ignored", "--nocapture"])
            .env(STORE, store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, tells) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, told, tells }
    }

    fn tell(&mut self, round: u64) {
        writeln!(self.told, "{round}").unwrap();
    }

    /// The next line of its own, among those of the test harness.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.tells.read_line(&mut line).unwrap() > 0, "the holder is gone");
            if let Some(own) = line.split_once("holder: ") {
                return own.1.trim().to_owned();
            }
        }
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Also one that is stopped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Takes the lease of each round it is told, and writes under it until that is refused.
#[test]
#[ignore = "it is the other process of the tests below, which start it"]
fn the_holder_in_a_process_of_its_own() {
    let Ok(store) = env::var(STORE) else { return };
    let office = Office::new(&open(&store));
    for line in io::stdin().lines() {
        let job = line.unwrap();
        let lease = office.leases.acquire(&job, "holder").wait().unwrap();
        let work = office.work.under(&lease).unwrap();
        println!("holder: holds {}", lease.token());
        let refused = loop {
            match work.put(&job, "the holder's".to_string()).wait() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        match &refused {
            Error::Conflict(conflict) => match conflict.kind() {
                Kind::State { rule, reason } => println!("holder: {rule}, {reason}"),
                other => println!("holder: refused by {other:?}"),
            },
            other => println!("holder: failed with {other}"),
        }
    }
}

fn open(store: &str) -> Database {
    let (engine, place) = store.split_once(' ').unwrap();
    let (namespace, port) = place.split_once(' ').unwrap();
    let port: u16 = port.parse().unwrap();
    match engine {
        #[cfg(feature = "postgres")]
        "postgres" => {
            let url = crate::postgres::url(port);
            Database::new(ifmatch::Postgres::options().namespace(namespace).connect(&url).wait().unwrap())
        }
        #[cfg(feature = "redis")]
        "redis" => {
            let url = crate::redis::url(port);
            Database::new(ifmatch::Redis::options().namespace(namespace).connect(url).wait().unwrap())
        }
        other => panic!("{other} is not built in"),
    }
}

fn a_holder_that_was_stopped_past_its_time_writes_nothing_more(store: &str) {
    let office = Office::new(&open(store));
    let mut holder = Holder::start(store);
    for round in 0..ROUNDS {
        let job = round.to_string();
        holder.tell(round);
        assert!(holder.line().starts_with("holds"));

        // In the middle of its writes.
        holder.signal("-STOP");
        let lease = office.leases.acquire_within(&job, "heir", Duration::from_secs(60)).wait().unwrap();
        let work = office.work.under(&lease).unwrap();
        work.put(&job, "the heir's".to_string()).wait().unwrap();
        holder.signal("-CONT");

        let lost = format!("lease-lost, its lease `{job}` of `leases` is lost, and `heir` holds it");
        assert_eq!(holder.line(), lost, "round {round}");
        assert_eq!(*office.work.fetch(&job).wait().unwrap().value, "the heir's", "round {round}");
        let trail = office.leases.trail(&job, None, 10).wait().unwrap().items;
        assert_eq!((&*trail[0].1.from, &*trail[0].1.by, trail.len()), ("holder", "heir", 1));
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_stopped_holder_writes_nothing_more_to_postgres() {
    let port = crate::postgres::shared_server().port;
    a_holder_that_was_stopped_past_its_time_writes_nothing_more(&format!("postgres stopped_holder {port}"));
}

#[cfg(feature = "redis")]
#[test]
fn a_stopped_holder_writes_nothing_more_to_redis() {
    let port = crate::redis::shared().port;
    a_holder_that_was_stopped_past_its_time_writes_nothing_more(&format!("redis stopped-holder {port}"));
}
