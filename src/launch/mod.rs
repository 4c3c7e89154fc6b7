//! Starting an engine so that it can be sliced, and what came of it: environments and command lines, as plain values.
//!
//! | file | what it answers |
//! | --- | --- |
//! | [`environment`] | the variables that an engine is started with |
//! | [`library`] | where the agent library is |
//! | [`line`](mod@line) | an `nsys profile …` line: read, changed, written for a shell |
//! | [`nsys`] | the nsys of this machine, and the line that is right for it |
//! | [`problem`] | what a line will not capture, and the line that mends it |
//! | [`report`] | the iterations that a report of nsys holds |
//! | [`timeline`] | all that a report holds: ranges, calls, kernels, copies |
//! | [`matching`] | which capture a report belongs to |
//!
//! Called by `cli`, `doctor` and `merge`. Nothing here starts an engine; [`nsys`] and [`report`] run nsys's own tools.

pub mod environment;
pub mod library;
pub mod line;
pub mod matching;
pub mod nsys;
pub mod problem;
pub mod report;
pub mod timeline;
