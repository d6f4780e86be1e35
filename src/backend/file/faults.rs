//! Proofs on a simulated disk: I/O errors at every operation, crash images, and images of the recovery of images.

mod beside;
pub(super) mod disk;
mod journal;
mod model;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;

use super::files::Files;
use super::handle::Handle;
use super::journal::Shape;
use super::open::{Opened, Opener};
use super::open_error::OpenError;
use super::options::{Options, Persistence};
use super::recent::{Origin, RESOURCES, View};
use super::{File, Reply};
use crate::backend::record::Record;
use crate::base::random;
use crate::store::{
    Commit, Entry, Error, Expected, Outcome, Page, Resolution, Scan, Store, Version, WriteId,
};
use disk::{Fault, Image, SimulatedDisk, bits, flip};

/// How many commits the workload of the crash images makes.
const COMMITS: u64 = 40;

/// How many commits the workload makes that meets a fault at every operation.
const SURVIVING: u64 = 16;

/// How many changes are remembered: few, so that commits leave the log, and enough that several are recent at once.
const HISTORIES: [usize; 2] = [64, 640];

/// How many crash images are looked at, unless the variable `IFMATCH_IMAGES` says otherwise.
const IMAGES: usize = 50_000;

fn images() -> usize {
    std::env::var("IFMATCH_IMAGES").map_or(IMAGES, |images| images.parse().expect("a number of images"))
}

/// What a state shows: the number each id has.
type Shown = BTreeMap<String, u64>;

/// A journal that is soon full: most turns of the workload fit it, and the largest do not.
const SHAPE: Shape = Shape { segment: 8 << 10, segments: 3 };

fn opener(disk: &SimulatedDisk) -> Opener {
    let (own, journal) = (disk.clone(), disk.clone());
    Opener::of_files(Files::of_storage(move || own.file(0), move || journal.file(1), SHAPE))
}

fn create(disk: &SimulatedDisk) {
    opener(disk).initialize(Origin::new()).unwrap();
    disk.sync();
    disk.acknowledge(0);
}

fn start(disk: &SimulatedDisk, persistence: Persistence, history: usize) -> Result<File, OpenError> {
    let options = Options::new().persistence(persistence).history(history);
    File::start(Handle::open(opener(disk))?, &options)
}

/// One whose first commit goes to the journal already.
fn start_journaled(disk: &SimulatedDisk, persistence: Persistence, history: usize) -> File {
    let store = start(disk, persistence, history).unwrap();
    let wanted = store.shared.handle.with(|open| {
        open.journal.lock().want();
        Ok(())
    });
    wanted.unwrap();
    store
}

/// A write id, drawn at the newest commit.
fn drawn(store: &File) -> WriteId {
    let newest = store.shared.handle.read(|view| Ok(view.last)).unwrap_or(0);
    WriteId::after(newest.try_into().ok().map(Version::from_bits))
}

/// The commit of a number: two ids in step, one that comes and goes, and one of growing size.
fn commit(store: &File, number: u64, write: WriteId) -> Reply<'_, ()> {
    let text = number.to_string();
    let value = || Arc::<[u8]>::from(text.as_bytes());
    let padded = format!("{text:0>width$}", width = (number as usize % 7) * 1500 + 20);
    let guest = match number % 2 {
        0 => Entry::put("guest", Expected::Any, value()),
        _ => Entry::delete("guest", Expected::Any),
    };
    let commit = Commit::one(Entry::put("a", Expected::Any, value()))
        .and(Entry::put("b", Expected::Any, value()))
        .and(guest)
        .and(Entry::put("padded", Expected::Any, padded.as_bytes().into()));
    store.commit(commit.with_write(write)).map(|_| ())
}

/// What the state after a commit shows.
fn after(number: u64) -> Shown {
    let ids = ["a", "b", "padded"].into_iter().chain((number.is_multiple_of(2)).then_some("guest"));
    match number {
        0 => Shown::new(),
        _ => ids.map(|id| (id.to_owned(), number)).collect(),
    }
}

