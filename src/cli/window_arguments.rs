//! What a window can be asked to be, for `start` and `run`.

use clap::Args;

use crate::client::StartBody;

/// The window.
#[derive(Debug, Clone, Args)]
pub struct WindowArguments {
    /// Skip exactly this many iterations first
    #[arg(long, value_name = "N", conflicts_with = "start_iteration")]
    pub delay_iterations: Option<u64>,
    /// Capture exactly this many; 0 is until stop
    #[arg(long, value_name = "N")]
    pub max_iterations: Option<u64>,
    /// Begin at exactly this iteration instead; one in the past is refused
    #[arg(long, value_name = "K")]
    pub start_iteration: Option<u64>,
    /// What to switch on while the window is open: steps (nothing), cuda (cuProfilerStart and cuProfilerStop), or engine (the
    /// engine's own profiler)
    #[arg(long, value_name = "NAME")]
    pub profiler: Option<String>,
    /// With cuda: where the engine waits for the device: both (edges, the default), end or none
    #[arg(long, value_name = "WHERE")]
    pub synchronize: Option<String>,
    /// Start the profiler this many iterations before the window (1, or 20 ms of them where ranks share one nsys)
    #[arg(long, value_name = "N")]
    pub lead_iterations: Option<u64>,
    /// With cuda: which ranks call the profiler: leader (one per nsys session, the default) or all
    #[arg(long, value_name = "WHICH")]
    pub cuda_ranks: Option<String>,
    /// How much the engine tells of itself besides iterations: off, basic, detail (requests, spans, counters; the default) or
    /// verbose
    #[arg(long, value_name = "LEVEL")]
    pub level: Option<String>,
    /// Only this job (one engine), by name; all that are attached otherwise
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Only these ranks, for example 0,1
    #[arg(long, value_name = "RANKS", value_delimiter = ',')]
    pub ranks: Option<Vec<u32>>,
    /// Close the window after this many milliseconds at the latest [the sidecar's limit; with cuda 60000]
    #[arg(long, value_name = "MS")]
    pub max_duration_ms: Option<u64>,
    /// Close the window after this many records
    #[arg(long, value_name = "N")]
    pub max_events: Option<u64>,
    /// Close the window after this many bytes of records
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,
    /// Put this in front of the trace's file name
    #[arg(long, value_name = "TEXT")]
    pub profile_prefix: Option<String>,
}

impl WindowArguments {
    /// What a sidecar is told.
    pub(super) fn body(self) -> StartBody {
        StartBody {
            delay_iterations: self.delay_iterations,
            max_iterations: self.max_iterations,
            start_iteration: self.start_iteration,
            profiler: self.profiler,
            synchronize: self.synchronize,
            lead_iterations: self.lead_iterations,
            cuda_ranks: self.cuda_ranks,
            level: self.level,
            job: self.job,
            ranks: self.ranks,
            max_duration_ms: self.max_duration_ms,
            max_events: self.max_events,
            max_bytes: self.max_bytes,
            profile_prefix: self.profile_prefix,
            hold_ms: None,
        }
    }
}
