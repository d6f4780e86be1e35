//! [`Link`], the connection of a store to Redis, which makes itself anew when it breaks.

use std::sync::Arc;
use std::time::Duration;

use ::redis::io::tcp::socket2::TcpKeepalive;
use ::redis::{Client, ConnectionAddr, ProtocolVersion, RedisError, Value};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::script::Request;
use super::trouble::Trouble;
use super::wire::Wire;
use crate::store::Outcome;

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
    line: Mutex<Line>,
    /// A key of the namespace.
    meta: String,
    connect_limit: Duration,
    handle: Handle,
}

/// The connection that all calls share, and the one that is being made.
#[derive(Default)]
struct Line {
    current: Option<Wire>,
    connecting: Option<Connecting>,
}

/// Where a connection that is being made will be found.
type Connecting = watch::Receiver<Option<Result<Wire, Trouble>>>;

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
    /// A link to where the key `meta` lives, whose connections live in the runtime of `handle`. Connects to nothing yet.
    pub(super) fn new(
        client: Client,
        meta: String,
        connect_limit: Duration,
        handle: Handle,
    ) -> Result<Self, RedisError> {
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
            line: Mutex::default(),
            meta,
            connect_limit,
            handle,
        })
    }

    /// The host and port, or the socket, in use.
    pub(super) fn endpoint(&self) -> String {
        self.target.lock().get_connection_info().addr().to_string()
    }

    /// Sends a call and waits for the answer, no longer than `limit` for all of it.
    pub(super) async fn call(self: &Arc<Self>, call: &Request, limit: Duration) -> Result<Value, Undone> {
        let mut used = None;
        let trouble = match timeout(limit, self.attempt(call, &mut used)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(trouble)) => trouble,
            Err(_) => Trouble::Late(limit),
        };
        if let Some((wire, since)) = &used {
            // One that gave no answer in time may never give one again. One that was just made was hardly asked.
            let hardly_asked = matches!(trouble, Trouble::Late(_)) && since.elapsed() < limit.mul_f32(0.9);
            if trouble.breaks_connection() && !hardly_asked {
                wire.give_up();
            }
        }
        Err(Undone { trouble, sent: used.is_some() })
    }

    /// Whatever makes it send again has made sure that nothing was done.
    async fn attempt(
        self: &Arc<Self>,
        call: &Request,
        used: &mut Option<(Wire, Instant)>,
    ) -> Result<Value, Trouble> {
        let mut whole = None;
        let (mut redirects, mut repeats) = (0, u32::from(call.repeatable));
        loop {
            let mut wire = self.wire().await?;
            *used = Some((wire.clone(), Instant::now()));
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
            wire.give_up();
            *used = None;
        }
    }

    /// The connection that is there, or a new one.
    ///
    /// It is made by a task: a call that waits for it no longer, because its deadline passed, leaves it to the next one.
    pub(super) async fn wire(self: &Arc<Self>) -> Result<Wire, Trouble> {
        let mut connecting = {
            let mut line = self.line.lock();
            if let Some(wire) = line.current.as_ref().filter(|wire| !wire.is_broken()) {
                return Ok(wire.clone());
            }
            // One that ended without a word, with its runtime, ends nobody else's waiting.
            let under_way = line.connecting.take().filter(|connecting| connecting.has_changed().is_ok());
            line.connecting.insert(under_way.unwrap_or_else(|| self.begin_connecting())).clone()
        };
        let ended = || Trouble::unreachable(self.endpoint(), "its runtime has ended");
        let connected = connecting.wait_for(Option::is_some).await.map_err(|_| ended())?;
        connected.clone().unwrap_or_else(|| Err(ended()))
    }

    fn begin_connecting(self: &Arc<Self>) -> Connecting {
        let (tell, connecting) = watch::channel(None);
        let link = Arc::clone(self);
        self.handle.spawn(async move {
            let connected = link.connect().await;
            let mut line = link.line.lock();
            line.connecting = None;
            if let Ok(wire) = &connected {
                line.current = Some(wire.clone());
            }
            drop(line);
            tell.send_replace(Some(connected));
        });
        connecting
    }

    /// Makes a connection that nobody else uses yet.
    pub(super) async fn connect(&self) -> Result<Wire, Trouble> {
        let client = self.target.lock().clone();
        let trouble = match timeout(self.connect_limit, Wire::connect(&client, &self.meta)).await {
            Ok(Ok(wire)) => return Ok(wire),
            Ok(Err(trouble)) => trouble,
            Err(_) => {
                let endpoint = client.get_connection_info().addr().to_string();
                Trouble::unreachable(endpoint, format!("no answer within {:?}", self.connect_limit))
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
