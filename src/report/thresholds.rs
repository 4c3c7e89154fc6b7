//! Every threshold of the verdict and of the comparison: constants here, numbers in each report, rows in the README.
//!
//! They are judgements, not laws of nature: each says what it is for, and a report shows what was measured beside it.

use serde::{Deserialize, Serialize};

/// Fewer iterations, requests or intervals than this, and nothing is claimed of them.
pub const MIN_COUNT: u64 = 20;
/// Queue-bound: requests spend at least this share of their end-to-end time waiting to be scheduled.
pub const QUEUE_SHARE: f64 = 0.3;
/// Prefill-bound: prefill takes at least this share of the iterations' time.
pub const PREFILL_SHARE: f64 = 0.6;
/// Decode-bound: decode takes at least this share of the iterations' time.
pub const DECODE_SHARE: f64 = 0.6;
/// Host-bound: the device works for at most this share of an interval in which there is work, median.
pub const HOST_DEVICE_SHARE: f64 = 0.7;
/// GPU-bound: the device works for at least this share of an interval in which there is work, median.
pub const GPU_DEVICE_SHARE: f64 = 0.9;
/// GPU-bound: a kernel runs for at least this share of the window, NVML's mean of the least busy GPU.
pub const GPU_UTILIZATION: f64 = 0.9;
/// NVML's utilization is a mean over up to a second: a shorter window has none of its own.
pub const UTILIZATION_WINDOW_NS: u64 = 1_000_000_000;
/// Straggler-bound: one rank ends last in at least this share of the iterations compared.
pub const STRAGGLER_SHARE: f64 = 0.7;
/// Straggler-bound: it then ends later than the first by at least this share of an interval, median.
pub const STRAGGLER_EXCESS: f64 = 0.05;
/// Ends of host calls say something where the calls take at least this share of the interval; with asynchronous
/// scheduling they don't.
pub const HOST_COVERS: f64 = 0.5;

/// Comparison: a difference smaller than this is not called one, however certain.
pub const COMPARE_MIN_EFFECT: f64 = 0.02;
/// Comparison: iterations of similar batches that each side has to have.
pub const COMPARE_MIN_COUNT: u64 = 40;
/// Comparison: iterations of one kind of batch that each side has to have for it to count.
pub const COMPARE_MIN_STRATUM: u64 = 5;
/// Comparison: stretches of time that a window is cut into, which are drawn anew as a whole.
pub const COMPARE_BLOCKS: u64 = 24;
/// Comparison: drawings.
pub const COMPARE_DRAWS: u64 = 2000;
/// Comparison: how sure the interval is; high, since one comparison has a dozen rows.
pub const COMPARE_CONFIDENCE: f64 = 0.99;

/// The same as a document.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "each is the constant of its name")]
pub struct Thresholds {
    pub min_count: u64,
    pub queue_share: f64,
    pub prefill_share: f64,
    pub decode_share: f64,
    pub host_device_share: f64,
    pub gpu_device_share: f64,
    pub gpu_utilization: f64,
    pub utilization_window_ns: u64,
    pub straggler_share: f64,
    pub straggler_excess: f64,
    pub host_covers: f64,
    pub compare_min_effect: f64,
    pub compare_min_count: u64,
    pub compare_min_stratum: u64,
    pub compare_blocks: u64,
    pub compare_draws: u64,
    pub compare_confidence: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            min_count: MIN_COUNT,
            queue_share: QUEUE_SHARE,
            prefill_share: PREFILL_SHARE,
            decode_share: DECODE_SHARE,
            host_device_share: HOST_DEVICE_SHARE,
            gpu_device_share: GPU_DEVICE_SHARE,
            gpu_utilization: GPU_UTILIZATION,
            utilization_window_ns: UTILIZATION_WINDOW_NS,
            straggler_share: STRAGGLER_SHARE,
            straggler_excess: STRAGGLER_EXCESS,
            host_covers: HOST_COVERS,
            compare_min_effect: COMPARE_MIN_EFFECT,
            compare_min_count: COMPARE_MIN_COUNT,
            compare_min_stratum: COMPARE_MIN_STRATUM,
            compare_blocks: COMPARE_BLOCKS,
            compare_draws: COMPARE_DRAWS,
            compare_confidence: COMPARE_CONFIDENCE,
        }
    }
}
