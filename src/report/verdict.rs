//! What limits the engine, as far as the data carries it: six questions, each answered yes, no or can't tell, with what
//! was measured and the threshold beside it.
//!
//! * A host gap proves nothing: with asynchronous scheduling the engine prepares the next iteration while the device
//!   works, so that host time inside a call is not the iteration's time. Host- and GPU-bound are told by device times,
//!   or not at all.
//! * An interval counts as one with work where a request that is decoded in the next iteration was there already: else a
//!   server that nobody asks anything would look host-bound.
//! * Time between two CUDA events holds the pauses between kernels too. So GPU-bound takes NVML's word as well.
//! * What a mixed iteration takes beyond a decode iteration's median is prefill; with too few decode iterations to know
//!   that median its time is nobody's, and may leave the question open.
//!
//! Pure functions from [`Evidence`] to [`Verdict`].

use serde::{Deserialize, Serialize};

use super::distribution::rounded;
use super::thresholds as limit;
pub use super::thresholds::Thresholds;

/// What may limit an engine. The first in this order that holds is the verdict; the others that hold are named too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// One rank keeps the others of its group waiting.
    StragglerBound,
    /// Requests wait to be scheduled.
    QueueBound,
    /// The device waits for the host.
    HostBound,
    /// The device works all the time.
    GpuBound,
    /// Prompts take most of the time.
    PrefillBound,
    /// Generation takes most of the time.
    DecodeBound,
    /// The data does not say.
    #[default]
    #[serde(other)]
    CantTell,
}

impl Bound {
    /// The word for it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::StragglerBound => "straggler-bound",
            Self::QueueBound => "queue-bound",
            Self::HostBound => "host-bound",
            Self::GpuBound => "GPU-bound",
            Self::PrefillBound => "prefill-bound",
            Self::DecodeBound => "decode-bound",
            Self::CantTell => "can't tell",
        }
    }
}

/// Whether something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// The data does not carry it.
    #[default]
    #[serde(other)]
    CantTell,
}

impl Holds {
    /// The word for it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::CantTell => "can't tell",
        }
    }
}

/// The verdict, with all that speaks for and against it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// What limits the engine first.
    pub primary: Bound,
    /// One sentence.
    pub summary: String,
    /// All six questions, in order.
    pub findings: Vec<Finding>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// Which.
    pub bound: Bound,
    /// The answer.
    pub holds: Holds,
    /// What was measured, a share of 1.
    pub measured: Option<f64>,
    /// What it is held against.
    pub threshold: f64,
    /// In words.
    pub evidence: String,
}

/// What the verdict is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Iterations with a time.
    pub iterations: u64,
    /// Time of prefill, mixed iterations' part included.
    pub prefill_ns: f64,
    /// Time of decode likewise.
    pub decode_ns: f64,
    /// Time of neither: of mixed iterations that can't be split, of dummies, of batches that are not known.
    pub other_ns: f64,
    /// Intervals with work and a device time, and the device's share of them, median.
    pub device: Option<(u64, f64)>,
    /// Host gaps beside the intervals with work, median.
    pub gap_share: Option<f64>,
    /// The mean utilization of the least busy of the engine's GPUs, or why there is none.
    pub utilization: Result<f64, String>,
    /// Per group of several ranks.
    pub groups: Vec<GroupEvidence>,
    /// Complete requests, and the queue's share of their end-to-end time; `None`: no requests were recorded.
    pub queue: Option<(u64, f64)>,
    /// The profiler that was on.
    pub profiler: String,
}

/// The ranks of one group, compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GroupEvidence {
    /// The rank that ended last most often.
    pub rank: String,
    /// Iterations that all ranks have.
    pub compared: u64,
    /// How often it ended last.
    pub share: f64,
    /// How much later than the first it then ended, beside the interval, medians.
    pub excess: f64,
    /// How much of the interval lies inside the calls.
    pub covered: f64,
}

