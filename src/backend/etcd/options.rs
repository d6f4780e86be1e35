//! [`Options`], how to reach a collection in etcd and what its limits are.

use std::sync::Arc;

use etcd_client::Client;

use super::address::Address;
use super::keys::Keys;
use super::nodes::Nodes;
use super::{Etcd, Shared};
use crate::backend::engine::{ConnectError, Deadlines, Runtime};
use crate::store::Reply;

/// The least that may be kept of the write ids.
const LEAST_HISTORY: usize = 64;

/// How to reach a collection in etcd, and what its limits are.
///
/// ```no_run
/// use ifmatch::Etcd;
///
/// let store = Etcd::options()
///     .collection("notes")
///     .history(10_000)
///     .connect("etcd://one.example,two.example,three.example/app")
///     .wait()?;
/// # Ok::<_, ifmatch::engine::ConnectError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options connect to nothing by themselves"]
pub struct Options {
    prefix: String,
    collection: String,
    deadlines: Deadlines,
    history: usize,
    value_limit: usize,
    request_limit: usize,
    require_strict: bool,
}

impl Options {
    pub(super) fn new() -> Self {
        Self {
            prefix: "ifmatch".to_owned(),
            collection: "default".to_owned(),
            deadlines: Deadlines::default(),
            history: 100_000,
            value_limit: 1 << 20,
            // What etcd takes unless it is told otherwise.
            request_limit: 1536 << 10,
            require_strict: false,
        }
    }

    /// Which of several collections under one prefix: `default` unless told otherwise. 1 to 48 ASCII letters, digits, `-`
    /// and `_`.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().collection("notes");
    /// ```
    pub fn collection(self, name: impl Into<String>) -> Self {
        Self { collection: name.into(), ..self }
    }

    /// What all keys begin with, where the URL does not say it: `ifmatch` unless told otherwise. 1 to 200 ASCII letters,
    /// digits, `.`, `-`, `_`, `~` and `/`.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().prefix("team/app");
    /// ```
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// How long calls may take: see [`Deadlines`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ifmatch::Etcd;
    /// use ifmatch::engine::Deadlines;
    ///
    /// let quick = Deadlines { read: Duration::from_secs(1), ..Deadlines::default() };
    /// let options = Etcd::options().deadlines(quick);
    /// ```
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines: deadlines.bounded(), ..self }
    }

    /// How many write ids are kept: 100,000 unless told otherwise, and at least 64. Each takes about 150 bytes in etcd. They
    /// leave together, so that at times there are an eighth more for each store on the collection.
    ///
    /// How far the feed reaches back is not for the store to say: until etcd is compacted, see
    /// [`compact`](Etcd::compact). Stores on one collection should agree.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().history(10_000);
    /// ```
    pub fn history(self, commits: usize) -> Self {
        Self { history: commits.max(LEAST_HISTORY), ..self }
    }

    /// The most bytes a value may have: 1 MiB unless told otherwise. More than 1.5 MB needs a
    /// [`request_limit`](Self::request_limit) too.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().value_limit(64 * 1024);
    /// ```
    pub fn value_limit(self, bytes: usize) -> Self {
        Self { value_limit: bytes, ..self }
    }

    /// The most bytes a commit may have as a whole: 1.5 MiB unless told otherwise, as etcd itself. Set it to what etcd is
    /// started with as `--max-request-bytes`: nothing tells a client.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().request_limit(8 << 20).value_limit(4 << 20);
    /// ```
    pub fn request_limit(self, bytes: usize) -> Self {
        Self { request_limit: bytes, ..self }
    }

    /// Refuses an engine that says it may lose acknowledged commits: see [`Etcd`].
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().require_strict();
    /// ```
    pub fn require_strict(self) -> Self {
        Self { require_strict: true, ..self }
    }

    /// Opens the collection in the cluster that a URL names, and lays it where there is none:
    /// `etcd://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/PREFIX]`. What a user or password has of `:`, `@`, `/` and `%` is
    /// escaped as `%` and two hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows no part of the login.
    ///
    /// ```no_run
    /// let store = ifmatch::Etcd::options().connect("etcd://ann:secret@localhost/app").wait()?;
    /// # Ok::<_, ifmatch::engine::ConnectError>(())
    /// ```
    pub fn connect(self, url: &str) -> Reply<'static, Etcd, ConnectError> {
        match Address::parse(url) {
            Ok(address) => {
                let prefix = address.prefix.unwrap_or_else(|| self.prefix.clone());
                let nodes = Nodes::new(address.endpoints, address.login, self.deadlines.connect);
                Self { prefix, ..self }.open(nodes)
            }
            Err(unusable) => Reply::ready(Err(unusable)),
        }
    }

    /// Opens the collection through a client of the program's own, for one with TLS. It must live in the tokio runtime that
    /// this is called in. It chooses among its endpoints itself: where it sticks to a dead one, so does the store.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    ///
    /// ```no_run
    /// # async fn open(client: etcd_client::Client) -> Result<(), ifmatch::engine::ConnectError> {
    /// let store = ifmatch::Etcd::options().with_client(client).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_client(self, client: Client) -> Reply<'static, Etcd, ConnectError> {
        self.open(Nodes::of_client(client))
    }

    fn open(self, nodes: Nodes) -> Reply<'static, Etcd, ConnectError> {
        let shared = Keys::new(&self.prefix, &self.collection).and_then(|keys| {
            let runtime = Runtime::current_or_own().map_err(|error| ConnectError::Usage {
                what: "operating system",
                problem: format!("it gives no thread for the runtime: {error}"),
            })?;
            Ok(Arc::new(Shared::new(nodes, runtime, keys, &self)))
        });
        let shared = match shared {
            Ok(shared) => shared,
            Err(unusable) => return Reply::ready(Err(unusable)),
        };
        let opening = Arc::clone(&shared);
        shared.runtime.reply(async move {
            opening.open(self.require_strict).await?;
            Ok(Etcd { shared: opening })
        })
    }

    pub(super) fn limits(&self) -> (Deadlines, usize, usize, usize) {
        (self.deadlines, self.history, self.value_limit, self.request_limit)
    }
}
