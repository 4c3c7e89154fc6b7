//! What a start asks for, read by hand from the query and the body.
//!
//! The clients that exist send nothing at all, with any content type; whole completions payloads; nulls; numbers as
//! strings; SGLang's field names. So an extractor will not do. What always holds: an empty body is fine, a field nobody
//! knows is ignored, a known field with a value that can't be meant is an error with that field's name, a field that is
//! known and can't be honoured is a warning, and no body makes it panic.
//!
//! | field | also called | value |
//! | --- | --- | --- |
//! | `delay_iterations` | `delay_steps` | iterations to skip |
//! | `max_iterations` | `num_steps` | iterations to capture; 0 is until stop |
//! | `start_iteration` | | the first iteration; one in the past is refused later |
//! | `start_step` | | the first iteration, or the next one if that is past (SGLang) |
//! | `profile_prefix` | | 1–128 of `A-Z a-z 0-9 . _ -`, the first one a letter or digit |
//! | `profiler` | `activities` | `steps`, `cuda` or `engine`; a list of `CPU`, `GPU`, `CUDA_PROFILER` (SGLang) |
//! | `synchronize` | | `both`, `end` or `none`: where the engine waits for the device (`cuda`) |
//! | `lead_iterations` | | how many iterations before the window the profiler starts |
//! | `cuda_ranks` | | `leader`: one rank per tool's session makes the profiler's calls; `all`: every one |
//! | `level` | | `off`, `basic`, `detail` or `verbose`: how much the engine tells of itself besides its iterations |
//! | `job`, `ranks` | | one job by name; these ranks only |
//! | `hold_ms` | | accept it, and open it when `/stepscope/v1/captures/{id}/open` says so, within so many milliseconds |
//! | `max_duration_ms`, `max_events`, `max_bytes` | | caps of this capture |
//!
//! Called by [`super::routes::profile`].

use serde_json::{Map, Value};

use super::values::{Fields, Wrong, shown, wrong};
use crate::capture::request::{Begin, Level, Profiler, StartRequest, Synchronize};

/// The largest body that is read, bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// The fields that mean something, for `capabilities`.
pub const FIELDS: &[&str] = &[
    "delay_iterations",
    "delay_steps",
    "max_iterations",
    "num_steps",
    "start_iteration",
    "start_step",
    "profile_prefix",
    "profiler",
    "activities",
    "synchronize",
    "lead_iterations",
    "cuda_ranks",
    "level",
    "job",
    "ranks",
    "max_duration_ms",
    "max_events",
    "max_bytes",
    "hold_ms",
];

/// Fields that are known, can't be honoured, and are said to be ignored.
pub const IGNORED: &[(&str, &str)] = &[
    (
        "output_dir",
        "output_dir is ignored: a client never chooses where this server writes; fetch the trace by its link",
    ),
    (
        "profile_by_stage",
        "profile_by_stage is ignored: every iteration is recorded with its requests and tokens by phase",
    ),
    ("profile_stages", "profile_stages is ignored: every iteration is recorded with its requests and tokens by phase"),
    ("stages", "stages is ignored: name a job or ranks instead"),
    ("with_stack", "with_stack is ignored: stacks are not recorded in this version"),
    ("record_shapes", "record_shapes is ignored: shapes are not recorded in this version"),
    ("merge_profiles", "merge_profiles is ignored: the trace holds all ranks as it is"),
];

/// Why a body can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Too long.
    #[error("the body is longer than {MAX_BODY_BYTES} bytes")]
    TooLong,
    /// Took too long to arrive.
    #[error("the body did not arrive within {0} s")]
    TooSlow(u64),
    /// Cut off.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// Not text.
    #[error("the body is not valid UTF-8 (from byte {0})")]
    NotText(usize),
    /// Not JSON, and not empty.
    #[error("the body is not JSON ({reason}): send a JSON object, or no body at all{hint}")]
    NotJson {
        /// What the parser said.
        reason: String,
        /// What may be meant instead; empty, or beginning with `; `.
        hint: &'static str,
    },
    /// JSON, but no object.
    #[error("the body has to be a JSON object, not {0}")]
    NotAnObject(String),
    /// The query can't be read.
    #[error("the query can't be read: {0}")]
    Query(String),
    /// One field is wrong.
    #[error(transparent)]
    Field(#[from] Wrong),
}