/// Judges.
pub fn judge(evidence: &Evidence) -> Verdict {
    let findings =
        vec![straggler(evidence), queue(evidence), host(evidence), gpu(evidence), prefill(evidence), decode(evidence)];
    let holding: Vec<&Finding> = findings.iter().filter(|finding| finding.holds == Holds::Yes).collect();
    let open = findings.iter().filter(|finding| finding.holds == Holds::CantTell).count();
    let primary = holding.first().map_or(Bound::CantTell, |finding| finding.bound);
    let mut summary = match holding.split_first() {
        Some((first, others)) => {
            let others: Vec<&str> = others.iter().map(|finding| finding.bound.title()).collect();
            let also = if others.is_empty() { String::new() } else { format!(" Also {}.", others.join(", ")) };
            format!("{}: {}.{also}", first.bound.title(), first.evidence)
        }
        None if open == 0 => "can't tell: nothing reaches its threshold.".into(),
        None => "can't tell: nothing that the data carries reaches its threshold.".into(),
    };
    if open > 0 {
        let open: Vec<&str> =
            findings.iter().filter(|f| f.holds == Holds::CantTell).map(|finding| finding.bound.title()).collect();
        summary.push_str(&format!(" Not known: {}.", open.join(", ")));
    }
    Verdict { primary, summary, findings }
}

fn finding(bound: Bound, holds: Holds, measured: Option<f64>, threshold: f64, evidence: String) -> Finding {
    Finding { bound, holds, measured: measured.map(rounded), threshold, evidence }
}

fn yes(holds: bool) -> Holds {
    if holds { Holds::Yes } else { Holds::No }
}

