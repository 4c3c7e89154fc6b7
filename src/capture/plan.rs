//! From what was asked to what will be done: defaults filled in, limits held, ranks chosen.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::collector::Collector;
use crate::collector::source::{Source, SourceId};
use crate::wire::clock::realtime_ns;

use super::manifest::{CaptureId, Complete, GpuReport, Manifest, NativeReport, State, Window};
use super::options::Options;
use super::profiling::{self, Lead, Profiling};
use super::request::{Begin, Level, Profiler, StartError, StartRequest};
use super::session::Limits;

/// Longest window with the profiler `cuda`, for a start that does not say: a tool's report grows fast.
const CUDA_MAX_DURATION_MS: u64 = 60_000;

/// What a start comes down to, with every default filled in.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub begin: Begin,
    /// Its folder is there.
    pub was_held: bool,
    pub max_iterations: u64,
    pub profiling: Profiling,
    /// Who makes the profiler's calls.
    pub leads: BTreeMap<SourceId, Lead>,
    /// Words for the caller.
    pub warnings: Vec<String>,
    pub limits: Limits,
    /// How much the engines are to tell of themselves.
    pub level: Level,
    pub lease: Duration,
    /// Memory for records that the disk does not take.
    pub buffer_bytes: u64,
    pub sources: Vec<SourceId>,
    /// The ranks asked for; `None`: all.
    pub ranks: Option<Vec<u32>>,
}

/// Fills in, checks and chooses.
///
/// # Errors
/// See [`StartError`].
pub(super) fn make(
    options: &Options,
    request: &StartRequest,
    collector: &Collector,
) -> Result<(Plan, Window), StartError> {
    let begin = request.begin.unwrap_or(Begin::Delay(options.default_delay_iterations));
    let max_iterations = request.max_iterations.unwrap_or(options.default_max_iterations);
    let profiler = request.profiler.unwrap_or(options.default_profiler);
    let milliseconds = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    let mut window = Window {
        delay_iterations: if let Begin::Delay(delay) = begin { delay } else { 0 },
        max_iterations,
        start_iteration: match begin {
            Begin::At(first) | Begin::AtOrNext(first) => Some(first),
            Begin::Delay(_) => None,
        },
        max_duration_ms: cap("max_duration_ms", request.max_duration_ms, milliseconds(options.max_duration))?,
        max_events: cap("max_events", request.max_events, options.max_events)?,
        max_bytes: cap("max_bytes", request.max_bytes, options.max_bytes)?,
    };
    let chosen = choose(request, collector)?;
    let mut profiling = Profiling {
        profiler,
        synchronize: request.synchronize.unwrap_or_default(),
        lead_iterations: request.lead_iterations,
        every_rank_leads: request.every_rank_leads,
    };
    let leads = profiling::leads(chosen.iter().copied(), &profiling);
    let warnings = equip(&mut profiling, request.best_profiler, collector, &chosen, &leads)?;
    if profiling.profiler == Profiler::Cuda {
        window.max_duration_ms = window.max_duration_ms.min(request.max_duration_ms.unwrap_or(CUDA_MAX_DURATION_MS));
    }
    let plan = Plan {
        begin,
        was_held: request.hold_ms.is_some(),
        max_iterations,
        profiling,
        leads,
        warnings,
        limits: Limits {
            duration_ns: window.max_duration_ms.saturating_mul(1_000_000),
            wait_ns: u64::try_from(options.max_wait.as_nanos()).unwrap_or(u64::MAX),
            events: window.max_events,
            bytes: window.max_bytes,
        },
        level: request.level.unwrap_or_default(),
        lease: options.lease,
        buffer_bytes: options.buffer_bytes,
        sources: chosen.iter().map(|s| s.id()).collect(),
        ranks: request.ranks.clone(),
    };
    Ok((plan, window))
}

