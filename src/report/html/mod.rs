//! The report as one self-contained page: no script, no network, light and dark, any width.
//!
//! | file | what it answers |
//! | --- | --- |
//! | `page` | what stands where |
//! | `charts` | each plot, from the report's numbers |
//! | `plot` | axes, dots, steps and bars as SVG |
//! | `tables` | each table |
//! | `escape` | text that came from an engine |
//!
//! * Every text that an engine or a file told is escaped where it enters the page.
//! * Sizes are bounded: single iterations are at most as many as the report has points, and the page says how many.
//! * The plots' data is SVG stretched to the room there is; their words are HTML, so that they stay readable at any width.

mod charts;
mod escape;
mod page;
mod plot;
mod tables;

pub use page::page;