fn straggler(evidence: &Evidence) -> Finding {
    let make = |holds, measured, text| finding(Bound::StragglerBound, holds, measured, limit::STRAGGLER_EXCESS, text);
    let enough = |group: &&GroupEvidence| group.compared >= limit::MIN_COUNT;
    let worst = evidence.groups.iter().filter(enough).max_by(|a, b| {
        let is_late = |group: &GroupEvidence| group.share >= limit::STRAGGLER_SHARE;
        (is_late(a), a.excess).partial_cmp(&(is_late(b), b.excess)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let Some(group) = worst else {
        return match evidence.groups.iter().map(|group| group.compared).max() {
            None => make(Holds::No, None, "no group has several ranks".into()),
            Some(compared) => {
                let least = limit::MIN_COUNT;
                let text = format!("only {compared} iterations are there of all ranks of a group; it takes {least}");
                make(Holds::CantTell, None, text)
            }
        };
    };
    let GroupEvidence { rank, compared, share, excess, covered } = group;
    if *covered < limit::HOST_COVERS {
        let text = format!(
            "calls take {} of the interval, less than {}: scheduling may be asynchronous, and the ends of calls say nothing",
            percent(*covered),
            percent(limit::HOST_COVERS)
        );
        return make(Holds::CantTell, None, text);
    }
    let holds = *share >= limit::STRAGGLER_SHARE && *excess >= limit::STRAGGLER_EXCESS;
    let text = format!(
        "{rank} ends last in {} of {compared} iterations (threshold {}), then {} of an interval behind the first \
         (threshold {})",
        percent(*share),
        percent(limit::STRAGGLER_SHARE),
        percent(*excess),
        percent(limit::STRAGGLER_EXCESS)
    );
    make(yes(holds), Some(*excess), text)
}

fn queue(evidence: &Evidence) -> Finding {
    let make = |holds, measured, text| finding(Bound::QueueBound, holds, measured, limit::QUEUE_SHARE, text);
    match evidence.queue {
        None => make(Holds::CantTell, None, "no requests were recorded".into()),
        Some((complete, _)) if complete < limit::MIN_COUNT => {
            let text = format!("{complete} requests are there from arrival to end; it takes {}", limit::MIN_COUNT);
            make(Holds::CantTell, None, text)
        }
        Some((complete, share)) => {
            let text = format!(
                "{complete} requests waited to be scheduled for {} of their end-to-end time (threshold {})",
                percent(share),
                percent(limit::QUEUE_SHARE)
            );
            make(yes(share >= limit::QUEUE_SHARE), Some(share), text)
        }
    }
}

/// The device's share, or why it can't be used.
fn device_share(evidence: &Evidence) -> Result<(u64, f64), String> {
    match evidence.device {
        Some((count, share)) if count >= limit::MIN_COUNT => Ok((count, share)),
        Some((count, _)) => {
            Err(format!("{count} intervals with work have a device time; it takes {}", limit::MIN_COUNT))
        }
        None if evidence.profiler == "cuda" => {
            Err("the engine told no CUDA stream, so there are no device times".into())
        }
        None => Err("no device times: they are measured with profiler cuda".into()),
    }
}

fn host(evidence: &Evidence) -> Finding {
    let make = |holds, measured, text| finding(Bound::HostBound, holds, measured, limit::HOST_DEVICE_SHARE, text);
    match device_share(evidence) {
        Ok((count, share)) => {
            let mut text = format!(
                "the device works {} of an interval, median of {count} with work (threshold {} or less)",
                percent(share),
                percent(limit::HOST_DEVICE_SHARE)
            );
            if share <= limit::HOST_DEVICE_SHARE {
                text.push_str("; a tool that listens to profiler cuda slows the host");
            }
            make(yes(share <= limit::HOST_DEVICE_SHARE), Some(share), text)
        }
        Err(mut why) => {
            if let Some(gap) = evidence.gap_share {
                let gap = percent(gap);
                why.push_str(&format!(
                    "; host gaps, {gap} of an interval, prove nothing where scheduling is asynchronous"
                ));
            }
            make(Holds::CantTell, None, why)
        }
    }
}

fn gpu(evidence: &Evidence) -> Finding {
    let make = |holds, measured, text| finding(Bound::GpuBound, holds, measured, limit::GPU_UTILIZATION, text);
    let (share, utilization) = (device_share(evidence), &evidence.utilization);
    let least = percent(limit::GPU_UTILIZATION);
    match (share, utilization) {
        (_, &Ok(utilization)) if utilization < limit::GPU_UTILIZATION => {
            let text = format!("a kernel ran {} of the window (threshold {least})", percent(utilization));
            make(Holds::No, Some(utilization), text)
        }
        (Ok((count, share)), _) if share < limit::GPU_DEVICE_SHARE => {
            let text = format!(
                "the device works {} of an interval, median of {count} with work (threshold {})",
                percent(share),
                percent(limit::GPU_DEVICE_SHARE)
            );
            make(Holds::No, Some(share), text)
        }
        (Ok((count, share)), &Ok(utilization)) => {
            let text = format!(
                "a kernel ran {} of the window (threshold {least}), the device works {} of an interval, median of \
                 {count} with work (threshold {})",
                percent(utilization),
                percent(share),
                percent(limit::GPU_DEVICE_SHARE)
            );
            make(Holds::Yes, Some(utilization), text)
        }
        (Err(why), &Ok(utilization)) => {
            let text = format!("a kernel ran {} of the window, but {why}", percent(utilization));
            make(Holds::CantTell, Some(utilization), text)
        }
        (Ok((_, share)), Err(why)) => {
            let text = format!("the device works {} of an interval, but {why}", percent(share));
            make(Holds::CantTell, None, text)
        }
        (Err(one), Err(other)) => make(Holds::CantTell, None, format!("{one}; {other}")),
    }
}

fn prefill(evidence: &Evidence) -> Finding {
    share_of_time(evidence, Bound::PrefillBound, evidence.prefill_ns, limit::PREFILL_SHARE, "prefill")
}

fn decode(evidence: &Evidence) -> Finding {
    share_of_time(evidence, Bound::DecodeBound, evidence.decode_ns, limit::DECODE_SHARE, "decode")
}

fn share_of_time(evidence: &Evidence, bound: Bound, part_ns: f64, threshold: f64, what: &str) -> Finding {
    let all_ns = evidence.prefill_ns + evidence.decode_ns + evidence.other_ns;
    if evidence.iterations < limit::MIN_COUNT || all_ns <= 0.0 {
        let text = format!("{} iterations have a time; it takes {}", evidence.iterations, limit::MIN_COUNT);
        return finding(bound, Holds::CantTell, None, threshold, text);
    }
    let (share, open) = (part_ns / all_ns, evidence.other_ns / all_ns);
    let mut text =
        format!("{what} takes {} of the iterations' time (threshold {})", percent(share), percent(threshold));
    let holds = match share >= threshold {
        true => Holds::Yes,
        false if share + open >= threshold => {
            text.push_str(&format!("; {} of it can't be told apart", percent(open)));
            Holds::CantTell
        }
        false => Holds::No,
    };
    finding(bound, holds, Some(share), threshold, text)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}
