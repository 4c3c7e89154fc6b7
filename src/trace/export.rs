//! Fragments into a trace: one pass, merged by begin time, memory bounded by the number of ranks.
//!
//! Called by `capture` when the window has drained, and again for every download that is not on disk. The layout is
//! DESIGN §7's: a process per rank with the tracks `iterations`, `steps` (`ProfilerStep#K`) and `gaps`, its counters and
//! the spans of its threads, the process `stepscope` with the windows, the gate's instants and the drops, and in a trace of
//! all ranks a process per GPU with its counters.

use std::io;
use std::path::PathBuf;

use super::counters::Counters;
use super::event::{Batch, Flags};
use super::layout::{Layout, RankTracks};
use super::merge::{Lane, Merge, Placed};
use super::meta::{ExportMeta, RankWindow, Selection};
use super::request_tracks::RequestTracks;
use super::requests::Course;
use super::told::{self, Drawn, ToldSink};
use super::tracks::TrackHead;
use super::writer::{Argument, Flow, FlowStep, Slice, TraceStart, TraceWriter, Value};

/// What went into a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportSummary {
    /// Events written: slices, instants, counter values.
    pub events: u64,
    /// Iterations written, all ranks.
    pub iterations: u64,
    /// Bytes of fragments that were left out: torn or damaged tails.
    pub cut_bytes: u64,
    /// Requests written.
    pub requests: u64,
    /// Moments of requests left out: of more requests than are kept.
    pub requests_left_out: u64,
    /// Rank by rank.
    pub ranks: Vec<RankSummary>,
    /// Files that could not be used, in words.
    pub refused: Vec<String>,
}

/// What one fragment gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RankSummary {
    /// Its job.
    pub job: String,
    /// Its group.
    pub group: String,
    /// Its rank in the group.
    pub rank: u32,
    /// First iteration written.
    pub first_iteration: Option<u64>,
    /// Last iteration written.
    pub last_iteration: Option<u64>,
    /// Iterations written.
    pub iterations: u64,
    /// Records dropped, by the fragment's blocks.
    pub dropped_total: u64,
    /// Bytes left out: a torn or damaged tail.
    pub cut_bytes: u64,
    /// Spans written.
    pub spans: u64,
    /// Of those, moved so that the slices of their track nest.
    pub spans_clamped: u64,
    /// Spans left out: of more threads and domains than there are tracks for.
    pub spans_homeless: u64,
    /// Instants, counter values and durations that it told, written.
    pub others: u64,
    /// Of what it told, left out: before the window, or behind it.
    pub outside: u64,
    /// Iterations left out: too far out of order.
    pub disordered: u64,
    /// Events left out: of a kind that this version does not know.
    pub unknown: u64,
}

impl ExportSummary {
    pub(super) fn of(merge: &Merge, takes: impl Fn(&Lane) -> bool) -> Self {
        let mut summary = Self::default();
        for lane in merge.lanes.iter().filter(|lane| takes(lane)) {
            summary.iterations += lane.iterations;
            summary.cut_bytes += lane.cut_bytes;
            summary.refused.extend(lane.unreadable.clone());
            summary.ranks.push(RankSummary {
                job: lane.identity.job.clone(),
                group: lane.identity.group.clone(),
                rank: lane.identity.rank,
                first_iteration: lane.first_iteration,
                last_iteration: lane.last_iteration,
                iterations: lane.iterations,
                dropped_total: lane.dropped_total,
                cut_bytes: lane.cut_bytes,
                spans: lane.told.spans,
                spans_clamped: lane.told.clamped,
                spans_homeless: lane.told.homeless,
                others: lane.told.others,
                outside: lane.told.outside,
                disordered: lane.disordered,
                unknown: lane.unknown,
            });
        }
        summary.refused.extend(merge.refused.iter().map(ToString::to_string));
        summary
    }
}

