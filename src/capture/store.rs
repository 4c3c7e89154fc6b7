//! The files: one folder per capture below `DATA/captures`, and which of them go when there are too many.
//!
//! A manifest is written whole and then renamed, so that a reader sees the old one or the new one. A file beside the
//! captures, `reserve`, holds the place for the manifest of a capture that fills the disk. The folder is locked: two
//! sidecars never share one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::trace::event::Anchor;
use crate::trace::fragment::FragmentIdentity;

use super::manifest::{Artifact, CaptureId, Manifest};

const MANIFEST: &str = "manifest.json";
/// What is being removed is called this, and its id.
const REMOVED: &str = ".removed-";
/// Room for the last manifest of a capture that filled the disk: a kilobyte per rank, and words.
const RESERVE_BYTES: usize = 128 << 10;

/// A fragment that a running capture has, or makes once it has a record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unfinished {
    /// Whose it is.
    pub identity: FragmentIdentity,
    /// Its clocks when the window was agreed on: ticks, CLOCK_MONOTONIC, CLOCK_REALTIME.
    pub anchor: (u64, u64, u64),
    /// Records it had dropped by then.
    pub dropped_total: u64,
}

impl Unfinished {
    /// Its clocks when the window was agreed on.
    pub fn anchor(&self) -> Anchor {
        let (ticks, monotonic_ns, realtime_ns) = self.anchor;
        Anchor { ticks, monotonic_ns, realtime_ns }
    }
}

/// Which captures are kept. `None`: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Longest age.
    pub max_age: Option<Duration>,
    /// Most captures.
    pub max_captures: Option<usize>,
    /// Most bytes, all captures together.
    pub max_bytes: Option<u64>,
}

/// What retention looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which capture.
    pub id: CaptureId,
    /// When it was accepted, nanoseconds since the epoch.
    pub accepted_at_ns: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Retention {
    /// Which of these go. `captures` are final ones, oldest first; the newest is always kept.
    pub fn expired(&self, captures: &[Kept], now_ns: u64) -> Vec<CaptureId> {
        let mut bytes: u64 = captures.iter().map(|c| c.bytes).sum();
        let mut count = captures.len();
        let mut gone = Vec::new();
        for capture in captures.iter().take(captures.len().saturating_sub(1)) {
            let age = Duration::from_nanos(now_ns.saturating_sub(capture.accepted_at_ns));
            let over = self.max_age.is_some_and(|max| age > max)
                || self.max_captures.is_some_and(|max| count > max)
                || self.max_bytes.is_some_and(|max| bytes > max);
            if over {
                count -= 1;
                bytes -= capture.bytes;
                gone.push(capture.id.clone());
            }
        }
        gone
    }
}

