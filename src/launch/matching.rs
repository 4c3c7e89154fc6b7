//! Which capture a report of nsys belongs to: by what both say of processes, iterations and times. A wrong match is worse
//! than none.
//!
//! The agent's iteration ranges carry their number, so a rank's part of a capture is found again when the same process
//! (its pid) has ranges of the same numbers at the same time. A report without our ranges can be told by its time alone,
//! which is said.

use serde::Serialize;

/// How far apart the clocks of a report and of a capture may be: they are read on one machine, so this is for the wall
/// clock being set meanwhile.
const CLOCKS_NS: i64 = 1_000_000_000;

/// What a report holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// From when to when it records, nanoseconds since 1970.
    pub span_ns: (i64, i64),
    /// Iterations of each process that emitted our ranges.
    pub processes: Vec<Process>,
}

/// Our ranges of one process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// As the process itself knows it.
    pub pid: u32,
    /// Ranges `capture` that began here.
    pub captures: u32,
    /// Number, begin (nanoseconds since 1970) and name of each iteration, by number.
    pub iterations: Vec<(u64, i64, String)>,
}

/// What a sidecar says of one capture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture {
    /// Its id.
    pub id: String,
    /// Its ranks that captured something.
    pub ranks: Vec<Rank>,
}

/// One rank's window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rank {
    /// Which one.
    pub rank: u32,
    /// As the process itself knows it.
    pub pid: u32,
    /// First iteration.
    pub first: u64,
    /// Last iteration.
    pub last: u64,
    /// When the window opened and closed, nanoseconds since 1970.
    pub window_ns: (i64, i64),
}

/// How sure a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sure {
    /// The same processes made the same iterations at the same time, and all are there.
    Certain,
    /// The same, but some iterations are missing in the report.
    Partial,
    /// Only the time speaks for it.
    Likely,
}

/// A capture that a report holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    /// Its id.
    pub capture_id: String,
    /// How sure that is.
    pub sure: Sure,
    /// What of it is there, and what is not.
    pub what: String,
}

/// The captures in this report, or why none can be named.
///
/// # Errors
/// A sentence.
pub fn find(contents: &Contents, captures: &[Capture]) -> Result<Vec<Match>, String> {
    if captures.is_empty() {
        return Err("no capture is known to compare with".into());
    }
    if contents.processes.iter().all(|process| process.iterations.is_empty()) {
        return by_time(contents, captures);
    }
    let found: Vec<Match> = captures.iter().filter_map(|capture| by_iterations(contents, capture)).collect();
    if found.is_empty() {
        return Err("its iterations are of none of the captures that are known".into());
    }
    Ok(found)
}