/// What a start asks for.
pub fn read_start(content_type: Option<&str>, query: &str, body: &[u8]) -> Result<StartRequest, BodyError> {
    let [of_query, all] = read_fields(content_type, query, body)?;
    start_of(&of_query)?;
    start_of(&all)
}

/// The fields of the query alone, and those of query and body, whatever they mean.
pub fn read_fields(content_type: Option<&str>, query: &str, body: &[u8]) -> Result<[Fields; 2], BodyError> {
    let (query, body) = (read_query(query)?, read_object(content_type, body)?);
    Ok([Fields::new(query.clone(), Map::new()), Fields::new(query, body)])
}

/// What the fields of a start mean.
pub fn start_of(fields: &Fields) -> Result<StartRequest, BodyError> {
    let mut warnings = Vec::new();
    let (profiler, best_profiler) = profiler(fields, &mut warnings)?;
    let request = StartRequest {
        begin: begin(fields)?,
        max_iterations: fields.number(&["max_iterations", "num_steps"])?.map(|(_, count)| count),
        profile_prefix: prefix(fields)?,
        profiler,
        best_profiler,
        synchronize: synchronize(fields)?,
        lead_iterations: fields.number(&["lead_iterations"])?.map(|(_, count)| count),
        every_rank_leads: every_rank_leads(fields)?,
        level: level(fields)?,
        job: job(fields)?,
        ranks: ranks(fields)?,
        max_duration_ms: at_least_one(fields, "max_duration_ms")?,
        max_events: fields.number(&["max_events"])?.map(|(_, count)| count),
        max_bytes: at_least_one(fields, "max_bytes")?,
        hold_ms: at_least_one(fields, "hold_ms")?,
        warnings: Vec::new(),
    };
    for (field, warning) in IGNORED {
        if fields.asks_for(field) {
            warnings.push((*warning).to_owned());
        }
    }
    Ok(StartRequest { warnings, ..request })
}

/// The parameters of a query, in order.
pub fn read_query(query: &str) -> Result<Vec<(String, String)>, BodyError> {
    let uri: axum::http::Uri = match format!("/?{query}").parse() {
        Ok(uri) => uri,
        Err(error) => return Err(BodyError::Query(format!("{error}"))),
    };
    match axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri) {
        Ok(axum::extract::Query(parameters)) => Ok(parameters),
        Err(error) => Err(BodyError::Query(error.body_text())),
    }
}

fn read_object(content_type: Option<&str>, body: &[u8]) -> Result<Map<String, Value>, BodyError> {
    let text = std::str::from_utf8(body).map_err(|error| BodyError::NotText(error.valid_up_to()))?;
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(other) => Err(BodyError::NotAnObject(shown(&other))),
        Err(error) => {
            let form = content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("form"));
            let hint = if form { "; form fields are read from the query only" } else { "" };
            Err(BodyError::NotJson { reason: error.to_string(), hint })
        }
    }
}

fn begin(fields: &Fields) -> Result<Option<Begin>, Wrong> {
    let delay = fields.number(&["delay_iterations", "delay_steps"])?;
    let exact = fields.number(&["start_iteration"])?;
    let step = fields.number(&["start_step"])?;
    match (delay, exact, step) {
        (None, None, None) => Ok(None),
        (Some((_, count)), None, None) => Ok(Some(Begin::Delay(count))),
        (None, Some((_, first)), None) => Ok(Some(Begin::At(first))),
        (None, None, Some((_, first))) => Ok(Some(Begin::AtOrNext(first))),
        (None, Some(_), Some(_)) => Err(wrong("start_step", "start_iteration is given too: give one of them")),
        (Some((delay, _)), _, _) => {
            let start = if exact.is_some() { "start_iteration" } else { "start_step" };
            Err(wrong(delay, format!("{start} is given too: a window begins after a delay or at a number")))
        }
    }
}

fn at_least_one(fields: &Fields, name: &str) -> Result<Option<u64>, Wrong> {
    match fields.number(&[name])? {
        Some((_, 0)) => Err(wrong(name, "expected at least 1; leave it out for the server's own")),
        other => Ok(other.map(|(_, value)| value)),
    }
}

