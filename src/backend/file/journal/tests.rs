//! The frames and segments of a journal, byte by byte. What crashes do to it beside the store's own file is in
//! `file/faults`.

use std::sync::Arc;

use super::frame::{Found, Head};
use super::sector::SECTOR;
use super::*;
use crate::backend::file::faults::disk::SimulatedDisk;
use crate::base::random;

const SHAPE: Shape = Shape { segment: 2048, segments: 3 };

fn files(disk: &SimulatedDisk) -> Arc<Files> {
    let (own, journal) = (disk.clone(), disk.clone());
    Arc::new(Files::of_storage(move || own.file(0), move || journal.file(1), SHAPE))
}

fn created(disk: &SimulatedDisk) -> Journal {
    let (mut journal, frames) = Journal::open(&files(disk), Journaled::default()).unwrap();
    assert!(frames.is_empty() && journal.create().unwrap() && !journal.create().unwrap());
    journal
}

fn reopen(disk: &SimulatedDisk, journal: &Journal) -> io::Result<Vec<Vec<u8>>> {
    Journal::open(&files(disk), journal.noted()).map(|(_, frames)| frames)
}

fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// What a frame of a number holds: every third takes up two sectors.
fn body(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(3) { 700 } else { 50 };
    (0..length).map(|byte| (number + byte) as u8).collect()
}

fn append(journal: &mut Journal, number: u64) {
    let body = body(number);
    assert!(journal.has_room(body.len()));
    journal.append(&body, true).unwrap();
}

#[test]
fn frames_are_read_back_around_the_ring_as_long_as_they_are_not_settled() {
    let disk = SimulatedDisk::default();
    let mut journal = created(&disk);
    let mut marks = vec![journal.tip];
    for number in 1..=100 {
        if !journal.has_room(body(number).len()) {
            // The reading begins behind some of them.
            journal.settled(marks[marks.len() - 1 - random() as usize % 3]);
        }
        append(&mut journal, number);
        marks.push(journal.tip);
        if number.is_multiple_of(7) {
            // By another opening.
            let (next, _) = Journal::open(&files(&disk), journal.noted()).unwrap();
            assert_eq!(next.tip, journal.tip);
            journal = next;
        }

        let unsettled = (journal.noted.settled.number + 1..=number).map(body).collect::<Vec<_>>();
        assert_eq!(reopen(&disk, &journal).unwrap(), unsettled, "after {number}");
    }
}

#[test]
fn a_segment_is_not_used_again_before_it_is_settled() {
    let disk = SimulatedDisk::default();
    let mut journal = created(&disk);
    let mut first_of_second = None;
    for number in 1.. {
        if !journal.has_room(body(number).len()) {
            break;
        }
        assert!(number < 100, "it is never full");
        append(&mut journal, number);
        if journal.tip.end > SHAPE.segment {
            first_of_second.get_or_insert(journal.tip);
        }
    }
    assert_eq!(SHAPE.segment_at(journal.tip.end - 1), SHAPE.segments - 1);
    let frames = reopen(&disk, &journal).unwrap();
    assert_eq!(frames.len() as u64, journal.tip.number);

    journal.settled(first_of_second.unwrap());

    assert!(journal.has_room(body(1).len()));
}

/// From the first release on these bytes are on disks: add to them, never change them.
#[test]
fn a_frame_is_read_for_ever() {
    let head = Head { number: 2, before: 0x0102_0304, opening: 5, confirmed: 1 };
    let (bytes, checksum) = frame::encode(&head, b"body");
    let hex: String = bytes[..56].iter().map(|byte| format!("{byte:02x}")).collect();

    assert_eq!(hex, GOLDEN_FRAME);
    assert!(bytes.len() == SECTOR && bytes[56..].iter().all(|byte| *byte == 0));
    let before = Mark { number: 1, checksum: 0x0102_0304, end: 0 };
    let found = Found::Frame { checksum, body: b"body".to_vec(), size: 512 };
    assert_eq!(frame::read(&bytes, before), found);
}

const GOLDEN_FRAME: &str = "9b3fea960000000069666d6a0000000000000002010203040000000000000005000000000000000100000004\
     a92412e2626f647900000000";

#[test]
fn a_header_is_read_for_ever() {
    let header = header(7, 5, SHAPE);
    let hex: String = header[..48].iter().map(|byte| format!("{byte:02x}")).collect();

    assert_eq!(hex, GOLDEN_HEADER);
    assert!(header.len() == HEADER && header[48..].iter().all(|byte| *byte == 0));
}

