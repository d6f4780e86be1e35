//! The journal beside the store's own file: its damage, its loss, and settling behind the commits.

use super::*;

/// How many flipped bits are looked at.
const FLIPS: usize = 1_000;

/// How large a page of the engine is.
const PAGE: usize = 4096;

/// How many bytes of its page the facts take up, at most.
const FACTS: usize = 256;

/// What opens must have every commit.
fn open_whole(image: Image, what: &str) -> bool {
    match opener(&SimulatedDisk::of(image)).open() {
        Ok(opened) => {
            assert_eq!(read(&opened), after(COMMITS), "{what}");
            true
        }
        Err(OpenError::Corrupt { .. }) => false,
        Err(other) => panic!("{what}: {other}"),
    }
}

#[test]
fn no_damage_of_the_journal_makes_an_acknowledged_commit_vanish() {
    let [_, whole] = worked();
    assert!(open_whole(whole.clone(), "the whole image"));
    let (mut refused, mut harmless) = (0, 0);
    for _ in 0..FLIPS {
        let bit = random() as usize % (whole[1].len() * 8);
        let mut image = whole.clone();
        image[1][bit / 8] ^= 1 << (bit % 8);
        match open_whole(image, &format!("bit {bit}")) {
            true => harmless += 1,
            false => refused += 1,
        }
    }
    assert!(refused > 0 && harmless > 0, "{refused} refused, {harmless} harmless");
    for cut in (0..whole[1].len()).step_by(128) {
        let mut image = whole.clone();
        image[1].truncate(cut);
        assert!(!open_whole(image, "a cut"), "cut at {cut}");
    }
}

/// A few commits, of which the first are settled and the others only in the journal.
fn half_settled() -> (Image, Shown) {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Immediate, 100_000);
    commit(&store, 1, drawn(&store)).wait().unwrap();
    settle(&store);
    commit(&store, 2, drawn(&store)).wait().unwrap();
    commit(&store, 3, drawn(&store)).wait().unwrap();
    let image = disk.confirmed();
    store.shared.handle.close().unwrap();
    (image, after(3))
}

/// Has the settling thread settle what is recent.
pub(super) fn settle(store: &File) {
    store.shared.handle.settling.look_no_more();
    while !store.serving.committer.lock().see_settled(&store.shared, true) {}
    store.shared.handle.settling.wait();
    while !store.serving.committer.lock().see_settled(&store.shared, false) {}
}

