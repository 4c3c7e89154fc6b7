//! What an engine tells of itself, in the trace: spans, instants, counters, durations, and the ways of requests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use stepscope::trace::event::{Event, TEXT_PART_BYTES, TextPart};
use stepscope::trace::ledger::write_ledger;
use stepscope::trace::lifecycle::{Lifecycle, Outcome, each_lifecycle};
use stepscope::trace::meta::{ExportMeta, Selection};
use stepscope::trace::output::LedgerFormat;
use stepscope::trace::recorded::{
    ArgumentValue, FlowStep, Moment, Recorded, RecordedArgument, RequestMoment, Served, Shape, TrackName,
};

use super::sample::{EPOCH_NS, checked, fragment, identity, iterations, meta, text, thread, window};

fn text_in(slot: u16, words: &str) -> Vec<Event> {
    let parts = words.as_bytes().chunks(TEXT_PART_BYTES);
    let part = |(part, bytes): (u16, &[u8])| {
        let mut padded = [0; TEXT_PART_BYTES];
        padded[..bytes.len()].copy_from_slice(bytes);
        Event::Text(TextPart { slot, part, length: words.len() as u16, bytes: padded })
    };
    (0..).zip(parts).map(part).collect()
}

fn span(begin_ns: u64, end_ns: u64, depth: u16) -> Recorded {
    Recorded {
        shape: Shape::Span,
        begin_ticks: begin_ns * 2,
        end_ticks: end_ns * 2,
        name: 1,
        category: 2,
        depth,
        arguments: 0,
        track: 0,
        device_ns: None,
        flow: None,
    }
}

fn moment(request: u64, moment: Moment, at_ns: u64) -> Event {
    Event::Request(RequestMoment {
        request,
        moment,
        ticks: at_ns * 2,
        iteration: 0,
        prompt_tokens: 7,
        output_tokens: 3,
        cached_tokens: 0,
        id: 9,
    })
}

fn with_requests() -> ExportMeta {
    ExportMeta { requests: true, ..meta(vec![window("0", 0, 5, 7)]) }
}

/// The events of one rank of three iterations (5 to 7 ms) and what it told.
fn exported(dir: &Path, told: Vec<Event>, meta: &ExportMeta) -> (Vec<PathBuf>, Vec<Value>) {
    let events = [vec![thread("loop")], iterations(0, 5, 3), told].concat();
    let fragments = vec![fragment(dir, &identity("0", 0), &events)];
    let (text, _) = text(&fragments, meta, &Selection::default());
    (fragments, checked(&text))
}

fn of_phase<'a>(events: &'a [Value], phase: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["ph"] == phase)
}

