//! [`Journal`], the file beside the store's own in which commits are kept until they are settled.
//!
//! It has a header and a ring of segments, all of a fixed size and written with zeros before the first use, so that a sync
//! has no metadata to write. Each turn appends one [frame](frame), which lies in one segment. A segment is used again once
//! all of its frames are settled. The store's own file says which journal is its own, and where the frames begin that are
//! not settled.
//!
//! What is read ends with the last whole frame. Four things tell a crash from damage:
//!
//! - a crash leaves each sector as it was before or as it was to be, and each has a checksum of its own;
//! - a frame is begun only once the one before it is synced, or else says up to which frame the journal was;
//! - the last settled frame is on the disk before the store's own file tells of it, and stays until that tells of a later one;
//! - the file always has the same length.
//!
//! So a flipped bit or a cut never makes a synced frame vanish. A disk does that takes back all frames from one on after
//! having confirmed them: that looks like a crash, and nothing else tells of those frames.

mod frame;
#[cfg(fuzzing)]
pub(super) mod fuzzed;
mod replay;
mod sector;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use redb::StorageBackend;

use super::disk::Disk;
use super::files::Files;
use super::recent::Journaled;
use super::trouble::is_full;
use crate::base::random;

use frame::Head;
pub(super) use frame::Mark;
use replay::replay;
use sector::{SECTOR, Sector, spread};

/// What the header begins with.
const MAGIC: [u8; 4] = *b"ifmJ";

/// The format of the header and of the frames.
const FORMAT: u32 = 1;

/// How many bytes the header takes up.
const HEADER: usize = 4096;

/// How many bytes all segments have at most.
const LARGEST: u64 = 256 << 20;

/// How many bytes of zeros are written at once.
const STEP: usize = 1 << 20;

/// How many segments there are, and how large they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// In bytes, of whole sectors.
    pub(super) segment: u64,
    pub(super) segments: u64,
}

impl Shape {
    /// 8 MiB: with large values a tenth of a second of commits, with small ones several seconds.
    pub(super) const USUAL: Self = Self { segment: 2 << 20, segments: 4 };

    /// Whether a journal can have it, and one that is read into memory as a whole.
    fn is_sound(self) -> bool {
        let area = self.segment.checked_mul(self.segments);
        self.segment > 0
            && self.segment.is_multiple_of(SECTOR as u64)
            && self.segments > 1
            && area.is_some_and(|area| area <= LARGEST)
    }

    /// How many bytes all segments take up.
    fn area(self) -> u64 {
        self.segment * self.segments
    }

    /// How many bytes the file has.
    pub(super) fn length(self) -> u64 {
        HEADER as u64 + self.area()
    }

    /// Which segment is at a place.
    fn segment_at(self, place: u64) -> u64 {
        place / self.segment % self.segments
    }

    /// Where a frame of some size goes after what ends at `end`.
    fn place(self, end: u64, size: u64) -> u64 {
        let is_whole = end % self.segment + size <= self.segment;
        let place = if is_whole { end } else { end.next_multiple_of(self.segment) };
        place % self.area()
    }
}

/// The journal of an open store.
#[derive(Debug)]
pub(super) struct Journal {
    files: Arc<Files>,
    /// None before the first commit.
    disk: Option<Disk>,
    shape: Shape,
    opening: u64,
    /// What the store's own file says of it, as far as that was noted here: it may have been told of more since.
    noted: Journaled,
    /// The last frame.
    tip: Mark,
    /// The number of the last frame that is synced.
    synced: u64,
    /// Whether it has to be opened anew: a write or a sync has failed.
    failed: bool,
}

/// Why a journal that can be read is of no use.
fn damaged(found: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, found)
}

