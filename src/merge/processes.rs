//! The processes of one input: found by what stands in `pid`, in the order of their first event.
//!
//! A `pid` is whatever it is: a number, a device's index, a word (`"Spans"`, SGLang's `"[TP00] 812"`). A number and a string
//! of it are one process, as viewers have it; events without a `pid` are a process of their own.

use std::collections::HashMap;

/// More processes than this are no trace's: the rest would be one process.
const MOST: usize = 1 << 16;
/// Up to here looking through all of them is quicker than a table.
const FEW: usize = 12;

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// What stands in `pid`, without quotes. Empty: nothing.
    pub(super) pid: Vec<u8>,
    /// Its name, by the last metadata event that tells it.
    pub(super) name: Option<String>,
    /// Its place among the others, likewise.
    pub(super) sort_index: Option<i64>,
    /// Its events, metadata not counted.
    pub(super) events: u64,
}

/// All processes of an input.
#[derive(Debug, Clone, Default)]
pub(super) struct Processes {
    all: Vec<Process>,
    table: HashMap<Vec<u8>, usize>,
    last: usize,
}

impl Processes {
    pub(super) fn all(&self) -> &[Process] {
        &self.all
    }

    pub(super) fn get_mut(&mut self, index: usize) -> &mut Process {
        &mut self.all[index]
    }

    /// The process of a `pid` token; a new one if it was not seen before. Beyond the most, the last one.
    #[inline]
    pub(super) fn index(&mut self, token: &[u8]) -> usize {
        if let Some(index) = self.find(token) {
            return index;
        }
        let index = self.all.len();
        if index == MOST {
            return MOST - 1;
        }
        let pid = unquoted(token).to_vec();
        self.table.insert(pid.clone(), index);
        self.all.push(Process { pid, ..Process::default() });
        self.last = index;
        index
    }

    /// The process of a `pid` token, if it was seen before.
    #[inline]
    pub(super) fn find(&mut self, token: &[u8]) -> Option<usize> {
        let pid = unquoted(token);
        if self.all.get(self.last).is_some_and(|process| process.pid == pid) {
            return Some(self.last);
        }
        let index = if self.all.len() <= FEW {
            self.all.iter().position(|process| process.pid == pid)
        } else {
            self.table.get(pid).copied().or((self.all.len() == MOST).then_some(MOST - 1))
        };
        self.last = index.unwrap_or(self.last);
        index
    }
}

/// The text of a token.
pub(super) fn unquoted(token: &[u8]) -> &[u8] {
    match token {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_string_of_it_are_one_process_and_no_pid_is_one_too() {
        let mut processes = Processes::default();
        for (token, wanted) in [("7", 0), ("\"7\"", 0), ("\"Spans\"", 1), ("", 2), ("70", 3), ("7", 0)] {
            assert_eq!(processes.index(token.as_bytes()), wanted, "{token}");
        }
        for number in 100..200 {
            let token = number.to_string();
            let index = processes.index(token.as_bytes());
            assert_eq!((index, processes.find(token.as_bytes())), (number - 96, Some(index)));
        }
        assert_eq!(processes.find(b"99"), None);
        assert_eq!(processes.find(b"\"Spans\""), Some(1));
    }
}
