//! Fragments: the append-only file of one rank's records of one capture, and one for the sidecar's counters.
//!
//! * [`format`](mod@format) is the layout, byte by byte.
//! * [`writer`] appends whole blocks, takes up a file after a crash, and writes nothing twice.
//! * [`reader`] streams blocks out again, whoever wrote the bytes, also while the file still grows.

pub mod format;
pub mod reader;
pub mod writer;

pub use format::{COUNTERS, FragmentError, FragmentIdentity, PROXY, SOURCE};
pub use reader::{Block, FragmentReader, FragmentScan, Tail};
pub use writer::{FragmentWriter, Recovered};