impl Journal {
    /// Opens the journal of which the store's own file tells. Gives what the frames hold that are not settled.
    pub(super) fn open(files: &Arc<Files>, journaled: Journaled) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let Journaled { id, former, settled } = journaled;
        let mut journal = Self {
            files: Arc::clone(files),
            disk: None,
            shape: files.shape,
            opening: random(),
            noted: journaled,
            tip: settled,
            synced: settled.number,
            failed: false,
        };
        if id == 0 {
            files.remove_left(former);
            return Ok((journal, Vec::new()));
        }
        let disk = files.open_journal()?;
        let shape = read_header(&disk, id, former)?;
        let mut area = vec![0; shape.area() as usize];
        disk.read(HEADER as u64, &mut area)?;
        let (bodies, tip) = replay(&area, shape, settled).map_err(damaged)?;
        // What a crash of the program left is in the system's memory and not on the disk, and a sync that failed before has
        // taken it for written.
        let mut end = settled.end;
        for body in &bodies {
            let size = frame::size(body.len());
            let place = shape.place(end, size);
            end = place + size;
            disk.write(HEADER as u64 + place, &area[place as usize..end as usize])?;
        }
        if !bodies.is_empty() {
            disk.sync_data()?;
        }
        (journal.tip, journal.shape) = (tip, shape);
        journal.synced = tip.number;
        journal.disk = Some(disk);
        Ok((journal, bodies))
    }

    /// What the store's own file is to say of it once all of it is settled.
    pub(super) fn journaled(&self) -> Journaled {
        Journaled { settled: self.tip, ..self.noted }
    }

    /// What that is known to say.
    pub(super) fn noted(&self) -> Journaled {
        self.noted
    }

    /// Creates it, unless it is there, or there is no space. The store's own file has to say so before anything is added.
    pub(super) fn create(&mut self) -> io::Result<bool> {
        if self.disk.is_some() {
            return Ok(false);
        }
        let id = random().max(1);
        let (former, shape) = (self.noted.former, self.files.shape);
        let created = self.files.create_journal(former, |disk| {
            disk.write(0, &header(id, former, shape))?;
            let zeros = vec![0; STEP.min(shape.area() as usize)];
            for start in (0..shape.area()).step_by(zeros.len()) {
                let length = (shape.area() - start).min(zeros.len() as u64);
                disk.write(HEADER as u64 + start, &zeros[..length as usize])?;
            }
            Ok(())
        });
        let disk = match created {
            Err(full) if is_full(&full) => {
                self.files.go_without_journal();
                return Ok(false);
            }
            created => created?,
        };
        (self.noted, self.shape) = (Journaled { id, former, settled: Mark::default() }, shape);
        (self.tip, self.synced) = (Mark::default(), 0);
        self.disk = Some(disk);
        Ok(true)
    }

    /// Has the next turn ask for it. The first one of an opening does without: for who commits once, it would cost more than it
    /// saves.
    pub(super) fn want(&self) {
        self.files.want_journal();
    }

    /// Has none be created for a while.
    pub(super) fn go_without(&self) {
        self.files.go_without_journal();
    }

    /// Whether it can have a frame of so many bytes, once there is room.
    pub(super) fn takes(&self, body: usize) -> bool {
        frame::size(body) <= self.shape.segment && (self.disk.is_some() || self.files.wants_journal())
    }

    /// Whether it is there and has room for a frame now, or else once more is settled.
    pub(super) fn has_room(&self, body: usize) -> bool {
        if self.disk.is_none() {
            return false;
        }
        let shape = self.shape;
        let place = shape.place(self.tip.end, frame::size(body));
        let enters = place.is_multiple_of(shape.segment);
        // The reading begins with the last of the settled frames.
        let kept = shape.segment_at(self.noted.settled.end.saturating_sub(1));
        !enters || self.tip == self.noted.settled || shape.segment_at(place) != kept
    }

    /// Appends a frame, for which there is room, and syncs it where that is wanted.
    pub(super) fn append(&mut self, body: &[u8], syncs: bool) -> io::Result<()> {
        self.run(|journal| journal.add(body).and_then(|()| if syncs { journal.confirm() } else { Ok(()) }))
    }

    /// Syncs all that was appended.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.run(Self::confirm)
    }

    /// Refuses to go on after a failure: the next sync would say nothing of what that one took for written.
    fn run(&mut self, step: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("its journal has failed before"));
        }
        let done = step(self);
        self.failed = done.is_err();
        done
    }

    fn add(&mut self, body: &[u8]) -> io::Result<()> {
        let disk = self.disk.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let head = Head {
            number: self.tip.number + 1,
            before: self.tip.checksum,
            opening: self.opening,
            confirmed: self.synced.max(self.noted.settled.number),
        };
        let (bytes, checksum) = frame::encode(&head, body);
        let place = self.shape.place(self.tip.end, bytes.len() as u64);
        self.files.write_whole(disk, HEADER as u64 + place, &bytes)?;
        self.tip = Mark { number: head.number, checksum, end: place + bytes.len() as u64 };
        Ok(())
    }

    fn confirm(&mut self) -> io::Result<()> {
        match &self.disk {
            Some(disk) if self.synced < self.tip.number => disk.sync_data()?,
            // The store's own file goes on to tell of it.
            Some(disk) => disk.check()?,
            None => {}
        }
        self.synced = self.tip.number;
        Ok(())
    }

    /// Takes note that the frames up to a mark are settled, and synced where they are now.
    pub(super) fn settled(&mut self, mark: Mark) {
        self.noted.settled = mark;
    }

    /// Removes it once all of it is settled and the store's own file says that there is none.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        if self.disk.take().is_some() {
            self.noted = self.noted.ended();
            (self.tip, self.synced) = (Mark::default(), 0);
            self.files.remove_journal()?;
        }
        Ok(())
    }
}

