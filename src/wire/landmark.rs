//! A word that a process leaves for whoever comes into it later, under a name: a private page whose name stands in
//! `/proc/self/maps`. For libraries that are linked into different parts of one process and share no symbol.
//!
//! The page is this process's own memory: nobody outside can write it. A forked child has a copy, under the same name,
//! with the same meaning; another program that the process becomes has not.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::system;
use super::text::FixedText;

const PAGE_BYTES: usize = 4096;

/// Leaves `word` under `name`, for ever. `false` where the system does not do it.
pub fn leave(name: &CStr, word: usize) -> bool {
    // SAFETY: a NUL-terminated name; a fresh private mapping of a page that the file has, written before it is told of.
    unsafe {
        let fd = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return false;
        }
        let file = OwnedFd::from_raw_fd(fd);
        if libc::ftruncate(file.as_raw_fd(), PAGE_BYTES as i64) != 0 {
            return false;
        }
        let (protection, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        let page = libc::mmap(std::ptr::null_mut(), PAGE_BYTES, protection, kind, file.as_raw_fd(), 0);
        if page == libc::MAP_FAILED {
            return false;
        }
        page.cast::<usize>().write(word);
    }
    true
}

/// The word that was left under `name` in this process; 0 for one that is just being left.
pub fn find(name: &CStr) -> Option<usize> {
    let mut ending = FixedText::<64>::from("/memfd:");
    ending.push(name.to_bytes()).push(" (deleted)");
    let maps = system::open(&"/proc/self/maps".into(), libc::O_RDONLY, 0).ok()?;
    let (mut line, mut offset) = (FixedText::<512>::new(), 0);
    let mut bytes = [0; PAGE_BYTES];
    loop {
        let count = system::read_at(&maps, &mut bytes, offset).ok().filter(|&count| count > 0)?;
        offset += count as u64;
        for &byte in bytes.iter().take(count) {
            if byte != b'\n' {
                line.push([byte]);
                continue;
            }
            if line.as_bytes().ends_with(ending.as_bytes()) {
                let place = line.as_bytes().split(|&byte| byte == b'-').next().and_then(system::hexadecimal)?;
                // SAFETY: the kernel says that our page is there, and it is never unmapped.
                return Some(unsafe { (place as usize as *const usize).read_volatile() });
            }
            line = FixedText::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_found_under_its_name_alone() {
        assert_eq!(find(c"stepscope-test-a"), None);
        assert!(leave(c"stepscope-test-a", 7) && leave(c"stepscope-test-ab", 8));
        assert_eq!((find(c"stepscope-test-a"), find(c"stepscope-test-ab"), find(c"test-a")), (Some(7), Some(8), None));
    }
}
