//! A trigger around a benchmark: captures on any number of servers while a command runs, or while it says so.
//!
//! ```text
//! targets ──peers──► hold all ──► open all at one moment ──► (the command) ──► stop all ──► fetch ──► merge
//!                      phase                                 child, signals      phase       collect
//! ```
//!
//! * The command is not touched: it has our standard input and output, its exit code or signal is ours, and no profiler
//!   that fails or hangs comes in its way for longer than the timeouts.
//! * All targets are called at once. Where a sidecar answers, the capture is accepted and held first, and opened when all
//!   that will be there are: what is late is never open.
//! * Whatever was started is stopped, by its capture's id, however the command ends; what answers too late is stopped when
//!   it answers. If this process is killed, captures end by their caps.
//! * Everything that was called and what came of it is in the record, on every way out.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`targets`] | whom to call |
//! | `peer` | one target while it is called |
//! | `group` | hosts whose ranks step together: one first iteration for all |
//! | `phase` | starting and stopping all of them |
//! | `late` | answers that came too late |
//! | `signals`, `child` | the command, and what is sent to us meanwhile |
//! | `control` | the benchmark says where its phases are |
//! | `collect` | traces, and the merged one |
//! | [`record`], `text` | what is left behind: `profiling.json`, `profiling.txt` |
//! | `clock`, `folder` | times, and where it is left |
//! | `run` | all of it, in order |
//!
//! Called by `cli`. Uses `client` and `merge`.

mod child;
mod clock;
mod collect;
mod control;
mod folder;
mod group;
mod late;
mod peer;
mod phase;
pub mod record;
mod run;
mod signals;
pub mod targets;
mod text;

pub use child::Ended;
pub use control::{SOCKET_VARIABLE, Word, tell};
pub use run::{Outcome, TriggerError, Wanted, run};