const GOLDEN_HEADER: &str =
    "88267d560000000069666d4a000000010000000000000007000000000000000500000000000008000000000000000003";

#[test]
fn a_journal_of_another_shape_is_read_and_written_on() {
    let (disk, mut journal, frames) = ten(7);
    let (own, beside) = (disk.clone(), disk.clone());
    let later = Shape { segment: 8192, segments: 4 };
    let files = Arc::new(Files::of_storage(move || own.file(0), move || beside.file(1), later));
    let (mut again, found) = Journal::open(&files, journal.noted()).unwrap();
    assert_eq!(found, frames);
    // Around the ring that is there.
    for number in 11..=40 {
        if !again.has_room(body(number).len()) {
            again.settled(again.tip);
        }
        append(&mut again, number);
    }

    (journal.tip, journal.noted) = (again.tip, again.noted);
    let unsettled = (again.noted.settled.number + 1..=40).map(body).collect::<Vec<_>>();
    assert_eq!(reopen(&disk, &journal).unwrap(), unsettled);
}

#[test]
fn a_journal_of_a_later_format_says_so_and_one_of_an_impossible_shape_is_damaged() {
    let (disk, journal, _) = ten(7);
    let refusal = |magic: [u8; 4], format: u32, segment: u64, segments: u64| {
        let numbers =
            [journal.noted.id, journal.noted.former, segment, segments].map(u64::to_be_bytes).concat();
        let header = spread(&[&magic[..], &format.to_be_bytes(), &numbers].concat());
        let mut image = disk.confirmed();
        image[1][..SECTOR].copy_from_slice(&header);
        match reopen(&SimulatedDisk::of(image), &journal) {
            Err(damaged) if is_damage(&damaged) => damaged.to_string(),
            other => panic!("{other:?}"),
        }
    };

    assert!(refusal(MAGIC, 2, 1, 1).contains("format 2"));
    for (segment, segments) in
        [(0, 3), (2048, 0), (2048, 1), (2047, 3), (u64::MAX - 511, 2), (1 << 62, 4), (1 << 40, 3)]
    {
        assert!(refusal(MAGIC, 1, segment, segments).contains("damaged"), "{segment} {segments}");
    }
    assert!(refusal(*b"ifmK", 1, 2048, 3).contains("damaged"));
    assert!(refusal(MAGIC, 1, 2048, 4).contains("length"));
}

/// It is what tells a journal that belongs to the file from an older copy.
#[test]
fn the_last_settled_frame_is_not_written_over() {
    let disk = SimulatedDisk::default();
    let mut journal = created(&disk);
    let mut marks = vec![journal.tip];
    for number in 1..=9 {
        append(&mut journal, number);
        marks.push(journal.tip);
    }
    // The third one ends with the first segment, into which the next frame goes.
    assert_eq!((marks[3].end, marks[9].end), (SHAPE.segment, SHAPE.area()));
    for (settled, has_room) in [(2, false), (3, false), (4, true)] {
        journal.settled(marks[settled]);
        assert_eq!(journal.has_room(body(10).len()), has_room, "{settled}");
    }
}

/// A journal of ten frames, of which those up to a number are settled, and what the others hold.
fn ten(settled: u64) -> (SimulatedDisk, Journal, Vec<Vec<u8>>) {
    let disk = SimulatedDisk::default();
    let mut journal = created(&disk);
    let mut marks = vec![journal.tip];
    for number in 1..=10 {
        if number == 9 {
            journal.settled(marks[settled as usize]);
        }
        append(&mut journal, number);
        marks.push(journal.tip);
    }
    (disk, journal, (settled + 1..=10).map(body).collect())
}

#[test]
fn no_flipped_bit_makes_a_synced_frame_vanish() {
    let (disk, journal, frames) = ten(4);
    let whole = disk.confirmed();
    let (mut refused, mut harmless) = (0, 0);
    for bit in 0..whole[1].len() * 8 {
        let mut image = whole.clone();
        image[1][bit / 8] ^= 1 << (bit % 8);
        match reopen(&SimulatedDisk::of(image), &journal) {
            Err(damaged) if is_damage(&damaged) => refused += 1,
            Err(error) => panic!("bit {bit}: {error}"),
            Ok(found) => {
                assert_eq!(found, frames, "bit {bit}");
                harmless += 1;
            }
        }
    }
    assert!(refused > 7 * SECTOR * 8 && harmless > 0, "{refused} refused, {harmless} harmless");
}