fn by_iterations(contents: &Contents, capture: &Capture) -> Option<Match> {
    let (mut whole, mut cut, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for rank in &capture.ranks {
        let wanted = rank.last - rank.first + 1;
        match present(contents, rank) {
            0 => absent.push(rank.rank.to_string()),
            count if count == wanted => whole.push(rank.rank.to_string()),
            count => cut.push(format!("rank {}: {count} of {wanted} iterations", rank.rank)),
        }
    }
    if whole.is_empty() && cut.is_empty() {
        return None;
    }
    let mut words = Vec::new();
    if !whole.is_empty() {
        words.push(format!("all iterations of rank {}", whole.join(", ")));
    }
    let sure = if cut.is_empty() { Sure::Certain } else { Sure::Partial };
    words.append(&mut cut);
    if !absent.is_empty() {
        words.push(format!("nothing of rank {}", absent.join(", ")));
    }
    Some(Match { capture_id: capture.id.clone(), sure, what: words.join("; ") })
}

/// How many of the rank's iterations the report holds.
fn present(contents: &Contents, rank: &Rank) -> u64 {
    let times = rank.window_ns.0 - CLOCKS_NS..=rank.window_ns.1 + CLOCKS_NS;
    let of_rank = contents.processes.iter().filter(|process| process.pid == rank.pid);
    let ours =
        |(number, begin, _): &&(u64, i64, String)| (rank.first..=rank.last).contains(number) && times.contains(begin);
    of_rank.map(|process| process.iterations.iter().filter(ours).count() as u64).max().unwrap_or(0)
}

fn by_time(contents: &Contents, captures: &[Capture]) -> Result<Vec<Match>, String> {
    let (begin, end) = contents.span_ns;
    let meets = |rank: &Rank| rank.window_ns.0 <= end && begin <= rank.window_ns.1;
    let met: Vec<&Capture> = captures.iter().filter(|capture| capture.ranks.iter().any(meets)).collect();
    match met[..] {
        [] => Err("it holds no iterations of ours, and nothing was captured at its time".into()),
        [one] => Ok(vec![Match {
            capture_id: one.id.clone(),
            sure: Sure::Likely,
            what: "by its time alone: it holds no iterations of ours (nvtx not in --trace?)".into(),
        }]),
        _ => Err(format!("it holds no iterations of ours, and {} captures lie in its time", met.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn process(pid: u32, numbers: std::ops::RangeInclusive<u64>, at: i64) -> Process {
        let iterations = numbers.map(|n| (n, at + n as i64, String::new())).collect();
        Process { pid, captures: 1, iterations }
    }

    fn rank(rank: u32, pid: u32, first: u64, last: u64, at: i64) -> Rank {
        Rank { rank, pid, first, last, window_ns: (at, at + SECOND / 10) }
    }

    fn capture(id: &str, ranks: &[Rank]) -> Capture {
        Capture { id: id.into(), ranks: ranks.to_vec() }
    }

    fn report(processes: &[Process], at: i64) -> Contents {
        Contents { span_ns: (at, at + SECOND), processes: processes.to_vec() }
    }

    #[test]
    fn the_same_iterations_of_the_same_processes_at_the_same_time_are_certain() {
        let at = 1000 * SECOND;
        let known = [
            capture("a", &[rank(0, 10, 101, 104, at), rank(1, 11, 101, 104, at)]),
            capture("b", &[rank(0, 10, 301, 304, at + 5 * SECOND), rank(1, 11, 301, 304, at + 5 * SECOND)]),
        ];
        let found = find(
            &report(&[process(10, 301..=304, at + 5 * SECOND), process(11, 301..=304, at + 5 * SECOND)], at),
            &known,
        );
        let found = found.expect("a match");
        assert!(found.len() == 1 && found[0].capture_id == "b" && found[0].sure == Sure::Certain, "{found:?}");
        assert_eq!(found[0].what, "all iterations of rank 0, 1");
    }

    #[test]
    fn a_restarted_container_with_the_same_pid_and_numbers_is_told_by_its_time() {
        let at = 1000 * SECOND;
        let known =
            [capture("old", &[rank(0, 1, 101, 104, at - 60 * SECOND)]), capture("new", &[rank(0, 1, 101, 104, at)])];
        let found = find(&report(&[process(1, 101..=104, at)], at), &known).expect("a match");
        assert!(found.len() == 1 && found[0].capture_id == "new", "{found:?}");
        assert!(find(&report(&[process(1, 101..=104, at + 60 * SECOND)], at), &known).is_err());
    }

    #[test]
    fn what_is_missing_is_said() {
        let at = 1000 * SECOND;
        let known = [capture("a", &[rank(0, 10, 101, 104, at), rank(1, 11, 101, 104, at)])];
        let found = find(&report(&[process(10, 101..=102, at)], at), &known).expect("a match");
        assert_eq!(
            (found[0].sure, found[0].what.as_str()),
            (Sure::Partial, "rank 0: 2 of 4 iterations; nothing of rank 1")
        );
        assert!(find(&report(&[process(12, 101..=104, at)], at), &known).is_err(), "another process");
    }

    #[test]
    fn without_our_ranges_only_one_capture_of_the_time_is_named() {
        let at = 1000 * SECOND;
        let known = [capture("a", &[rank(0, 10, 1, 4, at)]), capture("b", &[rank(0, 10, 9, 12, at + 10 * SECOND)])];
        let found = find(&report(&[], at), &known).expect("a match");
        assert!(found.len() == 1 && found[0].capture_id == "a" && found[0].sure == Sure::Likely, "{found:?}");
        let both = Contents { span_ns: (at, at + 20 * SECOND), processes: Vec::new() };
        assert!(find(&both, &known).is_err_and(|why| why.contains("2 captures")));
        assert!(find(&report(&[], at + 100 * SECOND), &known).is_err());
        assert!(find(&report(&[], at), &[]).is_err());
    }
}
