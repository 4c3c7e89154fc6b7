//! Which segments there are: found by name, taken once, let go when their process is gone and their records are safe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::wire::segment::{AttachError, EXTENSION, Segment, Trust};

use super::source::{Source, SourceId};

/// How long a refused segment is left alone before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Refusal {
    reason: String,
    tried: Instant,
}

/// All segments of one folder.
#[derive(Debug)]
pub struct Collector {
    folder: PathBuf,
    trust: Trust,
    sources: Vec<Source>,
    refused: BTreeMap<PathBuf, Refusal>,
    folder_problem: Option<String>,
    departed_records_total: u64,
    departed_dropped_total: u64,
}

impl Collector {
    /// Of `folder`, which need not exist yet.
    pub fn new(folder: PathBuf, trust: Trust) -> Self {
        Self {
            folder,
            trust,
            sources: Vec::new(),
            refused: BTreeMap::new(),
            folder_problem: None,
            departed_records_total: 0,
            departed_dropped_total: 0,
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes new segments, and refreshes what is known of the processes behind the ones held.
    pub fn scan(&mut self, now: Instant) {
        let names: Vec<PathBuf> = match std::fs::read_dir(&self.folder) {
            Ok(entries) => {
                self.folder_problem = None;
                entries.flatten().map(|e| e.path()).filter(|p| is_segment(p)).collect()
            }
            Err(e) => {
                self.folder_problem = folder_problem(&self.folder, &e);
                Vec::new()
            }
        };
        self.refused.retain(|path, _| names.contains(path));
        for path in names {
            if self.sources.iter().any(|s| s.path() == path)
                || self.refused.get(&path).is_some_and(|r| now.duration_since(r.tried) < RETRY)
            {
                continue;
            }
            match Segment::attach(&path, self.trust) {
                Ok(segment) => {
                    let source = Source::new(segment, now);
                    // Sources are known by what their segments say of themselves: no two may say the same.
                    if let Some(first) = self.sources.iter().find(|s| s.id() == source.id()) {
                        let reason = format!("a copy of {}, which is attached: remove it", first.path().display());
                        self.refused.insert(path, Refusal { reason, tried: now });
                        continue;
                    }
                    self.refused.remove(&path);
                    self.sources.push(source);
                }
                Err(AttachError::Gone) => {}
                Err(error) => {
                    self.refused.insert(path, Refusal { reason: error.to_string(), tried: now });
                }
            }
        }
        for source in &mut self.sources {
            source.refresh(now);
        }
    }

    /// Lets go of sources whose process is gone, whose rings are empty, and that `in_use` does not claim; their files
    /// are removed. A source whose memory makes no sense is let go too, its file stays, and `status` says why.
    pub fn release(&mut self, now: Instant, in_use: impl Fn(SourceId) -> bool) {
        let mut kept = Vec::with_capacity(self.sources.len());
        for source in self.sources.drain(..) {
            let over = !source.is_alive() || source.problem().is_some();
            if !over || in_use(source.id()) {
                kept.push(source);
                continue;
            }
            source.discard_backlog();
            // A stranger's counters may say anything.
            self.departed_records_total = self.departed_records_total.saturating_add(source.records_total());
            self.departed_dropped_total = self.departed_dropped_total.saturating_add(source.dropped_total());
            match source.problem() {
                Some(reason) if source.is_alive() => {
                    let reason = reason.to_owned();
                    self.refused.insert(source.path().to_owned(), Refusal { reason, tried: now + RETRY * 3600 });
                }
                _ => source.unlink(),
            }
        }
        self.sources = kept;
    }

    /// The sources held.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The sources held, to be worked on.
    pub fn sources_mut(&mut self) -> &mut [Source] {
        &mut self.sources
    }

    /// One of them.
    pub fn get_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.iter_mut().find(|s| s.id() == id)
    }

    /// Segments that were not taken, and why.
    pub fn refused(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.refused.iter().map(|(path, r)| (path.as_path(), r.reason.as_str()))
    }

    /// Why the folder itself cannot be read.
    pub fn folder_problem(&self) -> Option<&str> {
        self.folder_problem.as_deref()
    }

    /// Records taken from, and dropped by, sources that were let go.
    pub fn departed_totals(&self) -> (u64, u64) {
        (self.departed_records_total, self.departed_dropped_total)
    }
}

/// One that is not there yet is none.
fn folder_problem(folder: &Path, error: &std::io::Error) -> Option<String> {
    match error.kind() {
        std::io::ErrorKind::NotFound => None,
        std::io::ErrorKind::PermissionDenied => Some(format!(
            "{error}: run the sidecar as the engine's user, or give {} mode 2770 and a common group, and start it with --trust-group",
            folder.display()
        )),
        _ => Some(error.to_string()),
    }
}

fn is_segment(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|e| e == EXTENSION)
}
