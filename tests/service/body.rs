//! Bodies of every kind that clients send, and ten thousand that none would.

use proptest::prelude::*;
use serde_json::json;
use stepscope::capture::request::{Begin, Profiler, StartRequest};
use stepscope::service::body::{BodyError, FIELDS, read_start};
use stepscope::service::error::ApiError;

use crate::support::at_least;

const JSON: Option<&str> = Some("application/json");
const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const BYTES: Option<&str> = Some("application/octet-stream");

fn read(body: &str) -> Result<StartRequest, BodyError> {
    read_start(JSON, "", body.as_bytes())
}

fn is_default(request: &StartRequest) -> bool {
    format!("{request:?}") == format!("{:?}", StartRequest::default())
}

/// The field an error names.
fn param(error: BodyError) -> String {
    ApiError::from(error).answer().param.expect("a field is named")
}

#[test]
fn an_empty_body_of_any_content_type_is_a_start() {
    for kind in [None, JSON, FORM, BYTES, Some("text/plain"), Some("nonsense")] {
        for body in ["", " \r\n\t", "{}", "null"] {
            let request = read_start(kind, "", body.as_bytes()).unwrap();
            assert!(is_default(&request), "{kind:?} {body:?}: {request:?}");
        }
    }
}

#[test]
fn what_the_clients_send_is_understood() {
    // An older vLLM bench client: the whole completions payload.
    let payload = json!({"model": "m", "prompt": "p", "temperature": 0.0, "max_tokens": 16, "logprobs": null,
        "stream": true, "stream_options": {"include_usage": true}, "ignore_eos": true});
    assert!(is_default(&read(&payload.to_string()).unwrap()));

    // sglang.bench_serving: nulls are sent.
    let bench = json!({"activities": ["CPU", "GPU"], "num_steps": null, "profile_by_stage": false,
        "profile_stages": null, "output_dir": "/tmp/x", "profile_prefix": null});
    let request = read(&bench.to_string()).unwrap();
    assert_eq!((request.begin, request.max_iterations), (None, None));
    assert_eq!((request.profiler, request.best_profiler), (Some(Profiler::Steps), true));
    assert_eq!(request.warnings.len(), 1, "{:?}", request.warnings);
    assert!(request.warnings[0].contains("output_dir"));

    // python -m sglang.profiler: numbers are strings.
    let profiler = json!({"output_dir": "/tmp/1", "num_steps": "5", "start_step": "1000", "activities": ["CPU"],
        "profile_by_stage": true, "merge_profiles": "true"});
    let request = read(&profiler.to_string()).unwrap();
    assert_eq!(request.begin, Some(Begin::AtOrNext(1000)));
    assert_eq!(request.max_iterations, Some(5));
    assert_eq!(request.warnings.len(), 3, "{:?}", request.warnings);

    // srt-slurm with curl: JSON under the form content type.
    let request = read_start(FORM, "", br#"{"start_step": 10, "num_steps": 4, "activities": ["CUDA_PROFILER"]}"#);
    let request = request.unwrap();
    assert_eq!((request.begin, request.max_iterations), (Some(Begin::AtOrNext(10)), Some(4)));
    assert_eq!((request.profiler, request.warnings.len()), (Some(Profiler::Cuda), 0));

    // vLLM 0.32's own three, and vLLM-Omni's stages.
    let request = read(r#"{"profile_prefix":"run-1","delay_iterations":7,"max_iterations":4,"stages":[0]}"#).unwrap();
    assert_eq!((request.begin, request.max_iterations), (Some(Begin::Delay(7)), Some(4)));
    assert_eq!(request.profile_prefix.as_deref(), Some("run-1"));
    assert_eq!(request.warnings.len(), 1);
}

#[test]
fn every_field_is_taken_in_every_spelling() {
    let delays = [
        r#"{"delay_iterations":3}"#,
        r#"{"delay_steps":"3"}"#,
        r#"{"delay_iterations":3.0}"#,
        r#"{"delay_iterations":" 3 "}"#,
        r#"{"delay_iterations":3,"delay_steps":3}"#,
    ];
    for body in delays {
        assert_eq!(read(body).unwrap().begin, Some(Begin::Delay(3)), "{body}");
    }
    let large = read(r#"{"delay_iterations":2052647653778127.0}"#).unwrap();
    assert_eq!(large.begin, Some(Begin::Delay(2_052_647_653_778_127)));
    assert_eq!(read(r#"{"start_iteration":"12"}"#).unwrap().begin, Some(Begin::At(12)));
    for body in [r#"{"ranks":[1,0,1]}"#, r#"{"ranks":["0","1"]}"#, r#"{"ranks":"1, 0"}"#] {
        assert_eq!(read(body).unwrap().ranks, Some(vec![0, 1]), "{body}");
    }
    assert_eq!(read(r#"{"ranks":3}"#).unwrap().ranks, Some(vec![3]));
    let request = read(r#"{"job":"a","max_duration_ms":1,"max_events":0,"max_bytes":"5","profiler":"CUDA"}"#).unwrap();
    assert_eq!(request.job.as_deref(), Some("a"));
    assert_eq!((request.max_duration_ms, request.max_events, request.max_bytes), (Some(1), Some(0), Some(5)));
    assert_eq!(request.profiler, Some(Profiler::Cuda));
    let request = read(r#"{"activities":["MEM","RPD","CPU","bees"]}"#).unwrap();
    assert_eq!((request.profiler, request.warnings.len()), (Some(Profiler::Steps), 3));
}

#[test]
fn the_query_is_taken_too_and_the_body_wins() {
    let request = read_start(None, "delay_iterations=5&num_steps=4&ranks=0&ranks=1&activities=CPU", b"").unwrap();
    assert_eq!((request.begin, request.max_iterations), (Some(Begin::Delay(5)), Some(4)));
    assert_eq!((request.ranks, request.profiler), (Some(vec![0, 1]), Some(Profiler::Steps)));
    let request = read_start(JSON, "num_steps=4&job=a", br#"{"num_steps":9,"job":null}"#).unwrap();
    assert_eq!((request.max_iterations, request.job.as_deref()), (Some(9), Some("a")));
    assert_eq!(param(read_start(None, "max_iterations=many", b"").unwrap_err()), "max_iterations");
}

#[test]
fn a_value_that_cannot_be_meant_is_named() {
    let cases = [
        (r#"{"delay_iterations":-1}"#, "delay_iterations"),
        (r#"{"delay_steps":1.5}"#, "delay_steps"),
        (r#"{"max_iterations":"ten"}"#, "max_iterations"),
        (r#"{"num_steps":true}"#, "num_steps"),
        (r#"{"num_steps":[1]}"#, "num_steps"),
        (r#"{"num_steps":18446744073709551615}"#, "num_steps"),
        (r#"{"num_steps":1e300}"#, "num_steps"),
        (r#"{"num_steps":""}"#, "num_steps"),
        (r#"{"start_iteration":{}}"#, "start_iteration"),
        (r#"{"max_iterations":4,"num_steps":5}"#, "num_steps"),
        (r#"{"delay_iterations":0,"start_iteration":5}"#, "delay_iterations"),
        (r#"{"delay_steps":1,"start_step":5}"#, "delay_steps"),
        (r#"{"start_iteration":1,"start_step":5}"#, "start_step"),
        (r#"{"profile_prefix":""}"#, "profile_prefix"),
        (r#"{"profile_prefix":"../x"}"#, "profile_prefix"),
        (r#"{"profile_prefix":".x"}"#, "profile_prefix"),
        (r#"{"profile_prefix":"a b"}"#, "profile_prefix"),
        (r#"{"profile_prefix":7}"#, "profile_prefix"),
        (r#"{"profiler":"torch"}"#, "profiler"),
        (r#"{"profiler":1}"#, "profiler"),
        (r#"{"activities":7}"#, "activities"),
        (r#"{"activities":[7]}"#, "activities"),
        (r#"{"job":""}"#, "job"),
        (r#"{"job":5}"#, "job"),
        (r#"{"ranks":[]}"#, "ranks"),
        (r#"{"ranks":[-1]}"#, "ranks"),
        (r#"{"ranks":[5000000000]}"#, "ranks"),
        (r#"{"max_duration_ms":0}"#, "max_duration_ms"),
        (r#"{"max_events":-5}"#, "max_events"),
        (r#"{"max_bytes":0}"#, "max_bytes"),
    ];
    for (body, field) in cases {
        let error = read(body).map(|request| panic!("{body} was taken: {request:?}")).unwrap_err();
        assert_eq!(param(error), field, "{body}");
    }
    let long = format!(r#"{{"profile_prefix":"{}"}}"#, "a".repeat(129));
    assert_eq!(param(read(&long).unwrap_err()), "profile_prefix");
    assert!(read(&long.replace("aa\"", "a\"")).is_ok(), "128 are taken");
}

#[test]
fn what_is_no_json_object_says_so() {
    let reason = |kind, body: &[u8]| ApiError::from(read_start(kind, "", body).unwrap_err()).answer().reason;
    for kind in [None, JSON, FORM, BYTES] {
        assert_eq!(reason(kind, b"{"), "body_not_json");
        assert_eq!(reason(kind, b"delay_iterations=5"), "body_not_json");
        assert_eq!(reason(kind, &b"[".repeat(100_000)), "body_not_json");
        assert_eq!(reason(kind, b"[1]"), "body_not_an_object");
        assert_eq!(reason(kind, b"7"), "body_not_an_object");
        assert_eq!(reason(kind, b"\xff\xfe{}"), "body_not_utf8");
    }
    let message = read_start(FORM, "", b"delay_iterations=5").unwrap_err().to_string();
    assert!(message.contains("form fields are read from the query only"), "{message}");
}

fn seeds() -> Vec<Vec<u8>> {
    let values = ["1", "\"5\"", "null", "-1", "1.5", "true", "[]", "[0,1]", "{}", "\"steps\"", "[\"GPU\"]", "1e999"];
    let mut seeds: Vec<Vec<u8>> = FIELDS
        .iter()
        .flat_map(|field| values.map(|value| format!("{{\"{field}\":{value},\"num_steps\":\"5\"}}").into_bytes()))
        .collect();
    seeds.push(br#"{"model":"m","prompt":"p","stream":true,"stream_options":{"include_usage":true}}"#.to_vec());
    seeds.push(b"delay_iterations=5&max_iterations=3".to_vec());
    seeds.push(Vec::new());
    seeds
}

proptest! {
    #![proptest_config(at_least(10_000))]

    #[test]
    fn mutated_bodies_are_taken_or_refused_with_a_4xx(
        seed in proptest::sample::select(seeds()),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0u8..4), 0..8),
        query in "[ -~\u{80}-\u{ff}]{0,24}",
        kind in proptest::sample::select(vec![None, JSON, FORM, BYTES]),
    ) {
        let mut body = seed;
        for (at, byte, edit) in edits {
            let at = at.index(body.len() + 1);
            match edit {
                0 => body.insert(at, byte),
                1 if at < body.len() => { body.remove(at); }
                2 if at < body.len() => body[at] = byte,
                _ => body.truncate(at),
            }
        }
        if let Err(error) = read_start(kind, &query, &body) {
            let answer = ApiError::from(error).answer();
            prop_assert!(answer.status.is_client_error(), "{answer:?}");
        }
    }
}
