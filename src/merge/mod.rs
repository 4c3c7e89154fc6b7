//! Any number of our captures and of other tools' traces into one Chrome trace: streamed, on one clock, nothing mixed up.
//!
//! ```text
//! file ──source──► bytes ──reader──► events ──survey──► what is known ──clocks, numbering──► what is decided
//! file ──source──► bytes ──reader──► events ──kway──► in order ──rewrite──► output ──► file
//! ```
//!
//! * Every input is read twice: first to know its clock, its processes and its losses, so that a merge that makes no sense
//!   is refused before a byte is written; then to be copied.
//! * Events are found in the bytes by [`scan`], which builds nothing; time, process and ids are replaced, all else is copied
//!   as it stands. Whatever bytes an input has, the output is valid JSON: what can be mended is, what can't is left out,
//!   and both are counted.
//! * Memory: a buffer of 128 KiB per open input and the window of its packing, of these 16 MiB at most at once; and, once, a
//!   few times the longest event of 4 MiB. However long the inputs are.
//! * An input without a base is refused, a merge with clocks too uncertain likewise, and nothing is shifted silently.
//!
//! Called by `cli`, and by `native` for the iterations that one trace shows. Works on local files alone; reports of nsys are exported by `launch`.

mod annotations;
mod buffer;
mod clocks;
mod head;
mod ids;
mod inputs;
mod iterations;
mod kway;
mod losses;
mod mend;
mod micros;
mod nsys;
mod numbering;
mod output;
mod processes;
mod reader;
mod report;
mod resync;
mod rewrite;
mod run;
mod scan;
mod skipper;
mod source;
mod strings;
mod survey;

pub use annotations::{Annotations, annotations};
pub use clocks::Match;
pub use inputs::Refused;
pub use numbering::ProcessReport;
pub use reader::LONGEST_EVENT;
pub use report::{InputReport, Report};
pub use run::{MergeError, Wanted, merge};
pub use survey::Maker;