/// Writes the trace of a capture, or of the selected ranks of it, from `begin` to `finish`.
///
/// Hand in all fragments of the capture, also for one rank: all its files then share one time base and one numbering.
/// A fragment that can't be used is named in the summary and left out.
///
/// # Errors
/// What the writer's sink says.
pub fn export<W: TraceWriter + ?Sized>(
    fragments: &[PathBuf],
    meta: &ExportMeta,
    selection: &Selection,
    writer: &mut W,
) -> io::Result<ExportSummary> {
    let is_whole = *selection == Selection::default();
    let mut merge = Merge::open(fragments, meta, is_whole && meta.requests);
    let takes = |lane: &Lane| selection.takes(&lane.identity.job, &lane.identity.group, lane.identity.rank);
    // A trace of some ranks has nothing of processes that are none.
    let takes = |lane: &Lane| takes(lane) && (is_whole || lane.is_rank());
    let windows: Vec<&RankWindow> = meta.ranks.iter().filter(|r| selection.takes(&r.job, &r.group, r.rank)).collect();
    let left_out = merge.requests.left_out;
    let requests = std::mem::take(&mut merge.requests).touching(|job| meta.window(job));
    let base_ns = base(&merge, meta, &requests);

    let mut selected = merge.lanes.iter().filter(|lane| takes(lane) && lane.is_rank());
    let only_rank = match (selected.next(), selected.next()) {
        (Some(lane), None) => Some(lane.identity.rank),
        _ => None,
    };
    writer.begin(TraceStart { base_ns, only_rank })?;
    let first = merge.lanes.iter().position(takes);
    let layout = Layout::of_part(&merge.lanes, first.filter(|_| *selection != Selection::default()));
    for (i, lane) in merge.lanes.iter().enumerate().filter(|(_, lane)| takes(lane)) {
        layout.name_rank(i, &lane.identity, writer)?;
    }
    write_windows(&layout, &windows, writer)?;
    if is_whole {
        let mut gpus = 0;
        for counters in &mut merge.counters {
            gpus += counters.write(&layout, gpus, base_ns, writer)?;
        }
        let end_ns = windows.iter().filter_map(|r| r.closed_at_ns).max();
        RequestTracks { process: layout.requests(gpus), end_ns }.write(&requests, writer)?;
        write_sampling(&layout, meta, writer)?;
    }

    merge.start(takes);
    let mut counters = vec![None; merge.lanes.len()];
    let mut flows = Vec::new();
    while let Some((at, placed)) = merge.next() {
        let tracks = layout.rank_tracks(at);
        flows.clear();
        // Arrows to requests that are not in this trace would begin nowhere.
        let served = merge.lanes[at].served(placed.iteration.iteration);
        flows.extend(served.filter(|_| is_whole).map(|(request, _)| Flow::new(request, FlowStep::Step)));
        write_iteration(&tracks, &placed, &flows, writer)?;
        if !placed.iteration.flags.has(Flags::NO_BATCH) && counters[at] != Some(placed.iteration.batch) {
            counters[at] = Some(placed.iteration.batch);
            write_counters(&tracks, &placed, writer)?;
        }
        write_drops(&layout, &mut merge.lanes[at], writer)?;
    }
    let mut asyncs = 0;
    for (at, lane) in merge.lanes.iter_mut().enumerate().filter(|(_, lane)| takes(lane)) {
        write_drops(&layout, lane, writer)?;
        let window = meta.window(&lane.identity.job);
        lane.each_told(base_ns, window, &mut Told { layout: &layout, lane: at, writer, asyncs: &mut asyncs })?;
    }
    let mut summary = ExportSummary::of(&merge, takes);
    summary.requests = requests.len() as u64;
    summary.requests_left_out = left_out;
    writer.metadata(&metadata(&merge, meta, &summary, base_ns, takes))?;
    writer.finish()?;
    summary.events = writer.events();
    Ok(summary)
}

/// What a recorder tells may have begun this much before its window: it is on some milliseconds early.
const EARLY_NS: u64 = 1_000_000_000;

