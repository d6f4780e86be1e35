//! [`SimulatedDisk`], which remembers what it was told, fails on demand, and shows what a crash could leave.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

use crate::base::random;

/// How much a disk writes as one.
const SECTOR: usize = 512;

/// A disk with a cache: reads see all that was written, a crash keeps what was synced and any part of the rest.
#[derive(Debug, Clone, Default)]
pub(super) struct SimulatedDisk(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    /// What reads see.
    seen: Vec<u8>,
    /// What a sync has confirmed.
    confirmed: Vec<u8>,
    /// What the next sync will confirm.
    pending: Vec<Step>,
    trace: Vec<Event>,
    start: Vec<u8>,
    operations: usize,
    fault: Option<(Fault, usize)>,
    full: bool,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contents({} bytes)", self.seen.len())
    }
}

/// What changes a disk.
#[derive(Clone)]
enum Step {
    Write(usize, Vec<u8>),
    Resize(usize),
}

enum Event {
    Step(Step),
    Sync,
    Acknowledged(u64),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
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
pub(super) struct Crash {
    confirmed: Vec<u8>,
    pending: Vec<Step>,
    /// The last commit that was acknowledged before.
    pub(super) acknowledged: u64,
}

impl SimulatedDisk {
    /// A disk with this content, all of it confirmed.
    pub(super) fn of(image: Vec<u8>) -> Self {
        let state =
            Contents { seen: image.clone(), confirmed: image.clone(), start: image, ..Contents::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(super) fn fail(&self, fault: Fault, at: usize) {
        let mut state = self.0.lock();
        state.operations = 0;
        state.fault = Some((fault, at));
    }

    /// Changes one bit behind everybody's back.
    pub(super) fn flip(&self, bit: usize) {
        let mut state = self.0.lock();
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        state.seen[byte] ^= mask;
        state.confirmed[byte] ^= mask;
    }

    pub(super) fn heal(&self) {
        let mut state = self.0.lock();
        state.fault = None;
        state.full = false;
    }

    pub(super) fn acknowledge(&self, number: u64) {
        self.0.lock().trace.push(Event::Acknowledged(number));
    }

    pub(super) fn sync(&self) {
        self.sync_data().unwrap();
    }

    pub(super) fn operations(&self) -> usize {
        self.0.lock().operations
    }

    pub(super) fn confirmed(&self) -> Vec<u8> {
        self.0.lock().confirmed.clone()
    }

    /// Every moment since the first acknowledgement at which something changed, or since the start where there is none.
    pub(super) fn crashes(&self) -> Vec<Crash> {
        let state = self.0.lock();
        let acknowledges = state.trace.iter().any(|event| matches!(event, Event::Acknowledged(_)));
        let mut crashes = Vec::new();
        let mut confirmed = state.start.clone();
        let mut pending: Vec<Step> = Vec::new();
        let mut acknowledged = (!acknowledges).then_some(0);
        for event in &state.trace {
            match event {
                Event::Step(step) => pending.push(step.clone()),
                Event::Sync => pending.drain(..).for_each(|step| step.apply(&mut confirmed)),
                Event::Acknowledged(number) => acknowledged = Some(*number),
            }
            let Some(acknowledged) = acknowledged else { continue };
            crashes.push(Crash { confirmed: confirmed.clone(), pending: pending.clone(), acknowledged });
        }
        crashes
    }

    fn operate(&self, kind: Kind, step: Option<Step>) -> io::Result<()> {
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
                if let Some(Step::Write(offset, bytes)) = step {
                    let half = bytes.len() / 2;
                    state.step(Step::Write(offset, bytes[..half].to_vec()));
                }
                return Err(io::Error::other("a short write"));
            }
            (Some(Fault::LostOnSync), Kind::Sync) => {
                // Some of it is written, the rest never will be, and no later sync says so.
                let pending = std::mem::take(&mut state.pending);
                for step in pending.into_iter().filter(|_| random().is_multiple_of(2)) {
                    step.apply(&mut state.confirmed);
                }
                return Err(io::Error::other("a failed sync"));
            }
            (Some(_), _) => return Err(io::Error::other("an injected error")),
        }
        match step {
            Some(step) => state.step(step),
            None if kind == Kind::Sync => {
                let pending = std::mem::take(&mut state.pending);
                pending.into_iter().for_each(|step| step.apply(&mut state.confirmed));
                state.trace.push(Event::Sync);
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
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Resize(length) => bytes.resize(*length, 0),
            Self::Write(offset, data) => {
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
    pub(super) fn image(&self, variant: usize) -> Vec<u8> {
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
    match step {
        Step::Resize(_) => vec![step],
        Step::Write(offset, data) => {
            let sector =
                |(number, data): (usize, &[u8])| Step::Write(offset + number * SECTOR, data.to_vec());
            data.chunks(SECTOR).enumerate().map(sector).collect()
        }
    }
}

impl StorageBackend for SimulatedDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.operate(Kind::Read, None)?;
        let state = self.0.lock();
        let start = offset as usize;
        let found = state.seen.get(start..start + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.operate(Kind::Resize, Some(Step::Resize(length as usize)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.operate(Kind::Sync, None)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.operate(Kind::Write, Some(Step::Write(offset as usize, data.to_vec())))
    }
}