/// The folder of all captures.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens `data`, making it if need be.
    ///
    /// # Errors
    /// What the file system said; `WouldBlock` when another sidecar holds it.
    pub fn open(data: &Path) -> io::Result<Self> {
        let root = data.join("captures");
        fs::create_dir_all(&root)?;
        let lock = File::options().create(true).append(true).open(data.join("lock"))?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is in use by another sidecar: give this one its own --data", data.display()),
            ),
            fs::TryLockError::Error(e) => e,
        })?;
        Ok(Self { root, _lock: lock })
    }

    /// A capture's folder.
    pub fn folder(&self, id: &CaptureId) -> PathBuf {
        self.root.join(&id.0)
    }

    /// A capture's fragments.
    pub fn fragments(&self, id: &CaptureId) -> PathBuf {
        self.folder(id).join("fragments")
    }

    /// Where the files of the engine's own profiler are kept.
    pub fn engine_files(&self, id: &CaptureId) -> PathBuf {
        self.folder(id).join("engine")
    }

    /// Where an artefact lies.
    pub fn artifact(&self, id: &CaptureId, artifact: &Artifact) -> PathBuf {
        let folder = if artifact.kind == "trace" { self.folder(id) } else { self.engine_files(id) };
        folder.join(&artifact.name)
    }

    /// Where a capture's counters are: a fragment too, but no rank's.
    pub fn counters(&self, id: &CaptureId) -> PathBuf {
        self.fragments(id).join("gpus.counters")
    }

    /// Makes a capture's folder with its first manifest; there is nothing yet that a reader could find half replaced.
    /// And sees to it that the reserve is there, for the last one.
    ///
    /// # Errors
    /// What the file system said.
    pub fn create(&self, manifest: &Manifest, unfinished: &[Unfinished]) -> io::Result<()> {
        self.make_reserve()?;
        let folder = self.folder(&manifest.capture_id);
        fs::create_dir(&folder)?;
        fs::write(folder.join(MANIFEST), text(manifest, unfinished)?)
    }

    /// Where a fragment of a capture lies.
    pub fn fragment(&self, identity: &FragmentIdentity) -> PathBuf {
        let id = CaptureId(identity.capture_id.clone());
        self.fragments(&id).join(format!("{:016x}.frag", identity.segment_instance))
    }

    /// Writes the manifest, whole or not at all. Safe against the death of any process; does not wait for the disk.
    ///
    /// # Errors
    /// What the file system said.
    pub fn save(&self, manifest: &Manifest, unfinished: &[Unfinished]) -> io::Result<()> {
        let folder = self.folder(&manifest.capture_id);
        let part = folder.join("manifest.json.part");
        // One write: a serializer that writes through to the file makes one per word, some two thousand.
        fs::write(&part, text(manifest, unfinished)?)?;
        fs::rename(part, folder.join(MANIFEST))
    }

    /// The same for a manifest that is the last one, or says what still has to be done: on a full disk it takes the place
    /// that is held in reserve.
    ///
    /// # Errors
    /// What the file system said.
    pub fn save_last(&self, manifest: &Manifest) -> io::Result<()> {
        let Err(_full) = self.save(manifest, &[]) else { return Ok(()) };
        let _ = fs::remove_file(self.reserve());
        let saved = self.save(manifest, &[]);
        let _ = self.make_reserve();
        saved
    }

    fn reserve(&self) -> PathBuf {
        self.root.with_file_name("reserve")
    }

    fn make_reserve(&self) -> io::Result<()> {
        let reserve = self.reserve();
        if fs::metadata(&reserve).is_ok_and(|m| m.len() == RESERVE_BYTES as u64) {
            return Ok(());
        }
        // Written, since a file that is only long takes no place.
        fs::write(&reserve, vec![0; RESERVE_BYTES]).inspect_err(|_| drop(fs::remove_file(&reserve)))
    }

    /// The fragments that an interrupted capture has, or was about to make.
    pub fn unfinished(&self, id: &CaptureId) -> Vec<Unfinished> {
        #[derive(serde::Deserialize)]
        struct OnDisk {
            #[serde(default)]
            unfinished: Vec<Unfinished>,
        }
        let read = fs::read(self.folder(id).join(MANIFEST)).ok();
        read.and_then(|bytes| serde_json::from_slice::<OnDisk>(&bytes).ok()).map_or_else(Vec::new, |d| d.unfinished)
    }

    /// All manifests, oldest first. A folder without a readable one is removed when it holds nothing else: a start that
    /// was never answered, or a removal, was interrupted there. Else it is left alone, and said so.
    ///
    /// # Errors
    /// What the file system said of the folder itself.
    pub fn load(&self) -> io::Result<Vec<Manifest>> {
        let mut manifests = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let folder = entry?.path();
            match read_manifest(&folder) {
                Ok(manifest) if folder.ends_with(&manifest.capture_id.0) => manifests.push(manifest),
                Ok(_) => left_alone(&folder, "its manifest names another capture"),
                Err(Unreadable::Missing) if is_removed(&folder) || is_bare(&folder) => {
                    match fs::remove_dir_all(&folder) {
                        Ok(()) => tracing::info!(folder = %folder.display(), "removed: nothing was captured into it"),
                        Err(error) => left_alone(&folder, &error.to_string()),
                    }
                }
                Err(Unreadable::Missing) => left_alone(&folder, "it has no whole manifest"),
                Err(Unreadable::Other(reason)) => left_alone(&folder, &reason),
            }
        }
        manifests.sort_by(|a, b| a.capture_id.cmp(&b.capture_id));
        Ok(manifests)
    }

    /// Removes a capture: out of the way first, so that none is ever left half removed. What then can't be removed goes
    /// when this folder is opened next.
    ///
    /// # Errors
    /// What the file system said; it is there as it was.
    pub fn delete(&self, id: &CaptureId) -> io::Result<()> {
        let going = self.root.join(format!("{REMOVED}{id}"));
        fs::rename(self.folder(id), &going)?;
        if let Err(error) = fs::remove_dir_all(&going) {
            tracing::warn!(folder = %going.display(), %error, "removed in part: the rest goes at the next start");
        }
        Ok(())
    }

    /// Bytes that a capture takes.
    pub fn bytes(&self, id: &CaptureId) -> u64 {
        folder_bytes(&self.folder(id))
    }

    /// The ranks' fragment files of a capture, in order of their names.
    ///
    /// # Errors
    /// What the file system said.
    pub fn fragment_files(&self, id: &CaptureId) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.fragments(id)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder(id).is_dir() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
        files.retain(|f| f.extension().is_some_and(|e| e == "frag"));
        files.sort();
        Ok(files)
    }

    /// All that a trace is made of: the ranks' fragments, and the counters where there are any.
    ///
    /// # Errors
    /// What the file system said.
    pub fn trace_files(&self, id: &CaptureId) -> io::Result<Vec<PathBuf>> {
        let mut files = self.fragment_files(id)?;
        files.extend(Some(self.counters(id)).filter(|file| file.is_file()));
        Ok(files)
    }
}

