//! The clocks of what is recorded: what anchors saw of each rank's, and what that makes of the times in a manifest.
//!
//! The trace counts every time by the wall clock as it was at the end of the capture. Where somebody set that clock
//! meanwhile, what an engine read of it before is moved along, so that manifest and trace say the same.

use crate::report::words;
use crate::trace::clock::{ClockMap, WallClock, realtime_offset_ns};
use crate::trace::event::Anchor;

use super::manifest::Manifest;
use super::session::Session;

/// What was seen of one rank's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clocks {
    first: Anchor,
    wall: WallClock,
}

impl Clocks {
    /// One more anchor.
    pub(super) fn see(&mut self, anchor: Anchor) {
        if self.first == Anchor::default() {
            self.first = anchor;
        }
        self.wall.see(anchor);
    }

    /// Ticks into times of day, the wall clock being so far ahead.
    fn map(&self, ticks_per_second: u64, realtime_offset_ns: i128) -> Option<ClockMap> {
        let map = ClockMap::new(self.first, self.wall.newest()?, ticks_per_second);
        Some(map.sharing(realtime_offset_ns, u128::MAX))
    }
}

/// Says how far the wall clock was set while this was recorded, and counts the windows' times by what it was at the end.
/// `clocks` are those of the session's ranks in their order, then of others, with the rate of their ticks.
pub(super) fn settle(manifest: &mut Manifest, session: &mut Session, clocks: &[(Clocks, u64)]) {
    let mut wall = WallClock::default();
    clocks.iter().for_each(|(seen, _)| wall.join(&seen.wall));
    // By the anchors of one rank, as the trace has it: each reads the clocks anew, a nanosecond apart.
    let stepped_ns = clocks.iter().find(|(seen, _)| seen.wall.newest() == wall.newest());
    let stepped_ns = stepped_ns.map_or(0, |(seen, _)| seen.wall.stepped_ns());
    manifest.wall_clock_stepped_ns = stepped_ns;
    let (Some(said), Some(newest)) = (words::wall_clock(stepped_ns), wall.newest()) else { return };
    manifest.warnings.push(said);
    for (rank, (seen, ticks_per_second)) in session.ranks.iter_mut().zip(clocks) {
        let Some((facts, map)) = rank.facts.as_mut().zip(seen.map(*ticks_per_second, realtime_offset_ns(newest)))
        else {
            continue;
        };
        for anchor in [&mut facts.open, &mut facts.close] {
            if *anchor != Anchor::default() {
                anchor.realtime_ns = map.realtime_ns(anchor.ticks);
            }
        }
    }
}
