//! How much room a file system has.
#![allow(unsafe_code, reason = "statvfs has no safe form in std")]

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

fn statvfs(path: &Path) -> io::Result<libc::statvfs> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all-zero is a valid statvfs.
    let mut room: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: path is NUL-terminated and room is a valid statvfs that the call fills in.
    if unsafe { libc::statvfs(path.as_ptr(), &mut room) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(room)
}

/// Bytes that an unprivileged process can still use on the file system that holds `path`.
///
/// # Errors
/// What the kernel said, for example that there is no such path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    statvfs(path).map(|room| room.f_bavail.saturating_mul(room.f_frsize))
}

/// Size of the file system that holds `path`.
pub(super) fn total_bytes(path: &Path) -> io::Result<u64> {
    statvfs(path).map(|room| room.f_blocks.saturating_mul(room.f_frsize))
}
