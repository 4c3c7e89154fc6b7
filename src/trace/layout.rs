//! What the trace looks like in a viewer: processes, tracks, their names and order (DESIGN §7's table).

use std::collections::BTreeSet;
use std::io;

use super::counter::GpuIdentity;
use super::event::Thread;
use super::fragment::FragmentIdentity;
use super::merge::Lane;
use super::told::UNTOLD;
use super::tracks::{TrackHead, TrackKey};
use super::writer::{ProcessId, TraceWriter, Track};

/// Rows of a rank's process.
const ITERATIONS: u32 = 1;
const STEPS: u32 = 2;
const GAPS: u32 = 3;
/// Tracks of spans take the rows from here on.
const SPANS: u32 = 16;

/// Rows of the process `stepscope`; windows take the rows from `WINDOWS` on, one per group.
const GATE: u32 = 1;
const WINDOWS: u32 = 2;

/// Where the things of one rank go.
#[derive(Debug, Clone, Copy)]
pub(super) struct RankTracks {
    pub(super) process: ProcessId,
    pub(super) iterations: Track,
    pub(super) steps: Track,
    pub(super) gaps: Track,
}

/// Processes and tracks of one capture. The same rank has the same numbers in every file of it.
#[derive(Debug)]
pub(super) struct Layout {
    several_jobs: bool,
    several_groups: bool,
    ranks: usize,
    /// The first of the ranks that a file of some of them is of.
    part: Option<usize>,
}

impl Layout {
    pub(super) fn of(lanes: &[Lane]) -> Self {
        let jobs: BTreeSet<&str> = lanes.iter().map(|l| l.identity.job.as_str()).collect();
        let groups: BTreeSet<(&str, &str)> =
            lanes.iter().map(|l| (l.identity.job.as_str(), l.identity.group.as_str())).collect();
        Self { several_jobs: jobs.len() > 1, several_groups: groups.len() > 1, ranks: lanes.len(), part: None }
    }

    /// Of a file of some ranks, `first` being the first of them: what it says of itself has a process of its own then, so
    /// that such files can be put together.
    pub(super) fn of_part(lanes: &[Lane], first: Option<usize>) -> Self {
        Self { part: first, ..Self::of(lanes) }
    }

    pub(super) fn rank_tracks(&self, lane: usize) -> RankTracks {
        let process = ProcessId(lane as u32 + 1);
        let row = |row| Track { process, row };
        RankTracks { process, iterations: row(ITERATIONS), steps: row(STEPS), gaps: row(GAPS) }
    }

    pub(super) fn stepscope(&self) -> ProcessId {
        ProcessId((self.ranks + 1 + self.part.map_or(0, |first| first + 1)) as u32)
    }

    /// Behind all others.
    pub(super) fn gpu(&self, number: usize) -> ProcessId {
        ProcessId(self.stepscope().0 + 1 + number as u32)
    }

    pub(super) fn name_gpu<W: TraceWriter + ?Sized>(
        &self,
        number: usize,
        identity: &GpuIdentity,
        writer: &mut W,
    ) -> io::Result<()> {
        let mig = identity.mig.map_or_else(String::new, |mig| format!(" MIG {mig}"));
        let about: Vec<&str> = [&*identity.name, &*identity.uuid].into_iter().filter(|word| !word.is_empty()).collect();
        let name = format!("GPU {}{mig} ({})", identity.index, about.join(", "));
        let process = self.gpu(number);
        writer.process(process, &name, "", process.0)
    }

    pub(super) fn gate(&self) -> Track {
        Track { process: self.stepscope(), row: GATE }
    }

    pub(super) fn window(&self, group: usize) -> Track {
        Track { process: self.stepscope(), row: WINDOWS + group as u32 }
    }

    pub(super) fn name_rank<W: TraceWriter + ?Sized>(
        &self,
        lane: usize,
        identity: &FragmentIdentity,
        writer: &mut W,
    ) -> io::Result<()> {
        let tracks = self.rank_tracks(lane);
        let is_source = !identity.runs_iterations();
        let mut about = vec![identity.engine.clone(), identity.label.clone()];
        if is_source {
            about.pop();
        }
        about.push(self.whose(&identity.job, &identity.group));
        about.push(format!("pid {}", identity.pid));
        about.retain(|word| !word.is_empty());
        let about = about.join(", ");
        let name = match (is_source, &*identity.label) {
            (false, _) => format!("rank {} ({about})", identity.rank),
            (true, "") => format!("source {} ({about})", identity.rank),
            (true, label) => format!("{label} ({about})"),
        };
        writer.process(tracks.process, &name, &format!("system pid {}", identity.pid), lane as u32 + 1)?;
        if is_source {
            return Ok(());
        }
        writer.track(tracks.iterations, "iterations", 1)?;
        writer.track(tracks.steps, "steps", 2)?;
        writer.track(tracks.gaps, "gaps", 3)
    }

    /// Where a track of spans goes.
    pub(super) fn spans(&self, lane: usize, number: u32) -> Track {
        Track { process: self.rank_tracks(lane).process, row: SPANS + number }
    }

    pub(super) fn name_told<W: TraceWriter + ?Sized>(
        &self,
        lane: usize,
        track: &TrackHead,
        writer: &mut W,
    ) -> io::Result<()> {
        let thread = track.thread.map(thread_name).unwrap_or_default();
        let name = match &track.key {
            TrackKey::Thread(_, None) => thread,
            TrackKey::Thread(_, Some(domain)) => format!("{thread}, {domain}"),
            TrackKey::Recorder(_) => format!("{thread}, spans"),
            TrackKey::Logical(number) => track.name.as_deref().map_or_else(|| format!("track {number}"), Into::into),
            TrackKey::Ranges => "ranges".into(),
            TrackKey::Durations => "durations".into(),
        };
        writer.track(self.spans(lane, track.number), &name, SPANS + track.sort_index)
    }

    /// The process of all requests, behind `gpus` GPUs.
    pub(super) fn requests(&self, gpus: usize) -> ProcessId {
        self.gpu(gpus)
    }

    /// Rank and, where there are several, group and job.
    pub(super) fn rank_name(&self, job: &str, group: &str, rank: u32) -> String {
        format!("rank {rank} {}", self.whose(job, group)).trim_end().to_owned()
    }

    /// `window` and, where there are several, whose.
    pub(super) fn window_name(&self, job: &str, group: &str) -> String {
        format!("window {}", self.whose(job, group)).trim_end().to_owned()
    }

    fn whose(&self, job: &str, group: &str) -> String {
        match (self.several_jobs, self.several_groups) {
            (false, false) => String::new(),
            (false, true) => format!("group {group}"),
            (true, _) => format!("group {group}, job {job}"),
        }
    }
}

fn thread_name(thread: Thread) -> String {
    if thread.tid >= UNTOLD {
        return format!("thread of ring {}", thread.tid - UNTOLD);
    }
    format!("{} {}", thread.name.as_str(), thread.tid).trim_start().to_owned()
}
