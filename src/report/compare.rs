//! Two reports beside each other: what is longer or shorter beyond noise.
//!
//! * **Like with like.** Iterations are sorted into kinds: same phase, prefill tokens and decode requests each within an
//!   eighth of an octave. Only kinds that both sides have count, so that another mix of batches is no difference. Of the
//!   ranks of a group the one that took longest stands for an iteration; the window's first and last are left out.
//! * **Wider, where that is too fine.** A short window has too few of each size. Then kinds are a quarter, half or a whole octave
//!   wide, whatever is enough first; but one counts only where both sides' mean sizes in it lie within an eighth of an octave
//!   of each other, as they do where the same batches come and go.
//! * **The difference** is the mean of the kinds' differences of medians (their logarithms), weighted by how much both
//!   sides have of each.
//! * **Its interval** comes from a block bootstrap: each window is cut into stretches of time, which are drawn anew as a
//!   whole, since neighbouring iterations are alike and thousands of them are not thousands of observations.
//! * **Beyond noise** is what the interval keeps apart from zero *and* is as large as the smallest difference that is
//!   called one. Too few iterations, and nothing is claimed.
//!
//! What an interval can't hold is what differs from one run to the next without anybody's doing: another machine, another
//! hour. Two captures of the same server show how much that is.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::distribution::rounded;
use super::model::{Phase, Report};
use super::points::{Point, scramble};
use super::thresholds as limit;

/// What stands in every comparison.
pub const METHOD: &str = "differences of medians between iterations of the same phase and of batches within an eighth of \
                          an octave (wider where there are too few), weighted by how many both sides have; interval by a block bootstrap over stretches \
                          of time. Differences from run to run are not in it.";

/// Two captures, compared.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Comparison {
    /// The first capture's id.
    pub a: String,
    /// The second one's.
    pub b: String,
    /// How it was compared.
    pub method: String,
    /// Row by row.
    pub rows: Vec<Row>,
    /// What may make the two incomparable, in words.
    pub cautions: Vec<String>,
    /// Thresholds used.
    pub thresholds: super::verdict::Thresholds,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// What is compared: `duration`, `interval`, `device`, `end to end`, `first token`.
    pub what: String,
    /// Of which iterations.
    pub phase: Phase,
    /// How many the first capture has of a kind that both have; of how many.
    pub count_a: u64,
    /// The same of the second one.
    pub count_b: u64,
    /// All of this phase in the first one.
    pub of_a: u64,
    /// And in the second one.
    pub of_b: u64,
    /// Median of those, first capture.
    pub p50_a_ns: u64,
    /// Median of those, second capture.
    pub p50_b_ns: u64,
    /// The second beside the first: 0.05 is 5 % longer. Like with like.
    pub change: Option<f64>,
    /// Lower end of its interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// What that says.
    pub outcome: Outcome,
    /// How far apart batches of one kind may lie, octaves.
    pub octaves: f64,
}

/// What a comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The second is longer, beyond noise.
    Longer,
    /// The second is shorter, beyond noise.
    Shorter,
    /// The interval holds zero.
    WithinNoise,
    /// It is not zero, and smaller than what is called a difference.
    BelowMinimum,
    /// There are too few of the same kind.
    #[default]
    #[serde(other)]
    TooFew,
}

impl Outcome {
    /// The words for it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Longer => "longer, beyond noise",
            Self::Shorter => "shorter, beyond noise",
            Self::WithinNoise => "within noise",
            Self::BelowMinimum => "too small to call",
            Self::TooFew => "too few of a kind",
        }
    }
}

/// What is alike: phase, tokens, requests.
type Kind = (u8, u32, u32);
/// How many kinds an octave is cut into, finest first.
const WIDTHS: [u32; 4] = [8, 4, 2, 1];
/// How far apart the mean sizes of two sides may lie in a kind that is wider than the finest: logarithms to base 2.
const SAME_SIZE: f64 = 0.125;

/// A time of an iteration.
type Time = fn(&Point) -> Option<u64>;
/// What two captures should have in common.
type Fact = fn(&Report) -> String;

/// One value, in the order of time.
#[derive(Debug, Clone, Copy)]
struct Observation {
    phase: u8,
    /// Tokens and requests.
    sizes: [u32; 2],
    value: u64,
}