/// Reads all there is, and panics where anything does not decode.
fn read(opened: &Opened) -> Shown {
    let view = View::load(&opened.database, &opened.frames).unwrap();
    view.each_commit(|_| ()).unwrap();
    let rows = view.range(Bound::Unbounded, "", usize::MAX).unwrap().map(|row| {
        let (id, stored) = row.unwrap();
        let record = Record::decode(&id, stored.record().unwrap()).unwrap();
        (id.to_string(), str::from_utf8(record.value).unwrap().parse().unwrap())
    });
    rows.collect()
}

/// Whether a file shows the state after one commit between two, and none in part.
fn shows_one_of(shown: &Shown, commits: std::ops::RangeInclusive<u64>) -> bool {
    commits.into_iter().any(|number| *shown == after(number))
}

/// Runs the workload, and closes the store.
fn work(disk: &SimulatedDisk, persistence: Persistence, history: usize) {
    create(disk);
    let store = start(disk, persistence, history).unwrap();
    for number in 1..=COMMITS {
        commit(&store, number, drawn(&store)).wait().unwrap();
        disk.acknowledge(number);
    }
    store.close().unwrap();
}

/// Images of the files after the workload: closed, and closed with recent commits that are not settled.
fn worked() -> [Image; 2] {
    [true, false].map(|is_settled| {
        let disk = SimulatedDisk::default();
        create(&disk);
        let mut store = start(&disk, Persistence::Immediate, HISTORIES[1]).unwrap();
        for number in 1..=COMMITS {
            if number == COMMITS - 6 && !is_settled {
                // From here on too few to be settled soon.
                store.close().unwrap();
                store = start(&disk, Persistence::Immediate, 100_000).unwrap();
            }
            commit(&store, number, drawn(&store)).wait().unwrap();
        }
        if !is_settled {
            assert!(!store.shared.handle.read(|view| Ok(view.is_settled())).unwrap());
            store.shared.handle.close().unwrap();
        }
        drop(store);
        disk.confirmed()
    })
}

/// Looks at images of crashes during the workload, and of crashes during the recovery of those. Gives how many there
/// were, and how many had lost what was acknowledged.
fn crash(persistence: Persistence, wanted: usize) -> (usize, usize) {
    let of = HISTORIES.map(|history| crash_with(persistence, history, wanted / HISTORIES.len()));
    of.into_iter().fold((0, 0), |(seen, lost), (more, of_them)| (seen + more, lost + of_them))
}

fn crash_with(persistence: Persistence, history: usize, wanted: usize) -> (usize, usize) {
    let disk = SimulatedDisk::default();
    work(&disk, persistence, history);
    let crashes = disk.crashes();
    let looked = RefCell::new(0);
    let mut lost = 0;
    let mut look = |image: Image, acknowledged: u64, what: &str| {
        let disk = SimulatedDisk::of(image);
        let opened = opener(&disk).open();
        let database = opened.unwrap_or_else(|error| panic!("{what}, after {acknowledged}: {error}"));
        let shown = read(&database);
        assert!(shows_one_of(&shown, 0..=COMMITS), "{what}: {shown:?}");
        *looked.borrow_mut() += 1;
        lost += usize::from(!shows_one_of(&shown, acknowledged..=acknowledged + 1));
        drop(database);
        disk
    };
    for pass in 0.. {
        for crash in &crashes {
            let recovered = look(crash.image(pass), crash.acknowledged, "a crash");
            let again = recovered.crashes();
            // Every fifth time around every write of the recovery, else one of them.
            let (from, step) = match pass % 5 {
                0 => (0, 1),
                _ => (random() as usize % again.len().max(1), again.len().max(1)),
            };
            for again in again.iter().skip(from).step_by(step) {
                let image = again.image(random() as usize);
                drop(look(image, crash.acknowledged, "a crash of a recovery"));
            }
        }
        if *looked.borrow() >= wanted {
            break;
        }
    }
    (looked.into_inner(), lost)
}