fn prefix(fields: &Fields) -> Result<Option<String>, Wrong> {
    let Some(text) = fields.text("profile_prefix")? else { return Ok(None) };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let first = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if !first || text.len() > 128 || !text.bytes().all(allowed) {
        let rule = "expected 1 to 128 of A-Z a-z 0-9 . _ -, the first one a letter or a digit";
        return Err(wrong("profile_prefix", rule));
    }
    Ok(Some(text.to_owned()))
}

fn job(fields: &Fields) -> Result<Option<String>, Wrong> {
    match fields.text("job")? {
        Some(text) if text.is_empty() || text.len() > 256 => Err(wrong("job", "expected 1 to 256 bytes")),
        other => Ok(other.map(str::to_owned)),
    }
}

fn ranks(fields: &Fields) -> Result<Option<Vec<u32>>, Wrong> {
    let Some(numbers) = fields.numbers("ranks")? else { return Ok(None) };
    if numbers.is_empty() {
        return Err(wrong("ranks", "names none; leave it out for all of them"));
    }
    let mut ranks = numbers
        .into_iter()
        .map(|number| u32::try_from(number).map_err(|_| wrong("ranks", format!("{number} is no rank"))))
        .collect::<Result<Vec<_>, _>>()?;
    ranks.sort_unstable();
    ranks.dedup();
    Ok(Some(ranks))
}

fn synchronize(fields: &Fields) -> Result<Option<Synchronize>, Wrong> {
    let Some(name) = fields.text("synchronize")? else { return Ok(None) };
    match name.trim().to_ascii_lowercase().as_str() {
        "both" => Ok(Some(Synchronize::Both)),
        "end" => Ok(Some(Synchronize::End)),
        "none" => Ok(Some(Synchronize::None)),
        _ => Err(wrong("synchronize", format!("{} is none of: both, end, none", shown(&name.into())))),
    }
}

fn level(fields: &Fields) -> Result<Option<Level>, Wrong> {
    let Some(name) = fields.text("level")? else { return Ok(None) };
    match name.trim().to_ascii_lowercase().as_str() {
        "off" => Ok(Some(Level::Off)),
        "basic" => Ok(Some(Level::Basic)),
        "detail" => Ok(Some(Level::Detail)),
        "verbose" => Ok(Some(Level::Verbose)),
        _ => Err(wrong("level", format!("{} is none of: off, basic, detail, verbose", shown(&name.into())))),
    }
}

fn every_rank_leads(fields: &Fields) -> Result<bool, Wrong> {
    let Some(name) = fields.text("cuda_ranks")? else { return Ok(false) };
    match name.trim().to_ascii_lowercase().as_str() {
        "leader" => Ok(false),
        "all" => Ok(true),
        _ => Err(wrong("cuda_ranks", format!("{} is none of: leader, all", shown(&name.into())))),
    }
}

/// `profiler` wins over `activities`; of the activities, the one that needs most. And whether the best that works is meant.
fn profiler(fields: &Fields, warnings: &mut Vec<String>) -> Result<(Option<Profiler>, bool), Wrong> {
    let activities = fields.words("activities")?;
    if let Some(name) = fields.text("profiler")? {
        return match name.trim().to_ascii_lowercase().as_str() {
            "steps" => Ok((Some(Profiler::Steps), false)),
            "cuda" => Ok((Some(Profiler::Cuda), false)),
            "engine" => Ok((Some(Profiler::Engine), false)),
            _ => Err(wrong("profiler", format!("{} is none of: steps, cuda, engine", shown(&name.into())))),
        };
    }
    let (mut chosen, mut best) = (None, false);
    for activity in activities.into_iter().flatten() {
        match activity.to_ascii_uppercase().as_str() {
            "CUDA_PROFILER" => chosen = Some(Profiler::Cuda),
            "CPU" => chosen = chosen.or(Some(Profiler::Steps)),
            "GPU" => {
                chosen = chosen.or(Some(Profiler::Steps));
                best = true;
            }
            "MEM" | "RPD" | "XPU" => {
                warnings.push(format!("activity {activity} is ignored: it is not recorded in this version"));
            }
            _ => warnings.push(format!("activity {} is ignored: nobody knows it", shown(&activity.into()))),
        }
    }
    Ok((chosen, best && chosen != Some(Profiler::Cuda)))
}
