//! [`Proxy`], an unreliable network between a client and its server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What can happen to a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request is lost, and the connection with it.
    LoseRequest,
    /// The request arrives; the connection is cut before any byte of the answer.
    DropAnswer,
    /// The request arrives; the connection is cut in the middle of the answer.
    CutAnswer,
    /// The answer comes late.
    Delay,
    /// Nothing passes from now on, and nobody is told.
    HalfOpen,
}

const FAULTS: [Fault; 5] =
    [Fault::LoseRequest, Fault::DropAnswer, Fault::CutAnswer, Fault::Delay, Fault::HalfOpen];

/// An unreliable network: connections to its address are passed on to the server, as well as it pleases.
///
/// A request is what comes from the client in one read, an answer what the server sends next. Protocols that keep many
/// requests on their way over one connection lose all of them at once.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    target: Mutex<SocketAddr>,
    /// One request in so many meets a fault; 0 for none.
    rarity: AtomicU64,
    seed: AtomicU64,
    /// How long each KiB of an answer takes, in microseconds.
    pace: AtomicU64,
    /// How long each answer takes, in microseconds.
    distance: AtomicU64,
    /// For the next requests, whatever the dice say.
    planned: Mutex<Vec<Fault>>,
    /// How often each of [`FAULTS`] happened.
    happened: [AtomicUsize; FAULTS.len()],
    connections: Mutex<Vec<TcpStream>>,
    closed: AtomicBool,
}

impl Proxy {
    /// A network that is reliable until it is told otherwise.
    pub(crate) fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            rarity: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            distance: AtomicU64::new(0),
            seed: AtomicU64::new(1),
            planned: Mutex::default(),
            happened: Default::default(),
            connections: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.closed.load(Ordering::SeqCst) {
                    break;
                }
                // A client whose server is down is turned away.
                if let Ok(client) = client {
                    let _ = accepting.pass_on(client);
                }
            }
        });
        Self { shared, address }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on one request in `rarity` meets a fault that the seed chooses.
    pub(crate) fn disturb(&self, seed: u64, rarity: u64) {
        self.shared.seed.store(seed.wrapping_mul(2).wrapping_add(1), Ordering::SeqCst);
        self.shared.rarity.store(rarity, Ordering::SeqCst);
    }

    /// From now on everything passes. What was half open is cut.
    pub(crate) fn calm_down(&self) {
        self.shared.rarity.store(0, Ordering::SeqCst);
        self.shared.planned.lock().clear();
        self.cut_all();
    }

    /// From now on each KiB of an answer takes so long.
    #[cfg(feature = "postgres")]
    pub(crate) fn slow_down(&self, pace: Duration) {
        self.shared.pace.store(pace.as_micros() as u64, Ordering::SeqCst);
    }

    /// From now on the server is so far away, there and back.
    pub(crate) fn move_away(&self, round_trip: Duration) {
        self.shared.distance.store(round_trip.as_micros() as u64, Ordering::SeqCst);
    }

    /// The next request meets this fault.
    pub(crate) fn plan(&self, fault: Fault) {
        self.shared.planned.lock().insert(0, fault);
    }

    /// Cuts every connection.
    pub(crate) fn cut_all(&self) {
        for connection in self.shared.connections.lock().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// New connections go to another server.
    pub(crate) fn redirect(&self, target: SocketAddr) {
        *self.shared.target.lock() = target;
    }

    /// How often a fault happened.
    pub(crate) fn happened(&self, fault: Fault) -> usize {
        self.shared.happened[fault as usize].load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.cut_all();
        // So that the thread that accepts sees it.
        let _ = TcpStream::connect(self.address);
    }
}

/// What the two directions of one connection know of each other.
struct Wire {
    client: TcpStream,
    server: TcpStream,
    /// The fault that waits for the next answer.
    armed: Mutex<Option<Fault>>,
    silent: AtomicBool,
}

impl Shared {
    fn pass_on(self: &Arc<Self>, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(*self.target.lock())?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let mut connections = self.connections.lock();
        connections.push(client.try_clone()?);
        connections.push(server.try_clone()?);
        drop(connections);
        let wire = Arc::new(Wire { client, server, armed: Mutex::default(), silent: AtomicBool::new(false) });
        let (requests, answers) = (Arc::clone(&wire), wire);
        let [asking, answering] = [Arc::clone(self), Arc::clone(self)];
        thread::spawn(move || {
            let _ = asking.carry_requests(&requests);
            requests.cut();
        });
        thread::spawn(move || {
            let _ = answers.carry_answers(&answering);
            answers.cut();
        });
        Ok(())
    }

