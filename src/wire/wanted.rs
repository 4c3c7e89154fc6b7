//! Which events are wanted: two words of the control block, and the sampling of requests.
//!
//! The sidecar writes a generation into [`Control::events`](super::layout::Control) some milliseconds before a window
//! opens, and 0 some milliseconds after it has closed. An event costs two loads and a branch while the word is 0. Ranks and
//! other sources are asked alike, so that what happens around an iteration is there from every process of an engine.
//!
//! **Sampling.** Under load requests are left out whole: a request is recorded where the low bits of its number, as many as
//! [`Control::request_shift`](super::layout::Control) says, are 0. Numbers are made from the request's id by [`number`] alone, so every process
//! leaves out the same ones, and what a coarser mask takes, every finer one takes too.

/// Highest shift: one request in 256.
pub const MAX_SHIFT: u64 = 8;

/// Levels of events, from the ones that are always wanted to those that are many.
pub mod level {
    /// What people look at first.
    pub const BASIC: u64 = 1;
    /// Wanted unless less is asked for.
    pub const DETAIL: u64 = 2;
    /// Only where it is asked for.
    pub const VERBOSE: u64 = 3;
}

/// The number of a request, made from its id: equal in every process, whatever its language. Never 0. The mixing is that of
/// wyhash's 64-bit steps.
pub fn number(id: &[u8]) -> u64 {
    let (words, rest) = id.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
    let mixed = words.fold(id.len() as u64, |sum, word| {
        let product = u128::from(sum ^ word ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xd6e8_feb8_6659_fd93_a076_1d64);
        (product as u64) ^ (product >> 64) as u64
    });
    mixed.max(1)
}

/// Whether a request is recorded at this shift.
#[inline]
pub fn takes(shift: u64, number: u64) -> bool {
    number & (1u64.unbounded_shl(shift.min(MAX_SHIFT) as u32)).wrapping_sub(1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_coarser_mask_takes_only_what_a_finer_one_takes(id in ".{0,40}", shift in 0..=MAX_SHIFT) {
            let number = number(id.as_bytes());
            prop_assert!(takes(0, number));
            prop_assert!(shift == 0 || !takes(shift, number) || takes(shift - 1, number));
        }
    }

    #[test]
    fn each_mask_takes_its_share_of_ordinary_ids() {
        for shift in 0..=MAX_SHIFT {
            let of = 100_000u32;
            let taken = (0..of).filter(|n| takes(shift, number(format!("cmpl-{n:032x}-0").as_bytes()))).count() as f64;
            let share = f64::from(of) / f64::from(1 << shift);
            assert!((taken / share - 1.0).abs() < 0.25, "{shift}: {taken} of {share}");
        }
    }

    /// Other processes, and sidecars of another version, must agree.
    #[test]
    fn numbers_are_what_they_always_were() {
        let numbers = [&b""[..], b"cmpl-1-0", b"cmpl-1-1"].map(number);
        assert_eq!(numbers, [0x355d_2b88_cae1_0eba, 0x7f56_a7a5_a7af_1692, 0xff8d_5345_fa32_dd69]);
    }
}