/// What no event lies before: in whole milliseconds, the same for all files of a capture.
fn base(merge: &Merge, meta: &ExportMeta, requests: &[Course]) -> u64 {
    let gate_times = meta.ranks.iter().flat_map(|r| [r.opened_at_ns, r.closed_at_ns]).flatten();
    let first_ns = merge.first_begin_ns().into_iter().chain(gate_times).min().unwrap_or(0);
    let tells = meta.requests || merge.lanes.iter().any(|lane| !lane.is_rank());
    let first_ns = first_ns.saturating_sub(if tells { EARLY_NS } else { 0 });
    requests.iter().filter_map(Course::begin_ns).fold(first_ns, u64::min) / 1_000_000 * 1_000_000
}

fn write_iteration<W: TraceWriter + ?Sized>(
    tracks: &RankTracks,
    placed: &Placed,
    flows: &[Flow],
    writer: &mut W,
) -> io::Result<()> {
    let Placed { iteration, begin_ns, end_ns, .. } = *placed;
    let (batch, flags, duration_ns) = (iteration.batch, iteration.flags, end_ns - begin_ns);
    let mut arguments: [Argument<'_>; 10] = [("iteration", Value::Number(iteration.iteration)); 10];
    let mut count = 1;
    let mut add = |key, value| {
        arguments[count] = (key, value);
        count += 1;
    };
    let has_batch = !flags.has(Flags::NO_BATCH);
    if has_batch {
        add("context_requests", Value::Number(batch.context_requests.into()));
        add("context_tokens", Value::Number(batch.context_tokens.into()));
        add("generation_requests", Value::Number(batch.generation_requests.into()));
        add("generation_tokens", Value::Number(batch.generation_tokens.into()));
    }
    if let Some(device_ns) = iteration.device_ns {
        add("device_ns", Value::Number(device_ns));
    }
    if flags.has(Flags::DUMMY) {
        add("dummy", Value::Flag(true));
    }
    if flags.has(Flags::UNENDED) {
        add("unended", Value::Flag(true));
    }
    if flags.has(Flags::MID_ITERATION) {
        add("mid_iteration", Value::Flag(true));
    }
    if placed.clamped {
        add("clamped", Value::Flag(true));
    }
    let mut name = Name::default();
    match (flags.has(Flags::DUMMY), has_batch) {
        (true, _) => name.text("execute_dummy"),
        (false, true) => name.batch(&batch),
        (false, false) => name.text("execute"),
    }
    let slice =
        Slice { track: tracks.iterations, category: "iteration", name: name.as_str(), begin_ns, duration_ns, flows };
    writer.slice(slice, &arguments[..count])?;
    name.clear();
    name.text("ProfilerStep#");
    name.number(iteration.iteration);
    let step = Slice {
        track: tracks.steps,
        category: "user_annotation",
        name: name.as_str(),
        begin_ns,
        duration_ns,
        flows: &[],
    };
    writer.slice(step, &[])?;
    match placed.next_begin_ns {
        Some(next_ns) if next_ns > end_ns => {
            let duration_ns = next_ns - end_ns;
            writer.slice(
                Slice { track: tracks.gaps, category: "gap", name: "gap", begin_ns: end_ns, duration_ns, flows: &[] },
                &[],
            )
        }
        _ => Ok(()),
    }
}

/// What one process tells besides its iterations.
struct Told<'a, W: ?Sized> {
    layout: &'a Layout,
    lane: usize,
    writer: &'a mut W,
    /// Asynchronous slices in all of the trace, so far.
    asyncs: &'a mut u64,
}

impl<W: TraceWriter + ?Sized> ToldSink for Told<'_, W> {
    fn track(&mut self, track: &TrackHead) -> io::Result<()> {
        self.layout.name_told(self.lane, track, self.writer)
    }

    fn placed(&mut self, placed: &told::Placed<'_>) -> io::Result<()> {
        let told::Placed { drawn, track, category, name, begin_ns, end_ns, arguments, .. } = *placed;
        let track = self.layout.spans(self.lane, track);
        let flows = placed.flow.as_slice();
        let slice = Slice { track, category, name, begin_ns, duration_ns: end_ns - begin_ns, flows };
        match drawn {
            Drawn::Slice => self.writer.slice(slice, arguments),
            Drawn::Async => {
                *self.asyncs += 1;
                self.writer.async_slice(slice, *self.asyncs, arguments)
            }
            Drawn::Instant => self.writer.instant(track, category, name, begin_ns, arguments),
            Drawn::Counter(value) => self.writer.gauge(track.process, name, begin_ns, value),
        }
    }
}

