//! What the agent asks of the kernel: files and the environment by way of libc alone (see [`super::text`] for why).
//!
//! Errors are the system's numbers. Descriptors close themselves.

use std::ffi::{CStr, c_int};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::text::{FixedText, PathText};

/// Number of the last error of this thread.
pub fn last_error() -> i32 {
    // SAFETY: the C library's own variable of this thread.
    unsafe { *libc::__errno_location() }
}

fn done(code: c_int) -> Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(last_error()) }
}

/// An environment variable; `None` where it is unset or empty.
pub fn variable<const N: usize>(name: &CStr) -> Option<FixedText<N>> {
    // SAFETY: both are NUL-terminated; copied at once, since a thread that changes the environment may move it.
    let value = unsafe {
        let value = libc::getenv(name.as_ptr());
        if value.is_null() {
            return None;
        }
        *FixedText::new().push(CStr::from_ptr(value).to_bytes())
    };
    (!value.is_empty()).then_some(value)
}

/// Opens a file; never a link, never inherited by another program.
///
/// # Errors
/// The system's; a path that was cut is too long.
pub fn open(path: &PathText, flags: c_int, mode: libc::mode_t) -> Result<OwnedFd, i32> {
    if path.is_cut() {
        return Err(libc::ENAMETOOLONG);
    }
    let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: a NUL-terminated path.
    let fd = unsafe { libc::open(path.as_ptr(), flags, libc::c_uint::from(mode)) };
    if fd < 0 {
        return Err(last_error());
    }
    // SAFETY: a descriptor that is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads from `offset`; the number of bytes, fewer only at the file's end.
///
/// # Errors
/// The system's.
pub fn read_at(fd: &OwnedFd, bytes: &mut [u8], offset: u64) -> Result<usize, i32> {
    // SAFETY: the buffer is as long as said.
    let count = unsafe { libc::pread(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len(), offset as i64) };
    usize::try_from(count).map_err(|_| last_error())
}

/// The integer at `offset`.
///
/// # Errors
/// The system's; `EIO` where the file ends before.
pub fn word_at(fd: &OwnedFd, offset: u64) -> Result<u64, i32> {
    let mut bytes = [0; 8];
    if read_at(fd, &mut bytes, offset)? == bytes.len() { Ok(u64::from_ne_bytes(bytes)) } else { Err(libc::EIO) }
}

/// The beginning of a small file of the system's own (`/proc`, `/sys`).
pub fn small_file<const N: usize>(path: &PathText) -> Option<FixedText<N>> {
    let mut bytes = [0; N];
    let count = read_at(&open(path, libc::O_RDONLY, 0).ok()?, &mut bytes, 0).ok()?;
    Some(*FixedText::new().push(bytes.get(..count)?))
}

/// What the system knows of an open file.
///
/// # Errors
/// The system's.
pub fn status_of(fd: &OwnedFd) -> Result<libc::stat, i32> {
    // SAFETY: all-zero is a valid stat, which the kernel fills in.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        done(libc::fstat(fd.as_raw_fd(), &mut status)).map(|()| status)
    }
}

/// What the system knows of a path; of a link itself, not of what it names.
///
/// # Errors
/// The system's.
pub fn status_at(path: &PathText) -> Result<libc::stat, i32> {
    // SAFETY: a NUL-terminated path; as above.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        done(libc::lstat(path.as_ptr(), &mut status)).map(|()| status)
    }
}

/// Whether a mode is that of `kind` (`S_IFREG`, `S_IFDIR`).
pub fn is_kind(status: &libc::stat, kind: libc::mode_t) -> bool {
    status.st_mode & libc::S_IFMT == kind
}

/// Makes a folder.
///
/// # Errors
/// The system's.
pub fn make_folder(path: &PathText, mode: libc::mode_t) -> Result<(), i32> {
    // SAFETY: a NUL-terminated path.
    done(unsafe { libc::mkdir(path.as_ptr(), mode) })
}

/// Sets a file's mode, whatever the umask took away.
///
/// # Errors
/// The system's.
pub fn set_mode(fd: &OwnedFd, mode: libc::mode_t) -> Result<(), i32> {
    // SAFETY: an open descriptor.
    done(unsafe { libc::fchmod(fd.as_raw_fd(), mode) })
}

/// Renames a file.
///
/// # Errors
/// The system's.
pub fn rename(from: &PathText, to: &PathText) -> Result<(), i32> {
    if from.is_cut() || to.is_cut() {
        return Err(libc::ENAMETOOLONG);
    }
    // SAFETY: NUL-terminated paths.
    done(unsafe { libc::rename(from.as_ptr(), to.as_ptr()) })
}

/// Removes a file.
///
/// # Errors
/// The system's.
pub fn remove(path: &PathText) -> Result<(), i32> {
    if path.is_cut() {
        return Err(libc::ENAMETOOLONG);
    }
    // SAFETY: a NUL-terminated path.
    done(unsafe { libc::unlink(path.as_ptr()) })
}

/// Calls `look` with the name of each entry of a folder; of none where it cannot be read.
pub fn each_entry(folder: &PathText, mut look: impl FnMut(&[u8])) {
    // SAFETY: a NUL-terminated path; the stream is closed once and not used behind that; an entry's name is
    // NUL-terminated and valid until the next is read.
    unsafe {
        let stream = libc::opendir(folder.as_ptr());
        if stream.is_null() {
            return;
        }
        while let Some(entry) = libc::readdir(stream).as_ref() {
            look(CStr::from_ptr(entry.d_name.as_ptr()).to_bytes());
        }
        libc::closedir(stream);
    }
}

/// A whole hexadecimal number, in small letters.
pub fn hexadecimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

/// A whole decimal number.
pub fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
