//! [`Options`], how to reach a namespace in etcd and what its limits are.

use crate::backend::engine::Deadlines;

/// The least that may be kept of the write ids.
const LEAST_HISTORY: usize = 64;

/// How to reach a namespace in etcd, and what its limits are.
///
/// ```no_run
/// use ifmatch::Etcd;
///
/// let store = Etcd::options()
///     .namespace("notes")
///     .history(10_000)
///     .connect("etcd://one.example,two.example,three.example/app")
///     .wait()?;
/// # Ok::<_, ifmatch::engine::ConnectError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options connect to nothing by themselves"]
pub struct Options {
    pub(super) prefix: String,
    pub(super) namespace: String,
    pub(super) deadlines: Deadlines,
    pub(super) history: usize,
    pub(super) value_limit: usize,
    pub(super) request_limit: usize,
    pub(super) require_strict: bool,
}

impl Options {
    pub(super) fn new() -> Self {
        Self {
            prefix: "ifmatch".to_owned(),
            namespace: "default".to_owned(),
            deadlines: Deadlines::default(),
            history: 100_000,
            value_limit: 1 << 20,
            // What etcd takes unless it is told otherwise.
            request_limit: 1536 << 10,
            require_strict: false,
        }
    }

    /// Which of several namespaces under one prefix. Default: `default`. 1 to 48 ASCII letters, digits, `-`
    /// and `_`.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().namespace("notes");
    /// ```
    pub fn namespace(self, name: impl Into<String>) -> Self {
        Self { namespace: name.into(), ..self }
    }

    /// What all keys begin with, where the URL does not say it. Default: `ifmatch`. 1 to 200 ASCII letters,
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

    /// How many commits are kept under their write ids. Default: 100,000, and at least 64. Each takes about 150 bytes in
    /// etcd. They leave together, so that at times there are an eighth more for each store on the namespace. About as many
    /// ids are kept that were resolved as not applied.
    ///
    /// How far the feed reaches back is not for the store to say: until etcd is compacted, see
    /// [`compact`](crate::Etcd::compact). Stores on one namespace should agree.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().history(10_000);
    /// ```
    pub fn history(self, commits: usize) -> Self {
        Self { history: commits.max(LEAST_HISTORY), ..self }
    }

    /// The most bytes a value may have. Default: 1 MiB. More than 1.5 MB needs a
    /// [`request_limit`](Self::request_limit) too.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().value_limit(64 * 1024);
    /// ```
    pub fn value_limit(self, bytes: usize) -> Self {
        Self { value_limit: bytes, ..self }
    }

    /// The most bytes a commit may have as a whole. Default: 1.5 MiB, as etcd itself. Set it to what etcd is
    /// started with as `--max-request-bytes`: nothing tells a client.
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().request_limit(8 << 20).value_limit(4 << 20);
    /// ```
    pub fn request_limit(self, bytes: usize) -> Self {
        Self { request_limit: bytes, ..self }
    }

    /// Refuses an engine that says it may lose acknowledged commits: see [`Etcd`](crate::Etcd).
    ///
    /// ```
    /// let options = ifmatch::Etcd::options().require_strict();
    /// ```
    pub fn require_strict(self) -> Self {
        Self { require_strict: true, ..self }
    }
}
