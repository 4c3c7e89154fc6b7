//! Hosts of one group: their ranks step together, so all of them begin at one iteration.
//!
//! Two targets are hosts of one group when both see ranks of the same job and group, and that group is larger than what
//! either sees. Each sidecar agrees with its own ranks alone; the number they all get lies behind what any of them has
//! begun, by as much as they make until the last of them was told.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{CaptureRecord, RankRecord};
use crate::client::StartBody;
use crate::client::types::Status;

/// How long telling all of them may take: iterations are counted a tenth of a second ago at the most, and the calls go out
/// at once.
const ALLOWANCE_SECONDS: f64 = 0.5;
/// The least that lies ahead, of a group that stands still.
const LEAST: u64 = 2;

type Key = (String, String);
/// The targets of each group, by their place.
pub(super) type Groups = BTreeMap<Key, Vec<usize>>;

/// Targets that have to begin at one iteration, by group.
pub(super) fn shared(seen: &[(usize, &Status)]) -> Groups {
    let mut groups = Groups::new();
    for &(target, status) in seen {
        let mut here: BTreeMap<Key, (u32, u32)> = BTreeMap::new();
        for rank in status.ranks.iter().filter(|rank| rank.role == "rank") {
            let entry = here.entry((rank.job.clone(), rank.group.clone())).or_default();
            *entry = (entry.0 + 1, entry.1.max(rank.world_size));
        }
        for (key, (ranks, world)) in here {
            if world > ranks {
                groups.entry(key).or_default().push(target);
            }
        }
    }
    groups.retain(|_, targets| targets.len() > 1);
    groups
}

/// The iteration at which all of them begin, from what each says now.
pub(super) fn first_iteration(key: &Key, seen: &[&Status], wanted: &StartBody) -> u64 {
    if let Some(first) = wanted.start_iteration {
        return first;
    }
    let ranks = || seen.iter().flat_map(|s| &s.ranks).filter(|r| (&r.job, &r.group) == (&key.0, &key.1));
    let begun = ranks().map(|r| r.begun).max().unwrap_or(0);
    let rate = ranks().map(|r| r.iterations_per_second).fold(0.0, f64::max);
    let ahead = ((rate * ALLOWANCE_SECONDS).ceil() as u64).max(LEAST);
    begun.saturating_add(ahead.max(wanted.delay_iterations.unwrap_or(0).saturating_add(1)))
}

/// Says of each capture what the others of its group mean to it: which of them have ranks that it misses, and whether all
/// began at one iteration.
pub(super) fn say(captures: &mut [CaptureRecord], shared: &Groups) {
    for (key, targets) in shared {
        let members: Vec<usize> = (0..captures.len()).filter(|&at| targets.contains(&captures[at].target)).collect();
        let ranks = |at: usize, captures: &[CaptureRecord]| -> Vec<RankRecord> {
            captures[at].ranks.iter().filter(|r| (&r.job, &r.group) == (&key.0, &key.1)).cloned().collect()
        };
        let first =
            |at: usize, captures: &[CaptureRecord]| ranks(at, captures).iter().filter_map(|r| r.first_iteration).min();
        let firsts: BTreeSet<Option<u64>> = members.iter().map(|&at| first(at, captures)).collect();
        for &at in &members {
            let others = members.iter().filter(|&&other| other != at);
            let there: Vec<String> = others
                .map(|&other| {
                    let numbers: Vec<u32> = ranks(other, captures).iter().map(|r| r.rank).collect();
                    format!("ranks {numbers:?} at {}", captures[other].url)
                })
                .collect();
            let how =
                if firsts.len() == 1 { "all began at one iteration" } else { "they did not begin at one iteration" };
            captures[at].warnings.push(format!("group {} spans targets: {}; {how}", key.1, there.join(", ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::types::RankStatus;

    fn host(ranks: &[(&str, u32, u64)], rate: f64) -> Status {
        let rank = |&(job, world_size, begun): &(&str, u32, u64)| RankStatus {
            job: job.into(),
            group: "0".into(),
            role: "rank".into(),
            world_size,
            begun,
            iterations_per_second: rate,
            ..RankStatus::default()
        };
        Status { ranks: ranks.iter().map(rank).collect(), ..Status::default() }
    }

    #[test]
    fn hosts_of_one_group_are_told_from_replicas() {
        let (a, b) = (host(&[("j", 4, 0), ("j", 4, 0)], 0.0), host(&[("j", 4, 0), ("j", 4, 0), ("k", 1, 0)], 0.0));
        let replica = host(&[("k", 1, 0)], 0.0);
        let whole = host(&[("j", 2, 0), ("j", 2, 0)], 0.0);
        assert_eq!(shared(&[(0, &a), (1, &b), (2, &replica)]), [(("j".into(), "0".into()), vec![0, 1])].into());
        assert!(shared(&[(0, &a), (1, &replica)]).is_empty());
        assert!(shared(&[(0, &whole), (1, &whole)]).is_empty());
    }

    #[test]
    fn the_first_iteration_lies_ahead_of_every_host() {
        let key = ("j".to_owned(), "0".to_owned());
        let first = |rate, delay: Option<u64>| {
            let (a, b) = (host(&[("j", 4, 100)], rate), host(&[("j", 4, 130), ("k", 1, 900)], rate));
            let wanted = StartBody { delay_iterations: delay, ..StartBody::default() };
            first_iteration(&key, &[&a, &b], &wanted)
        };
        assert_eq!(first(0.0, None), 132);
        assert_eq!(first(100.0, None), 180);
        assert_eq!(first(100.0, Some(10)), 180);
        assert_eq!(first(100.0, Some(500)), 631);
    }
}
