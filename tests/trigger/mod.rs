//! `stepscope run` as its user meets it: real commands, sidecars and engines; dead, slow and unwilling targets on loopback.

mod ends;
mod engines;
mod group;
mod many;
mod phases;
mod support;
mod usage;
