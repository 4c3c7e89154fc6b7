//! Merging, from the outside: files in, one file out, read strictly.

mod apart;
mod clocks;
mod damage;
mod formats;
mod nsys;
mod properties;
mod support;
mod twice;