/// The manifest as it lies on the disk: with what is not finished, for a sidecar that finishes it in our stead.
fn text(manifest: &Manifest, unfinished: &[Unfinished]) -> io::Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    struct OnDisk<'a> {
        #[serde(flatten)]
        manifest: &'a Manifest,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        unfinished: &'a [Unfinished],
    }
    let mut text = serde_json::to_vec_pretty(&OnDisk { manifest, unfinished })?;
    text.push(b'\n');
    Ok(text)
}

enum Unreadable {
    /// There is none, or its end is missing.
    Missing,
    Other(String),
}

fn read_manifest(folder: &Path) -> Result<Manifest, Unreadable> {
    let bytes = fs::read(folder.join(MANIFEST)).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        _ => Unreadable::Other(e.to_string()),
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|e| if e.is_eof() { Unreadable::Missing } else { Unreadable::Other(e.to_string()) })
}

fn left_alone(folder: &Path, reason: &str) {
    tracing::warn!(folder = %folder.display(), reason, "not a capture that can be read: left alone");
}

fn is_removed(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(REMOVED.as_bytes()))
}

/// One of ours that holds nothing, or an unreadable manifest alone.
fn is_bare(folder: &Path) -> bool {
    let ours = folder.file_name().and_then(|n| n.to_str()).is_some_and(|n| uuid::Uuid::try_parse(n).is_ok());
    let names = fs::read_dir(folder).map(|entries| entries.map(|e| e.map(|e| e.file_name())).collect());
    let names: io::Result<Vec<_>> = names.and_then(|names: io::Result<_>| names);
    ours && names.is_ok_and(|names| names.iter().all(|n| n == MANIFEST || n == "manifest.json.part"))
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|e| match e.metadata() {
            Ok(meta) if meta.is_dir() => folder_bytes(&e.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(n: u64) -> Vec<Kept> {
        (0..n).map(|i| Kept { id: CaptureId(i.to_string()), accepted_at_ns: i * 1_000_000_000, bytes: 10 }).collect()
    }

    fn ids(ids: Vec<CaptureId>) -> Vec<String> {
        ids.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn the_oldest_go_first_and_the_newest_stays() {
        let now = 10_000_000_000;
        let none = Retention::default();
        assert!(none.expired(&kept(5), now).is_empty());
        assert_eq!(ids(Retention { max_captures: Some(3), ..none }.expired(&kept(5), now)), ["0", "1"]);
        assert_eq!(ids(Retention { max_bytes: Some(25), ..none }.expired(&kept(5), now)), ["0", "1", "2"]);
        assert_eq!(ids(Retention { max_bytes: Some(0), ..none }.expired(&kept(5), now)), ["0", "1", "2", "3"]);
        let age = Retention { max_age: Some(Duration::from_secs(8)), ..none };
        assert_eq!(ids(age.expired(&kept(5), now)), ["0", "1"]);
    }
}
