//! [`Nodes`], the nodes of a cluster: which one is asked, and when the next.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use etcd_client::{
    Client, ConnectOptions, Error as ClientError, KvClient, WatchClient, WatchOptions, WatchResponse,
    WatchStream,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::trouble::Trouble;

/// Between two rounds over all nodes, so that a cluster without a leader isn't stormed.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection over which nothing came for so long is asked whether it lives, and given up where it does not answer.
/// Etcd turns clients away that ask more often than every 5 seconds.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(3));

/// The nodes of a cluster. One is asked until it fails; then it is the next one's turn.
///
/// Each has a client of its own: one for all of them keeps asking a dead node.
pub(super) struct Nodes {
    nodes: Vec<Arc<Node>>,
    current: AtomicUsize,
}

/// One node, and how to reach it.
struct Node {
    endpoint: String,
    /// `None` where the program gave the client: then it is not for us to connect anew.
    connect: Option<ConnectOptions>,
    connect_limit: Duration,
    line: Mutex<Line>,
}

/// The connection of a node's calls, and the one that is being made.
#[derive(Default)]
struct Line {
    link: Option<Arc<Link>>,
    connecting: Option<Connecting>,
}

/// Where a connection that is being made will be found.
type Connecting = tokio::sync::watch::Receiver<Option<Result<Arc<Link>, Trouble>>>;

/// The clients of one connection.
struct Link {
    client: Client,
    kv: KvClient,
    watch: WatchClient,
    gone: tokio::sync::watch::Sender<bool>,
}

/// A watch on one node.
pub(super) struct Watched {
    stream: WatchStream,
    /// Of a connection of its own: what nobody reads fills a connection up, and must not hold up the others.
    _client: WatchClient,
    /// The connection of the node's other calls, which may be the first to find it silent.
    link: Arc<Link>,
}

/// What may be asked of the next node when one has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Anything: asking twice is the same as asking once.
    Repeatable,
    /// Only what certainly was not sent.
    Once,
}

impl Nodes {
    /// The nodes at these endpoints. Connects to nothing yet.
    pub(super) fn new(
        endpoints: Vec<String>,
        login: Option<(String, String)>,
        connect_limit: Duration,
    ) -> Self {
        // A node that swallows packets leaves the others their share of the time.
        let share = connect_limit / u32::try_from(endpoints.len().clamp(1, 3)).unwrap_or(1);
        let mut options = ConnectOptions::new()
            .with_connect_timeout(share)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_keep_alive_while_idle(false)
            .with_require_leader(true);
        if let Some((user, password)) = login {
            options = options.with_user(user, password).with_auto_token_refresh(true);
        }
        let node = |endpoint| {
            let connect = Some(options.clone());
            Arc::new(Node { endpoint, connect, connect_limit, line: Mutex::default() })
        };
        Self { nodes: endpoints.into_iter().map(node).collect(), current: AtomicUsize::new(0) }
    }

    /// Whatever a client of the program's own reaches.
    pub(super) fn of_client(client: Client) -> Self {
        let node = Node {
            endpoint: "the given client".to_owned(),
            connect: None,
            connect_limit: Duration::ZERO,
            line: Mutex::new(Line { link: Some(Arc::new(Link::new(client))), connecting: None }),
        };
        Self { nodes: vec![Arc::new(node)], current: AtomicUsize::new(0) }
    }

    /// Asks a node, and where that is allowed the next ones, until there is an answer or the time is over.
    pub(super) async fn call<T, F>(
        &self,
        purpose: Purpose,
        limit: Duration,
        ask: impl Fn(KvClient) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.ask(purpose, limit, |link: &Link| ask(link.kv.clone())).await
    }

    /// The release of a node, and how many nodes the cluster has that take part in its votes.
    pub(super) async fn release(&self, limit: Duration) -> Result<(String, usize), Trouble> {
        let release = self.ask(Purpose::Repeatable, limit, |link: &Link| {
            let (mut status, mut members) = (link.client.maintenance_client(), link.client.cluster_client());
            async move {
                let status = status.status().await?;
                let members = members.member_list().await?;
                let voters = members.members().iter().filter(|member| !member.is_learner()).count();
                Ok((status.version().to_owned(), voters))
            }
        });
        release.await
    }

