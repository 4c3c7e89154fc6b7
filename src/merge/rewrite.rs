//! One event of an input as an event of the output: its time, its process and its ids are replaced, all other bytes are
//! copied as they are.

use super::ids::Ids;
use super::micros;
use super::processes::Processes;
use super::scan::{Fields, Place};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    /// It was written.
    Written,
    /// It names or places a process: the output says that itself.
    Name,
    /// Its process is there twice.
    Twice,
    /// Its process was not there when the input was read first.
    Strange,
}

/// How the events of one input are rewritten.
#[derive(Debug)]
pub(super) struct Rewrite {
    /// What is added to its times.
    pub(super) shift_ns: i64,
    pub(super) ids: Ids,
    /// The output's number of each process, as text; `None`: it is left out.
    pub(super) numbers: Vec<Option<String>>,
}

#[derive(Clone, Copy)]
enum With {
    Time(i64),
    Process,
    Id,
    Id2,
}

impl Rewrite {
    /// The time of an event on the output's clock; `None`: it has none.
    #[inline]
    pub(super) fn time(&self, bytes: &[u8], fields: &Fields) -> Option<i64> {
        Some(micros::parse(fields.ts.of(bytes))?.saturating_add(self.shift_ns))
    }

    /// Appends the event to `out`. `time` is what [`Rewrite::time`] says.
    pub(super) fn write(
        &self,
        processes: &mut Processes,
        bytes: &[u8],
        fields: &Fields,
        time: Option<i64>,
        out: &mut Vec<u8>,
    ) -> Became {
        let Some(process) = processes.find(fields.pid.of(bytes)) else { return Became::Strange };
        let Some(number) = &self.numbers[process] else { return Became::Twice };
        let ph = fields.ph.of(bytes);
        if ph == b"\"M\"" && matches!(fields.name.of(bytes), b"\"process_name\"" | b"\"process_sort_index\"") {
            return Became::Name;
        }
        let mut edits: [(Place, With); 5] = [(Place::default(), With::Id); 5];
        let mut count = 0;
        let mut edit = |place: Place, with: With| {
            if place.is_there() {
                edits[count] = (place, with);
                count += 1;
            }
        };
        if let Some(time) = time {
            edit(fields.ts, With::Time(time));
        }
        edit(fields.pid, With::Process);
        if !self.ids.keeps() {
            if Ids::is_shared(ph) {
                edit(fields.id, With::Id);
                edit(fields.id2, With::Id2);
            }
            edit(fields.bind_id, With::Id);
        }
        let edits = &mut edits[..count];
        edits.sort_unstable_by_key(|(place, _)| place.range().start);
        let mut at = 0;
        if !fields.pid.is_there() {
            out.extend_from_slice(b"{\"pid\":");
            out.extend_from_slice(number.as_bytes());
            out.push(b',');
            at = 1;
        }
        for (place, with) in edits {
            let range = place.range();
            out.extend_from_slice(&bytes[at..range.start]);
            match with {
                With::Time(ns) => micros::write(*ns, out),
                With::Process => out.extend_from_slice(number.as_bytes()),
                With::Id => self.ids.write(&bytes[range.clone()], out),
                With::Id2 => self.ids.write_id2(&bytes[range.clone()], out),
            }
            at = range.end;
        }
        out.extend_from_slice(&bytes[at..]);
        Became::Written
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::event;
    use super::*;

    fn rewritten(text: &str, inputs: usize) -> (Became, String) {
        let mut processes = Processes::default();
        for pid in ["7", "\"Spans\"", "8", ""] {
            processes.index(pid.as_bytes());
        }
        let numbers = vec![Some("11".into()), Some("12".into()), None, Some("14".into())];
        let rewrite = Rewrite { shift_ns: 1_000, ids: Ids::new(1, inputs), numbers };
        let fields = event(text.as_bytes()).expect("an event").fields;
        let mut out = Vec::new();
        let time = rewrite.time(text.as_bytes(), &fields);
        let became = rewrite.write(&mut processes, text.as_bytes(), &fields, time, &mut out);
        (became, String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn time_process_and_ids_are_replaced_and_nothing_else() {
        for (text, wanted) in [
            (
                r#"{ "ts" : 1.5, "pid":"Spans" ,"ph":"X","args":{"ts":1,"pid":7,"correlation":9}}"#,
                r#"{ "ts" : 2.500, "pid":12 ,"ph":"X","args":{"ts":1,"pid":7,"correlation":9}}"#,
            ),
            (r#"{"ph":"s","id":9,"pid":7,"ts":2}"#, r#"{"ph":"s","id":19,"pid":11,"ts":3.000}"#),
            (r#"{"ph":"C","id":9,"pid":7,"ts":2}"#, r#"{"ph":"C","id":9,"pid":11,"ts":3.000}"#),
            (r#"{"ph":"X","bind_id":"0x9","ts":-2}"#, r#"{"pid":14,"ph":"X","bind_id":19,"ts":-1.000}"#),
            (
                r#"{"ph":"b","id2":{"local":1,"global":2},"ts":null,"pid":7}"#,
                r#"{"ph":"b","id2":{"local":1,"global":5},"ts":null,"pid":11}"#,
            ),
        ] {
            assert_eq!(rewritten(text, 2), (Became::Written, wanted.into()));
        }
        assert_eq!(
            rewritten(r#"{"ph":"s","id":"0x9","pid":7,"ts":2}"#, 1).1,
            r#"{"ph":"s","id":"0x9","pid":11,"ts":3.000}"#
        );
    }

    #[test]
    fn names_and_what_is_there_twice_are_not_written() {
        let name = r#"{"ph":"M","name":"process_name","pid":7,"args":{"name":"x"}}"#;
        assert_eq!(rewritten(name, 2), (Became::Name, String::new()));
        assert_eq!(rewritten(r#"{"ph":"X","pid":8}"#, 2), (Became::Twice, String::new()));
        assert_eq!(rewritten(r#"{"ph":"X","pid":9}"#, 2), (Became::Strange, String::new()));
        assert_eq!(rewritten(r#"{"ph":"M","name":"thread_name","pid":7}"#, 2).0, Became::Written);
    }
}
