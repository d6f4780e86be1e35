//! [`SimulatedDisk`], which remembers what it was told, fails on demand, and shows what a crash could leave.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use crate::base::random;

/// How much a disk writes as one.
const SECTOR: usize = 512;

/// The store's own file, and its journal.
pub(in crate::backend::file) type Image = [Vec<u8>; 2];

/// A disk with a cache and two files: reads see all that was written, a crash keeps what was synced and any part of the
/// rest. A sync is of one file.
#[derive(Debug, Clone, Default)]
pub(in crate::backend::file) struct SimulatedDisk(Arc<Mutex<Contents>>);

/// One file on it.
#[derive(Debug)]
pub(in crate::backend::file) struct OneFile {
    disk: SimulatedDisk,
    file: usize,
}

#[derive(Default)]
struct Contents {
    /// What reads see.
    seen: Image,
    /// What a sync has confirmed.
    confirmed: Image,
    /// What the next sync of its file will confirm.
    pending: Vec<Step>,
    trace: Vec<Event>,
    start: Image,
    operations: usize,
    fault: Option<(Fault, usize)>,
    full: bool,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contents({} bytes)", self.seen[0].len())
    }
}

/// What changes a disk.
#[derive(Clone)]
struct Step {
    file: usize,
    change: Change,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

enum Event {
    Step(Step),
    /// Of a file.
    Sync(usize),
    Acknowledged(u64),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::file) enum Fault {
    /// The operation fails and does nothing.
    Error,
    /// A write stops half-way; anything else just fails.
    Short,
    /// A sync fails, and what it should have written is taken for written from then on; anything else just fails.
    LostOnSync,
    /// There is no space from then on, for whatever is written.
    Full,
}

/// A moment at which the power may fail.
pub(in crate::backend::file) struct Crash {
    confirmed: Image,
    pending: Vec<Step>,
    /// The last commit that was acknowledged before.
    pub(in crate::backend::file) acknowledged: u64,
}

impl SimulatedDisk {
    /// A disk with this content, all of it confirmed.
    pub(in crate::backend::file) fn of(image: Image) -> Self {
        let state =
            Contents { seen: image.clone(), confirmed: image.clone(), start: image, ..Contents::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(in crate::backend::file) fn fail(&self, fault: Fault, at: usize) {
        let mut state = self.0.lock();
        state.operations = 0;
        state.fault = Some((fault, at));
    }

    /// Changes one bit behind everybody's back.
    pub(in crate::backend::file) fn flip(&self, bit: usize) {
        let mut state = self.0.lock();
        flip(&mut state.seen, bit);
        flip(&mut state.confirmed, bit);
    }

    pub(in crate::backend::file) fn heal(&self) {
        let mut state = self.0.lock();
        state.fault = None;
        state.full = false;
    }

    pub(in crate::backend::file) fn acknowledge(&self, number: u64) {
        self.0.lock().trace.push(Event::Acknowledged(number));
    }

    pub(in crate::backend::file) fn sync(&self) {
        for file in 0..2 {
            self.file(file).sync_data().unwrap();
        }
    }

    /// The store's own file, or its journal.
    pub(in crate::backend::file) fn file(&self, file: usize) -> OneFile {
        OneFile { disk: self.clone(), file }
    }

    /// Loses what no sync has confirmed, as a cache does whose pages could not be written.
    pub(in crate::backend::file) fn forget(&self) {
        let mut state = self.0.lock();
        state.seen = state.confirmed.clone();
        state.pending.clear();
    }

    pub(in crate::backend::file) fn operations(&self) -> usize {
        self.0.lock().operations
    }

    pub(in crate::backend::file) fn confirmed(&self) -> Image {
        self.0.lock().confirmed.clone()
    }

    /// What there is for who opens it now, as after a crash of the program alone.
    pub(in crate::backend::file) fn seen(&self) -> Image {
        self.0.lock().seen.clone()
    }

    /// Every moment since the first acknowledgement at which something changed, or since the start where there is none.
    pub(in crate::backend::file) fn crashes(&self) -> Vec<Crash> {
        let state = self.0.lock();
        let acknowledges = state.trace.iter().any(|event| matches!(event, Event::Acknowledged(_)));
        let mut crashes = Vec::new();
        let mut confirmed = state.start.clone();
        let mut pending: Vec<Step> = Vec::new();
        let mut acknowledged = (!acknowledges).then_some(0);
        for event in &state.trace {
            match event {
                Event::Step(step) => pending.push(step.clone()),
                Event::Sync(file) => {
                    pending
                        .extract_if(.., |step| step.file == *file)
                        .for_each(|step| step.apply(&mut confirmed));
                }
                Event::Acknowledged(number) => acknowledged = Some(*number),
            }
            let Some(acknowledged) = acknowledged else { continue };
            crashes.push(Crash { confirmed: confirmed.clone(), pending: pending.clone(), acknowledged });
        }
        crashes
    }

    fn operate(&self, file: usize, kind: Kind, change: Option<Change>) -> io::Result<()> {
        let mut state = self.0.lock();
        let at = state.operations;
        state.operations += 1;
        let struck = state.fault.filter(|(_, when)| *when == at).map(|(fault, _)| fault);
        if struck == Some(Fault::Full) {
            state.full = true;
        }
        if state.full && kind != Kind::Read {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match (struck, kind) {
            (None | Some(Fault::Full), _) => {}
            (Some(Fault::Short), Kind::Write) => {
                if let Some(Change::Write(offset, bytes)) = change {
                    let half = bytes.len() / 2;
                    state.step(Step { file, change: Change::Write(offset, bytes[..half].to_vec()) });
                }
                return Err(io::Error::other("a short write"));
            }
            (Some(Fault::LostOnSync), Kind::Sync) => {
                // Some of it is written, the rest never will be, and no later sync says so.
                let pending: Vec<_> = state.pending.extract_if(.., |step| step.file == file).collect();
                for step in pending.into_iter().filter(|_| random().is_multiple_of(2)) {
                    step.apply(&mut state.confirmed);
                }
                return Err(io::Error::other("a failed sync"));
            }
            (Some(_), _) => return Err(io::Error::other("an injected error")),
        }
        match change {
            Some(change) => state.step(Step { file, change }),
            None if kind == Kind::Sync => {
                let pending: Vec<_> = state.pending.extract_if(.., |step| step.file == file).collect();
                pending.into_iter().for_each(|step| step.apply(&mut state.confirmed));
                state.trace.push(Event::Sync(file));
            }
            None => {}
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Resize,
    Sync,
}

impl Contents {
    fn step(&mut self, step: Step) {
        step.apply(&mut self.seen);
        self.pending.push(step.clone());
        self.trace.push(Event::Step(step));
    }
}

impl Step {
    fn apply(&self, image: &mut Image) {
        let bytes = &mut image[self.file];
        match &self.change {
            Change::Resize(length) => bytes.resize(*length, 0),
            Change::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Crash {
    /// What the disk may have afterwards: nothing that was not synced, all of it, some of its writes, or some sectors.
    pub(in crate::backend::file) fn image(&self, variant: usize) -> Image {
        let mut image = self.confirmed.clone();
        let mut steps = self.pending.clone();
        match variant % 4 {
            0 => steps.retain(|_| random().is_multiple_of(2)),
            1 => steps.clear(),
            2 => {}
            _ => steps = steps.into_iter().flat_map(sectors).filter(|_| random().is_multiple_of(2)).collect(),
        }
        steps.iter().for_each(|step| step.apply(&mut image));
        image
    }
}

/// A write as the sectors it is made of.
fn sectors(step: Step) -> Vec<Step> {
    match &step.change {
        Change::Resize(_) => vec![step],
        Change::Write(offset, data) => {
            let sector = |(number, data): (usize, &[u8])| {
                let change = Change::Write(offset + number * SECTOR, data.to_vec());
                Step { file: step.file, change }
            };
            data.chunks(SECTOR).enumerate().map(sector).collect()
        }
    }
}

/// How many bits an image has.
pub(in crate::backend::file) fn bits(image: &Image) -> usize {
    image.iter().map(|file| file.len() * 8).sum()
}

/// Changes one bit, counted through both files.
pub(in crate::backend::file) fn flip(image: &mut Image, bit: usize) {
    let own = image[0].len() * 8;
    let (file, bit) = if bit < own { (0, bit) } else { (1, bit - own) };
    image[file][bit / 8] ^= 1 << (bit % 8);
}

impl StorageBackend for OneFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().seen[self.file].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.operate(self.file, Kind::Read, None)?;
        let state = self.disk.0.lock();
        let start = offset as usize;
        let found = state.seen[self.file].get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.operate(self.file, Kind::Resize, Some(Change::Resize(length as usize)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.operate(self.file, Kind::Sync, None)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.operate(self.file, Kind::Write, Some(Change::Write(offset as usize, data.to_vec())))
    }
}
