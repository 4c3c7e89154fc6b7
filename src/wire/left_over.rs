//! Segments that dead processes left behind: an agent that is about to make its own removes those that were drained.
//!
//! Runs in the engine, so it reads with `pread` alone: a file cut short under a mapping would raise a signal there.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::layout::{RINGS_OFFSET, RingDescriptor, Shape};
use super::lock::{self, Party};
use super::segment::{EXTENSION, user_id};

/// Removes segments of this user whose process is gone and whose records were consumed. For an agent that is about to
/// make its own: it must not have a segment open yet, since closing a file drops this process's locks on it.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    let own = format!("{}-", std::process::id());
    for entry in entries.flatten() {
        let path = entry.path();
        // A file of this pid may be that of another agent in this very process: the kernel would not show us its lock, and
        // closing the file would drop it.
        let own = entry.file_name().as_encoded_bytes().starts_with(own.as_bytes());
        if !own && path.extension().is_some_and(|e| e == EXTENSION) && is_left_over(&path).unwrap_or(false) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_left_over(path: &Path) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW).open(path)?;
    let meta = file.metadata()?;
    let held = |party| lock::holder(file.as_fd(), party).map(|h| h.is_some());
    if meta.uid() != user_id() || !meta.is_file() || held(Party::Agent)? || held(Party::Consumer)? {
        return Ok(false);
    }
    let hidden = path.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
    if hidden {
        // Its maker died between making and publishing it; a young one may still be on its way.
        return Ok(meta.modified()?.elapsed().is_ok_and(|age| age.as_secs() > 60));
    }
    let mut ring = [0u8; size_of::<RingDescriptor>()];
    let stride = ring.len() as u64;
    let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().unwrap_or([0; 8]));
    for index in 0..u64::from(Shape::of(meta.len()).ring_count) {
        file.read_exact_at(&mut ring, RINGS_OFFSET + index * stride)?;
        if word(&ring[..8]) != word(&ring[64..72]) {
            return Ok(false);
        }
    }
    Ok(true)
}
