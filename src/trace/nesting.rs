//! The slices of a track nest or are disjoint, whatever a fragment says: viewers drop a slice that does neither.

/// Keeps the slices of one track nested or disjoint. They come in the order of their ends, each with its depth: the number
/// of slices that will turn out to be around it, which those may fail to do where records were dropped.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    /// Slices that no other holds yet and that a later one may, by time, disjoint.
    open: Vec<Pending>,
    /// No later slice begins before this.
    floor_ns: u64,
    /// The latest end.
    end_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    begin_ns: u64,
    end_ns: u64,
    depth: u16,
}

/// Slices of one that may be waiting for it; beyond that, neighbours of one depth count as one slice.
const MAX_PENDING: usize = 4096;

impl Nesting {
    /// Where the next slice goes.
    pub(super) fn place(&mut self, begin_ns: u64, end_ns: u64, depth: u16) -> (u64, u64) {
        let end_ns = end_ns.max(self.end_ns);
        let mut begin_ns = begin_ns.max(self.floor_ns).min(end_ns);
        let mut first_held = None;
        while self.open.last().is_some_and(|last| last.begin_ns >= begin_ns) {
            first_held = self.open.pop();
        }
        let before_ns = self.open.last().map_or(self.floor_ns, |last| last.end_ns);
        begin_ns = begin_ns.max(before_ns);
        // Where begins and ends stand apart (Perfetto), the first of two that begin together is taken for the outer one, and
        // this one comes last.
        if begin_ns > before_ns && first_held.is_some_and(|held| held.begin_ns == begin_ns) {
            begin_ns -= 1;
        }
        self.end_ns = end_ns;
        if depth == 0 {
            // Nothing is around it: what comes later lies behind it.
            self.floor_ns = end_ns;
            self.open.clear();
        } else {
            if self.open.len() >= MAX_PENDING {
                self.join();
            }
            self.open.push(Pending { begin_ns, end_ns, depth });
        }
        (begin_ns, end_ns)
    }

    /// Halves what is pending, as far as its depths allow; a slice then can't begin in between what was joined.
    fn join(&mut self) {
        let mut joined: Vec<Pending> = Vec::with_capacity(MAX_PENDING);
        for pending in self.open.drain(..) {
            match joined.last_mut() {
                Some(last) if last.depth == pending.depth => last.end_ns = pending.end_ns,
                _ => joined.push(pending),
            }
        }
        if joined.len() > MAX_PENDING / 2 {
            // No engine's ranges look like this.
            let (first, last) = (joined[0], joined[MAX_PENDING / 2]);
            joined.splice(..=MAX_PENDING / 2, [Pending { end_ns: last.end_ns, ..first }]);
        }
        self.open = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_nested(slices: &mut [(u64, u64)]) {
        slices.sort_by_key(|&(begin, end)| (begin, u64::MAX - end));
        let mut open: Vec<u64> = Vec::new();
        for &(begin, end) in slices.iter() {
            while open.last().is_some_and(|&outer| outer <= begin) {
                open.pop();
            }
            assert!(begin <= end && open.last().is_none_or(|&outer| end <= outer), "{begin}..{end} in {slices:?}");
            open.push(end);
        }
    }

    /// What an agent would write of a run of pushes (`true`) and pops, one each tick: begin, end, depth.
    fn recorded(calls: &[bool]) -> Vec<(u64, u64, u16)> {
        let (mut open, mut done) = (Vec::new(), Vec::new());
        for (now, &is_push) in (0..).zip(calls) {
            if is_push {
                open.push(now);
            } else if let Some(begin) = open.pop() {
                done.push((begin, now, open.len() as u16));
            }
        }
        done
    }

    proptest! {
        #[test]
        fn what_nests_is_left_alone_whatever_was_dropped(
            calls in proptest::collection::vec(any::<bool>(), 0..400), dropped in proptest::collection::vec(any::<bool>(), 400),
        ) {
            let mut nesting = Nesting::default();
            for ((begin, end, depth), _) in recorded(&calls).into_iter().zip(dropped).filter(|(_, dropped)| !dropped) {
                prop_assert_eq!(nesting.place(begin, end, depth), (begin, end));
            }
        }

        #[test]
        fn whatever_comes_nests(slices in proptest::collection::vec((0u64..300, 0u64..300, 0u16..4), 0..200)) {
            let mut nesting = Nesting::default();
            let mut placed: Vec<_> = slices.iter().map(|&(a, b, depth)| nesting.place(a.min(b), a.max(b), depth)).collect();
            assert_nested(&mut placed);
        }
    }

    /// More than are remembered, at the bottom of a deep nest.
    #[test]
    fn a_slice_may_hold_any_number_of_others() {
        let round = |depth: usize, inner: &[bool]| [&vec![true; depth][..], inner, &vec![false; depth]].concat();
        let many = [true, false].repeat(3 * MAX_PENDING);
        let calls = [[true, false].repeat(10), round(3, &many), round(2, &round(1, &many).repeat(2))].concat();
        let calls = round(1, &calls);
        let mut nesting = Nesting::default();
        for (begin, end, depth) in recorded(&calls) {
            assert_eq!(nesting.place(begin, end, depth), (begin, end));
            assert!(nesting.open.len() <= MAX_PENDING);
        }
    }

    #[test]
    fn what_holds_others_begins_before_them_where_there_is_room() {
        let mut nesting = Nesting::default();
        assert_eq!(nesting.place(5, 8, 2), (5, 8));
        assert_eq!(nesting.place(10, 12, 2), (10, 12));
        assert_eq!(nesting.place(10, 20, 1), (9, 20), "around the second one only");
        assert_eq!(nesting.place(5, 30, 0), (4, 30));
        assert_eq!(nesting.place(30, 31, 1), (30, 31));
        assert_eq!(nesting.place(30, 40, 0), (30, 40), "no room");
    }

    #[test]
    fn no_memory_is_needed_for_what_only_a_stranger_writes() {
        let mut nesting = Nesting::default();
        let mut placed: Vec<_> =
            (0..5 * MAX_PENDING as u64).map(|n| nesting.place(2 * n, 2 * n + 1, 1 + (n % 2) as u16)).collect();
        assert!(nesting.open.len() <= MAX_PENDING);
        placed.extend((0..MAX_PENDING as u64).rev().map(|n| nesting.place(5 * n, u64::MAX, 1)));
        assert_nested(&mut placed);
    }
}