    fn carry_requests(&self, wire: &Wire) -> io::Result<()> {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let length = (&wire.client).read(&mut bytes)?;
            if length == 0 {
                return Ok(());
            }
            match self.fault() {
                Some(Fault::LoseRequest) => return Ok(()),
                Some(Fault::HalfOpen) => wire.silent.store(true, Ordering::SeqCst),
                Some(fault) => *wire.armed.lock() = Some(fault),
                None => {}
            }
            if !wire.silent.load(Ordering::SeqCst) {
                (&wire.server).write_all(&bytes[..length])?;
            }
        }
    }

    fn fault(&self) -> Option<Fault> {
        let planned = self.planned.lock().pop();
        let fault = planned.or_else(|| {
            let rarity = self.rarity.load(Ordering::SeqCst);
            if rarity == 0 {
                return None;
            }
            let drawn = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            let drawn = (drawn ^ drawn >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 24;
            // Answers dropped are what the others only surround: every second fault is one. Half-open connections cost a
            // deadline each, so they are rare.
            drawn.is_multiple_of(rarity).then(|| match drawn / rarity % 40 {
                0 => Fault::HalfOpen,
                1..8 => Fault::LoseRequest,
                8..14 => Fault::CutAnswer,
                14..20 => Fault::Delay,
                _ => Fault::DropAnswer,
            })
        })?;
        self.happened[fault as usize].fetch_add(1, Ordering::SeqCst);
        Some(fault)
    }
}

impl Wire {
    fn carry_answers(self: &Arc<Self>, network: &Shared) -> io::Result<()> {
        let (mut bytes, mut line) = (vec![0; 64 * 1024], None);
        loop {
            let length = (&self.server).read(&mut bytes)?;
            if length == 0 {
                return Ok(());
            }
            let armed = self.armed.lock().take();
            match armed {
                Some(Fault::DropAnswer) => return Ok(()),
                Some(Fault::CutAnswer) => return (&self.client).write_all(&bytes[..length / 2]),
                Some(Fault::Delay) => thread::sleep(Duration::from_millis(20)),
                _ => {}
            }
            thread::sleep(Duration::from_micros(network.pace.load(Ordering::SeqCst) * length as u64 / 1024));
            let distance = Duration::from_micros(network.distance.load(Ordering::SeqCst));
            if !distance.is_zero() {
                // To connect takes a round trip of its own, which the first answer comes later by.
                let connecting = if line.is_none() { distance } else { Duration::ZERO };
                let line = line.get_or_insert_with(|| self.lay_line());
                let due = Instant::now() + connecting + distance;
                let _ = line.send((due, bytes[..length].to_vec()));
                continue;
            }
            if !self.silent.load(Ordering::SeqCst) {
                (&self.client).write_all(&bytes[..length])?;
            }
        }
    }

    /// A long line to the client: many answers are on their way at once, and each arrives when it is due.
    fn lay_line(self: &Arc<Self>) -> Sender<(Instant, Vec<u8>)> {
        let (line, arriving) = mpsc::channel::<(Instant, Vec<u8>)>();
        let wire = Arc::clone(self);
        thread::spawn(move || {
            for (due, answer) in arriving {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if !wire.silent.load(Ordering::SeqCst) && (&wire.client).write_all(&answer).is_err() {
                    break;
                }
            }
        });
        line
    }

    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each request of one byte with ten of it.
    fn server() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&served);
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut byte = [0];
                while client.read_exact(&mut byte).is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                    if client.write_all(&[byte[0]; 10]).is_err() {
                        break;
                    }
                }
            }
        });
        (address, served)
    }

    fn ask(proxy: &Proxy) -> io::Result<Vec<u8>> {
        let mut client = TcpStream::connect(proxy.address)?;
        client.set_read_timeout(Some(Duration::from_millis(200)))?;
        client.write_all(&[7])?;
        let mut answer = Vec::new();
        let mut bytes = [0; 10];
        while answer.len() < 10 {
            match client.read(&mut bytes)? {
                0 => break,
                length => answer.extend(&bytes[..length]),
            }
        }
        Ok(answer)
    }

    #[test]
    fn each_fault_does_what_its_name_says() {
        let (address, served) = server();
        let proxy = Proxy::new(address);
        let answered = |fault: Option<Fault>| {
            fault.into_iter().for_each(|fault| proxy.plan(fault));
            let before = served.load(Ordering::SeqCst);
            let answer = ask(&proxy).map(|answer| answer.len());
            (answer.ok(), served.load(Ordering::SeqCst) - before)
        };

        assert_eq!(answered(None), (Some(10), 1));
        assert!(matches!(answered(Some(Fault::LoseRequest)), (None | Some(0), 0)));
        assert!(matches!(answered(Some(Fault::DropAnswer)), (None | Some(0), 1)));
        assert_eq!(answered(Some(Fault::CutAnswer)), (Some(5), 1));
        assert_eq!(answered(Some(Fault::Delay)), (Some(10), 1));
        assert_eq!(answered(Some(Fault::HalfOpen)), (None, 0));
        assert_eq!(answered(None), (Some(10), 1));
        assert!(FAULTS.iter().all(|fault| proxy.happened(*fault) == 1));
    }
}
