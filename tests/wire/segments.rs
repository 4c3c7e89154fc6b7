//! Segments that no agent of ours wrote, through the real collector: refused or dropped with a reason, and the healthy
//! one beside them is drained as if nothing were.

use std::mem::{offset_of, size_of};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use stepscope::collector::Collector;
use stepscope::collector::rings::{Drained, Rings};
use stepscope::collector::source::Source;
use stepscope::trace::event::Event;
use stepscope::wire::layout::{Header, NAMES_OFFSET, RINGS_OFFSET, RingDescriptor, Role, STATUS_OFFSET, Shape};
use stepscope::wire::record::{Batch, Iteration, Record};
use stepscope::wire::segment::{Identity, Segment, Trust};
use tempfile::TempDir;

const BYTES: u64 = 128 << 10;
const GENERATION: u64 = 2;

/// The bytes of a segment that an agent made, and who it was.
fn genuine() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let identity = Identity {
        job: "job".into(),
        group: "0".into(),
        rank: 3,
        world_size: 4,
        role: Role::Rank,
        engine: "test".into(),
        label: "".into(),
        forked_from: 0,
        tool_session: "".into(),
    };
    let segment = Segment::create(&folder.path().into(), &identity, BYTES).unwrap();
    std::fs::read(segment.path()).unwrap()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn ring(index: usize) -> usize {
    RINGS_OFFSET as usize + index * size_of::<RingDescriptor>()
}

/// Puts `count` iterations into ring 0.
fn with_records(bytes: &mut [u8], count: u64) {
    let shape = Shape::of(BYTES);
    for n in 1..=count {
        let record = Record::Iteration(Iteration {
            generation: GENERATION as u32,
            flags: 0,
            iteration: n,
            begin_ticks: n * 10,
            end_ticks: n * 10 + 5,
            batch: Batch::default(),
            device_ns: None,
        });
        let at = shape.data_offset as usize + (n as usize - 1) * 64;
        for (i, w) in record.encode().iter().enumerate() {
            put(bytes, at + i * 8, &w.to_ne_bytes());
        }
    }
    put(bytes, ring(0) + offset_of!(RingDescriptor, head), &count.to_ne_bytes());
}

struct Folder {
    dir: TempDir,
    collector: Collector,
}

impl Folder {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let collector = Collector::new(dir.path().to_owned(), Trust::Owner);
        Self { dir, collector }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn add(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn add_healthy(&self) -> PathBuf {
        let mut bytes = genuine();
        with_records(&mut bytes, 5);
        self.add("healthy.seg", &bytes)
    }

    fn reason(&self, path: &Path) -> Option<String> {
        self.collector.refused().find(|(p, _)| *p == path).map(|(_, reason)| reason.to_owned())
    }

    fn source(&mut self, path: &Path) -> &mut Source {
        self.collector.sources_mut().iter_mut().find(|s| s.path() == path).unwrap()
    }

    /// The healthy one gives what is in it.
    fn assert_healthy(&mut self, path: &Path) {
        assert_eq!(iterations(self.source(path)), [1, 2, 3, 4, 5]);
        let source = self.source(path);
        assert_eq!((source.problem(), source.invalid_total(), source.identity().rank), (None, 0, 3));
    }
}

fn iterations(source: &mut Source) -> Vec<u64> {
    let mut found = Vec::new();
    let keep = |drained: &Drained<'_>| {
        found.extend(drained.events.iter().filter_map(|e| match e {
            Event::Iteration(i) => Some(i.iteration),
            _ => None,
        }));
        Ok::<_, std::convert::Infallible>(())
    };
    Rings::drain(&source.rings(), GENERATION, keep).unwrap();
    found
}

