//! Axes, dots, steps and bars. The data is an SVG of 1000 × 1000 that is stretched to its box, with strokes that are not;
//! numbers on axes are HTML beside it.

use std::fmt::Write;

use super::escape::escape;

/// Units of the SVG in each direction.
pub(super) const SIZE: f64 = 1000.0;

/// From values to places, one way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_logarithmic: bool,
}

/// From how much larger the largest has to be than the smallest for a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 12.0;

impl Axis {
    /// From zero to a little above the largest; logarithmic where values lie far apart.
    pub(super) fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let high = values.clone().fold(0.0, f64::max);
        let low = values.filter(|&value| value > 0.0).fold(f64::INFINITY, f64::min);
        if low.is_finite() && high > low * LOGARITHMIC_FROM {
            return Self { low: low / 1.3, high: high * 1.3, is_logarithmic: true };
        }
        Self { low: 0.0, high: if high > 0.0 { high * 1.06 } else { 1.0 }, is_logarithmic: false }
    }

    /// Exactly these ends.
    pub(super) fn between(low: f64, high: f64) -> Self {
        Self { low, high: if high > low { high } else { low + 1.0 }, is_logarithmic: false }
    }

    /// Exactly these ends, logarithmic.
    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let low = low.max(1.0);
        Self { low, high: if high > low { high } else { low * 2.0 }, is_logarithmic: true }
    }

    /// 0 at the low end, 1 at the high one.
    pub(super) fn share(self, value: f64) -> f64 {
        let share = if self.is_logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.clamp(0.0, 1.0)
    }

    pub(super) fn is_logarithmic(self) -> bool {
        self.is_logarithmic
    }

    /// Round numbers inside it, at most about six.
    pub(super) fn ticks(self) -> Vec<f64> {
        if self.is_logarithmic {
            let decades = (self.high / self.low).log10();
            let steps: &[f64] = match decades {
                d if d > 4.0 => &[1.0],
                d if d > 1.6 => &[1.0, 3.0],
                d if d > 0.8 => &[1.0, 2.0, 5.0],
                _ => &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            };
            let first = self.low.log10().floor();
            let last = self.high.log10().ceil();
            let mut ticks = Vec::new();
            let mut decade = first;
            while decade <= last {
                ticks.extend(steps.iter().map(|step| step * 10f64.powf(decade)));
                decade += 1.0;
            }
            ticks.retain(|&tick| tick >= self.low && tick <= self.high);
            while ticks.len() > 7 {
                ticks = ticks.into_iter().step_by(2).collect();
            }
            return ticks;
        }
        let raw = (self.high - self.low) / 5.0;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&step| step >= raw).unwrap_or(raw);
        let first = (self.low / step).ceil();
        (0..8).map(|i| (first + f64::from(i)) * step).filter(|&tick| tick <= self.high * 1.000_001).collect()
    }
}

/// A plot in the making.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
    body: String,
}

impl Plot {
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, body: String::new() }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x.share(x) * SIZE, (1.0 - self.y.share(y)) * SIZE)
    }

    /// Dots of one class: strokes without length and with round ends.
    pub(super) fn dots(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            let _ = write!(path, "M{x:.1} {y:.1}h0");
        }
        if !path.is_empty() {
            let _ = write!(self.body, "<path class=\"dot {class}\" d=\"{path}\"/>");
        }
    }

    /// One dot with words that show up under the pointer.
    pub(super) fn marked(&mut self, x: f64, y: f64, words: &str) {
        let (x, y) = self.at(x, y);
        let words = escape(words);
        let _ = write!(self.body, "<path class=\"marked\" d=\"M{x:.1} {y:.1}h0\"><title>{words}</title></path>");
    }

    /// The area between two step lines: `(from, to, low, high)` each.
    pub(super) fn steps(&mut self, class: &str, steps: &[(f64, f64, f64, f64)]) {
        let mut path = String::new();
        for &(from, to, low, high) in steps.iter().filter(|step| step.3 > step.2) {
            let ((left, top), (right, bottom)) = (self.at(from, high), self.at(to, low));
            let _ = write!(path, "M{left:.1} {bottom:.1}V{top:.1}H{right:.1}V{bottom:.1}z");
        }
        if !path.is_empty() {
            let _ = write!(self.body, "<path class=\"area {class}\" d=\"{path}\"/>");
        }
    }

    /// A vertical line with words.
    pub(super) fn upright(&mut self, class: &str, x: f64, words: &str) {
        let x = self.x.share(x) * SIZE;
        let words = escape(words);
        let _ = write!(self.body, "<path class=\"line {class}\" d=\"M{x:.1} 0V{SIZE}\"><title>{words}</title></path>");
    }

    /// The whole plot, with numbers on its axes. `tall`: a class that says how high.
    pub(super) fn html(
        &self,
        about: &str,
        tall: &str,
        x_text: impl Fn(f64) -> String,
        y_text: impl Fn(f64) -> String,
    ) -> String {
        let mut grid = String::new();
        let mut words = String::new();
        for tick in self.y.ticks() {
            let share = self.y.share(tick);
            let y = (1.0 - share) * SIZE;
            let _ = write!(grid, "M0 {y:.1}H{SIZE}");
            let text = escape(&y_text(tick));
            let _ = write!(words, "<span class=\"y\" style=\"bottom:{:.2}%\">{text}</span>", share * 100.0);
        }
        for (i, tick) in self.x.ticks().into_iter().enumerate() {
            let share = self.x.share(tick);
            let _ = write!(grid, "M{:.1} 0V{SIZE}", share * SIZE);
            let text = escape(&x_text(tick));
            // A number at the very end would hang over the edge.
            let end = if share > 0.96 { " end" } else { "" };
            // Left out where there is little room.
            let second = if i % 2 == 1 { " second" } else { "" };
            let _ = write!(words, "<span class=\"x{end}{second}\" style=\"left:{:.2}%\">{text}</span>", share * 100.0);
        }
        let logarithmic = if self.y.is_logarithmic() { "<span class=\"scale\">log scale</span>" } else { "" };
        let about = escape(about);
        format!(
            "<div class=\"plot {tall}\"><svg viewBox=\"0 0 1000 1000\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{about}\"><path class=\"grid\" d=\"{grid}\"/>{}</svg>{words}{logarithmic}</div>",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_a_few_round_numbers_inside_it_whatever_the_values() {
        for values in
            [vec![0.0], vec![1.0], vec![7.0, 9.0], vec![1e3, 1e9], vec![2e6, 2.1e6], vec![5e-3], vec![1.0, 1e15]]
        {
            let axis = Axis::of(values.iter().copied());
            let ticks = axis.ticks();
            assert!((2..=8).contains(&ticks.len()), "{values:?}: {ticks:?}");
            assert!(ticks.is_sorted() && ticks.iter().all(|t| t.is_finite()), "{values:?}: {ticks:?}");
            assert!(values.iter().all(|&value| (0.0..=1.0).contains(&axis.share(value))));
        }
    }

    #[test]
    fn values_far_apart_get_a_logarithmic_axis() {
        assert!(Axis::of([1.0, 100.0].into_iter()).is_logarithmic());
        assert!(!Axis::of([50.0, 100.0].into_iter()).is_logarithmic());
        let axis = Axis::logarithmic(1.0, 100.0);
        assert!((axis.share(10.0) - 0.5).abs() < 1e-9);
    }
}