/// Whose journal a file is.
pub(super) struct Named {
    /// The random number that names it.
    pub(super) id: u64,
    /// The one that named the journal of the same store before it.
    former: u64,
    /// Whether no frame was ever written.
    is_blank: bool,
}

impl Named {
    /// Reads it; `None` of another file.
    pub(super) fn read(disk: &Disk) -> io::Result<Option<Self>> {
        let mut found = vec![0; HEADER + SECTOR];
        if disk.len()? < found.len() as u64 {
            return Ok(None);
        }
        disk.read(0, &mut found)?;
        let Sector::Written { index: 0, bytes } = Sector::read(&found[..SECTOR]) else { return Ok(None) };
        let Some(numbers) = bytes.strip_prefix(&MAGIC) else { return Ok(None) };
        let [id, former] = numbers_of(&numbers[4..]);
        let is_blank = Sector::read(&found[HEADER..]) == Sector::Blank;
        Ok(Some(Self { id, former, is_blank }))
    }

    /// Whether a store that has no journal, and had the one that `former` names, has left it there: that one was settled, and
    /// one that was created since has no commits as long as the store's own file does not tell of it.
    pub(super) fn is_left(&self, former: u64) -> bool {
        self.id == former || self.former == former && self.is_blank
    }
}

/// Reads what the file begins with, which must be that of the journal of this id, and its length: the shape is the one it
/// was created with.
fn read_header(disk: &Disk, id: u64, former: u64) -> io::Result<Shape> {
    let length = disk.len()?;
    if length < HEADER as u64 {
        return Err(damaged("its journal has a wrong length"));
    }
    let mut found = vec![0; HEADER];
    disk.read(0, &mut found)?;
    let strange = || damaged("its journal is damaged, or of another file");
    let Sector::Written { index: 0, bytes } = Sector::read(&found[..SECTOR]) else { return Err(strange()) };
    let bytes = bytes.strip_prefix(&MAGIC).ok_or_else(strange)?;
    let (format, bytes) = bytes.split_first_chunk().ok_or_else(strange)?;
    let format = u32::from_be_bytes(*format);
    if format != FORMAT {
        return Err(damaged(&format!("its journal has format {format}, and this release reads {FORMAT}")));
    }
    let [_, _, segment, segments] = numbers_of(bytes);
    let shape = Shape { segment, segments };
    if !shape.is_sound() || found != header(id, former, shape) {
        return Err(strange());
    }
    if length != shape.length() {
        return Err(damaged("its journal has a wrong length"));
    }
    Ok(shape)
}

/// The numbers that a header has behind its format.
fn numbers_of<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut numbers = bytes.as_chunks().0.iter().map(|number| u64::from_be_bytes(*number));
    [(); N].map(|()| numbers.next().unwrap_or_default())
}

/// What the file begins with.
fn header(id: u64, former: u64, shape: Shape) -> Vec<u8> {
    let numbers = [id, former, shape.segment, shape.segments].map(u64::to_be_bytes);
    let bytes = [&MAGIC[..], &FORMAT.to_be_bytes(), numbers.as_flattened()].concat();
    let mut header = spread(&bytes);
    header.resize(HEADER, 0);
    header
}