#[test]
fn what_is_no_segment_of_ours_is_refused_with_the_reason() {
    let mut folder = Folder::new();
    let healthy = folder.add_healthy();
    let good = genuine();
    let changed = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        put(&mut bytes, at, value);
        bytes
    };
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let random: Vec<u8> = (0..BYTES).map(|_| next(&mut seed) as u8).collect();
    let half = good[..good.len() / 2].to_vec();
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("random.seg", random, "wrong magic"),
        ("zeros.seg", vec![0; BYTES as usize], "wrong magic"),
        ("empty.seg", vec![], "a file of 0 bytes is no segment"),
        ("short.seg", good[..100].to_vec(), "a file of 100 bytes is no segment"),
        ("header.seg", good[..512].to_vec(), "says 131072 bytes but the file has 512"),
        ("half.seg", half, "says 131072 bytes but the file has 65536"),
        ("magic.seg", changed(0, b"STEPSCOQ"), "wrong magic"),
        ("version.seg", changed(8, &99u32.to_ne_bytes()), "use the same stepscope version on both sides"),
        ("size.seg", changed(offset_of!(Header, segment_bytes), &u64::MAX.to_ne_bytes()), "but the file has 131072"),
        ("count.seg", changed(offset_of!(Header, ring_count), &65u32.to_ne_bytes()), "does not fit its size"),
        (
            "records.seg",
            changed(offset_of!(Header, ring_records), &(1u32 << 31).to_ne_bytes()),
            "does not fit its size",
        ),
        ("offset.seg", changed(offset_of!(Header, data_offset), &(BYTES - 64).to_ne_bytes()), "does not fit its size"),
        ("role.seg", changed(offset_of!(Header, role), &7u32.to_ne_bytes()), "unknown role 7"),
        ("clock.seg", changed(offset_of!(Header, clock), &9u32.to_ne_bytes()), "unknown clock 9"),
    ];
    for (name, bytes, _) in cases {
        folder.add(name, bytes);
    }
    std::fs::create_dir(folder.path("folder.seg")).unwrap();
    std::os::unix::fs::symlink(&healthy, folder.path("link.seg")).unwrap();
    std::fs::File::create(folder.path("huge.seg")).unwrap().set_len(1 << 40).unwrap();
    folder.collector.scan(Instant::now());
    for (name, _, expected) in cases {
        let reason = folder.reason(&folder.path(name)).unwrap_or_else(|| panic!("{name} was taken"));
        assert!(reason.contains(expected), "{name}: {reason}");
    }
    std::fs::copy(&healthy, folder.path("second.seg")).unwrap();
    folder.collector.scan(Instant::now());
    let reason = folder.reason(&folder.path("second.seg")).expect("a copy was taken");
    assert!(reason.contains("a copy of"), "{reason}");
    for name in ["folder.seg", "link.seg", "huge.seg"] {
        assert!(folder.reason(&folder.path(name)).is_some(), "{name} was taken");
    }
    assert_eq!(folder.collector.sources().len(), 1);
    folder.assert_healthy(&healthy);
}

#[test]
fn a_ring_whose_indices_make_no_sense_is_dropped_with_the_reason() {
    let capacity = u64::from(Shape::of(BYTES).ring_records);
    let (head, tail) = (ring(0) + offset_of!(RingDescriptor, head), ring(0) + offset_of!(RingDescriptor, tail));
    for (at_head, at_tail) in [(capacity + 1, 0), (u64::MAX, 0u64), (4, 5), (0, 1), (5 + capacity, 4)] {
        let mut folder = Folder::new();
        let healthy = folder.add_healthy();
        let mut bytes = genuine();
        put(&mut bytes, head, &at_head.to_ne_bytes());
        put(&mut bytes, tail, &at_tail.to_ne_bytes());
        let path = folder.add("hostile.seg", &bytes);
        folder.collector.scan(Instant::now());
        assert_eq!(iterations(folder.source(&path)), [0; 0]);
        let problem = folder.source(&path).problem().expect("a problem").to_owned();
        assert!(problem.contains("ring 0 makes no sense"), "{problem}");
        assert!(folder.source(&path).observe().broken);
        folder.assert_healthy(&healthy);
        folder.collector.release(Instant::now(), |_| false);
        assert!(folder.collector.sources().is_empty());
    }
}

