//! The fixed 64-byte record: eight words, encoded by the agent, decoded and checked by the collector.
//!
//! | word | iteration | thread |
//! | --- | --- | --- |
//! | 0 | kind (16) · flags (16) · generation (32) | the same |
//! | 1 | iteration number | thread id |
//! | 2 | begin, ticks | when it was announced, ticks |
//! | 3 | end, ticks | name, an id of [`crate::wire::names`] |
//! | 4 | context requests (32) · context tokens (32) | 0 |
//! | 5 | generation requests (32) · generation tokens (32) | 0 |
//! | 6 | device time, nanoseconds, or `NONE` | 0 |
//! | 7 | 0 | 0 |

use super::layout::NONE;

/// A record as it lies in a ring slot.
pub type Words = [u64; 8];

/// What an iteration was like; bits of [`Iteration::flags`].
pub mod flags {
    /// A dummy batch that keeps data-parallel ranks in step.
    pub const DUMMY: u16 = 1;
    /// The next begin ended it: no end was seen.
    pub const UNENDED: u16 = 2;
    /// The window was closed while it ran; `end` is the closing time.
    pub const MID_ITERATION: u16 = 4;
    /// No batch composition was given.
    pub const NO_BATCH: u16 = 8;
}

/// The batch of one iteration, in vLLM's words: context is prefill, generation is decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batch {
    /// Requests in their context (prefill) phase.
    pub context_requests: u32,
    /// Tokens computed for them.
    pub context_tokens: u32,
    /// Requests in their generation (decode) phase.
    pub generation_requests: u32,
    /// Tokens computed for them.
    pub generation_tokens: u32,
}

/// One iteration inside a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iteration {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// [`flags`].
    pub flags: u16,
    /// Number, from 1 per process.
    pub iteration: u64,
    /// Begin, ticks.
    pub begin_ticks: u64,
    /// End, ticks.
    pub end_ticks: u64,
    /// What was computed.
    pub batch: Batch,
    /// Device time in nanoseconds, where a hook could record it.
    pub device_ns: Option<u64>,
}

/// A thread names itself before its first record of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thread {
    /// Low half of the capture's generation.
    pub generation: u32,
    /// Thread id in the engine's pid namespace.
    pub tid: u64,
    /// When, ticks.
    pub ticks: u64,
    /// Name, an id of [`crate::wire::names`].
    pub name: u64,
}

/// A decoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// See [`Iteration`].
    Iteration(Iteration),
    /// See [`Thread`].
    Thread(Thread),
}

const KIND_ITERATION: u64 = 1;
const KIND_THREAD: u64 = 2;

impl Record {
    /// Encodes for a ring slot.
    #[inline(always)]
    pub fn encode(&self) -> Words {
        match self {
            Self::Iteration(i) => [
                KIND_ITERATION | u64::from(i.flags) << 16 | u64::from(i.generation) << 32,
                i.iteration,
                i.begin_ticks,
                i.end_ticks,
                u64::from(i.batch.context_requests) | u64::from(i.batch.context_tokens) << 32,
                u64::from(i.batch.generation_requests) | u64::from(i.batch.generation_tokens) << 32,
                i.device_ns.unwrap_or(NONE),
                0,
            ],
            Self::Thread(t) => [KIND_THREAD | u64::from(t.generation) << 32, t.tid, t.ticks, t.name, 0, 0, 0, 0],
        }
    }

    /// Decodes what stood in a slot. `None`: not a record that this version knows.
    pub fn decode(w: &Words) -> Option<Self> {
        let generation = (w[0] >> 32) as u32;
        match w[0] & 0xffff {
            KIND_ITERATION => Some(Self::Iteration(Iteration {
                generation,
                flags: (w[0] >> 16) as u16,
                iteration: w[1],
                begin_ticks: w[2],
                end_ticks: w[3],
                batch: Batch {
                    context_requests: w[4] as u32,
                    context_tokens: (w[4] >> 32) as u32,
                    generation_requests: w[5] as u32,
                    generation_tokens: (w[5] >> 32) as u32,
                },
                device_ns: (w[6] != NONE).then_some(w[6]),
            })),
            KIND_THREAD => Some(Self::Thread(Thread { generation, tid: w[1], ticks: w[2], name: w[3] })),
            _ => None,
        }
    }

    /// The low half of the generation that a slot's record belongs to.
    pub fn generation_of(w: &Words) -> u32 {
        (w[0] >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_iteration_survives_the_slot(generation: u32, flags: u16, iteration: u64, begin_ticks: u64, end_ticks: u64,
            batch: [u32; 4], device_ns in proptest::option::of(0..NONE)) {
            let [context_requests, context_tokens, generation_requests, generation_tokens] = batch;
            let batch = Batch { context_requests, context_tokens, generation_requests, generation_tokens };
            let record = Record::Iteration(Iteration { generation, flags, iteration, begin_ticks, end_ticks, batch, device_ns });
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            prop_assert_eq!(Record::generation_of(&record.encode()), generation);
        }
    }
}
