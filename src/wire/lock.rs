//! Who lives: POSIX record locks on a segment's first bytes.
//!
//! Record locks, because flock and open-file locks pass to forked children. They belong to the process: a fork does not
//! inherit them, the kernel drops them on death, and they hold across pid namespaces. Their price: *any* close of *any*
//! descriptor of the file in the holding process drops them, so each process opens a segment exactly once.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::system::last_error;

/// Which byte of the segment a party locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Party {
    /// The process that made the segment.
    Agent = 0,
    /// The one sidecar that drains it.
    Consumer = 1,
}

fn request(party: Party, kind: libc::c_int) -> libc::flock {
    // SAFETY: all-zero is a valid flock.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = party as i64;
    lock.l_len = 1;
    lock
}

/// Takes the lock, without waiting. `Ok(false)`: another process holds it.
///
/// # Errors
/// What `fcntl` said otherwise, the system's number.
pub fn take(fd: BorrowedFd<'_>, party: Party) -> Result<bool, i32> {
    let lock = request(party, libc::F_WRLCK as libc::c_int);
    // SAFETY: fd is open, lock is a valid flock.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    match last_error() {
        libc::EACCES | libc::EAGAIN => Ok(false),
        code => Err(code),
    }
}

/// Whether another process holds the lock, and its pid where this pid namespace can see it (else 0).
///
/// # Errors
/// What `fcntl` said, the system's number.
pub fn holder(fd: BorrowedFd<'_>, party: Party) -> Result<Option<i32>, i32> {
    let mut lock = request(party, libc::F_WRLCK as libc::c_int);
    // SAFETY: fd is open, lock is a valid flock that the kernel fills in.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLK, &mut lock) } != 0 {
        return Err(last_error());
    }
    Ok((libc::c_int::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}