    async fn ask<T, F>(
        &self,
        purpose: Purpose,
        limit: Duration,
        ask: impl Fn(&Link) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let end = Instant::now() + limit;
        let (mut tried, mut unreachable) = (0, 0);
        loop {
            let number = self.current.load(Ordering::Relaxed);
            let node = self.node(number);
            let share = match purpose {
                Purpose::Once => limit,
                Purpose::Repeatable => limit / u32::try_from(self.nodes.len().min(3)).unwrap_or(1),
            };
            let turn_ends = (Instant::now() + share).min(end);
            let trouble = match node.ask(turn_ends, share, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(refused @ Trouble::Refused { .. }) => return Err(refused),
                Err(trouble) => trouble,
            };
            self.leave(number);
            tried += 1;
            let again = match &trouble {
                Trouble::Unreachable { .. } => {
                    unreachable += 1;
                    unreachable < self.nodes.len()
                }
                Trouble::Leaderless { .. } => true,
                _ => purpose == Purpose::Repeatable,
            };
            if !again || Instant::now() >= end {
                return Err(trouble);
            }
            if tried % self.nodes.len() == 0 {
                sleep(PAUSE).await;
            }
        }
    }

    /// Begins a watch on the node whose turn it is; its number is to [`leave`](Self::leave) it.
    pub(super) async fn watch(
        &self,
        limit: Duration,
        key: Vec<u8>,
        options: WatchOptions,
    ) -> (usize, Result<Watched, Trouble>) {
        let number = self.current.load(Ordering::Relaxed);
        let watched = self.node(number).watch(Instant::now() + limit, limit, key, options).await;
        (number, watched)
    }

    /// Goes on with the next node, unless somebody did already.
    pub(super) fn leave(&self, number: usize) {
        let next = number.wrapping_add(1);
        let _ = self.current.compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn node(&self, number: usize) -> &Arc<Node> {
        &self.nodes[number % self.nodes.len()]
    }
}

impl Node {
    async fn ask<T, F>(
        self: &Arc<Self>,
        end: Instant,
        limit: Duration,
        ask: &impl Fn(&Link) -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let link = self.link(end).await?;
        let since = Instant::now();
        let mut renewed = false;
        loop {
            let answer = timeout_at(end, ask(&link)).await;
            let trouble = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Trouble::of(&self.endpoint, error),
                Err(_) => {
                    // One that was just made was hardly asked.
                    if since.elapsed() >= limit.mul_f32(0.9) {
                        self.discard(&link);
                    }
                    return Err(Trouble::Late { endpoint: self.endpoint.clone(), limit });
                }
            };
            if renewed || !trouble.is_stale_login() {
                return Err(trouble);
            }
            renewed = true;
            if let Ok(Err(error)) = timeout_at(end, link.client.refresh_token()).await {
                return Err(Trouble::of(&self.endpoint, error));
            }
        }
    }

    async fn watch(
        self: &Arc<Self>,
        end: Instant,
        limit: Duration,
        key: Vec<u8>,
        options: WatchOptions,
    ) -> Result<Watched, Trouble> {
        let link = self.link(end).await?;
        let begin = async {
            let mut client = match &self.connect {
                Some(connect) => {
                    Link::new(Client::connect([&self.endpoint], Some(connect.clone())).await?).watch
                }
                None => link.watch.clone(),
            };
            let stream = client.watch(key, Some(options)).await?;
            Ok(Watched { stream, _client: client, link: Arc::clone(&link) })
        };
        match timeout_at(end, begin).await {
            Ok(begun) => begun.map_err(|error| Trouble::of(&self.endpoint, error)),
            Err(_) => Err(Trouble::Late { endpoint: self.endpoint.clone(), limit }),
        }
    }

