//! [`Options`], how to open a namespace on Redis.

use crate::backend::engine::Deadlines;

/// The largest value that can be allowed: an eighth of what Redis takes in one piece.
const LARGEST: usize = 64 << 20;

/// How to open a namespace on Redis.
///
/// ```no_run
/// use ifmatch::Redis;
///
/// let store = Redis::options().namespace("articles").require_strict().connect("redis://127.0.0.1").wait()?;
/// # Ok::<_, ifmatch::engine::ConnectError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options open nothing by themselves"]
pub struct Options {
    pub(super) prefix: String,
    pub(super) namespace: String,
    pub(super) deadlines: Deadlines,
    pub(super) strict: bool,
    pub(super) history: usize,
    pub(super) value_limit: usize,
}

impl Options {
    pub(super) fn new() -> Self {
        Self {
            prefix: "ifmatch".to_owned(),
            namespace: "default".to_owned(),
            deadlines: Deadlines::default(),
            strict: false,
            history: 100_000,
            value_limit: 1 << 20,
        }
    }

    /// Which namespace. Default: `default`. Each has its own versions, feed and limits.
    ///
    /// 1 to 64 ASCII letters, digits, `_`, `-` and `.`; another name is refused when the store connects.
    pub fn namespace(self, name: impl Into<String>) -> Self {
        Self { namespace: name.into(), ..self }
    }

    /// What every key begins with. Default: `ifmatch`. The same rules hold as for the namespace.
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

    /// How many commits the feed, deletions and write ids reach back. Default: 100,000, and at least 64.
    ///
    /// Redis keeps them in memory, about 200 bytes each, and up to 16 more of them. Where stores of one namespace differ,
    /// the smallest holds.
    pub fn history(self, commits: usize) -> Self {
        Self { history: commits.clamp(64, 1 << 30), ..self }
    }

    /// The most bytes a value may have. Default: 1 MiB, and at most 64 MiB.
    pub fn value_limit(self, bytes: usize) -> Self {
        Self { value_limit: bytes.min(LARGEST), ..self }
    }
}