/// The engine itself does not look at checksums as long as it need not repair the file.
#[test]
fn no_flipped_bit_in_what_the_file_says_of_the_journal_makes_a_commit_vanish() {
    let (whole, shown) = half_settled();
    let opened = opener(&SimulatedDisk::of(whole.clone())).open().unwrap();
    let id = opened.journal.journaled().id.to_le_bytes();
    drop(opened);
    let pages = whole[0].chunks(PAGE).enumerate();
    let pages: Vec<_> = pages.filter(|(_, page)| page.windows(8).any(|bytes| bytes == id)).collect();
    assert!(!pages.is_empty());
    let mut refused = 0;
    for bit in pages.into_iter().flat_map(|(page, _)| page * PAGE * 8..(page * PAGE + FACTS) * 8) {
        let mut image = whole.clone();
        image[0][bit / 8] ^= 1 << (bit % 8);
        match opener(&SimulatedDisk::of(image)).open() {
            Ok(opened) => assert_eq!(read(&opened), shown, "bit {bit}"),
            Err(OpenError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_journal_of_another_time_is_refused() {
    let [closed, first] = worked();
    let [_, second] = worked();
    assert!(!open_whole([first[0].clone(), second[1].clone()], "the journal of another store"));
    assert!(!open_whole([first[0].clone(), closed[1].clone()], "the journal of before it was closed"));
    // A file that was closed has all there is.
    assert!(open_whole([closed[0].clone(), first[1].clone()], "a journal that is left over"));
}

/// Nothing tells of what was acknowledged since then, but that the file is ahead of it.
#[test]
fn a_journal_that_is_older_than_the_file_or_was_emptied_is_refused() {
    for persistence in [Persistence::Immediate, Persistence::Eventual] {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, persistence, 100_000);
        commit(&store, 1, drawn(&store)).wait().unwrap();
        let [_, older] = disk.seen();
        commit(&store, 2, drawn(&store)).wait().unwrap();
        settle(&store);
        // What the file tells of is on the disk, whatever commits wait for.
        let confirmed = disk.confirmed();
        commit(&store, 3, drawn(&store)).wait().unwrap();
        let [own, _] = disk.seen();
        store.shared.handle.close().unwrap();
        let mut emptied = older.clone();
        emptied[4096..].fill(0);

        for journal in [older, emptied] {
            let opened = opener(&SimulatedDisk::of([own.clone(), journal])).open();
            assert!(matches!(opened, Err(OpenError::Corrupt { .. })), "{persistence:?}");
        }
        let opened = opener(&SimulatedDisk::of(confirmed)).open().unwrap();
        assert_eq!(read(&opened), after(2), "{persistence:?}");
    }
}

#[test]
fn commits_go_on_while_others_are_settled_until_the_journal_is_full() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Immediate, HISTORIES[1]);
    let put = |number: u64| {
        let value: Arc<[u8]> = number.to_string().into_bytes().into();
        store.commit(Commit::one(Entry::put("a", Expected::Any, value)))
    };
    put(0).wait().unwrap();
    let has_room = || store.shared.handle.with(|open| Ok(open.journal.lock().has_room(200))).unwrap();
    let mut number = 0;
    let settles = store.shared.handle.with(|open| {
        // Nobody else can write to the file as long as this is there.
        let transaction = open.database.begin_write()?;
        while has_room() {
            number += 1;
            assert!(number < 1_000, "it is never full");
            put(number).wait().unwrap();
        }
        assert!(!store.shared.handle.settling.is_idle(), "the journal is full, and nothing is being settled");
        drop(transaction);
        Ok(())
    });
    settles.unwrap();

    assert!(number > 20, "{number}");
    put(number + 1).wait().unwrap();
    assert_eq!(*store.get("a").wait().unwrap().unwrap().value, *(number + 1).to_string().as_bytes());
}

#[test]
fn what_was_recent_for_long_is_settled() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Immediate, 100_000);
    commit(&store, 1, drawn(&store)).wait().unwrap();
    let is_settled = || store.shared.handle.read(|view| Ok(view.is_settled())).unwrap();
    assert!(!is_settled());

    settle(&store);

    assert!(is_settled());
    let image = disk.confirmed();
    assert_eq!(read(&opener(&SimulatedDisk::of(image)).open().unwrap()), after(1));
}

/// The engine's file has no space, and the journal has it already.
#[test]
fn a_settling_that_fails_takes_nothing_and_is_tried_again() {
    let mut failed = 0;
    for at in 0..40 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Immediate, 100_000);
        for number in 1..=4 {
            commit(&store, number, drawn(&store)).wait().unwrap();
        }
        disk.fail(Fault::Full, at);
        while !store.serving.committer.lock().see_settled(&store.shared, true) {}
        store.shared.handle.settling.wait();
        let came = store.shared.handle.settling.has_failed();
        failed += usize::from(came);
        disk.heal();

        commit(&store, 5, drawn(&store)).wait().unwrap();
        store.close().unwrap();
        let image = disk.confirmed();
        assert_eq!(read(&opener(&SimulatedDisk::of(image)).open().unwrap()), after(5), "operation {at}");
    }
    assert!(failed > 0);
}

