//! The agent loaded more than once, by different paths, and steps claimed by more than one.

use std::process::Command;

use stepscope::agent::api::{self, Rank};
use stepscope::agent::ffi::{ABI, Api, CIdentity};
use stepscope::wire::layout::STATUS_OFFSET;

use super::support::{
    Commanded, agent_library, captures_whole, commanded_program, numbers, promised, rank_of, segments_in,
};
use crate::support::{Place, Sidecar, number};

#[test]
fn a_second_copy_by_another_path_is_the_same_agent() {
    let place = Place::new();
    let copy = place.path().join("another-name.so");
    std::fs::copy(agent_library(), &copy).unwrap();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");

    // By the header's rule nobody even looks at the path. Who opens the copy all the same gets a library of its own from
    // the C library, which goes by the file, and the first one's table from that.
    assert_eq!(engine.ask("rule /nowhere/at/all.so"), "same");
    assert_eq!(engine.ask(&format!("rule {}", copy.display())), "same");
    let maps = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    assert!(!maps(engine.pid()).contains("another-name.so"));
    assert_eq!(engine.ask(&format!("load {}", copy.display())), "same");
    assert!(maps(engine.pid()).contains("another-name.so"), "it was loaded, and is not what was asked");

    assert_eq!(engine.ask("join 3"), "1", "joined already: the first identity stays");
    assert_eq!(number(&engine.describe()["rank"]), 0);
    assert_eq!(segments_in(&place.segments()).len(), 1);
    sidecar.attached(1);
    assert_eq!(engine.ask("run 500"), "running");
    sidecar.begun(5);
    captures_whole(&sidecar, 20);
}

#[test]
fn the_first_to_claim_the_steps_keeps_them_and_the_other_is_named() {
    let place = Place::new();
    let mut engine = Commanded::start(&place.segments());
    assert!(engine.describe()["step_source"].is_null());
    assert_eq!(engine.ask("claim python plugin"), "1");
    assert_eq!(engine.ask("join 0"), "0");
    assert_eq!(engine.ask("claim nvtx injection"), "0");
    assert_eq!(engine.ask("claim python plugin"), "1", "the same name again");
    assert_eq!(engine.ask("claim nvtx injection"), "0", "and the loser stays one");
    let agent = engine.describe();
    assert_eq!(agent["step_source"], "python plugin");
    assert_eq!(agent["rejected_sources"], serde_json::json!(["nvtx injection"]), "named once: {agent}");
}

#[test]
fn an_agent_that_is_switched_off_says_so_and_leaves_nothing() {
    let place = Place::new();
    let mut command = Command::new(commanded_program());
    command.arg(agent_library()).env("STEPSCOPE_AGENT", "off");
    let mut engine = Commanded::spawn(command, &place.segments());
    assert_eq!(engine.ask("join 0"), "-1");
    assert!(engine.ask("reason").contains("STEPSCOPE_AGENT=off"));
    assert_eq!(engine.ask("step 100"), "stepped");
    assert_eq!(engine.describe()["joined"], false);
    assert!(segments_in(&place.segments()).is_empty());
}

#[test]
fn an_iteration_that_was_begun_and_not_ended_is_ended_by_the_next() {
    let place = Place::new();
    let sidecar = Sidecar::start(&place, &[]);
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    sidecar.attached(1);
    let started = sidecar.start_profile("{\"max_iterations\": 3}");
    let id = started["capture_id"].as_str().unwrap().to_owned();
    let first = number(&started["groups"][0]["first_iteration"]);
    for iteration in 1..first + 3 {
        let inside = if iteration < first { 0 } else { iteration };
        assert_eq!(engine.ask("begin"), inside.to_string());
    }
    assert_eq!(engine.ask("end"), "ended");
    let capture = sidecar.finished(&id);
    assert_eq!(capture["complete"], true, "{capture:#}");
    let report = rank_of(&capture, 0);
    assert_eq!(promised(&report), [first, first + 1, first + 2]);
    assert_eq!(numbers(&sidecar.ledger(&id), 0), promised(&report));
}

#[test]
fn an_engine_that_is_shut_down_and_made_anew_in_one_process_is_still_found() {
    let place = Place::new();
    let mut engine = Commanded::start(&place.segments());
    assert_eq!(engine.ask("join 0"), "0");
    assert_eq!(engine.ask("step 3"), "stepped");
    // Nobody is attached, nothing is left to be read: still the process may go on.
    assert_eq!(engine.ask("leave"), "left");
    assert_eq!(engine.ask("join 0"), "1");
    let sidecar = Sidecar::start(&place, &[]);
    sidecar.attached(1);
    assert_eq!(engine.ask("run 500"), "running");
    captures_whole(&sidecar, 4);
    assert_eq!(engine.ask("halt"), "halted");
    // An orderly end takes the file along, unless a sidecar reads it.
    drop(sidecar);
    engine.order("exit 0");
    assert!(engine.ended().success());
    assert_eq!(segments_in(&place.segments()).len(), 0);
}

/// Where the test below tells its child process which library to load.
const LIBRARY: &str = "TEST_AGENT_LIBRARY";

/// The agent compiled into the engine has no name by which the library could look for it.
#[test]
fn a_library_that_a_rust_engine_loads_later_is_the_agent_compiled_into_it() {
    let place = Place::new();
    let engine = Command::new(std::env::current_exe().unwrap())
        .args(["hazards::loads::as_a_rust_engine", "--exact", "--ignored", "--nocapture"])
        .env("STEPSCOPE_DIR", place.segments())
        .env(LIBRARY, agent_library())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&engine.stdout);
    assert!(engine.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&engine.stderr));
}

#[test]
#[ignore = "the child process of the test above"]
#[allow(unsafe_code, reason = "loads a library and calls its table, as engines do")]
fn as_a_rust_engine() {
    let library = std::env::var_os(LIBRARY).expect("only the test above runs this");
    let rank = Rank { rank: 5, engine: "rust".into(), ..Rank::default() };
    assert_eq!(api::join(&rank), Ok(true));
    let segments = segments_in(std::path::Path::new(&std::env::var_os("STEPSCOPE_DIR").unwrap()));
    assert_eq!(segments.len(), 1);
    // SAFETY: our own library and its one symbol, which has this type.
    let table = unsafe {
        let library = libloading::Library::new(library).unwrap();
        let get_api: libloading::Symbol<'_, extern "C" fn(u32) -> *const Api> =
            library.get("stepscope_get_api").unwrap();
        let table = get_api(ABI).as_ref().unwrap();
        std::mem::forget(library);
        table
    };
    let identity = CIdentity {
        size: size_of::<CIdentity>() as u32,
        role: 1,
        rank: 6,
        world_size: 0,
        job: std::ptr::null(),
        group: std::ptr::null(),
        engine: c"library".as_ptr(),
        label: std::ptr::null(),
        flags: 0,
        reserved: 0,
    };
    // SAFETY: a whole identity whose strings live until the call returns.
    assert_eq!(unsafe { (table.join)(&identity) }, 1, "joined already, as the Rust engine");
    assert_eq!((table.step_begin)(), 0);
    (table.step_end)();
    let _ = api::step();
    assert_eq!(segments_in(segments[0].parent().unwrap()), segments);
    let segment = std::fs::read(&segments[0]).unwrap();
    let begun = u64::from_ne_bytes(segment[STATUS_OFFSET as usize..][..8].try_into().unwrap());
    assert_eq!(begun, 2, "both count in one place");
}
