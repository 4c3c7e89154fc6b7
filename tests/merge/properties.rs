//! Whatever the inputs hold: no panic, valid JSON, and every event of a valid trace comes back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{Files, events, gzip, read};

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// An event of any kind; its number is in its arguments.
fn any_event() -> impl Strategy<Value = Value> {
    let ph = prop_oneof![Just("X"), Just("i"), Just("C"), Just("b"), Just("s"), Just("M"), Just("B"), Just("?")];
    let pid = prop_oneof![
        (0u32..4).prop_map(Value::from),
        Just(json!("Spans")),
        Just(json!("1")),
        Just(Value::Null),
        any_value(),
    ];
    let ts = prop_oneof![9 => (-1_000_000_000i64..1_000_000_000).prop_map(|ns| Some(ns as f64 / 1e3)), 1 => Just(None)];
    let id = prop_oneof![Just(None), any::<u64>().prop_map(|n| Some(json!(n))), any_value().prop_map(Some)];
    (ph, pid, ts, id, any_value(), any::<String>(), any::<u32>()).prop_map(|(ph, pid, ts, id, args, name, tid)| {
        let mut event = json!({"ph": ph, "name": name, "args": {"kept": args}});
        event["tid"] = tid.into();
        if !pid.is_null() {
            event["pid"] = pid;
        }
        if let Some(ts) = ts {
            event["ts"] = ts.into();
        }
        if let Some(id) = id {
            event["id"] = id;
        }
        event
    })
}

fn trace(events: &[Value], base_ns: Option<u64>) -> String {
    match base_ns {
        Some(base_ns) => json!({"traceEvents": events, "baseTimeNanoseconds": base_ns}).to_string(),
        None => serde_json::to_string_pretty(&json!(events)).unwrap(),
    }
}

/// What may not change.
fn essence(event: &Value) -> Value {
    let mut event = event.clone();
    for key in ["ts", "pid", "id"] {
        event.as_object_mut().unwrap().remove(key);
    }
    event
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn valid_traces_come_back_event_for_event(
        inputs in proptest::collection::vec(proptest::collection::vec(any_event(), 0..30), 1..5),
    ) {
        let mut files = Files::new();
        for (at, events) in inputs.iter().enumerate() {
            // One more event, so that no two are the same file.
            let mut events = events.clone();
            events.push(json!({"ph": "i", "ts": 0, "pid": "last", "name": at.to_string(), "args": {}}));
            files.input(&format!("{at}.json"), trace(&events, Some(1_800_000_000_000_000_000)));
        }
        let (report, merged) = files.merged();
        let all = merged["traceEvents"].as_array().unwrap();
        let mut pids = std::collections::HashSet::new();
        for (at, events) in inputs.iter().enumerate() {
            let own: Vec<u64> = report.inputs[at].processes.iter().map(|process| process.pid.into()).collect();
            prop_assert!(own.iter().all(|pid| pids.insert(*pid)), "two inputs share a process");
            let names = 2 * own.len();
            let found: Vec<Value> =
                all.iter().filter(|e| own.contains(&e["pid"].as_u64().unwrap())).map(essence).collect();
            // Our names, then its own events in their order, then the one that was added.
            prop_assert_eq!(found.len(), names + events.len() + 1);
            let wanted: Vec<Value> = events.iter().map(essence).collect();
            prop_assert_eq!(&found[names..names + events.len()], &wanted[..]);
        }
    }

    #[test]
    fn any_bytes_give_a_word_or_valid_json_and_never_a_panic(
        inputs in proptest::collection::vec(
            (proptest::collection::vec(any_event(), 1..12), any::<bool>(), any::<bool>(),
             proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), any::<prop::sample::Index>(), 0u8..4),
            1..4,
        ),
    ) {
        let mut files = Files::new();
        files.wanted.force = true;
        for (at, (events, has_base, packed, changes, cut, what)) in inputs.iter().enumerate() {
            let mut bytes = trace(events, has_base.then_some(1_800_000_000_000_000_000)).into_bytes();
            let spoil = |bytes: &mut Vec<u8>| {
                for (at, byte) in changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                if *what == 0 {
                    bytes.truncate(cut.index(bytes.len()));
                }
            };
            // The text, or what it is packed in.
            if *what < 2 { spoil(&mut bytes) }
            if *packed { bytes = gzip(&bytes) }
            if *what == 2 { spoil(&mut bytes) }
            files.input(&format!("{at}.json"), bytes);
        }
        match files.merge() {
            Ok(report) => {
                let merged = read(&files.wanted.output);
                prop_assert_eq!(events(&merged).len() as u64, report.events);
            }
            Err(error) => prop_assert!(error.to_string().starts_with("there is nothing to merge"), "{}", error),
        }
    }
}
