//! The contract between the engine's agent and the sidecar: one shared-memory file, the *segment*.
//!
//! Both sides use this room and nothing else of each other. It depends on `libc` alone, holds every `mmap` and every
//! atomic of the project, and is the only place that knows a byte offset.
//!
//! # Layout
//!
//! All integers are in the machine's byte order (both sides run on one machine). Every block starts on a cache line.
//!
//! | offset | bytes | block | written by |
//! | --- | --- | --- | --- |
//! | 0 | 512 | [`layout::Header`]: magic, version, sizes, identity, attach anchor | agent, once, before `magic` |
//! | 512 | 256 | [`layout::Control`]: generation, window parameters, lease, close orders | sidecar alone, save for `wake` |
//! | 1024 | 1024 | [`layout::Status`]: `begun`, `ended`, gate, window facts, anchors | agent alone |
//! | 4096 | `names_bytes` | names: interned strings, append-only, see [`names`] | agent alone |
//! | `rings_offset` | 192 × `ring_count` | [`layout::RingDescriptor`]: head, owner, drops · tail | agent · sidecar (`tail` only) |
//! | `data_offset` | 64 × `ring_records` × `ring_count` | ring slots, see [`ring`] | agent alone |
//!
//! # Lifecycle
//!
//! The agent creates `STEPSCOPE_DIR/<pid>-<random>.seg` under a temporary name, reserves all of it with
//! `posix_fallocate` (a sparse file on a full tmpfs would raise SIGBUS in the engine), fills it in, takes a POSIX record
//! lock on byte 0, and renames it into place. The sidecar finds it by name, takes a lock on byte 1 (one consumer), and
//! maps it. Either may die: the kernel drops its locks, and that is how the other knows. A segment whose agent is gone
//! is drained by the sidecar and removed by it, or by the next agent of the same user.
//!
//! # The window protocol
//!
//! 1. The sidecar writes the parameters and publishes an even `generation` ([`control`]). While it writes them the
//!    generation is odd, so that a torn block is never acted on.
//! 2. The hook stores `begun = n` and then loads `generation`. It has no fence: the sidecar pays for both with
//!    [`membarrier::heavy`] between its store of `generation` and its loads of `begun`. After that barrier every rank
//!    whose `begun` is still below `first_iteration` is certain to see the window in time.
//! 3. Opening and closing are claims: one compare-and-swap on [`layout::Status::gate`], see [`gate`]. Whoever loses
//!    does nothing. A newer generation always supersedes what an older one started.
//! 4. Closing only ever lowers `close_last`. A rank that runs past it by the time it looks trims itself: its
//!    `last_iteration` is `close_last` and the surplus is reported as `overrun`.
//!
//! # Without the standard library's machinery
//!
//! What the agent reaches of this room neither panics nor allocates (see [`crate::agent`]): [`create`], [`left_over`],
//! [`folder`], [`clock`], the producer's half of [`ring`] and [`names`], on [`text`] and [`system`]. The sidecar's half
//! ([`segment::Segment::attach`], [`sigbus`]) is under no such rule.
//!
//! # The profiler
//!
//! A window may switch a profiler on besides recording. It has a word of its own, [`layout::Status::profiler`], because it
//! may start some iterations before the window and stop after it: where several ranks share one tool's session, one of
//! them leads, and stops only when the sidecar has seen all of them closed (`profiler_release`). Its moves are claims
//! too, see [`profiler`].
//!
//! # Events
//!
//! What else an engine tells of itself, spans, counters, requests, is wanted from shortly before a window until shortly
//! after it, from ranks and from processes that run no iterations alike: see [`wanted`], and [`event`] for the records.
//!
//! # What happens on failure
//!
//! The sidecar forms no reference to bytes that the agent may write but through atomics, bounds-checks every index it
//! reads, and survives a file cut short while mapped ([`sigbus`] swaps zero pages in and marks the segment lost).
//! The agent, for its part, believes nothing of the control block beyond integers.
#![allow(unsafe_code, reason = "shared memory, locks and clocks: each block states what it relies on")]

pub mod atomics;
pub mod capability;
pub mod clock;
pub mod control;
pub mod create;
pub mod event;

pub mod folder;
pub mod gate;
pub mod landmark;
pub mod layout;
pub mod left_over;
pub mod lock;
pub mod membarrier;
pub mod names;
pub mod profiler;
pub mod record;
pub mod ring;
pub mod segment;
pub mod sigbus;
pub mod system;
pub mod text;
pub mod wanted;
