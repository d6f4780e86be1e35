//! What the fuzz targets call. Built for them alone.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use super::File;
use super::files::Files;
use super::handle::Handle;
use super::journal::{self, Mark, Shape};
use super::open::Opener;
use super::options::Options;
use super::recent::{self, Commits, Origin, commits_in};
use crate::backend::record::Record;
use crate::store::{Commit, Entry, Expected, Scan, Store, WriteId};

/// How large a file may become.
const SPACE: u64 = 8 << 20;

/// A file in memory, on a disk that is soon full.
#[derive(Debug, Clone)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl StorageBackend for Bytes {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock();
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let found = start.checked_add(out.len()).and_then(|end| bytes.get(start..end));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if length > SPACE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.lock().resize(length as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        if end > SPACE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = self.0.lock();
        if (bytes.len() as u64) < end {
            bytes.resize(end as usize, 0);
        }
        bytes[offset as usize..end as usize].copy_from_slice(data);
        Ok(())
    }
}

/// A journal that is soon full.
const SHAPE: Shape = Shape { segment: 4 << 10, segments: 3 };

fn opener([own, journal]: &[Bytes; 2]) -> Opener {
    let (own, journal) = (own.clone(), journal.clone());
    Opener::of_files(Files::of_storage(move || own.clone(), move || journal.clone(), SHAPE))
}

/// The store's own file, and its journal.
fn split(mut image: Vec<u8>) -> [Bytes; 2] {
    // What is short is no store: there the own file alone is looked at.
    let own = image.len().checked_sub(SHAPE.length() as usize).filter(|own| *own > SHAPE.length() as usize);
    let journal = image.split_off(own.unwrap_or(image.len()));
    [image, journal].map(|bytes| Bytes(Arc::new(Mutex::new(bytes))))
}

fn use_it(store: &File) {
    for id in ["a", "b", "c"] {
        let _ = store.get(id).wait();
        let _ = store.commit(Commit::one(Entry::put(id, Expected::Any, (*b"value").into()))).wait();
    }
    let _ = store.scan(Scan::new("", 10)).wait();
    let _ = store.scan(Scan::new("", 10).without_values()).wait();
    let _ = store.resolve(WriteId::from_bits(7)).wait();
}

/// The bytes of both files of a store that was not closed in good order, with commits that are not settled.
pub fn image() -> Vec<u8> {
    let bytes = [Bytes(Arc::default()), Bytes(Arc::default())];
    opener(&bytes).initialize(Origin { identity: 1, floor: 7 }).expect("memory does not fail");
    let handle = Handle::open(opener(&bytes)).expect("it is a store");
    let store = File::start(handle, &Options::new().history(64)).expect("it is a store");
    use_it(&store);
    // The store's own way of closing would settle them.
    store.shared.handle.close().expect("memory does not fail");
    drop(store);
    let image = bytes.map(|bytes| bytes.0.lock().clone()).concat();
    image
}

/// Opens any bytes as a store.
pub fn open(image: Vec<u8>) {
    let _ = Handle::open(opener(&split(image)));
}

/// Opens any bytes as a store, and uses it if it is one.
pub fn open_and_use(image: Vec<u8>) {
    let bytes = split(image);
    let Ok(handle) = Handle::open(opener(&bytes)) else { return };
    let Ok(store) = File::start(handle, &Options::new().history(64)) else { return };
    use_it(&store);
    let _ = store.close();
}

/// Decodes any bytes as rows of commits: the commits take no more memory than some times the bytes.
pub fn rows(bytes: &[u8]) {
    let _ = recent::decode_frame(bytes, &mut Commits::default());
    let _ = recent::decode_frame(&[&[0; 4], bytes].concat(), &mut Commits::default());
    let commits = commits_in(u64::MAX, bytes, 0).flatten().count();
    assert!(commits <= bytes.len());
}

/// Reads any bytes as a journal, behind any frame.
pub fn journal(bytes: &[u8], number: u64, checksum: u32, end: u64) {
    journal::fuzzed::read(bytes, Mark { number, checksum, end });
}

/// A journal of any frames, which must be read back, and none of them lost by a flipped bit.
pub fn journal_of(bodies: &[&[u8]], bit: usize) {
    journal::fuzzed::read_back(bodies, bit);
}

/// Decodes any bytes as a record. In the format that is written here, they must be the only bytes of that record; the other
/// one is composed by an engine, with another checksum.
pub fn record(id: &str, bytes: &[u8]) {
    let _ = Record::claimed_version(bytes);
    if let Ok(record) = Record::decode(id, bytes) {
        let encoded = record.encode(id);
        assert!(encoded == bytes || bytes.first() != encoded.first());
    }
}

/// A record of any value, which must be read back, and not with another bit or under another id.
pub fn round_trip(id: &str, version: std::num::NonZeroU64, write: Option<u128>, value: &[u8], bit: usize) {
    let record = Record {
        version: crate::store::Version::from_bits(version),
        write: write.map(WriteId::from_bits),
        value,
    };
    let mut bytes = record.encode(id);
    assert_eq!(Record::decode(id, &bytes), Ok(record));
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    assert!(Record::decode(id, &bytes).is_err());
}
