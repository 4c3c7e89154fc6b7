//! The contract between the processes: every interleaving of the protocol, and memory that a stranger wrote.

mod loom;
mod segments;
