//! Single iterations for plots and comparisons: all of a short window, an even choice of a long one.
//!
//! What is chosen depends on the iteration's number alone, through a hash: the same iterations of every rank, no beat with
//! anything that comes back every so many iterations, and no need to know how many will come. When there is no more
//! room, every second one is let go, again by the hash.

use serde::{Deserialize, Serialize};

use super::model::{BatchFacts, Phase};

/// Most points of a report.
pub const MAX_POINTS: usize = 6000;

/// The points of a report.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Points {
    /// Iterations that they were chosen from.
    pub of: u64,
    /// They are this share of them: 1 over a power of two.
    pub share: f64,
    /// What stands where in a row.
    pub columns: Vec<String>,
    /// By begin.
    pub rows: Vec<Point>,
}

/// One iteration of one rank. In JSON a row of numbers, by [`COLUMNS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Point {
    /// Place in the report's list of ranks.
    pub rank: u32,
    /// Its number.
    pub iteration: u64,
    /// Begin, counted from the window's.
    pub start_ns: u64,
    /// Host time inside the call; null where its end is not known.
    pub duration_ns: Option<u64>,
    /// To the next one's begin.
    pub interval_ns: Option<u64>,
    /// Time on the device.
    pub device_ns: Option<u64>,
    /// What kind of batch.
    pub phase: Phase,
    /// Its batch.
    pub batch: BatchFacts,
}

/// What stands where in a point's row.
pub const COLUMNS: [&str; 11] = [
    "rank",
    "iteration",
    "start_ns",
    "duration_ns",
    "interval_ns",
    "device_ns",
    "phase",
    "context_requests",
    "context_tokens",
    "generation_requests",
    "generation_tokens",
];

type Row = (u32, u64, u64, Option<u64>, Option<u64>, Option<u64>, Phase, u32, u32, u32, u32);

impl From<Row> for Point {
    fn from(row: Row) -> Self {
        let batch = BatchFacts {
            context_requests: row.7,
            context_tokens: row.8,
            generation_requests: row.9,
            generation_tokens: row.10,
        };
        Self {
            rank: row.0,
            iteration: row.1,
            start_ns: row.2,
            duration_ns: row.3,
            interval_ns: row.4,
            device_ns: row.5,
            phase: row.6,
            batch,
        }
    }
}

impl From<Point> for Row {
    fn from(p: Point) -> Self {
        let b = p.batch;
        (
            p.rank,
            p.iteration,
            p.start_ns,
            p.duration_ns,
            p.interval_ns,
            p.device_ns,
            p.phase,
            b.context_requests,
            b.context_tokens,
            b.generation_requests,
            b.generation_tokens,
        )
    }
}

/// Chooses points as they come.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    of: u64,
    halvings: u32,
    rows: Vec<Point>,
}

impl Chooser {
    pub(super) fn add(&mut self, point: Point) {
        self.of += 1;
        if !self.takes(point.iteration) {
            return;
        }
        self.rows.push(point);
        while self.rows.len() > MAX_POINTS {
            self.halvings += 1;
            let halvings = self.halvings;
            self.rows.retain(|point| is_chosen(point.iteration, halvings));
        }
    }

    fn takes(&self, iteration: u64) -> bool {
        is_chosen(iteration, self.halvings)
    }

    pub(super) fn finish(mut self) -> Points {
        self.rows.sort_by_key(|point| (point.start_ns, point.rank, point.iteration));
        Points {
            of: self.of,
            share: f64::from(self.halvings).exp2().recip(),
            columns: COLUMNS.map(Into::into).into(),
            rows: self.rows,
        }
    }
}

/// One in 2^`halvings`, evenly.
fn is_chosen(iteration: u64, halvings: u32) -> bool {
    halvings == 0 || scramble(iteration).leading_zeros() >= halvings
}

/// splitmix64's last step: every bit of the result depends on every bit of the number.
pub(super) const fn scramble(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(rank: u32, iteration: u64) -> Point {
        let batch = BatchFacts { context_requests: 1, context_tokens: 2, generation_requests: 3, generation_tokens: 4 };
        let (start_ns, duration_ns) = (iteration * 10, Some(7));
        Point {
            rank,
            iteration,
            start_ns,
            duration_ns,
            interval_ns: None,
            device_ns: Some(5),
            phase: Phase::Mixed,
            batch,
        }
    }

    #[test]
    fn a_short_window_is_kept_whole_and_a_long_one_evenly_for_all_ranks_alike() {
        let mut short = Chooser::default();
        (0..50).for_each(|n| short.add(point(0, n)));
        let short = short.finish();
        assert_eq!((short.rows.len(), short.share, short.of), (50, 1.0, 50));
        let mut long = Chooser::default();
        (0..200_000).for_each(|n| (0..2).for_each(|rank| long.add(point(rank, n))));
        let long = long.finish();
        assert!((MAX_POINTS / 4..=MAX_POINTS).contains(&long.rows.len()), "{}", long.rows.len());
        assert_eq!(long.of, 400_000);
        for pair in long.rows.chunks(2) {
            assert_eq!((pair[0].iteration, pair[0].rank, pair[1].rank), (pair[1].iteration, 0, 1));
        }
        let even = long.rows.iter().filter(|p| p.iteration % 2 == 0).count() as f64 / long.rows.len() as f64;
        assert!((0.45..0.55).contains(&even), "{even}");
    }

    #[test]
    fn a_point_is_a_row_of_as_many_columns_and_survives_it() {
        let json = serde_json::to_value(point(1, 9)).expect("JSON");
        assert_eq!(json.as_array().map(Vec::len), Some(COLUMNS.len()));
        assert_eq!(serde_json::from_value::<Point>(json).ok(), Some(point(1, 9)));
    }
}