#[test]
fn an_event_has_its_shape_its_arguments_and_its_time_on_the_device() {
    let dir = tempfile::tempdir().unwrap();
    let argument = |key, value| Event::Argument(RecordedArgument { key, value });
    let mut words = [0; TEXT_PART_BYTES];
    words[..9].copy_from_slice(b"said \"a\"\n");
    let device = Recorded {
        arguments: 4,
        device_ns: Some(123),
        flow: Some((FlowStep::Begin, 77)),
        ..span(5_100_000, 5_300_000, 0)
    };
    let told = [
        text_in(1, "forward"),
        text_in(2, "model"),
        text_in(3, "n"),
        text_in(4, "w"),
        // Left over from an event that did not fit.
        vec![argument(3, ArgumentValue::Unsigned(99))],
        vec![
            argument(3, ArgumentValue::Unsigned(3)),
            argument(4, ArgumentValue::Signed(-4)),
            argument(3, ArgumentValue::Float(0.5)),
            argument(4, ArgumentValue::Text(0, 9, words)),
        ],
        vec![Event::Recorded(device)],
        vec![
            Event::Recorded(Recorded { shape: Shape::Instant, ..span(5_400_000, 5_400_000, 0) }),
            Event::Recorded(Recorded { shape: Shape::Duration, ..span(5_000_000, 6_000_000, 0) }),
            Event::Recorded(Recorded { shape: Shape::Counter, end_ticks: 2.5f64.to_bits(), ..span(5_500_000, 0, 0) }),
            // A name for a track comes behind its first event, too.
            Event::Recorded(Recorded { track: 8, ..span(5_600_000, 5_700_000, 0) }),
            Event::Track(TrackName { track: 8, name: 4 }),
        ],
    ];
    let (_, events) = exported(dir.path(), told.concat(), &meta(vec![window("0", 0, 5, 7)]));
    let slices: Vec<&Value> = of_phase(&events, "X").filter(|event| event["cat"] == "model").collect();
    assert_eq!(slices.len(), 2, "{slices:#?}");
    assert_eq!((&slices[0]["name"], &slices[0]["dur"]), (&"forward".into(), &200.0.into()));
    let arguments = slices[0].to_string();
    for part in ["\"n\":0.5", "\"w\":\"said \\\"a\\\"\\n\"", "\"device_ns\":123"] {
        assert!(arguments.contains(part), "{part} in {arguments}");
    }
    assert!(!arguments.contains("99"), "{arguments}");
    let flow: Vec<&Value> = of_phase(&events, "s").collect();
    assert_eq!((flow.len(), &flow[0]["id"], &flow[0]["ts"]), (1, &77.into(), &slices[0]["ts"]));
    let instant = of_phase(&events, "i").find(|event| event["cat"] == "model").unwrap();
    assert_eq!(instant["tid"], slices[0]["tid"]);
    assert_eq!(of_phase(&events, "b").filter(|event| event["cat"] == "model").count(), 1);
    let counter = of_phase(&events, "C").find(|event| event["name"] == "forward").unwrap();
    assert_eq!(counter["args"]["value"], 2.5);
    let names: Vec<&str> = of_phase(&events, "M")
        .filter(|event| event["name"] == "thread_name" && event["tid"] == slices[1]["tid"])
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["track 8", "w"]);
}

#[test]
fn what_lies_before_or_behind_the_window_is_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let spans = [(3_000_000, 4_000_000), (4_900_000, 5_100_000), (7_800_000, 9_000_000), (8_500_000, 9_000_000)];
    let told = spans.map(|(begin, end)| Event::Recorded(span(begin, end, 0)));
    let events = [text_in(1, "a"), text_in(2, "b"), told.to_vec()].concat();
    let events = [vec![thread("loop")], iterations(0, 5, 3), events].concat();
    let fragments = vec![fragment(dir.path(), &identity("0", 0), &events)];
    let (_, summary) = text(&fragments, &with_requests(), &Selection::default());
    let rank = &summary.ranks[0];
    assert_eq!((rank.spans, rank.outside), (2, 2), "{summary:#?}");
}

/// A request of each kind: whole with a preemption, given up, and one that was there before and goes on.
fn ways() -> Vec<Event> {
    let ms = |ms: u64| ms * 1_000_000;
    let whole = [
        (Moment::Arrived, ms(4)),
        (Moment::Queued, ms(4) + 100),
        (Moment::Scheduled, ms(5)),
        (Moment::Preempted, ms(5) + 300),
        (Moment::Scheduled, ms(5) + 500),
        (Moment::FirstToken, ms(6)),
        (Moment::Preempted, ms(6) + 1_000),
        (Moment::Scheduled, ms(6) + 5_000),
        (Moment::LastToken, ms(7)),
        (Moment::Finished, ms(7) + 50),
        // Told again by another process, later.
        (Moment::Arrived, ms(4) + 50),
    ];
    let given_up = [(Moment::Queued, ms(5)), (Moment::Scheduled, ms(6)), (Moment::Aborted, ms(7))];
    let goes_on = [(Moment::Queued, ms(2)), (Moment::Scheduled, ms(3)), (Moment::FirstToken, ms(4))];
    let long_gone = [(Moment::Queued, ms(1)), (Moment::Finished, ms(2))];
    let of = |request: u64, moments: &[(Moment, u64)]| {
        moments.iter().map(|&(what, at_ns)| moment(request, what, at_ns)).collect::<Vec<_>>()
    };
    let served = |iteration, requests| Event::Served(Served { iteration, requests });
    [
        text_in(9, "cmpl-1"),
        of(1, &whole),
        of(2, &given_up),
        of(3, &goes_on),
        of(4, &long_gone),
        vec![served(5, [(1, 10), (3, 1), (0, 0)]), served(6, [(1, 1), (2, 4), (3, 1)])],
    ]
    .concat()
}

