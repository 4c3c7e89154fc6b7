//! Segments that dead processes left behind: an agent that is about to make its own removes those that were drained.
//!
//! Runs in the engine, so it reads with `pread` alone: a file cut short under a mapping would raise a signal there.

use std::mem::offset_of;
use std::os::fd::AsFd;

use super::clock::realtime_ns;
use super::layout::{RINGS_OFFSET, RingDescriptor, Shape};
use super::lock::{self, Party};
use super::segment::user_id;
use super::system;
use super::text::{FixedText, PathText};

/// How long a process may take to fill its segment, seconds.
const YOUNG_SECONDS: i64 = 60;

/// Removes segments of this user whose process is gone and whose records were consumed. For an agent that is about to
/// make its own: it must not have a segment open yet, since closing a file drops this process's locks on it.
pub fn sweep(folder: &PathText) {
    let mut own = FixedText::<24>::new();
    own.push_decimal(u64::from(std::process::id())).push("-");
    system::each_entry(folder, |name| {
        let shown = name.strip_prefix(b".").unwrap_or(name);
        // A file of this pid may be that of another agent in this very process: the kernel would not show us its lock,
        // and closing the file would drop it.
        if !shown.ends_with(b".seg") || shown.starts_with(own.as_bytes()) {
            return;
        }
        let mut path = *folder;
        path.push("/").push(name);
        if is_left_over(&path, shown.len() < name.len()).unwrap_or(false) {
            let _ = system::remove(&path);
        }
    });
}

fn is_left_over(path: &PathText, hidden: bool) -> Result<bool, i32> {
    let file = system::open(path, libc::O_RDWR, 0)?;
    let status = system::status_of(&file)?;
    let free = |party| matches!(lock::holder(file.as_fd(), party), Ok(None));
    let ours = status.st_uid == user_id() && system::is_kind(&status, libc::S_IFREG);
    if !ours || !free(Party::Agent) || !free(Party::Consumer) {
        return Ok(false);
    }
    if hidden {
        // Its maker died between making and publishing it; a young one may still be on its way.
        let now = (realtime_ns() / 1_000_000_000) as i64;
        return Ok(now.saturating_sub(status.st_mtime) > YOUNG_SECONDS);
    }
    for index in 0..u64::from(Shape::of(status.st_size as u64).ring_count) {
        let ring = RINGS_OFFSET + index * size_of::<RingDescriptor>() as u64;
        let word = |offset: usize| system::word_at(&file, ring + offset as u64);
        if word(offset_of!(RingDescriptor, head))? != word(offset_of!(RingDescriptor, tail))? {
            return Ok(false);
        }
    }
    Ok(true)
}
