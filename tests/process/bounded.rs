//! What the crate keeps in memory has limits. A binary of its own: it counts every allocation of the process.

use std::sync::Arc;

use ifmatch::codec::Codec;
use ifmatch::history::History;
use ifmatch::store::WriteId;
use ifmatch::{Collection, Commit, Database, Entry, Error, Expected, Json, Memory, Start, Store};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// How many bytes `work` leaves allocated, and how many more it used at its peak than before.
fn measured<R>(work: impl FnOnce() -> R) -> (R, usize, usize) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let result = work();
    (result, HEAP.current_usage().saturating_sub(before), HEAP.peak_usage().saturating_sub(before))
}

fn put(id: &str, number: u64) -> Commit<'_, u64> {
    Commit::one(Entry::put(id, Expected::Any, Arc::new(number)))
}

// One test, since two at a time would count each other's bytes.
#[test]
fn everything_is_bounded() {
    slow_watchers_pin_nothing();
    deletions_and_write_ids_are_forgotten();
    a_json_bomb_is_refused_before_it_goes_off();
    a_read_and_a_write_of_an_existing_id_allocate_nothing();
    histories_stay_within_their_bounds(100_000);
}

#[test]
#[ignore = "takes minutes: alone, and in release"]
fn histories_are_bounded_under_a_million_writes() {
    histories_stay_within_their_bounds(1_000_000);
}

fn slow_watchers_pin_nothing() {
    let store = Memory::<u64>::new().with_feed_limit(10_000);
    let ids: Vec<String> = (0..1_000).map(|number| format!("id-{number}")).collect();
    let mut watchers: Vec<_> = (0..100).map(|_| store.watch(Start::Now).wait().unwrap()).collect();
    for number in 0..20_000 {
        store.commit(put(&ids[number % ids.len()], 0)).wait().unwrap();
    }

    let ((), kept, _) = measured(|| {
        for number in 0..1_000_000 {
            store.commit(put(&ids[number % ids.len()], 1)).wait().unwrap();
        }
    });

    assert!(kept < 64 * 1024, "a million writes under slow watchers left {kept} bytes");
    for watcher in &mut watchers {
        let Err(Error::Expired(expired)) = watcher.next().wait() else { panic!("a watcher kept up") };
        assert!(expired.oldest.is_some());
    }
}

fn deletions_and_write_ids_are_forgotten() {
    let store = Memory::<u64>::new();
    let cycle = |number: u64| {
        let id = format!("id-{number}");
        store.commit(put(&id, number).with_write(WriteId::from_bits(number.into()))).wait().unwrap();
        store.commit(Commit::one(Entry::delete(&id, Expected::Present))).wait().unwrap();
    };
    // Long enough for each shard's table to have doubled for the last time.
    (0..900_000).for_each(cycle);

    let ((), kept, _) = measured(|| (900_000..1_200_000).for_each(cycle));

    // 300,000 ids that stayed would be more than 20 MB.
    assert!(kept < 1 << 20, "300,000 ids that came and went left {kept} bytes");
}

fn a_json_bomb_is_refused_before_it_goes_off() {
    let many = format!("[{}{{}}]", r#"{"":0},"#.repeat(136_000));
    let deep = "[".repeat(500_000);
    for bomb in [many, deep] {
        let (refused, _, peak) = measured(|| {
            let decoded: Result<serde_json::Value, _> = Json.decode(bomb.as_bytes());
            decoded.is_err()
        });

        assert!(refused);
        assert!(peak < bomb.len(), "{} bytes of JSON took {peak} bytes to refuse", bomb.len());
    }

    let bytes = Memory::<[u8]>::new();
    let bomb: Arc<[u8]> = "[".repeat(100_000).into_bytes().into();
    bytes.commit(Commit::one(Entry::put("bomb", Expected::Absent, bomb))).wait().unwrap();
    let values = Collection::<serde_json::Value>::json(bytes);

    assert!(matches!(values.get("bomb").wait(), Err(Error::Corrupt(_))));
}

fn a_read_and_a_write_of_an_existing_id_allocate_nothing() {
    let numbers = Collection::<u64>::in_memory();
    let first = numbers.create("a", 1).wait().unwrap();
    let value = Arc::new(2);

    let (version, _, peak) = measured(|| {
        let second = numbers.replace("a", first.version, Arc::clone(&value)).wait().unwrap();
        let found = numbers.get("a").wait().unwrap().unwrap();
        (second.version == found.version).then_some(second.version)
    });

    assert!(version.is_some());
    assert_eq!(peak, 0, "bytes allocated by a write and a read");
}

fn histories_stay_within_their_bounds(writes: usize) {
    const IDS: usize = 100;
    const VERSIONS: usize = 8;
    const BYTES: usize = 3_000;
    for database in [Database::in_memory(), Database::new(Memory::<[u8]>::new())] {
        let history = History::<String>::new(&database, "past").unwrap().keeping(VERSIONS).within(BYTES);
        let texts = database.define::<String>("texts").unwrap().recorded(&history).open().unwrap();
        let ids: Vec<String> = (0..IDS).map(|number| format!("id-{number}")).collect();
        // Every other time as much as fits eight times, and more than fits that often.
        let length = |number: usize| if (number / (50 * IDS)).is_multiple_of(2) { 100 } else { number % 700 };
        let put =
            |number: usize| drop(texts.put(&ids[number % IDS], "x".repeat(length(number))).wait().unwrap());
        (0..100 * IDS).for_each(put);

        let ((), kept, _) = measured(|| (100 * IDS..writes).for_each(put));

        // Of each record at most what it may have, and what stands.
        assert!(kept < IDS * (BYTES + 1_000), "{writes} writes with a history left {kept} bytes");
        for id in &ids {
            let past = history.of(id).wait().unwrap();
            let lengths: Vec<usize> = past.versions().map(|past| past.value().unwrap().len()).collect();
            let bytes: usize = lengths.iter().sum();
            assert!(
                lengths.len() <= VERSIONS && bytes <= BYTES,
                "{} versions of {bytes} bytes",
                lengths.len()
            );
            assert_eq!(lengths.len() as u64 + past.expired(), (writes / IDS - 1) as u64);
        }
    }
}