#[test]
fn every_crash_image_opens_and_has_what_was_acknowledged() {
    let (seen, lost) = crash(Persistence::Immediate, images());

    println!("{seen} crash images");
    assert_eq!(lost, 0, "of {seen}");
}

/// Creation fills a file under another name, and only then gives it its own: what a crash leaves under that name must
/// not pass for a store unless it is one.
#[test]
fn every_crash_image_of_a_creation_is_a_whole_store_or_none() {
    let (mut whole, mut none, mut pass) = (0, 0, 0);
    while whole + none < images() / 10 {
        let disk = SimulatedDisk::default();
        opener(&disk).initialize(Origin::new()).unwrap();
        disk.sync();
        for crash in disk.crashes() {
            pass += 1;
            let image = SimulatedDisk::of(crash.image(pass));
            match opener(&image).open() {
                Ok(database) => assert_eq!(read(&database), Shown::new()),
                Err(OpenError::Corrupt { .. }) => {
                    none += 1;
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            let store = start(&image, Persistence::Immediate, 64).unwrap();
            commit(&store, 1, drawn(&store)).wait().unwrap();
            whole += 1;
        }
        let finished = SimulatedDisk::of(disk.confirmed());
        assert!(opener(&finished).open().is_ok(), "what was synced before it got its name must be a store");
    }

    println!("{whole} whole stores and {none} that are none");
    assert!(whole > 0 && none > 0);
}

#[test]
fn without_waiting_for_syncs_a_crash_loses_commits_but_never_a_part_of_one() {
    let (seen, lost) = crash(Persistence::Eventual, images() / 10);

    assert!(lost > 0, "the crash images would not show a lost commit: {seen} looked at");
}

/// The workload with one fault at one operation: what was acknowledged stays, what was not is told truthfully, and the
/// store serves again by itself. Gives how many operations there were.
fn survive(history: usize, fault: Fault, at: usize) -> usize {
    let what = || format!("{fault:?} at operation {at}, history {history}");
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start(&disk, Persistence::Immediate, history).unwrap();
    disk.fail(fault, at);
    let mut acknowledged = 0;
    let mut doubtful = Vec::new();
    for number in 1..=SURVIVING {
        let write = drawn(&store);
        match commit(&store, number, write).wait() {
            Ok(()) => acknowledged = number,
            Err(error) => {
                assert!(matches!(error, Error::Failed(_)), "{}: {error}", what());
                doubtful.push((number, write, error.outcome()));
                // The disk is well again: reads and writes go on without help.
                disk.heal();
                let shown = store.get("a").wait().unwrap_or_else(|error| panic!("{}: {error}", what()));
                let shown = shown.map_or(0, |found| str::from_utf8(&found.value).unwrap().parse().unwrap());
                assert!((acknowledged..=number).contains(&shown), "{}", what());
                let resolved = store.resolve(write).wait().unwrap();
                match resolved {
                    Resolution::Applied(_) => {
                        assert_eq!((shown, error.outcome()), (number, Outcome::Unknown), "{}", what());
                        acknowledged = number;
                    }
                    Resolution::NotApplied => assert_eq!(shown, acknowledged, "{}", what()),
                    Resolution::Unknown => panic!("{}: the store forgot", what()),
                }
            }
        }
        // Power is lost here: nothing is left of what no sync has confirmed.
        if number % 4 == 0 || doubtful.last().is_some_and(|(last, ..)| *last == number) {
            let image = SimulatedDisk::of(disk.confirmed());
            let database = opener(&image).open().unwrap_or_else(|error| panic!("{}: {error}", what()));
            assert!(shows_one_of(&read(&database), acknowledged..=number), "{}", what());
        }
    }
    assert!(doubtful.len() <= 1, "{}: {doubtful:?}", what());
    let operations = disk.operations();
    // Closing may meet the fault: then it says so.
    let _ = store.close();
    disk.heal();
    let store = start(&disk, Persistence::Immediate, history).unwrap();
    assert_eq!(
        store.get("a").wait().unwrap().map(|found| found.value.to_vec()),
        Some(acknowledged.to_string().into())
    );
    operations
}

#[test]
fn a_store_survives_any_one_fault_at_any_operation() {
    let faults = [Fault::Error, Fault::Short, Fault::LostOnSync, Fault::Full];
    for (history, fault) in HISTORIES.into_iter().flat_map(|history| faults.map(|fault| (history, fault))) {
        let operations = survive(history, fault, usize::MAX);
        assert!(operations > 100, "{operations} operations are too few to tell");
        for at in 0..operations {
            survive(history, fault, at);
        }
    }
}

#[test]
fn a_flipped_bit_or_a_cut_is_found_or_harmless() {
    let check = |image: Image, what: String| {
        // Also where nobody closes it.
        drop(Handle::open(opener(&SimulatedDisk::of(image.clone()))));
        let disk = SimulatedDisk::of(image);
        let Ok(handle) = Handle::open(opener(&disk)) else { return };
        let Ok(store) = File::start(handle, &Options::new()) else { return };
        for id in ["a", "b", "padded", "guest"] {
            let Ok(Some(found)) = store.get(id).wait() else { continue };
            let number: u64 = str::from_utf8(&found.value).unwrap().parse().unwrap();
            assert!(number <= COMMITS, "{what}: `{id}` is {number}");
        }
        let _ = store.scan(Scan::new("", 10)).wait();
        let _ = store.scan(Scan::new("", 10).without_values()).wait();
        let _ = commit(&store, 1, drawn(&store)).wait();
        let _ = store.close();
    };
    for whole in worked() {
        for _ in 0..2_000 {
            let bit = random() as usize % bits(&whole);
            let mut image = whole.clone();
            flip(&mut image, bit);
            check(image, format!("bit {bit}"));
        }
        for (file, cut) in
            (0..2).flat_map(|file| (0..whole[file].len()).step_by(512).map(move |cut| (file, cut)))
        {
            let mut image = whole.clone();
            image[file].truncate(cut);
            check(image, format!("file {file} cut at {cut}"));
        }
    }
}

#[test]
fn with_the_whole_file_verified_no_flipped_bit_changes_what_is_read() {
    let mut refused = 0;
    let worked = worked();
    for whole in worked.iter().cycle().take(500) {
        let bit = random() as usize % bits(whole);
        let mut image = whole.clone();
        flip(&mut image, bit);
        let disk = SimulatedDisk::of(image);
        match opener(&disk).verified().open() {
            Err(OpenError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("bit {bit}: {other}"),
            Ok(database) => assert_eq!(read(&database), after(COMMITS), "bit {bit}"),
        }
    }
    assert!(refused > 0);
}

#[test]
fn what_verify_calls_sound_reads_as_it_was_written_and_serves_on() {
    let (mut found, mut sound) = (0, 0);
    let worked = worked();
    for whole in worked.iter().cycle().take(500) {
        let disk = SimulatedDisk::of(whole.clone());
        let store = File::start(Handle::open(opener(&disk)).unwrap(), &Options::new()).unwrap();
        store.verify().wait().unwrap();
        let bit = random() as usize % bits(whole);
        disk.flip(bit);

        match store.verify().wait() {
            Ok(()) => {
                sound += 1;
                for (id, number) in after(COMMITS) {
                    let value = store.get(&id).wait().unwrap().expect("it was there").value;
                    assert_eq!(str::from_utf8(&value).unwrap().parse(), Ok(number), "bit {bit}");
                }
                commit(&store, COMMITS + 1, drawn(&store)).wait().unwrap();
                store.verify().wait().unwrap();
            }
            Err(Error::Failed(_)) => {
                found += 1;
                // What it still serves stays, also once it has written on.
                let shown = |store: &File| ["a", "b", "padded"].map(|id| store.get(id).wait().ok().flatten());
                let before = shown(&store);
                let more = Commit::one(Entry::put("more", Expected::Any, (*b"1").into()));
                if store.commit(more).wait().is_ok() {
                    let crashed = SimulatedDisk::of(disk.confirmed());
                    let Ok(handle) = Handle::open(opener(&crashed)) else { continue };
                    let reopened = File::start(handle, &Options::new()).unwrap();
                    assert_eq!(shown(&reopened), before, "bit {bit}");
                }
            }
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    assert!(found > 0 && sound > 0, "{found} found, {sound} sound");
}

#[test]
fn another_store_in_the_same_file_is_not_gone_on_with() {
    let [ours, other] = [(); 2].map(|()| {
        let disk = SimulatedDisk::default();
        create(&disk);
        disk
    });
    let swapped = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let storage = |file: usize| {
        let (ours, other, swapped) = (ours.clone(), other.clone(), Arc::clone(&swapped));
        move || {
            if swapped.load(std::sync::atomic::Ordering::SeqCst) { other.file(file) } else { ours.file(file) }
        }
    };
    let files = Files::of_storage(storage(0), storage(1), SHAPE);
    let store = File::start(Handle::open(Opener::of_files(files)).unwrap(), &Options::new()).unwrap();
    commit(&store, 1, drawn(&store)).wait().unwrap();

    swapped.store(true, std::sync::atomic::Ordering::SeqCst);
    store.shared.handle.break_it();

    for _ in 0..2 {
        let refused = commit(&store, 2, WriteId::after(None)).wait().unwrap_err();
        assert!(matches!(&refused, Error::Failed(failure) if failure.is_lasting()), "{refused:?}");
        store.get("a").wait().unwrap_err();
    }
    assert_eq!(read(&opener(&other).open().unwrap()), after(0));
    swapped.store(false, std::sync::atomic::Ordering::SeqCst);
    commit(&store, 2, drawn(&store)).wait().unwrap();
}

#[test]
fn arbitrary_bytes_are_no_store() {
    for round in 0..300 {
        let mut bytes: Vec<u8> = (0..random() % 20_000).map(|_| random() as u8).collect();
        if round % 2 == 0 && bytes.len() > 9 {
            // The engine's magic number: what follows it is looked at.
            bytes[..9].copy_from_slice(b"redb\x1a\x0a\xa9\x0d\x0a");
        }
        let disk = SimulatedDisk::of([bytes, Vec::new()]);
        assert!(matches!(opener(&disk).open(), Err(OpenError::Corrupt { .. })));
    }
}

#[test]
fn a_damaged_record_hides_none_before_it_and_is_listed_by_what_it_says_of_its_version() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let version = Version::from_bits(NonZeroU64::new(7).unwrap());
    let database = opener(&disk).open().unwrap().database;
    let transaction = database.begin_write().unwrap();
    let mut resources = transaction.open_table(RESOURCES).unwrap();
    for id in ["a", "b", "c", "d"] {
        let mut record = Record { version, write: None, value: b"value" }.encode(id);
        match id {
            "b" => *record.last_mut().unwrap() ^= 1,
            "d" => record[0] = 9,
            _ => {}
        }
        resources.insert(id.as_bytes(), &*record).unwrap();
    }
    drop(resources);
    transaction.commit().unwrap();
    drop(database);
    let store = start(&disk, Persistence::Immediate, 64).unwrap();

    let listed = |scan: Scan<'_>| {
        let page = store.scan(scan).wait().map(Page::without_values);
        page.map(|page| (page.items.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(), page.more))
    };
    let values = Scan::new("", 9);
    let ids = values.without_values();

    assert_eq!(listed(values).unwrap(), (vec!["a".to_owned()], true));
    assert!(matches!(listed(values.after(Some("a"))), Err(Error::Corrupt(corrupt)) if corrupt.id() == "b"));
    // Only the value of one is damaged, and the record of the other is not known to have a version at all.
    assert_eq!(listed(ids).unwrap(), (["a", "b", "c"].map(str::to_owned).to_vec(), true));
    assert!(matches!(listed(ids.after(Some("c"))), Err(Error::Corrupt(corrupt)) if corrupt.id() == "d"));
}