/// How many of the requests are recorded, as a counter of the process `stepscope`.
fn write_sampling<W: TraceWriter + ?Sized>(layout: &Layout, meta: &ExportMeta, writer: &mut W) -> io::Result<()> {
    for &(at_ns, shift) in &meta.sampling {
        let one_in = 1u64 << shift.min(63);
        writer.counter(layout.stepscope(), "requests recorded: one in", at_ns, &[("requests", one_in)])?;
    }
    Ok(())
}

fn write_counters<W: TraceWriter + ?Sized>(tracks: &RankTracks, placed: &Placed, writer: &mut W) -> io::Result<()> {
    let batch = placed.iteration.batch;
    let requests = [("context", batch.context_requests.into()), ("generation", batch.generation_requests.into())];
    let tokens = [("context", batch.context_tokens.into()), ("generation", batch.generation_tokens.into())];
    writer.counter(tracks.process, "batch size", placed.begin_ns, &requests)?;
    writer.counter(tracks.process, "tokens", placed.begin_ns, &tokens)
}

fn write_drops<W: TraceWriter + ?Sized>(layout: &Layout, lane: &mut Lane, writer: &mut W) -> io::Result<()> {
    if lane.drops.is_empty() {
        return Ok(());
    }
    let name = drops_name(layout, &lane.identity.job, &lane.identity.group, lane.identity.rank);
    for (at_ns, dropped) in lane.drops.drain(..) {
        writer.counter(layout.stepscope(), &name, at_ns, &[("dropped", dropped)])?;
    }
    Ok(())
}

fn drops_name(layout: &Layout, job: &str, group: &str, rank: u32) -> String {
    format!("dropped records {}", layout.rank_name(job, group, rank))
}

/// The process `stepscope`: windows, the gate's instants, and the drop counters at both ends of each window.
fn write_windows<W: TraceWriter + ?Sized>(layout: &Layout, ranks: &[&RankWindow], writer: &mut W) -> io::Result<()> {
    let process = layout.stepscope();
    writer.process(process, "stepscope", "", process.0)?;
    writer.track(layout.gate(), "gate", 1)?;
    let mut groups: Vec<(&str, &str)> = ranks.iter().map(|r| (r.job.as_str(), r.group.as_str())).collect();
    groups.sort_unstable();
    groups.dedup();
    for (i, &(job, group)) in groups.iter().enumerate() {
        let name = layout.window_name(job, group);
        writer.track(layout.window(i), &name, i as u32 + 2)?;
        let of_group = || ranks.iter().filter(|r| r.job == job && r.group == group);
        let opened_ns = of_group().filter_map(|r| r.opened_at_ns).min();
        let closed_ns = of_group().filter_map(|r| r.closed_at_ns).max();
        if let (Some(begin_ns), Some(closed_ns)) = (opened_ns, closed_ns) {
            let duration_ns = closed_ns.saturating_sub(begin_ns);
            let slice = Slice {
                track: layout.window(i),
                category: "window",
                name: "capture",
                begin_ns,
                duration_ns,
                flows: &[],
            };
            let first = of_group().filter_map(|r| r.first_iteration).min().unwrap_or(0);
            let last = of_group().filter_map(|r| r.last_iteration).max().unwrap_or(0);
            let numbers = [("first_iteration", Value::Number(first)), ("last_iteration", Value::Number(last))];
            writer.slice(slice, &numbers)?;
        }
    }
    for rank in ranks {
        let name = layout.rank_name(&rank.job, &rank.group, rank.rank);
        let drops = drops_name(layout, &rank.job, &rank.group, rank.rank);
        if let Some(at_ns) = rank.opened_at_ns {
            writer.instant(layout.gate(), "gate", &format!("opened {name}"), at_ns, &[])?;
            writer.counter(process, &drops, at_ns, &[("dropped", 0)])?;
        }
        if let Some(at_ns) = rank.closed_at_ns {
            let cause = rank.closed_by.as_deref().unwrap_or("unknown");
            writer.instant(layout.gate(), "gate", &format!("closed {name}: {cause}"), at_ns, &[])?;
            writer.counter(process, &drops, at_ns, &[("dropped", rank.dropped)])?;
        }
    }
    Ok(())
}

