//! Which rank makes the profiler's calls, when, and whether it can.
//!
//! A tool's session spans a process tree, and the first process to end its range ends the report of all. So of the ranks
//! of one session one leads: it makes the profiler's calls and opens the NVTX range `capture`, some iterations before the
//! group's first one, and closes when every rank of the session has. A rank that is in no session leads itself.
//!
//! Called by `plan` (can it work?), `running` (arming) and `session` (releasing the leader).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::collector::profiling::{Abilities, Answer};
use crate::collector::source::{Source, SourceId};
use crate::wire::control::profiler as bits;

use super::request::{Profiler, StartError, Synchronize};

/// How long a start waits for the agents to say what they can do. A driver that is being loaded takes longer: not known.
const PATIENCE: Duration = Duration::from_millis(60);
const LOOK: Duration = Duration::from_millis(1);
/// The profiler starts this many iterations early, so that its own start-up lies outside the window.
const LEAD_ITERATIONS: u64 = 1;
/// And never more than this many.
const MAX_LEAD_ITERATIONS: u64 = 1 << 16;
/// And this much earlier where others share the session: nsys wakes them some milliseconds after its leader's range began.
const SHARED_LEAD: Duration = Duration::from_millis(20);

/// What is switched on besides recording, with every default filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profiling {
    pub profiler: Profiler,
    pub synchronize: Synchronize,
    /// `None`: as many as it takes.
    pub lead_iterations: Option<u64>,
    /// Every rank makes the calls: one tool for each.
    pub every_rank_leads: bool,
}

/// What one rank does for its tool's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lead {
    /// It makes the calls.
    pub leads: bool,
    /// Others share its session.
    pub shared: bool,
    /// A tool is in sight in its process.
    pub tool: bool,
}

/// Who leads among these sources.
pub(super) fn leads<'a>(sources: impl Iterator<Item = &'a Source>, profiling: &Profiling) -> BTreeMap<SourceId, Lead> {
    let mut sessions: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    let mut leads = BTreeMap::new();
    for source in sources {
        let session = source.identity().tool_session.as_str();
        if session.is_empty() || profiling.every_rank_leads {
            leads.insert(source.id(), Lead { leads: true, shared: false, tool: listens(&source.abilities()) });
        } else {
            sessions.entry(session).or_default().push(source);
        }
    }
    for mut members in sessions.into_values() {
        members.sort_by_key(|s| (&s.identity().job, &s.identity().group, s.identity().rank, s.identity().pid));
        let shared = members.len() > 1;
        for (index, source) in members.into_iter().enumerate() {
            let tool = listens(&source.abilities());
            leads.insert(source.id(), Lead { leads: index == 0, shared, tool });
        }
    }
    leads
}

impl Profiling {
    /// The control block's bits for a rank.
    pub(super) fn bits(&self, lead: Lead) -> u64 {
        let mut word = bits::STEPS;
        if self.profiler == Profiler::Cuda {
            word |= bits::CUDA;
            word |= match self.synchronize {
                Synchronize::Both => bits::SYNCHRONIZE_OPEN | bits::SYNCHRONIZE_CLOSE,
                Synchronize::End => bits::SYNCHRONIZE_CLOSE,
                Synchronize::None => 0,
            };
        }
        word |= if self.profiler == Profiler::Engine { bits::ENGINE } else { 0 };
        word |= if lead.leads { bits::LEADER } else { 0 };
        word | if lead.shared { bits::SHARED } else { 0 }
    }

    /// How much earlier than the window the profiler starts. Nothing listens: not at all.
    pub(super) fn lead_iterations(&self, listens: bool, shared: bool, iterations_per_second: f64) -> u64 {
        if self.profiler != Profiler::Cuda && !listens {
            return 0;
        }
        let woken = if shared { (iterations_per_second * SHARED_LEAD.as_secs_f64()).ceil() as u64 } else { 0 };
        self.lead_iterations.unwrap_or(woken.clamp(LEAD_ITERATIONS, MAX_LEAD_ITERATIONS))
    }
}

/// What a rank's agent says it can do; `yes`, `no` or `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct RankCapabilities {
    /// The CUDA driver can be loaded and has the profiler's symbols; not known until a start asks.
    pub cuda_driver: &'static str,
    /// cuInit answered 0.
    pub cuda_initialized: &'static str,
    /// A context was current on the engine's thread.
    pub cuda_context: &'static str,
    /// The driver's version, 12080 for 12.8.
    pub cuda_version: Option<u32>,
    /// A tool listens to NVTX.
    pub nvtx_tool: &'static str,
    /// Its iterations come from NVTX ranges of the engine's own.
    pub nvtx_steps: &'static str,
    /// Started by nsys.
    pub nsys: &'static str,
    /// Started by ncu.
    pub ncu: &'static str,
    /// The tool's session that it runs in.
    pub tool_session: Option<String>,
    /// Why the profiler `cuda` can't work there, as far as it is known.
    pub cuda_obstacle: Option<String>,
}

