//! GPU counters over the window: mean, smallest, largest of each, and the utilization that the verdict may use.

use std::collections::BTreeMap;

use super::distribution::rounded;
use super::model::{CounterRow, GpuRow};
use super::thresholds as limit;
use crate::trace::counter::{Counter, GpuIdentity, Metric};

/// More counters than any machine has: what a stranger's file may make us remember.
const MOST: usize = 4096;
/// Values that a mean takes.
const MIN_VALUES: u64 = 5;

#[derive(Debug)]
struct Values {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

/// Takes counters.
#[derive(Debug, Default)]
pub(super) struct GpuRecorder {
    gpus: Vec<GpuIdentity>,
    values: BTreeMap<(usize, Metric), Values>,
}

impl GpuRecorder {
    pub(super) fn add(&mut self, gpu: &GpuIdentity, counter: &Counter) {
        let at = match self.gpus.iter().position(|known| known == gpu) {
            Some(at) => at,
            None if self.gpus.len() >= MOST => return,
            None => {
                self.gpus.push(gpu.clone());
                self.gpus.len() - 1
            }
        };
        let none = Values { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        let values = self.values.entry((at, counter.metric)).or_insert(none);
        values.count += 1;
        values.sum += counter.value;
        values.min = values.min.min(counter.value);
        values.max = values.max.max(counter.value);
    }

    pub(super) fn rows(&self) -> Vec<GpuRow> {
        let row = |(at, gpu): (usize, &GpuIdentity)| {
            let of_it = || self.values.iter().filter(move |((gpu, _), _)| *gpu == at);
            let counters = of_it().map(|((_, metric), values)| CounterRow {
                counter: metric.key().into(),
                values: values.count,
                mean: rounded(values.sum / values.count as f64),
                min: values.min,
                max: values.max,
            });
            GpuRow {
                gpu: gpu.label(),
                uuid: gpu.uuid.clone(),
                name: gpu.name.clone(),
                of_the_engine: of_it().any(|((_, metric), _)| metric.is_of_a_process()),
                counters: counters.collect(),
            }
        };
        self.gpus.iter().enumerate().map(row).collect()
    }
}

/// The mean utilization of the least busy of the engine's GPUs, a share of 1; or why there is none.
pub(super) fn utilization(rows: &[GpuRow], ranks: usize, wall_ns: u64) -> Result<f64, String> {
    if rows.is_empty() {
        return Err("there are no GPU counters".into());
    }
    if wall_ns < limit::UTILIZATION_WINDOW_NS {
        return Err("the window is shorter than the second that NVML's utilization is a mean over".into());
    }
    let is_seen = rows.iter().any(|row| row.of_the_engine);
    let is_its = |row: &&GpuRow| row.of_the_engine || !is_seen;
    if !is_seen && rows.len() != ranks {
        return Err("it is not known which GPUs are the engine's".into());
    }
    let key = Metric::GpuUtilization.key();
    let mut least: Option<f64> = None;
    for row in rows.iter().filter(is_its) {
        let counter = row.counters.iter().find(|counter| counter.counter == key && counter.values >= MIN_VALUES);
        let mean = counter.ok_or_else(|| format!("GPU {} told too few values of its utilization", row.gpu))?.mean;
        least = Some(least.map_or(mean, |least| least.min(mean)));
    }
    least.map(|percent| percent / 100.0).ok_or_else(|| "no GPU is the engine's".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(gpu: u32, of_the_engine: bool, mean: f64, values: u64) -> GpuRow {
        let key = Metric::GpuUtilization.key().into();
        let counters = vec![CounterRow { counter: key, values, mean, min: 0.0, max: 100.0 }];
        GpuRow { gpu: gpu.to_string(), of_the_engine, counters, ..GpuRow::default() }
    }

    const LONG: u64 = limit::UTILIZATION_WINDOW_NS;

    #[test]
    fn only_gpus_that_are_the_engines_count_and_the_least_busy_decides() {
        let rows = [row(0, true, 96.0, 9), row(1, false, 2.0, 9), row(2, true, 91.0, 9)];
        assert_eq!(utilization(&rows, 2, LONG), Ok(0.91));
        let unseen = [row(0, false, 96.0, 9), row(1, false, 2.0, 9)];
        assert_eq!(utilization(&unseen, 2, LONG), Ok(0.02));
        assert!(utilization(&unseen, 1, LONG).unwrap_err().contains("which GPUs"));
    }

    #[test]
    fn what_there_is_too_little_of_is_not_used() {
        assert!(utilization(&[], 1, LONG).unwrap_err().contains("no GPU counters"));
        assert!(utilization(&[row(0, true, 50.0, 9)], 1, LONG - 1).unwrap_err().contains("shorter"));
        assert!(utilization(&[row(0, true, 50.0, 4)], 1, LONG).unwrap_err().contains("too few"));
    }
}