#[test]
fn no_cut_and_no_other_length_passes() {
    let (disk, journal, _) = ten(4);
    let whole = disk.confirmed();
    for length in
        (0..whole[1].len() + 2 * SECTOR).step_by(SECTOR / 2).filter(|length| *length != whole[1].len())
    {
        let mut image = whole.clone();
        image[1].resize(length, 0);
        let found = reopen(&SimulatedDisk::of(image), &journal);
        assert!(found.as_ref().is_err_and(is_damage), "{length} bytes: {found:?}");
    }
}

/// As a disk leaves it that lost a sector: all but what only the last frame could tell.
#[test]
fn a_sector_that_is_gone_is_missed_wherever_a_later_frame_tells_of_it() {
    let (disk, journal, frames) = ten(4);
    let whole = disk.confirmed();
    let last = (HEADER as u64 + journal.tip.end) as usize - frame::size(body(10).len()) as usize;
    for start in (HEADER..whole[1].len()).step_by(SECTOR) {
        for filler in [0, 0x55] {
            let mut image = whole.clone();
            image[1][start..start + SECTOR].fill(filler);
            match reopen(&SimulatedDisk::of(image), &journal) {
                Err(damaged) if is_damage(&damaged) => {}
                Ok(found) if start >= last && filler == 0 && start < last + SECTOR => {
                    assert_eq!(found, frames[..5]);
                }
                found => assert_eq!(found.unwrap(), frames, "{start}"),
            }
        }
    }
}

#[test]
fn a_frame_that_a_crash_cut_off_is_the_end_and_what_stood_behind_it_never_comes_back() {
    let (disk, mut journal, frames) = ten(7);
    let before = disk.confirmed();
    // Three that did not wait for a sync.
    for number in 11..=13 {
        journal.append(&body(number + 1), false).unwrap();
    }
    let after = disk.seen();
    for round in 0..200 {
        let mut image = before.clone();
        let mut lost_first = false;
        for start in (HEADER..after[1].len()).step_by(SECTOR) {
            let (old, new) = (&before[1][start..start + SECTOR], &after[1][start..start + SECTOR]);
            if old != new {
                if random().is_multiple_of(2) {
                    image[1][start..start + SECTOR].copy_from_slice(new);
                } else {
                    lost_first |= frame::head(new).is_some_and(|(head, ..)| head.number == 11);
                }
            }
        }
        let crashed = SimulatedDisk::of(image);
        let (mut again, found) = Journal::open(&files(&crashed), journal.noted()).unwrap();
        assert!(found.len() >= 3 && found[..3] == frames, "round {round}");
        let kept = found.len();
        assert!(!lost_first || kept == 3, "round {round}");
        again.append(&body(12), true).unwrap();
        let reread = reopen(&crashed, &again).unwrap();
        assert!(
            reread.len() == kept + 1 && reread[..kept] == found && reread[kept] == body(12),
            "round {round}"
        );
    }
}

/// All frames have the same layout, so that each sector of the older one fits the newer one but for what it holds.
#[test]
fn a_frame_that_a_crash_left_half_written_over_an_older_one_is_none() {
    let disk = SimulatedDisk::default();
    let mut journal = created(&disk);
    let body = |number: u8| vec![number; 1400];
    let mut before = disk.confirmed();
    for number in 1..=9 {
        before = disk.confirmed();
        journal.settled(journal.tip);
        journal.append(&body(number), true).unwrap();
    }
    let after = disk.confirmed();
    let written: Vec<_> = (HEADER..after[1].len())
        .step_by(SECTOR)
        .filter(|start| before[1][*start..start + SECTOR] != after[1][*start..start + SECTOR])
        .collect();
    assert_eq!(written.len(), 3);
    for kept in 0..7 {
        let mut image = before.clone();
        for (_, start) in written.iter().enumerate().filter(|(bit, _)| kept >> bit & 1 == 1) {
            image[1][*start..start + SECTOR].copy_from_slice(&after[1][*start..start + SECTOR]);
        }
        assert!(reopen(&SimulatedDisk::of(image), &journal).unwrap().is_empty(), "{kept:b}");
    }
    assert_eq!(reopen(&disk, &journal).unwrap(), [body(9)]);
}

#[test]
fn arbitrary_bytes_are_refused_or_empty() {
    for round in 0..2_000 {
        let mut area: Vec<u8> = (0..SHAPE.area()).map(|_| random() as u8).collect();
        if round % 2 == 0 {
            // Sectors that are well-formed each.
            area = area.chunks(500).flat_map(spread).take(area.len()).collect();
        }
        if let Ok((frames, mark)) = replay(&area, SHAPE, Mark::default()) {
            assert!(frames.is_empty() && mark == Mark::default());
        }
    }
}
