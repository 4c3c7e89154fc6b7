//! Which job a process belongs to that does not say so: ranks that one process starts are one job.
//!
//! `STEPSCOPE_JOB` decides, else the nearest ancestor that has joined and lives, else the process is a job of its own.
//! The environment is only read: engines read theirs in other threads without a lock.

use std::mem::offset_of;
use std::os::fd::AsFd;

use crate::wire::clock::{ClockKind, realtime_ns};
use crate::wire::layout::{Header, MAGIC};
use crate::wire::lock::{self, Party};
use crate::wire::segment::user_id;
use crate::wire::system;
use crate::wire::text::{FixedText, PathText};

/// A job's name, as the header holds it.
pub(super) type Job = FixedText<96>;

/// How far up ancestors are looked for: the launcher of a launcher of a launcher.
const GENERATIONS: usize = 8;

/// The job of a process that was given none.
pub(super) fn named_or_inherited(folder: &PathText) -> Job {
    system::variable(c"STEPSCOPE_JOB").or_else(|| of_an_ancestor(folder)).unwrap_or_else(random)
}

fn random() -> Job {
    let random = ClockKind::detect().ticks() ^ realtime_ns().rotate_left(23) ^ u64::from(std::process::id());
    *Job::from("job-").push_hexadecimal((random ^ random >> 32) & 0xffff_ffff, 8)
}

fn of_an_ancestor(folder: &PathText) -> Option<Job> {
    let ancestors = ancestors();
    let mut nearest = GENERATIONS;
    let mut found = None;
    system::each_entry(folder, |name| {
        let maker = name.split(|&byte| byte == b'-').next().and_then(system::number);
        let Some(distance) = ancestors.iter().position(|&process| process != 0 && Some(process) == maker) else {
            return;
        };
        let mut path = *folder;
        path.push("/").push(name);
        if distance < nearest
            && let Some(job) = job_in(&path, ancestors.get(distance).copied().unwrap_or_default())
        {
            (nearest, found) = (distance, Some(job));
        }
    });
    found
}

/// This process's parent, its parent, and so on; 0 where there is none.
fn ancestors() -> [u64; GENERATIONS] {
    let mut ancestors = [0; GENERATIONS];
    let mut process = u64::from(std::process::id());
    for ancestor in &mut ancestors {
        let Some(parent) = parent_of(process).filter(|&parent| parent != 0) else { break };
        *ancestor = parent;
        process = parent;
    }
    ancestors
}

fn parent_of(process: u64) -> Option<u64> {
    let mut path = PathText::from("/proc/");
    path.push_decimal(process).push("/status");
    let status = system::small_file::<512>(&path)?;
    let line = status.as_bytes().split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"PPid:"))?;
    system::number(line.trim_ascii())
}

/// The job of a segment, if it is of our user and that process lives and holds it.
fn job_in(path: &PathText, maker: u64) -> Option<Job> {
    let file = system::open(path, libc::O_RDONLY, 0).ok()?;
    let status = system::status_of(&file).ok()?;
    let holder = lock::holder(file.as_fd(), Party::Agent).ok()??;
    let is_its_own = system::is_kind(&status, libc::S_IFREG) && status.st_uid == user_id() && maker == holder as u64;
    if !is_its_own || system::word_at(&file, 0) != Ok(MAGIC) {
        return None;
    }
    let mut field = [0; 96];
    system::read_at(&file, &mut field, offset_of!(Header, job) as u64).ok()?;
    let job = Job::from_bytes(field.split(|&byte| byte == 0).next()?);
    (!job.is_empty()).then_some(job)
}