impl Observation {
    /// The kind that it is of, an octave being cut into so many.
    fn kind(&self, per_octave: u32) -> Kind {
        let [tokens, requests] = self.sizes.map(|size| size_class(size, per_octave));
        (self.phase, tokens, requests)
    }
}

/// Compares.
pub fn compare(a: &Report, b: &Report) -> Comparison {
    let mut rows = Vec::new();
    let measures: [(&str, Time); 3] =
        [("duration", |p| p.duration_ns), ("interval", |p| p.interval_ns), ("device", |p| p.device_ns)];
    for (what, of) in measures {
        let (from_a, from_b) = (observations(a, of), observations(b, of));
        if from_a.is_empty() && from_b.is_empty() {
            continue;
        }
        for phase in [Phase::Prefill, Phase::Decode, Phase::Mixed, Phase::All] {
            let take = |all: &[Observation]| -> Vec<Observation> {
                all.iter().copied().filter(|o| phase == Phase::All || o.phase == phase as u8).collect()
            };
            let (one, other) = (take(&from_a), take(&from_b));
            // All of one phase would say the same twice.
            let repeats = phase == Phase::All && rows.iter().filter(|row: &&Row| row.what == what).count() == 1;
            if !repeats && (!one.is_empty() || !other.is_empty()) {
                rows.push(row(what, phase, &one, &other));
            }
        }
    }
    for (what, first) in [("end to end", false), ("first token", true)] {
        let (one, other) = (requests(a, first), requests(b, first));
        if !one.is_empty() || !other.is_empty() {
            rows.push(row(what, Phase::All, &one, &other));
        }
    }
    Comparison {
        a: a.capture.capture_id.clone(),
        b: b.capture.capture_id.clone(),
        method: METHOD.into(),
        rows,
        cautions: cautions(a, b),
        thresholds: super::verdict::Thresholds::default(),
    }
}

/// Iterations of all groups by time; of an iteration the rank that took longest.
fn observations(report: &Report, of: impl Fn(&Point) -> Option<u64>) -> Vec<Observation> {
    let group = |rank: u32| report.ranks.get(rank as usize).map(|rank| (&rank.job, &rank.group));
    let mut longest: BTreeMap<_, (u64, Observation)> = BTreeMap::new();
    let is_edge = |point: &Point| {
        let rank = report.ranks.get(point.rank as usize);
        rank.is_some_and(|rank| [rank.first_iteration, rank.last_iteration].contains(&Some(point.iteration)))
    };
    for point in report.points.rows.iter().filter(|point| !is_edge(point)) {
        let Some(value) = of(point).filter(|&value| value > 0) else { continue };
        if matches!(point.phase, Phase::Dummy | Phase::Unknown) {
            continue;
        }
        let sizes = [point.batch.context_tokens, point.batch.generation_requests];
        let found = (point.start_ns, Observation { phase: point.phase as u8, sizes, value });
        let slot = longest.entry((group(point.rank), point.iteration)).or_insert(found);
        if value > slot.1.value {
            *slot = (slot.0.min(point.start_ns), found.1);
        }
    }
    let mut all: Vec<_> = longest.into_values().collect();
    all.sort_by_key(|(start_ns, _)| *start_ns);
    all.into_iter().map(|(_, observation)| observation).collect()
}

/// Requests by arrival; alike are those with prompt and output of about the same length.
fn requests(report: &Report, first_token: bool) -> Vec<Observation> {
    let observation = |row: &super::requests::RequestRow| {
        let value = if first_token { row.time_to_first_token_ns } else { row.total_ns() };
        let output = if first_token { 0 } else { row.output_tokens.unwrap_or_default() };
        Observation { phase: 0, sizes: [row.prompt_tokens.unwrap_or_default(), output], value }
    };
    report.requests.rows.iter().map(observation).filter(|o| o.value > 0).collect()
}

/// The part of an octave that a number lies in; of eighths small numbers have one of their own.
#[expect(clippy::cast_sign_loss, reason = "the logarithm of at least 1")]
fn size_class(number: u32, per_octave: u32) -> u32 {
    if number == 0 { 0 } else { 1 + (f64::from(number).log2() * f64::from(per_octave)).floor() as u32 }
}

