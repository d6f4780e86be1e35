//! The store behind PgBouncer, a proxy that gives each transaction whichever connection is free.

use std::error::Error as _;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use deadpool_postgres::{Manager, Pool};
use ifmatch::conformance::history::{Numbering, Workload};
use ifmatch::engine::{ConnectError, Deadlines};
use ifmatch::store::{Outcome, Scan};
use ifmatch::{Collection, Commit, Entry, Error, Expected, Postgres, Store, conformance};
use tokio_postgres::NoTls;

use super::{drawn, fresh_name, laws::of_postgres, open, options, psql, shared_server, url, user};
use crate::faults;
use crate::proxy::{Fault, Proxy};
use crate::server::{Directory, Server, program};

/// Where Debian's package puts the program.
const ELSEWHERE: [&str; 1] = ["/usr/sbin"];

/// One before the shared server, with so many connections for all clients, and these settings besides.
fn bouncer(connections: u32, settings: &[&str]) -> Server {
    bouncer_of(shared_server().port, connections, settings)
}

/// The same before another server.
pub(super) fn bouncer_of(port: u16, connections: u32, settings: &[&str]) -> Server {
    let bouncer = program("pgbouncer", &ELSEWHERE, "pgbouncer");
    let settings = settings.join("\n");
    let file = format!(
        "[databases]
* = host=127.0.0.1 port={port} user=postgres pool_size={connections}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {{port}}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 1000
{settings}"
    );
    // It takes its port from a file alone.
    let write_and_run = format!("echo '{file}' >pgbouncer.ini && exec {} pgbouncer.ini", bouncer.display());
    let directory = Directory::new(user());
    Server::start("/bin/sh".into(), directory, user(), &["-c", &write_and_run])
}

/// With fewer connections than a store has, so that they change hands all the time.
fn shared_bouncer() -> &'static Server {
    static BOUNCER: LazyLock<Server> = LazyLock::new(|| bouncer(6, &[]));
    &BOUNCER
}

conformance!(postgres_behind_pgbouncer, open(&options().unprepared(), shared_bouncer().port), of_postgres());

#[test]
fn no_answer_is_wrong_on_an_unreliable_network_before_the_proxy() {
    let network = Proxy::new(shared_bouncer().address());
    let deadlines = Deadlines {
        connect: Duration::from_secs(2),
        read: Duration::from_millis(500),
        commit: Duration::from_millis(500),
    };
    let name = fresh_name();
    let mut workload = Workload::new(7);
    workload.ids = (0..5).map(|id| format!("{name}/{id}")).collect();
    (workload.threads, workload.calls) = (8, 250);
    let store = open(&options().unprepared().deadlines(deadlines), network.port());

    let run = faults::run(Arc::new(store), &workload, Numbering::PerId, |done| {
        network.disturb(7, 50);
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        network.calm_down();
    });

    println!("{run:?}, {} answers dropped", network.happened(Fault::DropAnswer));
    assert!(run.operations > 1_500 && network.happened(Fault::DropAnswer) > 0, "{run:?}");
}

#[test]
fn a_dozen_threads_of_two_stores_lose_no_update() {
    let name = fresh_name();
    let options = Postgres::options().namespace(&name).unprepared();
    let stores = [(); 2].map(|()| Collection::<u64>::json(open(&options, shared_bouncer().port)));
    stores[0].create("sum", 0).wait().unwrap();

    thread::scope(|scope| {
        for number in 0..12 {
            let store = &stores[number % 2];
            scope.spawn(move || {
                for _ in 0..25 {
                    store.modify("sum", |sum| *sum += 1).wait().unwrap();
                }
            });
        }
    });

    assert_eq!(*stores[0].fetch("sum").wait().unwrap().value, 300);
}

/// What a store leaves behind would meet the next client of the connection, and what others leave behind meets the store.
#[test]
fn nothing_leaks_between_the_clients_of_one_connection() {
    let bouncer = bouncer(1, &[]);
    let state = "SELECT concat_ws(' ', current_setting('lock_timeout'), current_setting('search_path'),
                        current_setting('enable_seqscan'), current_setting('transaction_isolation'),
                        (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_prepared_statements),
                        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()))";
    let before = psql(bouncer.port, state);
    let store = open(&options().unprepared(), bouncer.port);
    let put = |id: &'static str| Entry::put(id, Expected::Any, (*b"v").into());
    let use_it = || {
        let mut changes = store.watch(ifmatch::Start::Now).wait().unwrap();
        store.commit(Commit::one(put("a")).with_write(drawn(&store))).wait().unwrap();
        store.commit(Commit::one(put("a")).and(put("b"))).wait().unwrap();
        assert_eq!(changes.next().wait().unwrap().changes.len(), 1);
        assert_eq!(changes.next().wait().unwrap().changes.len(), 2);
        let stale = store.commit(Commit::one(Entry::delete("a", Expected::Absent))).wait().unwrap_err();
        assert!(stale.conflict().is_some());
        store.resolve(drawn(&store)).wait().unwrap();
        assert_eq!(store.scan(Scan::new("", 10)).wait().unwrap().items.len(), 2);
    };

    use_it();
    assert_eq!(psql(bouncer.port, state), before);

    psql(bouncer.port, "SET search_path = ''");
    psql(bouncer.port, "SET lock_timeout = 1");
    psql(bouncer.port, "SET enable_seqscan = on");
    use_it();
    // And what can't work is refused, not done wrongly.
    psql(bouncer.port, "SET default_transaction_isolation = 'repeatable read'");
    let refused = store.commit(Commit::one(put("a"))).wait().unwrap_err();
    assert_eq!(refused.outcome(), Outcome::NotApplied);
    assert!(matches!(&refused, Error::Failed(_)), "{refused:?}");
    assert!(refused.source().unwrap().to_string().contains("read committed"), "{refused:?}");
}

#[test]
fn whoever_prepares_statements_is_told_what_to_do() {
    // One that knows that it can't keep a connection's settings, and one that was told to forget about them.
    let forgetful = bouncer(2, &["ignore_startup_parameters = options"]);
    for port in [shared_bouncer().port, forgetful.port] {
        let refused = options().connect(&url(port)).wait().unwrap_err();
        assert!(matches!(refused, ConnectError::Refused { .. }), "{refused:?}");
        assert!(refused.source().unwrap().to_string().contains("`Options::unprepared`"), "{refused:?}");
    }

    // With a pool that sends no settings it is found out later: by the statements that are not there.
    let pool = |max| {
        let manager = Manager::new(url(forgetful.port).parse().unwrap(), NoTls);
        Pool::builder(manager).max_size(max).build().unwrap()
    };
    let told = (0..100).find_map(|_| {
        let store = match options().with_pool(pool(8)).wait() {
            Ok(store) => store,
            Err(error) => return Some(error.source()?.to_string()),
        };
        thread::scope(|scope| {
            let put = |id: &'static str| {
                let put = Entry::put(id, Expected::Any, (*b"v").into());
                store
                    .commit(Commit::one(put))
                    .wait()
                    .err()
                    .and_then(|error| Some(error.source()?.to_string()))
            };
            let puts: Vec<_> = ["a", "b", "c", "d", "e", "f"]
                .map(|id| scope.spawn(move || (0..20).find_map(|_| put(id))))
                .into();
            puts.into_iter().filter_map(|put| put.join().unwrap()).next()
        })
    });
    let told = told.expect("six clients of two connections meet");
    assert!(told.contains("`Options::unprepared`"), "{told}");
}
