//! The store on Redis.

mod cluster;
mod durability;
mod failover;
mod faults;
mod fit;
mod laws;
mod limits;
mod place;
mod rights;
mod secrets;
#[cfg(feature = "redis-tls")]
mod tls;
mod watch;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ifmatch::engine::{ConnectError, Deadlines};
use ifmatch::redis::Options;
use ifmatch::store::WriteId;
use ifmatch::{Redis, Store};

use crate::faults::newest;
use crate::patience;
use crate::server::{Directory, Server, program};

/// Settings under which a crash loses nothing.
const STRICT: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// A server with these settings beside the usual ones.
fn server(settings: &[&str]) -> Server {
    let usual = ["--port", "{port}", "--bind", "127.0.0.1", "--dir", "{directory}", "--save", ""];
    let arguments = [&usual, settings].concat();
    Server::start(program("redis-server", &[], "redis-server"), Directory::new(None), None, &arguments)
}

/// One server for all tests that do not harm it. It keeps nothing on disk.
pub(crate) fn shared() -> &'static Server {
    patience::watch();
    static SHARED: LazyLock<Server> = LazyLock::new(|| server(&["--appendonly", "no"]));
    &SHARED
}

pub(crate) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// Options for a namespace that nobody else uses.
fn fresh() -> Options {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    Redis::options().namespace(format!("fresh-{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
}

/// A new namespace on the shared server.
fn store() -> Redis {
    fresh().connect(url(shared().port)).wait().unwrap()
}

/// A store on the server at this port, however busy the machine is.
fn open(options: Options, port: u16) -> Arc<dyn Store<[u8]>> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match options.clone().connect(url(port)).wait() {
            Ok(store) => return Arc::new(store),
            Err(ConnectError::Unreachable { .. }) if Instant::now() < end => {}
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
}

/// A write id at the newest version of a store.
fn drawn(store: &(impl Store<[u8]> + ?Sized)) -> WriteId {
    newest(store).unwrap().write()
}

/// Deadlines that a test can wait for.
fn short() -> Deadlines {
    let limit = Duration::from_millis(400);
    Deadlines { connect: limit, read: limit, commit: limit }
}

/// Says a command to a server, in words that hold no blanks, and gives the whole answer as text.
fn say(address: SocketAddr, command: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    answer(&mut reader)
}

/// One answer of the protocol, flattened to text.
fn answer(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let line = line.trim_end();
    let count = || line[1..].parse::<i64>().unwrap();
    match line.as_bytes()[0] {
        b'$' if count() >= 0 => {
            let mut bytes = vec![0; count() as usize + 2];
            reader.read_exact(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes[..bytes.len() - 2]).into_owned()
        }
        b'*' => (0..count()).map(|_| answer(reader)).collect::<Vec<_>>().join(" "),
        _ => line.to_owned(),
    }
}
