//! [`Options`], how to open a collection on Redis.

use ::redis::{Client, RedisError};

use super::Redis;
use super::keys::Keys;
use crate::backend::engine::{ConnectError, Deadlines};
use crate::store::Reply;

/// The largest value that can be allowed: an eighth of what Redis takes in one piece.
const LARGEST: usize = 64 << 20;

/// How to open a collection on Redis.
///
/// ```no_run
/// use ifmatch::Redis;
///
/// let store = Redis::options().collection("articles").require_strict().connect("redis://127.0.0.1").wait()?;
/// # Ok::<_, ifmatch::engine::ConnectError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options open nothing by themselves"]
pub struct Options {
    prefix: String,
    collection: String,
    pub(super) deadlines: Deadlines,
    pub(super) strict: bool,
    pub(super) history: usize,
    pub(super) value_limit: usize,
}

impl Options {
    pub(super) fn new() -> Self {
        Self {
            prefix: "ifmatch".to_owned(),
            collection: "default".to_owned(),
            deadlines: Deadlines::default(),
            strict: false,
            history: 100_000,
            value_limit: 1 << 20,
        }
    }

    /// Which collection: `default` unless told otherwise. Each has its own versions, feed and limits.
    ///
    /// 1 to 64 ASCII letters, digits, `_`, `-` and `.`; another name is refused when the store connects.
    pub fn collection(self, name: impl Into<String>) -> Self {
        Self { collection: name.into(), ..self }
    }

    /// What every key begins with: `ifmatch` unless told otherwise. The same rules hold as for the collection.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// How long a call may take.
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines: deadlines.bounded(), ..self }
    }

    /// Refuses a server that may lose acknowledged commits in a crash, or does not tell.
    pub fn require_strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// How many commits the feed, deletions and write ids reach back: 100,000 unless told otherwise, and at least 64.
    ///
    /// Redis keeps them in memory, about 200 bytes each, and up to 16 more of them. Where stores of one collection differ,
    /// the smallest holds.
    pub fn history(self, commits: usize) -> Self {
        Self { history: commits.clamp(64, 1 << 30), ..self }
    }

    /// The most bytes a value may have: 1 MiB unless told otherwise, and at most 64 MiB.
    pub fn value_limit(self, bytes: usize) -> Self {
        Self { value_limit: bytes.min(LARGEST), ..self }
    }

    /// Opens the collection on the server at `url`, or begins it where there is nothing.
    ///
    /// `redis://[user[:password]@]host[:port][/database]`, or `redis+unix:///path`. `rediss://` needs the feature
    /// `redis-tls`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows neither the URL nor anything in it but host and port.
    pub fn connect(self, url: impl AsRef<str>) -> Reply<'static, Redis, ConnectError> {
        match Client::open(url.as_ref()) {
            Ok(client) => self.with_client(client),
            Err(error) => Reply::ready(Err(no_url(&error))),
        }
    }

    /// The same with a client that the program has set up, for certificates of its own and the like. The store uses only its
    /// settings, and makes connections of its own.
    ///
    /// ```no_run
    /// use ifmatch::Redis;
    ///
    /// let client = redis::Client::open("redis://127.0.0.1")?;
    /// let store = Redis::options().with_client(client).wait()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_client(self, client: Client) -> Reply<'static, Redis, ConnectError> {
        match Keys::new(&self.prefix, &self.collection) {
            Ok(keys) => Redis::open(client, keys, self),
            Err(error) => Reply::ready(Err(error)),
        }
    }
}

/// What is wrong with a URL, in our words: the driver's own quote parts of it.
pub(super) fn no_url(error: &RedisError) -> ConnectError {
    let tls = error.to_string().contains("TLS");
    let problem = match tls {
        true => "it asks for TLS, which needs the feature `redis-tls`",
        false => "it is not of the form redis://[user[:password]@]host[:port][/database]",
    };
    ConnectError::Usage { what: "URL", problem: problem.to_owned() }
}
