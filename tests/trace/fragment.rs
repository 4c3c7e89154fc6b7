//! Fragments: what comes back, what a crash leaves, what is written twice.

use std::fs::OpenOptions;

use proptest::prelude::*;
use stepscope::trace::event::Event;
use stepscope::trace::fragment::format::MAX_BLOCK_EVENTS;
use stepscope::trace::fragment::{FragmentError, FragmentIdentity, FragmentReader, FragmentWriter, Tail};

use crate::support::at_least;

use super::sample::{anchor, identity, iterations, thread};

fn read(reader: &mut FragmentReader) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(block) = reader.next_block().unwrap() {
        events.extend(block.events().map(Option::unwrap));
    }
    events
}

#[test]
fn everything_comes_back_with_its_anchors_and_drops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frag");
    let mut writer = FragmentWriter::create(&path, &identity("0", 3)).unwrap();
    let mut events = vec![thread("engine-loop"), Event::Skipped];
    events.extend(iterations(3, 10, 2 * MAX_BLOCK_EVENTS as u64));
    let bytes = writer.write_block(5, 77, &events, anchor(10), 0).unwrap();
    assert_eq!(bytes as usize, 3 * 64 + events.len() * 64, "split into three blocks");
    writer.write_block(5, 0, &[], anchor(20), 9).unwrap();
    assert_eq!(writer.next_index(5), Some(77 + events.len() as u64));
    assert_eq!(writer.bytes(), std::fs::metadata(&path).unwrap().len());

    let mut reader = FragmentReader::open(&path).unwrap();
    assert_eq!(reader.identity(), &identity("0", 3));
    let scan = reader.scan().unwrap();
    assert_eq!((scan.first_anchor, scan.last_anchor), (Some(anchor(10)), Some(anchor(20))));
    assert_eq!((scan.dropped_total, scan.blocks, scan.events), (9, 4, events.len() as u64));
    let first = reader.next_block().unwrap().unwrap();
    assert_eq!((first.ring, first.first_index, first.dropped_total, first.anchor), (5, 77, 0, anchor(10)));
    assert_eq!(read(&mut FragmentReader::open(&path).unwrap()), events);
    assert!(matches!(FragmentWriter::create(&path, &identity("0", 3)), Err(FragmentError::Io { .. })));
    // What no reader would take is not written in the first place.
    assert!(writer.write_block(4096, 0, &events, anchor(30), 0).is_err());
    let long = FragmentIdentity { label: "x".repeat(70_000), ..identity("0", 3) };
    assert!(FragmentWriter::create(&dir.path().join("long.frag"), &long).is_err());
    assert!(!dir.path().join("long.frag").exists());
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frag");
    let events = iterations(0, 1, 12);
    let mut writer = FragmentWriter::create(&path, &identity("0", 0)).unwrap();
    writer.write_block(0, 50, &events[..4], anchor(10), 0).unwrap();
    writer.write_block(1, 0, &events[4..6], anchor(10), 0).unwrap();
    let whole = writer.bytes();
    writer.write_block(0, 54, &events[6..9], anchor(10), 0).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in whole..bytes.len() as u64 {
        std::fs::write(&path, &bytes[..length as usize]).unwrap();
        let mut reader = FragmentReader::open(&path).unwrap();
        assert_eq!(read(&mut reader), events[..6]);
        let torn = if length == whole { Tail::Clean } else { Tail::Torn(length - whole) };
        assert_eq!(reader.tail(), torn);

        let (mut writer, recovered) = FragmentWriter::append(&path).unwrap();
        assert_eq!(recovered.cut_bytes, length - whole);
        assert_eq!(recovered.next_index.into_iter().collect::<Vec<_>>(), [(0, 54), (1, 2)]);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
        // The ring still holds what was written before the crash: only what is new gets in.
        writer.write_block(0, 50, &[&events[..4], &events[6..12]].concat(), anchor(10), 0).unwrap();
        // The reader that stood at the torn block goes on from there.
        assert_eq!(read(&mut reader), events[6..12]);
    }
}