fn row(what: &str, phase: Phase, a: &[Observation], b: &[Observation]) -> Row {
    let alike_at = |per_octave| {
        let kinds = shared_kinds(a, b, per_octave);
        let alike = [a, b].map(|all| Alike::of(all, &kinds, per_octave));
        (per_octave, kinds, alike)
    };
    let is_enough = |(.., alike): &(u32, Kinds, [Alike; 2])| {
        alike.iter().all(|alike| alike.values.len() as u64 >= limit::COMPARE_MIN_COUNT)
    };
    // Where none is enough, what there is of the finest is shown.
    let (per_octave, kinds, [alike_a, alike_b]) =
        WIDTHS.into_iter().map(alike_at).find(is_enough).unwrap_or_else(|| alike_at(WIDTHS[0]));
    let median_of = |alike: &Alike, all: &[Observation]| {
        let all = || all.iter().map(|o| o.value).collect();
        let mut values: Vec<u64> =
            if alike.values.is_empty() { all() } else { alike.values.iter().map(|value| value.1).collect() };
        median(&mut values).unwrap_or_default()
    };
    let mut row = Row {
        what: what.into(),
        phase,
        count_a: alike_a.values.len() as u64,
        count_b: alike_b.values.len() as u64,
        of_a: a.len() as u64,
        of_b: b.len() as u64,
        p50_a_ns: median_of(&alike_a, a),
        p50_b_ns: median_of(&alike_b, b),
        octaves: 1.0 / f64::from(per_octave),
        ..Row::default()
    };
    if row.count_a < limit::COMPARE_MIN_COUNT || row.count_b < limit::COMPARE_MIN_COUNT {
        return row;
    }
    let weights: Vec<f64> = kinds.values().map(|kind| kind.1).collect();
    let Some(change) = difference(&mut alike_a.all(), &mut alike_b.all(), &weights) else { return row };
    let mut random = 1;
    let mut drawn: Vec<f64> = (0..limit::COMPARE_DRAWS)
        .filter_map(|_| difference(&mut alike_a.draw(&mut random), &mut alike_b.draw(&mut random), &weights))
        .collect();
    drawn.sort_by(f64::total_cmp);
    let tail = (1.0 - limit::COMPARE_CONFIDENCE) / 2.0;
    let share = |difference: f64| rounded(difference.exp_m1());
    row.change = Some(share(change));
    row.low = quantile(&drawn, tail).map(share);
    row.high = quantile(&drawn, 1.0 - tail).map(share);
    row.outcome = outcome(row.change, row.low, row.high);
    row
}

/// What a change and its interval say.
pub fn outcome(change: Option<f64>, low: Option<f64>, high: Option<f64>) -> Outcome {
    let (Some(change), Some(low), Some(high)) = (change, low, high) else { return Outcome::TooFew };
    match (low > 0.0, high < 0.0) {
        (false, false) => Outcome::WithinNoise,
        _ if change.abs() < limit::COMPARE_MIN_EFFECT => Outcome::BelowMinimum,
        (true, _) => Outcome::Longer,
        (false, true) => Outcome::Shorter,
    }
}

/// Kinds, each with its place and its weight.
type Kinds = BTreeMap<Kind, (usize, f64)>;

/// How many there are of a kind, and the sums of the logarithms of their sizes.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    count: u64,
    sums: [f64; 2],
}

impl Sizes {
    fn of(all: &[Observation], per_octave: u32) -> BTreeMap<Kind, Self> {
        let mut kinds: BTreeMap<Kind, Self> = BTreeMap::new();
        for observation in all {
            let kind = kinds.entry(observation.kind(per_octave)).or_default();
            kind.count += 1;
            for (sum, size) in kind.sums.iter_mut().zip(observation.sizes) {
                *sum += f64::from(size.max(1)).log2();
            }
        }
        kinds
    }

    fn is_like(&self, other: &Self) -> bool {
        let mean = |sizes: &Self, at: usize| sizes.sums[at] / sizes.count.max(1) as f64;
        (0..2).all(|at| (mean(self, at) - mean(other, at)).abs() <= SAME_SIZE)
    }
}