/// A sync that failed takes for written what is not on the disk, and the program ends there. The next one reads it from the
/// system's memory.
#[test]
fn a_frame_that_is_not_on_the_disk_is_written_again_before_it_counts() {
    for at in 0..20 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Immediate, 100_000);
        for number in 1..=3 {
            commit(&store, number, drawn(&store)).wait().unwrap();
        }
        disk.fail(Fault::LostOnSync, 1);
        // A frame of closed write ids, in one sector or in some.
        let closed = 40 * (at % 4);
        let frame = [(closed as u32).to_be_bytes().to_vec(), vec![0; closed * 16]].concat();
        let failed = store.shared.handle.with(|open| Ok(open.journal.lock().append(&frame, true)?));
        assert!(failed.is_err());
        disk.heal();
        store.shared.handle.close().unwrap();
        drop(store);

        let store = start_journaled(&disk, Persistence::Immediate, 100_000);
        commit(&store, 4, drawn(&store)).wait().unwrap();

        let image = SimulatedDisk::of(disk.confirmed());
        assert_eq!(read(&opener(&image).open().unwrap()), after(4), "round {at}");
    }
}

#[test]
fn a_settling_that_failed_is_tried_again_where_nobody_commits() {
    let mut failed = 0;
    for at in 0..40 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Immediate, 100_000);
        commit(&store, 1, drawn(&store)).wait().unwrap();
        disk.fail(Fault::Full, at);
        settle(&store);
        failed += usize::from(store.shared.handle.settling.has_failed());
        disk.heal();
        let is_settled = || store.shared.handle.read(|view| Ok(view.is_settled())).unwrap();
        if !is_settled() {
            assert!(store.shared.handle.settling.will_look(), "operation {at}");
            settle(&store);
        }
        assert!(is_settled(), "operation {at}");
    }
    assert!(failed > 0);
}

#[test]
fn what_is_replayed_is_settled_also_where_nobody_commits() {
    let disk = SimulatedDisk::of(half_settled().0);
    let store = start_journaled(&disk, Persistence::Immediate, 100_000);
    assert!(store.shared.handle.settling.will_look());
    settle(&store);
    assert!(store.shared.handle.read(|view| Ok(view.is_settled())).unwrap());
    store.close().unwrap();

    // A reader that meets an error opens the file anew.
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Immediate, 100_000);
    assert!(!store.shared.handle.settling.will_look());
    commit(&store, 1, drawn(&store)).wait().unwrap();
    settle(&store);
    commit(&store, 2, drawn(&store)).wait().unwrap();
    store.shared.handle.settling.look_no_more();
    store.shared.handle.break_it();
    store.get("a").wait().unwrap().unwrap();
    assert!(store.shared.handle.settling.will_look());
}

/// What the disk took for written is not there, and the next sync says nothing of it.
#[test]
fn a_sync_of_the_journal_that_failed_is_followed_by_none_that_succeeds() {
    for round in 0..40 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Eventual, 100_000);
        for number in 1..=3 {
            commit(&store, number, drawn(&store)).wait().unwrap();
            store.sync().wait().unwrap();
        }
        commit(&store, 4, drawn(&store)).wait().unwrap();
        let handle = &store.shared.handle;
        disk.fail(Fault::LostOnSync, 0);
        // By the settling thread, once who commits has looked what came of it, or by who commits.
        assert!(handle.with(|open| Ok(open.journal.lock().sync()?)).is_err());
        disk.heal();
        if round % 2 == 0 {
            let synced = store.sync().wait();
            let shown = read(&opener(&SimulatedDisk::of(disk.confirmed())).open().unwrap());
            assert!(synced.is_err() || shown == after(4), "it was told that all is synced");
        } else {
            // The other thread, which waited for the journal meanwhile.
            settle(&store);
            let _writing = handle.writing.lock();
            handle.mend(handle.generation()).unwrap();
        }
        let opened = opener(&SimulatedDisk::of(disk.confirmed())).open();
        assert!(shows_one_of(&read(&opened.unwrap()), 3..=4));
    }
}