/// The first manifest of what will be done.
pub(super) fn manifest(request: &StartRequest, plan: &Plan, window: Window) -> Manifest {
    Manifest {
        schema: 1,
        stepscope_version: env!("CARGO_PKG_VERSION").into(),
        capture_id: CaptureId(uuid::Uuid::now_v7().to_string()),
        state: State::Armed,
        complete: Complete::Unknown,
        missing: Vec::new(),
        closed_by: None,
        reason: None,
        warnings: request.warnings.iter().chain(&plan.warnings).cloned().collect(),
        accepted_at: jiff::Timestamp::now().to_string(),
        accepted_at_ns: realtime_ns(),
        wall_clock_stepped_ns: 0,
        held: request.hold_ms.is_some(),
        agreed_at_ns: None,
        finished_at: None,
        profile_prefix: request.profile_prefix.clone(),
        profiler: plan.profiling.profiler.as_str().into(),
        window,
        groups: Vec::new(),
        ranks: Vec::new(),
        sources: Vec::new(),
        sampling: Vec::new(),
        request_moments: 0,
        records: 0,
        dropped: 0,
        gpus: GpuReport::default(),
        fragment_bytes: 0,
        artifacts: Vec::new(),
        // From the first manifest on: whoever finds it sends the stop.
        native: (plan.profiling.profiler == Profiler::Engine)
            .then(|| NativeReport { state: "waiting".into(), ..NativeReport::default() }),
    }
}

/// Sees to it that what is switched on can work: words of warning.
fn equip(
    profiling: &mut Profiling,
    best: bool,
    collector: &Collector,
    chosen: &[&Source],
    leads: &BTreeMap<SourceId, Lead>,
) -> Result<Vec<String>, StartError> {
    if profiling.profiler != Profiler::Cuda && !best {
        return Ok(Vec::new());
    }
    let ids: Vec<SourceId> = chosen.iter().map(|s| s.id()).collect();
    profiling::probe(collector, &ids);
    let checked = profiling::check(chosen, leads);
    if !best {
        return checked;
    }
    let tool = leads.values().any(|lead| lead.tool);
    profiling.profiler = if checked.is_ok() && tool { Profiler::Cuda } else { Profiler::Steps };
    Ok(match (checked, tool) {
        (Ok(warnings), true) => warnings,
        (Ok(_), false) => vec!["activity GPU: no profiling tool can be seen in any rank; steps are recorded".into()],
        (Err(error), _) => vec![format!("activity GPU: {error}; steps are recorded")],
    })
}

/// A cap from the request within the server's limit, where 0 is none.
fn cap(field: &'static str, asked: Option<u64>, limit: u64) -> Result<u64, StartError> {
    match asked {
        None | Some(0) => Ok(limit),
        Some(asked) if limit != 0 && asked > limit => Err(StartError::AboveLimit { field, asked, limit }),
        Some(asked) => Ok(asked),
    }
}

fn choose<'a>(request: &StartRequest, collector: &'a Collector) -> Result<Vec<&'a Source>, StartError> {
    let ranks: Vec<&Source> =
        collector.sources().iter().filter(|s| s.identity().is_rank && s.is_alive() && s.problem().is_none()).collect();
    if ranks.is_empty() {
        return Err(StartError::NoEngine { looked_in: collector.folder().to_owned(), hint: hint(collector) });
    }
    let of_job: Vec<&Source> = match &request.job {
        Some(job) => ranks.iter().copied().filter(|s| &s.identity().job == job).collect(),
        None => ranks.clone(),
    };
    if let (Some(job), true) = (&request.job, of_job.is_empty()) {
        let mut attached: Vec<String> = ranks.iter().map(|s| s.identity().job.clone()).collect();
        attached.sort();
        attached.dedup();
        return Err(StartError::UnknownJob { asked: job.clone(), attached });
    }
    let Some(asked) = &request.ranks else { return Ok(of_job) };
    let chosen: Vec<&Source> = of_job.iter().copied().filter(|s| asked.contains(&s.identity().rank)).collect();
    if chosen.is_empty() {
        let mut attached: Vec<u32> = of_job.iter().map(|s| s.identity().rank).collect();
        attached.sort_unstable();
        attached.dedup();
        return Err(StartError::UnknownRanks { asked: asked.clone(), attached });
    }
    Ok(chosen)
}

/// What was found instead of an engine, and what to do about it.
fn hint(collector: &Collector) -> String {
    if let Some(problem) = collector.folder_problem() {
        return format!("; the folder can't be read: {problem}");
    }
    let refused: Vec<String> =
        collector.refused().map(|(path, reason)| format!("{}: {reason}", path.display())).collect();
    if !refused.is_empty() {
        return format!("; refused: {}", refused.join("; "));
    }
    "; start the engine with the stepscope package installed and the same STEPSCOPE_DIR, and see `stepscope doctor`"
        .into()
}