/// Kinds that both have enough of.
fn shared_kinds(a: &[Observation], b: &[Observation], per_octave: u32) -> Kinds {
    let (a, b) = (Sizes::of(a, per_octave), Sizes::of(b, per_octave));
    let shared = a.into_iter().filter_map(|(kind, of_a)| {
        let of_b = b.get(&kind)?;
        let enough = of_a.count.min(of_b.count) >= limit::COMPARE_MIN_STRATUM;
        let alike = per_octave == WIDTHS[0] || of_a.is_like(of_b);
        let (of_a, of_b) = (of_a.count as f64, of_b.count as f64);
        (enough && alike).then_some((kind, of_a * of_b / (of_a + of_b)))
    });
    shared.enumerate().map(|(place, (kind, weight))| (kind, (place, weight))).collect()
}

/// What one side has of the shared kinds: place of the kind and value, in the order of time.
struct Alike {
    kinds: usize,
    values: Vec<(usize, u64)>,
}

impl Alike {
    fn of(all: &[Observation], kinds: &Kinds, per_octave: u32) -> Self {
        let values = all.iter().filter_map(|o| Some((kinds.get(&o.kind(per_octave))?.0, o.value))).collect();
        Self { kinds: kinds.len(), values }
    }

    /// Values by kind.
    fn all(&self) -> Vec<Vec<u64>> {
        let mut by_kind = vec![Vec::new(); self.kinds];
        self.values.iter().for_each(|&(kind, value)| by_kind[kind].push(value));
        by_kind
    }

    /// The same of as many stretches of time as there are, drawn anew.
    fn draw(&self, random: &mut u64) -> Vec<Vec<u64>> {
        let length = self.values.len().div_ceil(limit::COMPARE_BLOCKS as usize).max(1);
        let mut by_kind = vec![Vec::new(); self.kinds];
        let blocks = self.values.len().div_ceil(length);
        for _ in 0..blocks {
            *random += 1;
            let at = (scramble(*random) % blocks as u64) as usize * length;
            let block = &self.values[at..self.values.len().min(at + length)];
            block.iter().for_each(|&(kind, value)| by_kind[kind].push(value));
        }
        by_kind
    }
}

/// The weighted mean of the kinds' differences of log medians; a kind that a drawing lacks is left out of it.
fn difference(a: &mut [Vec<u64>], b: &mut [Vec<u64>], weights: &[f64]) -> Option<f64> {
    let (mut sum, mut all) = (0.0, 0.0);
    for ((a, b), weight) in a.iter_mut().zip(b).zip(weights) {
        if let Some((of_a, of_b)) = median(a).zip(median(b)) {
            sum += weight * (of_b as f64 / of_a as f64).ln();
            all += weight;
        }
    }
    (all > 0.0).then(|| sum / all)
}

fn median(values: &mut [u64]) -> Option<u64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    let upper = *values.select_nth_unstable(middle).1;
    // Of an even number the middle of the two middle ones; never 0, since its logarithm is taken.
    let lower = if values.len().is_multiple_of(2) { values[..middle].iter().max().copied() } else { None };
    Some(lower.map_or(upper, |lower| lower.midpoint(upper)).max(1))
}

#[expect(clippy::cast_sign_loss, reason = "a place in a list")]
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((share * last as f64).round() as usize).copied()
}

/// What makes two captures unlike before anything is compared.
fn cautions(a: &Report, b: &Report) -> Vec<String> {
    let mut cautions = Vec::new();
    let facts: [(&str, Fact); 3] = [
        ("engines", |r| r.capture.engines.join(", ")),
        ("profilers", |r| r.capture.profiler.clone()),
        ("numbers of ranks", |r| r.window.ranks.to_string()),
    ];
    for (what, of) in facts {
        if of(a) != of(b) {
            cautions.push(format!("they have different {what}: {:?} and {:?}", of(a), of(b)));
        }
    }
    for (name, report) in [("first", a), ("second", b)] {
        if report.loss.complete == Some(false) {
            cautions.push(format!("the {name} one is incomplete: see what its report says is missing"));
        }
        if report.points.share < 1.0 && !report.points.rows.is_empty() {
            let (rows, of) = (report.points.rows.len(), report.points.of);
            cautions.push(format!("of the {name} one {rows} of {of} iterations are compared: an even choice"));
        }
    }
    let engines: BTreeSet<_> = a.capture.engines.iter().chain(&b.capture.engines).collect();
    if a.capture.capture_id == b.capture.capture_id && !engines.is_empty() {
        cautions.push("both are the same capture".into());
    }
    cautions
}
