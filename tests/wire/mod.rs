//! The contract between the processes: leases, and memory that a stranger wrote. Every interleaving of the protocol is
//! `tests/loom.rs`, a binary of its own: loom takes the process's SIGBUS handler, which these tests need.

mod facts;
mod lease;
mod segments;