#[test]
fn the_stages_of_a_request_add_up_to_its_end_to_end_time_and_arrows_lead_to_what_served_it() {
    let dir = tempfile::tempdir().unwrap();
    let (fragments, events) = exported(dir.path(), ways(), &with_requests());
    let requests: Vec<&Value> =
        of_phase(&events, "X").filter(|event| event["cat"] == "request" && event["name"] == "request").collect();
    assert_eq!(requests.len(), 3, "the one that was long gone is not of this window");
    let whole = requests.iter().find(|event| event["args"]["outcome"] == "finished").unwrap();
    let stages = of_phase(&events, "X").filter(|event| {
        event["cat"] == "request"
            && event["tid"] == whole["tid"]
            && !["request", "preempted"].contains(&event["name"].as_str().unwrap())
    });
    let (names, lengths): (Vec<&str>, Vec<f64>) =
        stages.map(|stage| (stage["name"].as_str().unwrap(), stage["dur"].as_f64().unwrap())).unzip();
    assert_eq!(names, ["frontend", "queued", "prefill", "decode", "finish"]);
    assert!((lengths.iter().sum::<f64>() - whole["dur"].as_f64().unwrap()).abs() < 1e-6);
    assert_eq!((&whole["args"]["preemptions"], &whole["args"]["preempted_ns"]), (&2.into(), &4_200.into()));
    let open = of_phase(&events, "X").find(|event| event["args"]["open"] == true).unwrap();
    assert_eq!(open["name"], "decode");
    // Arrows: from the prefill of each through the iterations that served it.
    let arrows: BTreeMap<String, Vec<u64>> = events
        .iter()
        .filter(|e| ["s", "t", "f"].contains(&e["ph"].as_str().unwrap()))
        .fold(BTreeMap::new(), |mut arrows, event| {
            let id = event["id"].as_u64().unwrap();
            arrows.entry(event["ph"].as_str().unwrap().into()).or_insert_with(Vec::new).push(id);
            arrows
        });
    assert_eq!(arrows["t"], [1, 3, 1, 2, 3]);
    assert_eq!((&arrows["s"], arrows.get("f")), (&vec![3, 1, 2], None));

    let mut lifecycles: Vec<Lifecycle> = Vec::new();
    assert!(each_lifecycle(&fragments, &with_requests(), &mut |lifecycle| lifecycles.push(lifecycle)));
    let by = |number| lifecycles.iter().find(|l| l.request == number).unwrap();
    assert_eq!(by(1).label.as_deref(), Some("cmpl-1"));
    assert_eq!((by(1).arrived_ns, by(1).finished_ns), (Some(EPOCH_NS + 4_000_000), Some(EPOCH_NS + 7_000_050)));
    assert_eq!((by(1).preempted_ns, by(1).preempted_before_first_token_ns), (4_200, 200));
    assert_eq!((by(2).outcome, by(3).outcome), (Outcome::Aborted, Outcome::Open));
    assert_eq!(by(3).last_token_ns, None);
    let not_told = ExportMeta { requests: false, ..with_requests() };
    assert!(!each_lifecycle(&fragments, &not_told, &mut |_| unreachable!()));
}

/// A stop string is found in the front end, which then has the engine abort what runs on for a step or two.
#[test]
fn what_a_front_end_finished_before_the_engine_aborted_it_is_finished_and_has_the_tokens_it_had_then() {
    let of = |what, ms: u64, output_tokens| match moment(1, what, ms * 1_000_000) {
        Event::Request(told) => Event::Request(RequestMoment { output_tokens, ..told }),
        other => other,
    };
    let outcome = |finished_ms| {
        let dir = tempfile::tempdir().unwrap();
        let told = vec![of(Moment::Queued, 5, 0), of(Moment::Aborted, 7, 5), of(Moment::Finished, finished_ms, 3)];
        let (fragments, _) = exported(dir.path(), told, &with_requests());
        let mut seen = None;
        each_lifecycle(&fragments, &with_requests(), &mut |one| seen = Some((one.outcome, one.output_tokens)));
        seen.unwrap()
    };
    assert_eq!(outcome(6), (Outcome::Finished, Some(3)));
    assert_eq!(outcome(8), (Outcome::Aborted, Some(5)));
}

