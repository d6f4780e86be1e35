//! [`Disk`], the storage under the engine: it remembers what no sync has confirmed, and refuses a forked child.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};

use super::place::Place;

/// The most one step of a rewrite reads.
const STEP: u64 = 1 << 20;

/// The pieces in which a rewrite goes on where the disk is full.
const PIECE: u64 = 4096;

/// What no sync has confirmed is kept as this many pieces before neighbours are merged, gaps included.
const PIECES: usize = 1024;

/// Which byte is locked of a file that one opening alone may write: far behind all that is read or copied.
const LOCKED: u64 = 1 << 61;

/// The storage under the engine, and under the journal.
///
/// A sync that failed says nothing about the writes before it, and the next one may succeed without having written
/// them: Linux marks pages that could not be written as clean. So what was written since the last sync that succeeded
/// is remembered, across handles, and written again before the file is opened anew. Of the journal nothing is: its opening
/// writes all anew that it reads.
pub(super) struct Disk {
    storage: Box<dyn StorageBackend>,
    unconfirmed: Arc<Unconfirmed>,
    /// Which files must lie where they did for a sync to be worth anything.
    places: Vec<Arc<Place>>,
    process: u32,
}

/// The ranges written since the last sync that succeeded: start and end.
#[derive(Debug, Default)]
pub(super) struct Unconfirmed(Mutex<Vec<(u64, u64)>>);

impl Disk {
    pub(super) fn new(
        storage: Box<dyn StorageBackend>,
        unconfirmed: Arc<Unconfirmed>,
        places: Vec<Arc<Place>>,
    ) -> Self {
        Self { storage, unconfirmed, places, process: std::process::id() }
    }

    /// The same file at the places where it is to be found from now on.
    pub(super) fn at(self, places: Vec<Arc<Place>>) -> Self {
        let mut disk = self;
        disk.places = places;
        disk
    }

    /// Keeps out whoever else would write: the engine does the same with the file it is given. Where the system has no
    /// locks, nobody is kept out.
    pub(super) fn lock(&self) -> io::Result<()> {
        let byte = (Bound::Included(LOCKED), Bound::Included(LOCKED));
        let locked = match self.storage.try_lock_range(byte.0, byte.1) {
            Err(BackendError::Unsupported) => self.storage.try_lock_range(Bound::Unbounded, Bound::Unbounded),
            locked => locked,
        };
        match locked {
            Ok(true) | Err(BackendError::Unsupported) => Ok(()),
            Ok(false) => Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is open already")),
            Err(BackendError::Io(source)) => Err(source),
            Err(other) => Err(io::Error::other(other)),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        let byte = (Bound::Included(LOCKED), Bound::Included(LOCKED));
        let unlocked = match self.storage.unlock_range(byte.0, byte.1) {
            Err(BackendError::Unsupported) => self.storage.unlock_range(Bound::Unbounded, Bound::Unbounded),
            unlocked => unlocked,
        };
        match unlocked {
            Ok(()) | Err(BackendError::Unsupported) => Ok(()),
            Err(BackendError::Io(source)) => Err(source),
            Err(other) => Err(io::Error::other(other)),
        }
    }

    /// Refuses to go on where a file is not at its place any more.
    pub(super) fn check(&self) -> io::Result<()> {
        self.places.iter().try_for_each(|place| place.check())
    }

    /// Writes again what no sync has confirmed, and syncs it. The engine locks the file only when it opens it: whoever has it
    /// open until then may be writing there.
    pub(super) fn confirm(&self) -> io::Result<()> {
        let ranges = self.unconfirmed.0.lock().clone();
        if ranges.is_empty() {
            return Ok(());
        }
        self.lock()?;
        let length = self.storage.len()?;
        let mut bytes = Vec::new();
        for (start, end) in ranges {
            let end = end.min(length);
            let mut at = start;
            while at < end {
                let step = (end - at).min(STEP);
                bytes.resize(step as usize, 0);
                self.storage.read(at, &mut bytes)?;
                match self.storage.write(at, &bytes) {
                    Err(full) if full.kind() == io::ErrorKind::StorageFull => {
                        self.rewrite_what_is_there(at, &bytes)?
                    }
                    written => written?,
                }
                at += step;
            }
        }
        self.sync_data()?;
        self.unlock()
    }

    /// Writes again, on a full disk, what takes no new space. A hole that a write found no space for reads as zeros, and
    /// goes on to do so unwritten.
    fn rewrite_what_is_there(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            let length = (PIECE - at % PIECE).min(rest.len() as u64);
            let (piece, after) = rest.split_at(length as usize);
            match self.storage.write(at, piece) {
                Err(full)
                    if full.kind() == io::ErrorKind::StorageFull && piece.iter().all(|byte| *byte == 0) => {}
                written => written?,
            }
            at += length;
            rest = after;
        }
        Ok(())
    }

    /// Refuses a child of `fork()`, whose copy of the engine's memory would overwrite what the parent writes.
    fn same_process(&self) -> io::Result<()> {
        match std::process::id() {
            id if id == self.process => Ok(()),
            _ => Err(io::Error::other("the file was opened by the process this one was forked from")),
        }
    }
}

impl Unconfirmed {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    fn add(&self, start: u64, end: u64) {
        let mut ranges = self.0.lock();
        if let Some(last) = ranges.last_mut()
            && last.1 == start
        {
            last.1 = end;
            return;
        }
        ranges.push((start, end));
        if ranges.len() <= PIECES {
            return;
        }
        ranges.sort_unstable();
        let merged =
            ranges.chunks(4).map(|near| (near[0].0, near.iter().map(|range| range.1).max().unwrap_or(0)));
        *ranges = merged.collect();
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.same_process()?;
        self.storage.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.same_process()?;
        self.storage.sync_data()?;
        // A commit is as good as the name under which it is found again.
        self.check()?;
        self.unconfirmed.0.lock().clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.same_process()?;
        // Also where the write fails: a part of it may have been written.
        self.unconfirmed.add(offset, offset + data.len() as u64);
        self.storage.write(offset, data)
    }

    // A child shares its parent's locks: giving one up in the child would take it from the parent.
    fn close(&self) -> io::Result<()> {
        self.same_process()?;
        self.storage.close()
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.same_process()?;
        self.storage.unlock_range(start, end)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.lock_shared_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.query_lock_range(start, end)
    }
}

/// Gives the lock back, also where a child that was forked has the file open still.
impl Drop for Disk {
    fn drop(&mut self) {
        let _ = StorageBackend::close(self);
    }
}

// Hand-written: the engine formats its storage into its log.
impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}