#[test]
fn a_file_torn_inside_its_start_is_no_fragment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frag");
    let start = FragmentWriter::create(&path, &identity("0", 0)).unwrap().bytes();
    let bytes = std::fs::read(&path).unwrap();
    let json_end = bytes.iter().rposition(|&b| b == b'}').unwrap() + 1;
    for length in 0..start as usize {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let opened = FragmentWriter::append(&path);
        if length < json_end {
            assert!(matches!(opened, Err(FragmentError::NotAFragment { .. })), "{length}");
        } else {
            // Only its padding is gone.
            opened.unwrap().0.write_block(0, 0, &iterations(0, 1, 2), anchor(1), 0).unwrap();
            assert_eq!(read(&mut FragmentReader::open(&path).unwrap()), iterations(0, 1, 2));
        }
    }
}

#[test]
fn a_flipped_bit_in_a_block_ends_the_reading_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frag");
    let events = iterations(0, 1, 4);
    let mut writer = FragmentWriter::create(&path, &identity("0", 0)).unwrap();
    writer.write_block(0, 0, &events[..2], anchor(10), 0).unwrap();
    let whole = writer.bytes() as usize;
    writer.write_block(0, 2, &events[2..], anchor(10), 0).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    // The last four bytes of a block header mean nothing and are not covered.
    for at in (whole..bytes.len()).filter(|at| !(whole + 60..whole + 64).contains(at)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, damaged).unwrap();
        let mut reader = FragmentReader::open(&path).unwrap();
        assert_eq!(read(&mut reader), events[..2]);
        assert_eq!(reader.tail(), Tail::Damaged((bytes.len() - whole) as u64), "byte {at}");
    }
}

#[test]
fn a_reader_beside_the_writer_sees_whole_blocks_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frag");
    let mut writer = FragmentWriter::create(&path, &identity("0", 0)).unwrap();
    let events = iterations(0, 1, 20_000);
    let expected = events.clone();
    let writing = std::thread::spawn(move || {
        for (i, chunk) in events.chunks(7).enumerate() {
            writer.write_block(0, i as u64 * 7, chunk, anchor(10), 0).unwrap();
        }
    });
    let mut reader = FragmentReader::open(&path).unwrap();
    let mut seen = Vec::new();
    while !writing.is_finished() {
        seen.extend(read(&mut reader));
        assert!(seen.len() % 7 == 0 || seen.len() == expected.len());
        assert!(!matches!(reader.tail(), Tail::Damaged(_)));
    }
    writing.join().unwrap();
    seen.extend(read(&mut reader));
    assert_eq!(seen, expected);
}

#[test]
fn what_a_half_written_block_left_behind_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.frag");
    let mut writer = FragmentWriter::create(&path, &identity("0", 0)).unwrap();
    let events = iterations(0, 1, 6);
    writer.write_block(0, 0, &events[..2], anchor(10), 0).unwrap();
    // A disk that was full for a moment leaves part of a block behind the writer's own end.
    let torn = OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &torn, b"SSBK half of a block").unwrap();
    writer.write_block(0, 2, &events[2..], anchor(10), 0).unwrap();
    writer.sync().unwrap();
    let mut reader = FragmentReader::open(&path).unwrap();
    assert_eq!(read(&mut reader), events);
    assert_eq!(reader.tail(), Tail::Clean);
}

proptest! {
    #![proptest_config(at_least(64))]

    #[test]
    fn whatever_is_handed_in_twice_is_there_once(cuts in proptest::collection::vec((0u64..40, 1u64..20), 1..20)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.frag");
        let all = iterations(0, 0, 80);
        let mut writer = FragmentWriter::create(&path, &identity("0", 0)).unwrap();
        let mut reached = 0;
        for (back, forward) in cuts {
            let first = reached - reached.min(back);
            let end = (reached + forward).min(all.len() as u64);
            let handed_in = &all[first as usize..end as usize];
            let fresh = writer.unwritten(0, first, handed_in).len() as u64;
            prop_assert_eq!(fresh, end - writer.next_index(0).unwrap_or(0).clamp(first, end));
            let bytes = writer.write_block(0, first, handed_in, anchor(1), 0).unwrap();
            prop_assert_eq!(bytes, 64 * (1 + fresh));
            reached = end;
            if back % 5 == 0 {
                writer = FragmentWriter::append(&path).unwrap().0;
            }
        }
        prop_assert_eq!(read(&mut FragmentReader::open(&path).unwrap()), &all[..reached as usize]);
    }
}