#[test]
fn the_ledger_says_what_was_computed_of_each_request_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let events = [vec![thread("loop")], iterations(0, 5, 3), ways()].concat();
    let fragments = vec![fragment(dir.path(), &identity("0", 0), &events)];
    let ledger = |format, meta: &ExportMeta| {
        let mut bytes = Vec::new();
        write_ledger(&fragments, meta, &Selection::default(), format, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let rows = ledger(LedgerFormat::JsonLines, &with_requests());
    let requests: Vec<Value> =
        rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap()["requests"].clone()).collect();
    assert!(rows.contains(r#""requests":{"cmpl-1":10,"cmpl-1":1}"#), "all of the sample have one id: {rows}");
    assert_eq!(requests[2], serde_json::json!({}));
    let table = ledger(LedgerFormat::Csv, &with_requests());
    assert!(table.lines().next().unwrap().ends_with(",requests"), "{table}");
    assert!(table.lines().nth(1).unwrap().ends_with(",cmpl-1=10 cmpl-1=1"), "{table}");
    let plain = ledger(LedgerFormat::JsonLines, &ExportMeta { requests: false, ..with_requests() });
    assert!(!plain.contains("requests\":{"), "{plain}");
}

#[test]
fn a_trace_of_one_rank_has_no_requests_and_no_arrows_to_them() {
    let dir = tempfile::tempdir().unwrap();
    let events = [vec![thread("loop")], iterations(0, 5, 3), ways()].concat();
    let fragments = vec![fragment(dir.path(), &identity("0", 0), &events)];
    let (text, summary) = text(&fragments, &with_requests(), &Selection::rank(0));
    let events = checked(&text);
    assert!(!events.iter().any(|event| event["cat"] == "request"));
    assert_eq!(summary.requests, 0);
}

fn any_told() -> impl Strategy<Value = Event> {
    let shape = prop_oneof![Just(Shape::Span), Just(Shape::Instant), Just(Shape::Counter), Just(Shape::Duration)];
    let slot = 0u16..12;
    let event = (shape, any::<[u64; 3]>(), [slot.clone(), slot.clone()], any::<[u16; 2]>(), any::<Option<u64>>())
        .prop_map(|(shape, [a, b, track], [name, category], [depth, arguments], device_ns)| {
            Event::Recorded(Recorded {
                shape,
                begin_ticks: a.min(b),
                end_ticks: a.max(b),
                name,
                category,
                depth,
                arguments,
                track: track % 5,
                device_ns,
                flow: (a % 3 == 0).then_some((FlowStep::Step, b)),
            })
        });
    let near = (0u64..20_000_000, 0u64..20_000_000, 0u16..4)
        .prop_map(|(a, b, depth)| Event::Recorded(span(a.min(b), a.max(b), depth)));
    let request = (0u64..6, 1u16..9, 0u64..20_000_000)
        .prop_map(|(request, what, at_ns)| moment(request, Moment::from_number(what).unwrap(), at_ns));
    let argument = (slot.clone(), any::<f64>(), any::<[u16; 2]>(), prop::collection::vec(any::<u8>(), TEXT_PART_BYTES))
        .prop_map(|(key, number, [part, length], bytes)| {
            let text = ArgumentValue::Text(part % 5, length % 241, bytes.try_into().unwrap());
            let value = if part % 2 == 0 { text } else { ArgumentValue::Float(number) };
            Event::Argument(RecordedArgument { key, value })
        });
    let track = (any::<u64>(), slot).prop_map(|(track, name)| Event::Track(TrackName { track: track % 5, name }));
    let served = (0u64..9, any::<[(u64, u32); 3]>())
        .prop_map(|(iteration, requests)| Event::Served(Served { iteration, requests }));
    prop_oneof![event, near, request, argument, track, served]
}

proptest! {
    #[test]
    fn whatever_an_engine_tells_the_trace_is_one(told in prop::collection::vec(any_told(), 0..80)) {
        let dir = tempfile::tempdir().unwrap();
        let texts = [text_in(1, "name"), text_in(2, "category"), text_in(9, "a \"request\"\u{1}")].concat();
        exported(dir.path(), [texts, told].concat(), &with_requests());
    }
}