/// What a source's agent says it can do.
pub(super) fn capabilities(source: &Source) -> RankCapabilities {
    let abilities = source.abilities();
    let word = |answer| match answer {
        Answer::Unknown => "unknown",
        Answer::No => "no",
        Answer::Yes => "yes",
    };
    RankCapabilities {
        cuda_driver: word(match (abilities.cuda_library, abilities.cuda_symbols) {
            (Answer::Yes, symbols) => symbols,
            (library, _) => library,
        }),
        cuda_initialized: word(abilities.cuda_initialized),
        cuda_context: word(abilities.cuda_context),
        cuda_version: abilities.cuda_version,
        nvtx_tool: word(abilities.nvtx_tool),
        nvtx_steps: word(abilities.nvtx_steps),
        nsys: word(abilities.nsys),
        ncu: word(abilities.ncu),
        tool_session: Some(source.identity().tool_session.clone()).filter(|session| !session.is_empty()),
        cuda_obstacle: obstacle(&abilities),
    }
}

/// Asks the agents of these ranks what they can do, and waits a moment for their answers.
pub(super) fn probe(collector: &Collector, ids: &[SourceId]) {
    let sources: Vec<&Source> = collector.sources().iter().filter(|s| ids.contains(&s.id())).collect();
    sources.iter().for_each(|s| s.probe());
    let began = Instant::now();
    while !sources.iter().all(|s| s.has_answered()) && began.elapsed() < PATIENCE {
        std::thread::sleep(LOOK);
    }
}

/// Whether `cuda` can work on the ranks that would make its calls: words of warning.
///
/// # Errors
/// [`StartError::Unavailable`] when none of them can, with the reason for each.
pub(super) fn check(sources: &[&Source], leads: &BTreeMap<SourceId, Lead>) -> Result<Vec<String>, StartError> {
    let leading: Vec<&&Source> = sources.iter().filter(|s| leads.get(&s.id()).is_some_and(|l| l.leads)).collect();
    let reasons: Vec<String> =
        leading.iter().filter_map(|s| Some(format!("{}: {}", who(s), obstacle(&s.abilities())?))).collect();
    if !leading.is_empty() && reasons.len() == leading.len() {
        return Err(StartError::Unavailable { profiler: Profiler::Cuda, reasons });
    }
    let mut warnings = reasons;
    if !sources.iter().any(|s| listens(&s.abilities())) {
        warnings.push(
            "no profiling tool can be seen in any rank: cuProfilerStart has no effect without one. Run the engine under \
             one, see `stepscope nsys --help`; `complete` stays unknown"
                .into(),
        );
    }
    Ok(warnings)
}

/// Whether a tool is in sight.
pub(super) fn listens(abilities: &Abilities) -> bool {
    [abilities.nvtx_tool, abilities.nsys, abilities.ncu].contains(&Answer::Yes)
}

fn who(source: &Source) -> String {
    let identity = source.identity();
    format!("rank {} of group {} of job {}", identity.rank, identity.group, identity.job)
}

/// Why `cuda` can't work there, as far as it is known.
pub(super) fn obstacle(abilities: &Abilities) -> Option<String> {
    let Abilities { cuda_library, cuda_symbols, cuda_initialized, cuda_code, .. } = *abilities;
    if cuda_library == Answer::No {
        return Some("the CUDA driver (libcuda.so.1) can't be loaded in the engine's process".into());
    }
    if cuda_symbols == Answer::No {
        return Some("the CUDA driver's library lacks the profiler's symbols".into());
    }
    (cuda_initialized == Answer::No)
        .then(|| format!("cuInit answered {}", cuda_code.map_or_else(|| "an error".into(), describe_code)))
}

/// A `CUresult`, with its name where it is one that people meet.
pub(super) fn describe_code(code: u32) -> String {
    match code_name(code) {
        Some(name) => format!("{code} ({name})"),
        None => code.to_string(),
    }
}

/// Names of `CUresult` values that profiling meets, from `cuda.h`.
pub(super) fn code_name(code: u32) -> Option<&'static str> {
    Some(match code {
        0 => "CUDA_SUCCESS",
        1 => "CUDA_ERROR_INVALID_VALUE",
        2 => "CUDA_ERROR_OUT_OF_MEMORY",
        3 => "CUDA_ERROR_NOT_INITIALIZED",
        4 => "CUDA_ERROR_DEINITIALIZED",
        5 => "CUDA_ERROR_PROFILER_DISABLED",
        34 => "CUDA_ERROR_STUB_LIBRARY",
        46 => "CUDA_ERROR_DEVICE_UNAVAILABLE",
        100 => "CUDA_ERROR_NO_DEVICE",
        101 => "CUDA_ERROR_INVALID_DEVICE",
        201 => "CUDA_ERROR_INVALID_CONTEXT",
        304 => "CUDA_ERROR_OPERATING_SYSTEM",
        400 => "CUDA_ERROR_INVALID_HANDLE",
        600 => "CUDA_ERROR_NOT_READY",
        700 => "CUDA_ERROR_ILLEGAL_ADDRESS",
        709 => "CUDA_ERROR_CONTEXT_IS_DESTROYED",
        719 => "CUDA_ERROR_LAUNCH_FAILED",
        800 => "CUDA_ERROR_NOT_PERMITTED",
        801 => "CUDA_ERROR_NOT_SUPPORTED",
        803 => "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        804 => "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        900 => "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        999 => "CUDA_ERROR_UNKNOWN",
        _ => return None,
    })
}
