//! Engine and sidecar as different users in different mount and pid namespaces, with one shared folder.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use super::support::{
    Commanded, agent_library, allowed, captures_whole, commanded_program, doctor, public_copy, refusal, segments_in,
    skipped,
};
use crate::support::{Place, Sidecar, eventually, stepscope};

const ENGINE: u32 = 54_101;
const SIDECAR: u32 = 54_102;
const COMMON: u32 = 54_200;

/// Whether processes can be started as others here.
fn can_be_others() -> Result<(), String> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Err("needs root".into());
    }
    let user = format!("--reuid={ENGINE}");
    allowed(&["unshare", "-mpf", "--mount-proc", "setpriv", &user, "--clear-groups", "true"])
}

/// A program as another user, in mount and pid namespaces of its own.
fn elsewhere(program: &Path, user: u32, group: u32) -> Command {
    // The shell stays root: a process that changes its user forgets that it is to die with its parent.
    let become_user = format!("setpriv --reuid={user} --regid={user} --groups={group} \"$0\" \"$@\"; exit $?");
    let mut command = Command::new("unshare");
    command.args(["-mpf", "--mount-proc", "--kill-child=KILL", "sh", "-c", &become_user]).arg(program);
    command
}

/// A place whose folders belong to the common group, where everybody may run the programs.
struct Shared {
    place: Place,
    programs: tempfile::TempDir,
}

impl Shared {
    fn new(mode: u32) -> Self {
        let place = Place::new();
        let programs = tempfile::tempdir().unwrap();
        for folder in [place.path(), programs.path()] {
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        chown(place.segments(), None, Some(COMMON)).unwrap();
        std::fs::set_permissions(place.segments(), std::fs::Permissions::from_mode(mode)).unwrap();
        chown(place.data(), Some(SIDECAR), Some(SIDECAR)).unwrap();
        Self { place, programs }
    }

    fn engine(&self) -> Commanded {
        let program = public_copy(commanded_program(), self.programs.path());
        let library = public_copy(agent_library(), self.programs.path());
        let mut command = elsewhere(&program, ENGINE, COMMON);
        command.arg(library);
        Commanded::spawn(command, &self.place.segments())
    }

    fn sidecar(&self, user: u32, arguments: &[&str]) -> Sidecar {
        let program = public_copy(&stepscope(), self.programs.path());
        Sidecar::start_through(elsewhere(&program, user, COMMON), &self.place.segments(), &self.place.data(), arguments)
    }
}

#[test]
fn a_shared_folder_with_trust_group_works_across_users_and_namespaces() {
    if let Err(reason) = can_be_others() {
        return skipped("two users in two pid namespaces", &reason);
    }
    let shared = Shared::new(0o2770);
    let sidecar = shared.sidecar(SIDECAR, &["--trust-group"]);
    let mut engine = shared.engine();
    assert_eq!(engine.ask("join 0"), "0", "{}", engine.ask("reason"));
    let file = &segments_in(&shared.place.segments())[0];
    let meta = std::fs::metadata(file).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (ENGINE, COMMON, 0o660));
    let ranks = sidecar.attached(1);
    assert!(ranks[0]["pid"].as_u64().unwrap() < 100, "a pid of its own namespace: {ranks:?}");
    assert_eq!(engine.ask("run 500"), "running");
    sidecar.begun(5);
    captures_whole(&sidecar, 50);
    // It is seen to live, and seen to die, although neither sees the other's processes.
    sidecar.attached(1);
    drop(engine);
    sidecar.attached(0);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "asks for the very lock that the store holds")]
fn without_trust_group_it_is_refused_with_the_line_that_mends_it() {
    if let Err(reason) = can_be_others() {
        return skipped("two users in two pid namespaces", &reason);
    }
    let shared = Shared::new(0o2770);
    let sidecar = shared.sidecar(SIDECAR, &[]);
    let mut engine = shared.engine();
    assert_eq!(engine.ask("join 0"), "0", "{}", engine.ask("reason"));
    let file = &segments_in(&shared.place.segments())[0];
    let reason = eventually("the refusal in status", || refusal(&sidecar, file));
    assert!(reason.contains(&format!("owned by user {ENGINE}")), "{reason}");
    assert!(reason.contains("--trust-group") && reason.contains("2770"), "the line that mends it: {reason}");
    let refused = sidecar.post("/start_profile", "");
    assert_eq!(refused.status, 503);
    assert!(refused.message().contains(&reason), "{}", refused.message());
    assert_eq!(engine.ask("step 100"), "stepped");

    // Whoever does what it says is served.
    drop(sidecar);
    // What was killed is the head of its namespaces; it follows.
    eventually("the first sidecar to be gone", || {
        std::fs::File::open(shared.place.data().join("lock")).unwrap().try_lock().ok()
    });
    let sidecar = shared.sidecar(SIDECAR, &["--trust-group"]);
    sidecar.attached(1);
}

#[test]
fn a_folder_of_the_engines_user_alone_is_refused_with_the_line_that_mends_it() {
    if let Err(reason) = can_be_others() {
        return skipped("two users in two pid namespaces", &reason);
    }
    let shared = Shared::new(0o0700);
    chown(shared.place.segments(), Some(ENGINE), Some(ENGINE)).unwrap();
    let mut engine = shared.engine();
    assert_eq!(engine.ask("join 0"), "0", "{}", engine.ask("reason"));
    let sidecar = shared.sidecar(SIDECAR, &["--trust-group"]);
    let refused = sidecar.post("/start_profile", "");
    assert_eq!(refused.status, 503);
    let message = refused.message();
    assert!(message.contains("can't be read") && message.contains("ermission denied"), "{message}");
    assert!(message.contains("2770") && message.contains("--trust-group"), "the line that mends it: {message}");
    let status = sidecar.get("/stepscope/v1/status").ok();
    assert!(status["refused"].to_string().contains("2770"), "{status:#}");
}

#[test]
fn doctor_names_a_strangers_segment() {
    if let Err(reason) = can_be_others() {
        return skipped("two users in two pid namespaces", &reason);
    }
    let shared = Shared::new(0o2770);
    let mut engine = shared.engine();
    assert_eq!(engine.ask("join 0"), "0", "{}", engine.ask("reason"));
    let found = doctor(&shared.place.segments());
    assert!(found.contains(&format!("owned by user {ENGINE}")) && found.contains("--trust-group"), "{found}");
}
