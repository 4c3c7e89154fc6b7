//! The segment's clock: the cheapest counter that is sound on this machine, and anchors that tie it to the kernel's.
//!
//! On x86-64 the TSC, where the kernel itself trusts it as its clock source (then it is invariant and in step across
//! cores); on aarch64 the virtual counter; else CLOCK_MONOTONIC in nanoseconds. An [`Anchor`] reads all three clocks at
//! one instant; two of them make ticks into nanoseconds.

use super::layout::Anchor;
use super::system;

/// Which counter `ticks` come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum ClockKind {
    /// CLOCK_MONOTONIC, nanoseconds.
    Monotonic = 0,
    /// x86-64 time stamp counter.
    Tsc = 1,
    /// aarch64 virtual counter.
    VirtualCounter = 2,
}

impl ClockKind {
    /// From a header word; `None` for one that does not exist, or that this processor has not.
    pub fn from_word(word: u32) -> Option<Self> {
        match word {
            0 => Some(Self::Monotonic),
            1 if cfg!(target_arch = "x86_64") => Some(Self::Tsc),
            2 if cfg!(target_arch = "aarch64") => Some(Self::VirtualCounter),
            _ => None,
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Monotonic => "monotonic",
            Self::Tsc => "tsc",
            Self::VirtualCounter => "virtualcounter",
        }
    }

    /// The best one for this machine.
    pub fn detect() -> Self {
        if cfg!(target_arch = "aarch64") {
            return Self::VirtualCounter;
        }
        if cfg!(target_arch = "x86_64") {
            let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
            let source = system::small_file::<64>(&source.into());
            if source.is_some_and(|name| name.as_bytes().trim_ascii() == b"tsc") {
                return Self::Tsc;
            }
        }
        Self::Monotonic
    }

    /// Reads the counter.
    #[inline(always)]
    pub fn ticks(self) -> u64 {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: rdtsc is there on every x86-64.
            Self::Tsc => unsafe { core::arch::x86_64::_rdtsc() },
            #[cfg(target_arch = "aarch64")]
            Self::VirtualCounter => {
                let ticks: u64;
                // SAFETY: reading the virtual counter is allowed to user space on Linux.
                unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack)) };
                ticks
            }
            _ => monotonic_ns(),
        }
    }

    /// Reads all three clocks as close together as a handful of tries gets them.
    pub fn anchor(self) -> Anchor {
        let mut best = Anchor::default();
        let mut narrowest = u64::MAX;
        for _ in 0..5 {
            let before = self.ticks();
            let monotonic_ns = monotonic_ns();
            let realtime_ns = realtime_ns();
            let width = self.ticks().wrapping_sub(before);
            if width < narrowest {
                narrowest = width;
                // The monotonic clock is read about a third into the interval.
                let ticks = if self == Self::Monotonic { monotonic_ns } else { before + width / 3 };
                best = Anchor { ticks, monotonic_ns, realtime_ns };
            }
        }
        best
    }
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is a valid timespec; these clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// CLOCK_MONOTONIC, nanoseconds.
#[inline]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME, nanoseconds since the epoch.
pub fn realtime_ns() -> u64 {
    read(libc::CLOCK_REALTIME)
}
