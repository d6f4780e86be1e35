//! [`Options`], how to open a file, and [`Persistence`], what an acknowledgement means.

/// What it means that a commit was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Persistence {
    /// It is synced to the disk. A crash of the program or of the machine loses nothing that was acknowledged, unless
    /// the disk lies about having written.
    #[default]
    Immediate,
    /// It will be synced within a second or so, and at once by [`File::sync`](crate::File::sync) and [`File::close`](crate::File::close). A crash of the
    /// program or of the machine, and an error of the disk, may lose the acknowledged commits since then; what is left is
    /// the state after some commit, never a part of one. Where an error took some, watchers and caches that were running
    /// hear [`Expired`](crate::store::Expired). Many times faster for a lone caller.
    Eventual,
}

/// How to open a file.
///
/// ```
/// use ifmatch::file::{File, Persistence};
///
/// # let path = std::env::temp_dir().join(format!("ifmatch-doc-options-{}", std::process::id()));
/// let store = File::options().persistence(Persistence::Eventual).history(1_000).open(&path)?;
/// # drop(store);
/// # std::fs::remove_file(path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "options open nothing by themselves"]
pub struct Options {
    pub(super) persistence: Persistence,
    pub(super) history: usize,
    pub(super) value_limit: usize,
    pub(super) cache_bytes: usize,
    pub(super) verify: bool,
}

impl Options {
    pub(super) fn new() -> Self {
        Self {
            persistence: Persistence::Immediate,
            history: 100_000,
            value_limit: 1 << 20,
            cache_bytes: 256 << 20,
            verify: false,
        }
    }

    /// What it means that a commit was acknowledged: Default: synced.
    pub fn persistence(self, persistence: Persistence) -> Self {
        Self { persistence, ..self }
    }

    /// How many changes the feed, deletions and write ids reach back, at least 64. Default: 100,000.
    ///
    /// They are kept in the file, about 60 bytes each beside the id, and read when it is opened; write ids are also kept in
    /// memory, about 50 bytes each. The oldest leave it when commits are settled, so for some time it reaches back further.
    /// With fewer than 16,000 commits are settled more often, which costs writes.
    pub fn history(self, changes: usize) -> Self {
        Self { history: changes.max(64), ..self }
    }

    /// The most bytes a value may have. Default: 1 MiB.
    pub fn value_limit(self, bytes: usize) -> Self {
        Self { value_limit: bytes, ..self }
    }

    /// How much memory is used to keep parts of the file in. Default: 256 MiB.
    pub fn cache(self, bytes: usize) -> Self {
        Self { cache_bytes: bytes, ..self }
    }

    /// Checks the whole file when it is opened.
    ///
    /// Without it, the file is trusted, also after a crash: a value changed behind the store's back is still
    /// found out when it is read, and an id changed or lost is not. Takes as long as reading the file.
    pub fn verified(self) -> Self {
        Self { verify: true, ..self }
    }
}
