//! The contract between the processes: every interleaving of the protocol, and memory that a stranger wrote.

mod facts;
mod lease;
mod loom;
mod segments;