#[test]
fn records_that_no_agent_writes_are_counted_and_left_out() {
    let mut folder = Folder::new();
    let mut bytes = genuine();
    with_records(&mut bytes, 5);
    let slot = |n: usize| Shape::of(BYTES).data_offset as usize + n * 64;
    // An unknown kind of this generation; an end before its begin; iteration 0; a record of another generation.
    put(&mut bytes, slot(0), &(77u64 | GENERATION << 32).to_ne_bytes());
    put(&mut bytes, slot(1) + 24, &1u64.to_ne_bytes());
    put(&mut bytes, slot(2) + 8, &0u64.to_ne_bytes());
    put(&mut bytes, slot(3), &(1u64 | 9 << 32).to_ne_bytes());
    let path = folder.add("liar.seg", &bytes);
    folder.collector.scan(Instant::now());
    assert_eq!(iterations(folder.source(&path)), [5]);
    assert_eq!(folder.source(&path).invalid_total(), 3);
    assert_eq!(folder.source(&path).records_total(), 5);
}

/// A thousand segments with bytes changed at random, where it hurts most: none takes the process down, and whatever is
/// taken can be looked at, drained and let go.
#[test]
fn mutated_segments_never_take_the_service_down() {
    let mut seed: u64 = 0x2545_f491_4f6c_dd1d;
    let mut good = genuine();
    with_records(&mut good, 8);
    let (mut taken, mut refused, mut broken) = (0, 0, 0);
    for round in 0..250 {
        let mut folder = Folder::new();
        for file in 0..4 {
            let mut bytes = good.clone();
            put(&mut bytes, offset_of!(Header, instance), &next(&mut seed).to_ne_bytes());
            for _ in 0..1 + next(&mut seed) % 8 {
                let blocks = [
                    (0, 128),
                    (STATUS_OFFSET, 256),
                    (NAMES_OFFSET, 64),
                    (RINGS_OFFSET, 192),
                    (Shape::of(BYTES).data_offset, 512),
                    (Shape::of(BYTES).data_offset, 512),
                ];
                let (from, length) = blocks[(next(&mut seed) % blocks.len() as u64) as usize];
                let at = (from + next(&mut seed) % length) as usize;
                let value = [0, 1, 0x7f, 0x80, 0xff, next(&mut seed) as u8][(next(&mut seed) % 6) as usize];
                bytes[at] = value;
            }
            folder.add(&format!("{round}-{file}.seg"), &bytes);
        }
        folder.collector.scan(Instant::now());
        refused += folder.collector.refused().count();
        for source in folder.collector.sources_mut() {
            taken += 1;
            let _ = source.observe();
            let _ = iterations(source);
            let _ = (source.rate(), source.ticks_per_second(), source.identity().job.len(), source.dropped_total());
            broken += usize::from(source.problem().is_some());
        }
        folder.collector.release(Instant::now(), |_| false);
        assert!(folder.collector.sources().is_empty());
    }
    assert_eq!(taken + refused, 1000);
    assert!(taken > 200 && refused > 50 && broken > 10, "one-sided: {taken} taken, {refused} refused, {broken} broken");
}

/// The file shrinks under the mapping: without the guard the next look would end this process with SIGBUS.
#[test]
fn a_segment_cut_short_while_mapped_costs_its_own_data_only() {
    let mut folder = Folder::new();
    let healthy = folder.add_healthy();
    for (name, length) in [("to-nothing.seg", 0), ("to-a-page.seg", 4096), ("by-a-page.seg", BYTES - 4096)] {
        let mut bytes = genuine();
        with_records(&mut bytes, 5);
        let path = folder.add(name, &bytes);
        folder.collector.scan(Instant::now());
        assert_eq!(folder.source(&path).problem(), None);
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.set_len(length).unwrap();
        assert!(file.read_exact_at(&mut [0], BYTES - 1).is_err());
        // Touches status, rings and slots; zeros are no records.
        let source = folder.source(&path);
        let _ = source.observe();
        let seen = iterations(source);
        assert!(seen.is_empty() || length == BYTES - 4096, "{name}: {seen:?}");
        folder.collector.scan(Instant::now());
        let problem = folder.source(&path).problem().expect("a problem").to_owned();
        assert!(problem.contains("cut short"), "{name}: {problem}");
    }
    folder.assert_healthy(&healthy);
}

fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