    /// The connection that is there, or a new one.
    ///
    /// It is made by a task: a call that waits for it no longer, because its deadline passed, leaves it to the next one.
    async fn link(self: &Arc<Self>, end: Instant) -> Result<Arc<Link>, Trouble> {
        let mut connecting = {
            let mut line = self.line.lock();
            if let Some(link) = &line.link {
                return Ok(Arc::clone(link));
            }
            // One that ended without a word, with its runtime, ends nobody else's waiting.
            let under_way = line.connecting.take().filter(|connecting| connecting.has_changed().is_ok());
            line.connecting.insert(under_way.unwrap_or_else(|| self.begin_connecting())).clone()
        };
        match timeout_at(end, connecting.wait_for(Option::is_some)).await {
            Ok(Ok(connected)) => connected.clone().unwrap_or_else(|| Err(self.timed_out())),
            _ => Err(self.timed_out()),
        }
    }

    fn begin_connecting(self: &Arc<Self>) -> Connecting {
        let (tell, connecting) = tokio::sync::watch::channel(None);
        let node = Arc::clone(self);
        tokio::spawn(async move {
            let connected = timeout(node.connect_limit, node.connect()).await;
            let connected = connected.unwrap_or_else(|_| Err(node.timed_out()));
            let mut line = node.line.lock();
            line.connecting = None;
            line.link = connected.as_ref().ok().map(Arc::clone);
            drop(line);
            tell.send_replace(Some(connected));
        });
        connecting
    }

    /// Connects, and logs in where there is a login.
    async fn connect(&self) -> Result<Arc<Link>, Trouble> {
        let connected = async {
            let client = Client::connect([&self.endpoint], self.connect.clone()).await?;
            // A client connects with its first call, in the time of that. What this one says does not matter.
            let said = client.maintenance_client().status().await;
            Ok((client, said.err()))
        };
        let unreachable = |source| Trouble::Unreachable { endpoint: self.endpoint.clone(), source };
        match connected.await {
            Ok((client, said)) => match said.map(|error| Trouble::of(&self.endpoint, error)) {
                Some(unreachable @ Trouble::Unreachable { .. }) => Err(unreachable),
                _ => Ok(Arc::new(Link::new(client))),
            },
            Err(error) => match Trouble::of(&self.endpoint, error) {
                // Whatever became of the login, no call was sent.
                Trouble::Lost { source, .. } => Err(unreachable(source)),
                other => Err(other),
            },
        }
    }

    fn timed_out(&self) -> Trouble {
        let source = Arc::new(ClientError::IoError(io::ErrorKind::TimedOut.into()));
        Trouble::Unreachable { endpoint: self.endpoint.clone(), source }
    }

    /// Lets go of a connection that answers nothing: it may be broken without either side having been told.
    fn discard(&self, silent: &Arc<Link>) {
        if self.connect.is_none() {
            return;
        }
        let mut line = self.line.lock();
        if line.link.as_ref().is_some_and(|link| Arc::ptr_eq(link, silent)) {
            line.link = None;
        }
        drop(line);
        silent.gone.send_replace(true);
    }
}

impl Link {
    fn new(client: Client) -> Self {
        // The engine bounds what it stores, so its answers are no longer than what was asked for.
        let kv = client.kv_client().max_decoding_message_size(usize::MAX);
        let watch = client.watch_client().max_decoding_message_size(usize::MAX);
        Self { client, kv, watch, gone: tokio::sync::watch::Sender::new(false) }
    }

    /// Done once another call has found the connection to be silent.
    async fn gone(&self) {
        let mut gone = self.gone.subscribe();
        // The sender lives as long as this link.
        let _ = gone.wait_for(|gone| *gone).await;
    }
}

impl Watched {
    /// What the node says next; nothing where the watch has ended, or its node is silent.
    pub(super) async fn next(&mut self) -> Option<WatchResponse> {
        let mut message = pin!(self.stream.message());
        let mut gone = pin!(self.link.gone());
        poll_fn(|context| match message.as_mut().poll(context) {
            Poll::Ready(message) => Poll::Ready(message.ok().flatten()),
            Poll::Pending => gone.as_mut().poll(context).map(|()| None),
        })
        .await
    }
}
