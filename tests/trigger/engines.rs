//! Engines with a `/start_profile` of their own: each gets its own path and its own numbers.

use serde_json::{Value, json};

use super::support::{Does, Run, Target, of_target};

fn posts(target: &Target) -> Vec<(String, Value)> {
    let seen = target.seen().into_iter().filter(|(line, _)| line.starts_with("POST"));
    seen.map(|(line, body)| (line, serde_json::from_str(&body).unwrap_or(Value::Null))).collect()
}

#[test]
fn each_engine_gets_its_own_path_and_numbers() {
    let ok = || Target::start(|_| Does::Says(200, ""));
    let (vllm, sglang, tensorrt) = (ok(), ok(), ok());
    let dynamo = Target::start(|line| match line {
        "POST /gateway/engine/start_profile" | "POST /gateway/engine/stop_profile" => Does::Says(200, "{}"),
        _ => Does::Says(404, "{\"detail\":\"Not Found\"}"),
    });
    let run = Run::new();
    let file = run.path().join("targets.txt");
    let lines = [
        format!("{}/v1 engine=vllm  # a comment", vllm.url()),
        format!("{} engine=sglang", sglang.url()),
        format!("{}/ engine=tensorrt-llm", tensorrt.url()),
        format!("{}/gateway/v1/ engine=dynamo token=secret", dynamo.url()),
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let options =
        ["--targets", file.to_str().unwrap(), "--delay-iterations", "10", "--max-iterations", "4", "--level", "basic"];
    let went = run.finish(&[], &options, "exit 0");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let (start, stop) = ("POST /start_profile".to_owned(), ("POST /stop_profile".to_owned(), Value::Null));
    let vllm_body = json!({"delay_iterations": 11, "max_iterations": 4});
    assert_eq!(posts(&vllm), [(start.clone(), vllm_body), stop.clone()]);
    assert_eq!(posts(&sglang), [(start.clone(), json!({"start_step": 1, "num_steps": 4})), stop.clone()]);
    assert_eq!(posts(&tensorrt), [(start, json!({"start_step": 10, "num_steps": 4})), stop]);
    let paths: Vec<String> = posts(&dynamo).into_iter().map(|(line, _)| line).collect();
    let engine = |path: &str| format!("POST /gateway/engine/{path}");
    assert_eq!(paths, [engine("control/start_profile"), engine("start_profile"), engine("stop_profile")]);
    let record = run.record();
    assert_eq!(record["engine"], "mixed");
    let words = |target| of_target(&record["phases"][0]["captures"], target)["warnings"].to_string();
    assert!(words(0).contains("told 11 so that 10 are skipped") && words(0).contains("can't be told: level"));
    assert!(words(1).contains("10 iterations are not skipped"));
    assert!(words(3).contains("takes no window"));
    assert!(!record.to_string().contains("secret"));
}

#[test]
fn who_is_no_sidecar_is_taken_for_vllm_and_that_is_said() {
    let vllm = Target::start(|line| match line {
        "POST /start_profile" | "POST /stop_profile" => Does::Says(200, ""),
        _ => Does::Says(404, "{\"detail\":\"Not Found\"}"),
    });
    let run = Run::new();
    let went = run.finish(&[vllm.url()], &[], "exit 0");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    assert_eq!(record["engine"], "vllm");
    assert_eq!(posts(&vllm).len(), 2);
    assert!(record["phases"][0]["captures"][0]["warnings"].to_string().contains("taken for vllm"));
}

#[test]
fn an_engine_that_starts_too_late_is_stopped_when_it_does() {
    let vllm = Target::start(|line| {
        if line == "POST /start_profile" {
            std::thread::sleep(std::time::Duration::from_millis(1000));
        }
        Does::Says(200, "")
    });
    let run = Run::new();
    let went = run.finish(&[vllm.url()], &["--engine", "vllm", "--timeout", "0.3"], "sleep 1.5");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    let record = run.record();
    let start = of_target(&record["starts"], 0);
    assert!(start["status"].is_null() && start["late"].as_str().unwrap().contains("was stopped"), "{start:#}");
    assert_eq!(posts(&vllm).len(), 2);
    assert_eq!(record["stops"].as_array().unwrap().len(), 0);
}

#[test]
fn an_engine_without_profiling_says_so_and_gets_no_stop() {
    let vllm = Target::start(|_| Does::Says(404, "{\"detail\":\"Not Found\"}"));
    let run = Run::new();
    let went = run.finish(&[vllm.url()], &["--engine", "vllm"], "exit 0");
    assert_eq!(went.code, Some(0), "{}", went.stderr);
    assert!(went.stderr.contains("profiling is not enabled on this server"), "{}", went.stderr);
    assert_eq!(posts(&vllm).len(), 1);
}