fn metadata(
    merge: &Merge,
    meta: &ExportMeta,
    summary: &ExportSummary,
    base_ns: u64,
    takes: impl Fn(&Lane) -> bool,
) -> serde_json::Value {
    let lanes = merge.lanes.iter().filter(|lane| takes(lane));
    let ranks: Vec<_> = lanes
        .zip(&summary.ranks)
        .map(|(lane, rank)| {
            let id = &lane.identity;
            let window = meta.ranks.iter().find(|r| r.job == id.job && r.group == id.group && r.rank == id.rank);
            let threads: Vec<_> = lane
                .threads
                .iter()
                .map(|thread| serde_json::json!({"tid": thread.tid, "name": thread.name.as_str()}))
                .collect();
            serde_json::json!({
                "job": id.job, "group": id.group, "rank": id.rank, "world_size": id.world_size, "engine": id.engine,
                "label": id.label, "role": id.role, "pid": id.pid, "threads": threads,
                "first_iteration": rank.first_iteration, "last_iteration": rank.last_iteration,
                "iterations": rank.iterations, "spans": rank.spans, "spans_clamped": rank.spans_clamped,
                "spans_homeless": rank.spans_homeless, "others": rank.others, "outside": rank.outside, "dropped": window.map_or(rank.dropped_total, |w| w.dropped),
                "closed_by": window.and_then(|w| w.closed_by.as_deref()), "cut_bytes": rank.cut_bytes,
                "disordered": rank.disordered, "unknown": rank.unknown,
            })
        })
        .collect();
    serde_json::json!({
        "stepscope_version": meta.stepscope_version,
        "capture_id": meta.capture_id,
        "complete": meta.complete.map_or_else(|| "unknown".into(), serde_json::Value::Bool),
        "missing": meta.missing,
        "clock": {
            "base_ns": base_ns, "domain": "realtime", "from": "engine ticks by anchors of CLOCK_MONOTONIC",
            "epoch": "CLOCK_REALTIME of the newest anchor", "wall_clock_stepped_ns": merge.stepped_ns,
        },
        "ranks": ranks,
        "requests": summary.requests,
        "requests_left_out": summary.requests_left_out,
        "gpus": merge.counters.iter().map(Counters::about).collect::<Vec<_>>(),
        "refused": summary.refused,
    })
}

/// A short name, put together without an allocation.
#[derive(Debug)]
struct Name {
    bytes: [u8; 96],
    length: usize,
}

impl Default for Name {
    fn default() -> Self {
        Self { bytes: [0; 96], length: 0 }
    }
}

impl Name {
    fn clear(&mut self) {
        self.length = 0;
    }

    /// Six numbers and the words of the longest name are below 96 bytes; what would not fit is cut.
    fn text(&mut self, text: &str) {
        let take = text.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + take].copy_from_slice(&text.as_bytes()[..take]);
        self.length += take;
    }

    fn number(&mut self, number: u64) {
        self.text(itoa::Buffer::new().format(number));
    }

    /// As vLLM names it: `execute_context_2(512)_generation_30(30)`.
    fn batch(&mut self, batch: &Batch) {
        self.text("execute_context_");
        self.number(batch.context_requests.into());
        self.text("(");
        self.number(batch.context_tokens.into());
        self.text(")_generation_");
        self.number(batch.generation_requests.into());
        self.text("(");
        self.number(batch.generation_tokens.into());
        self.text(")");
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}
