//! The files: one folder per capture below `DATA/captures`, and which of them go when there are too many.
//!
//! A manifest is written whole and then renamed, so that a reader sees the old one or the new one. The folder is locked:
//! two sidecars never share one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::manifest::{CaptureId, Manifest};

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

    /// Makes a capture's folder.
    ///
    /// # Errors
    /// What the file system said.
    pub fn create(&self, id: &CaptureId) -> io::Result<()> {
        fs::create_dir_all(self.fragments(id))
    }

    /// Writes the manifest, whole or not at all. Safe against the death of any process, and written on the thread that
    /// answers starts and stops: so it does not wait for the disk.
    ///
    /// # Errors
    /// What the file system said.
    pub fn save(&self, manifest: &Manifest) -> io::Result<()> {
        let folder = self.folder(&manifest.capture_id);
        let part = folder.join("manifest.json.part");
        // One write: a serializer that writes through to the file makes one per word, some two thousand.
        let mut text = serde_json::to_vec_pretty(manifest)?;
        text.push(b'\n');
        fs::write(&part, text)?;
        fs::rename(part, folder.join("manifest.json"))
    }

    /// All manifests, oldest first; a folder whose manifest can't be read is left alone, and said so.
    ///
    /// # Errors
    /// What the file system said of the folder itself.
    pub fn load(&self) -> io::Result<Vec<Manifest>> {
        let mut manifests = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let folder = entry?.path();
            let read = fs::read(folder.join("manifest.json")).map_err(|e| e.to_string());
            match read.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).map_err(|e| e.to_string())) {
                Ok(manifest) if folder.ends_with(&manifest.capture_id.0) => manifests.push(manifest),
                Ok(_) => unreadable(&folder, "its manifest names another capture"),
                Err(reason) => unreadable(&folder, &reason),
            }
        }
        manifests.sort_by(|a, b| a.capture_id.cmp(&b.capture_id));
        Ok(manifests)
    }

    /// Removes a capture.
    ///
    /// # Errors
    /// What the file system said.
    pub fn delete(&self, id: &CaptureId) -> io::Result<()> {
        fs::remove_dir_all(self.folder(id))
    }

    /// Bytes that a capture takes.
    pub fn bytes(&self, id: &CaptureId) -> u64 {
        folder_bytes(&self.folder(id))
    }

    /// The fragment files of a capture, in order of their names.
    ///
    /// # Errors
    /// What the file system said.
    pub fn fragment_files(&self, id: &CaptureId) -> io::Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> =
            fs::read_dir(self.fragments(id))?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
        files.retain(|f| f.extension().is_some_and(|e| e == "frag"));
        files.sort();
        Ok(files)
    }
}

fn unreadable(folder: &Path, reason: &str) {
    tracing::warn!(folder = %folder.display(), reason, "a capture's manifest can't be read: left alone");
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
