//! [`Link`], the connection of a store to Redis, which makes itself anew when it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::socket2::TcpKeepalive;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ProtocolVersion, PushInfo, PushKind, RedisError,
    Value,
};
use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;
use tokio::time::timeout;

use super::script::Request;
use super::trouble::Trouble;
use crate::store::Outcome;

/// How many commands may wait to be written to one connection before callers wait.
const QUEUED: usize = 1024;

/// After how long a silent connection is asked whether it still stands, and how often then.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How often one call follows a cluster's hint to another node.
const REDIRECTS: u32 = 3;

/// The connection of a store to Redis, shared by all calls. One that broke is replaced by the next call that needs one.
pub(super) struct Link {
    /// What the program gave.
    home: Client,
    /// Where a cluster has sent us instead.
    target: Mutex<Client>,
    current: Mutex<Option<Wire>>,
    connecting: Turn<()>,
    connect_limit: Duration,
}

/// One connection.
#[derive(Clone)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    /// Set as soon as the connection is seen to be broken: whoever sees it before sending has sent nothing.
    broken: Arc<AtomicBool>,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Undone {
    pub(super) trouble: Trouble,
    /// Whether it was handed to a connection.
    sent: bool,
}

impl Undone {
    /// Whether what was asked for may have been done, or may still be.
    pub(super) fn outcome(&self) -> Outcome {
        match self.sent {
            true => self.trouble.outcome(),
            false => Outcome::NotApplied,
        }
    }
}

impl Link {
    pub(super) fn new(client: Client, connect_limit: Duration) -> Result<Self, RedisError> {
        #[cfg(feature = "redis-tls")]
        provide_cryptography();
        let information = client.get_connection_info();
        // The third protocol tells when a connection ends; without the option each answer may wait for a timer.
        let login = information.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let mut tcp = information.tcp_settings().clone().set_nodelay(true);
        if tcp.keepalive().is_none() {
            // So that a peer that vanished without a word is noticed before the next call waits for it.
            tcp = tcp.set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE));
        }
        let home = Client::open(information.clone().set_redis_settings(login).set_tcp_settings(tcp))?;
        Ok(Self {
            target: Mutex::new(home.clone()),
            home,
            current: Mutex::default(),
            connecting: Turn::new(()),
            connect_limit,
        })
    }

    /// The host and port, or the socket, in use.
    pub(super) fn endpoint(&self) -> String {
        self.target.lock().get_connection_info().addr().to_string()
    }

    /// Sends a call and waits for the answer, no longer than `limit` for all of it.
    pub(super) async fn call(&self, call: &Request, limit: Duration) -> Result<Value, Undone> {
        let mut used = None;
        let trouble = match timeout(limit, self.attempt(call, &mut used)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(trouble)) => trouble,
            Err(_) => Trouble::Late(limit),
        };
        if let Some(wire) = used.as_ref().filter(|_| trouble.breaks_connection()) {
            // One that gave no answer in time may never give one again.
            wire.broken.store(true, Ordering::Relaxed);
        }
        Err(Undone { trouble, sent: used.is_some() })
    }

    /// Whatever makes it send again has made sure that nothing was done.
    async fn attempt(&self, call: &Request, used: &mut Option<Wire>) -> Result<Value, Trouble> {
        let mut whole = None;
        let (mut redirects, mut repeats) = (0, u32::from(call.repeatable));
        loop {
            let mut wire = self.wire().await?;
            *used = Some(wire.clone());
            let error = match wire.send(whole.as_ref().unwrap_or(&call.command)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let trouble = Trouble::of(&error);
            match trouble.code() {
                Some("NOSCRIPT") if whole.is_none() => {
                    whole = Some(call.with_source().ok_or(trouble)?);
                    continue;
                }
                Some("MOVED") if redirects < REDIRECTS && self.follow(&error) => redirects += 1,
                None if repeats > 0 && matches!(trouble, Trouble::Lost(_)) => repeats -= 1,
                _ => return Err(trouble),
            }
            wire.broken.store(true, Ordering::Relaxed);
            *used = None;
        }
    }

    /// The connection that is there, or a new one.
    async fn wire(&self) -> Result<Wire, Trouble> {
        if let Some(wire) = self.usable() {
            return Ok(wire);
        }
        let _turn = self.connecting.lock().await;
        if let Some(wire) = self.usable() {
            return Ok(wire);
        }
        let wire = self.connect().await?;
        *self.current.lock() = Some(wire.clone());
        Ok(wire)
    }

    fn usable(&self) -> Option<Wire> {
        self.current.lock().clone().filter(|wire| !wire.is_broken())
    }

    /// Makes a connection that nobody else uses yet.
    pub(super) async fn connect(&self) -> Result<Wire, Trouble> {
        let client = self.target.lock().clone();
        let endpoint = client.get_connection_info().addr().to_string();
        let broken = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&broken);
        let note = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                noted.store(true, Ordering::Relaxed);
            }
            Ok::<_, ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUED)
            .set_push_sender(note);
        let connected =
            timeout(self.connect_limit, client.get_multiplexed_async_connection_with_config(&config)).await;
        let trouble = match connected {
            Ok(Ok(connection)) => return Ok(Wire { connection, broken }),
            Ok(Err(error)) => Trouble::connecting(&endpoint, &error),
            Err(_) => {
                let problem = format!("no answer within {:?}", self.connect_limit);
                Trouble::Unreachable { endpoint, problem }
            }
        };
        // A node that a cluster sent us to may be gone; where the program pointed us somebody may know another.
        *self.target.lock() = self.home.clone();
        Err(trouble)
    }

    /// Turns to the node that a cluster names. `false` where the hint can't be read.
    fn follow(&self, error: &RedisError) -> bool {
        let Some((host, port)) = error.redirect_node().and_then(|(address, _)| address.rsplit_once(':'))
        else {
            return false;
        };
        let Ok(port) = port.parse() else { return false };
        let mut target = self.target.lock();
        let information = target.get_connection_info().clone();
        let named = |own: &str| if host.is_empty() || host == "?" { own.to_owned() } else { host.to_owned() };
        let address = match information.addr().clone() {
            ConnectionAddr::Tcp(own, _) => ConnectionAddr::Tcp(named(&own), port),
            ConnectionAddr::TcpTls { host: own, insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host: named(&own), port, insecure, tls_params }
            }
            _ => return false,
        };
        let followed = Client::open(information.set_addr(address));
        followed.map(|client| *target = client).is_ok()
    }
}

/// Without a provider of cryptography the driver panics where a program uses TLS nowhere else. One that the program chose
/// stays.
#[cfg(feature = "redis-tls")]
fn provide_cryptography() {
    use rustls::crypto::{CryptoProvider, ring};

    if CryptoProvider::get_default().is_none() {
        // Another thread may do the same at the same time.
        let _ = ring::default_provider().install_default();
    }
}

impl Wire {
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Sends one command, without a limit of time.
    pub(super) async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.connection.send_packed_command(command).await?.extract_error()
    }
}
