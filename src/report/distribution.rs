//! Many values in constant memory: exact count, mean, smallest and largest; percentiles by `hdrhistogram`, 3 significant
//! digits.

use hdrhistogram::Histogram;

use super::model::{Bin, Distribution};

/// Significant digits of a percentile.
const DIGITS: u8 = 3;
/// Longer times count as this one: a day, so that a stranger's file can't make a histogram large.
const LONGEST_NS: u64 = 86_400_000_000_000;
/// Bins of an octave.
const BINS_PER_OCTAVE: f64 = 16.0;

/// Takes values.
#[derive(Debug)]
pub(super) struct Recorder {
    histogram: Histogram<u32>,
    sum: u128,
    min: u64,
    max: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        let histogram = Histogram::new(DIGITS).expect("the number of digits is one that the crate takes");
        Self { histogram, sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Recorder {
    /// One more.
    pub(super) fn add(&mut self, value: u64) {
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        // It grows as it has to; only a value beyond its largest possible range is refused, and none is.
        let _ = self.histogram.record(value.min(LONGEST_NS));
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// All of them together.
    pub(super) fn sum(&self) -> u128 {
        self.sum
    }

    /// The value below which this share of them lies.
    pub(super) fn quantile(&self, share: f64) -> Option<u64> {
        (self.count() > 0).then(|| self.histogram.value_at_quantile(share).clamp(self.min, self.max))
    }

    /// What lies above `floor` in each of them, together; within the percentiles' digits.
    pub(super) fn sum_above(&self, floor: u64) -> u128 {
        let above = self
            .histogram
            .iter_recorded()
            .map(|step| u128::from(step.value_iterated_to().saturating_sub(floor)) * u128::from(step.count_at_value()));
        above.sum()
    }

    /// `None`: there are no values.
    pub(super) fn distribution(&self) -> Option<Distribution> {
        let count = self.count();
        let quantile = |share| self.quantile(share).unwrap_or_default();
        (count > 0).then(|| Distribution {
            count,
            avg: rounded(self.sum as f64 / count as f64),
            min: self.min,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            max: self.max,
        })
    }

    /// How many lie in each sixteenth of an octave; those that are empty are left out.
    pub(super) fn bins(&self) -> Vec<Bin> {
        let mut bins: Vec<Bin> = Vec::new();
        for step in self.histogram.iter_recorded() {
            let value = step.value_iterated_to().max(1);
            let number = ((value as f64).log2() * BINS_PER_OCTAVE).floor();
            let from_ns = bound(number);
            match bins.last_mut().filter(|bin| bin.from_ns == from_ns) {
                Some(bin) => bin.count += u64::from(step.count_at_value()),
                None => bins.push(Bin { from_ns, to_ns: bound(number + 1.0), count: step.count_at_value().into() }),
            }
        }
        bins
    }
}

/// To six decimals: what JSON can carry there and back, and more than anybody reads.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[expect(clippy::cast_sign_loss, reason = "a power of two is not below zero")]
fn bound(number: f64) -> u64 {
    (number / BINS_PER_OCTAVE).exp2().round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_recorded_is_nothing_known() {
        let none = Recorder::default();
        assert_eq!((none.distribution(), none.quantile(0.5), none.bins()), (None, None, Vec::new()));
    }

    #[test]
    fn a_value_too_long_for_any_window_keeps_its_sum_and_its_extremes() {
        let mut recorder = Recorder::default();
        recorder.add(u64::MAX);
        recorder.add(0);
        let d = recorder.distribution().expect("two values");
        assert_eq!((d.count, d.min, d.max), (2, 0, u64::MAX));
    }

    proptest! {
        #[test]
        fn percentiles_are_within_a_thousandth_and_the_rest_is_exact(
            values in proptest::collection::vec(1u64..4_000_000_000_000, 1..300)) {
            let mut recorder = Recorder::default();
            values.iter().for_each(|&value| recorder.add(value));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let d = recorder.distribution().expect("there are values");
            prop_assert_eq!((d.count, d.min, d.max), (values.len() as u64, sorted[0], sorted[sorted.len() - 1]));
            for (share, told) in [(0.5, d.p50), (0.9, d.p90), (0.99, d.p99)] {
                #[expect(clippy::cast_sign_loss, reason = "a place in a list")]
                let exact = sorted[((share * sorted.len() as f64).ceil() as usize).max(1) - 1];
                prop_assert!(told.abs_diff(exact) as f64 <= exact as f64 / 1000.0 + 1.0, "{told} {exact}");
            }
            let bins = recorder.bins();
            prop_assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), d.count);
            prop_assert!(bins.is_sorted_by_key(|bin| bin.from_ns));
        }
    }
}
