//! What the engine's own profiler wrote, taken into the capture: linked or copied below its folder, bounded, named in
//! `artifacts`; and which of our iterations its traces show.
//!
//! A link costs nothing and holds the bytes although the engine's folder is cleared. A file that may be written again under its
//! name is copied. The engine's own stay where they are.
//!
//! Called by the exporter, for captures that are over. Nothing here can fail a capture.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::covered::{Covered, cover};
use super::port::Native;
use crate::capture::export;
use crate::capture::manifest::{Artifact, Complete, Manifest, NativeFile, NativeFound, NativeReport};
use crate::capture::store::Store;
use crate::trace::walk::Walk;

/// Bytes of a name.
const LONGEST_NAME: usize = 200;

/// The iterations of one rank, as far as they were recorded.
struct Lane {
    job: String,
    group: String,
    rank: u32,
    numbers: Vec<u64>,
    /// Begin and end, nanoseconds since the epoch.
    spans_ns: Vec<(i64, i64)>,
}

/// Takes them, and says what came of it.
pub(in crate::capture) fn take(manifest: &mut Manifest, store: &Store, native: Option<&dyn Native>) {
    let Some(mut report) = manifest.native.take() else { return };
    manifest.artifacts.retain(|artifact| artifact.kind == "trace");
    let mut missing = Vec::new();
    let mut room = manifest.window.max_bytes.saturating_sub(manifest.fragment_bytes);
    for file in &report.files {
        match keep(manifest, store, file, report.folder.as_deref(), &mut room) {
            Ok(artifact) => manifest.artifacts.push(artifact),
            Err(why) => missing.push(format!("the engine's file {}: {why}", file.path)),
        }
    }
    let difference = match native {
        Some(native) => compare(manifest, store, native, &mut report, &mut missing),
        None => Err("this sidecar knows no --engine-url".into()),
    };
    (report.exact, report.difference) = match difference {
        Ok(differences) if differences.is_empty() => (Complete::Yes, None),
        Ok(differences) => (Complete::No, Some(differences.join("; "))),
        Err(unknown) => (Complete::Unknown, Some(unknown)),
    };
    if report.folder.is_none() && report.start.as_ref().is_some_and(|start| start.problem.is_none()) {
        manifest.warnings.push(
            "the engine's profiler wrote where this sidecar does not look: say where with --engine-profile-dir".into(),
        );
    }
    if !missing.is_empty() {
        manifest.complete = Complete::No;
        manifest.missing.append(&mut missing);
    } else if manifest.complete == Complete::Yes && report.exact == Complete::Unknown {
        manifest.complete = Complete::Unknown;
    }
    manifest.native = Some(report);
}

/// Puts one file below the capture's folder.
fn keep(
    manifest: &Manifest,
    store: &Store,
    file: &NativeFile,
    below: Option<&str>,
    room: &mut u64,
) -> Result<Artifact, String> {
    let path = Path::new(&file.path);
    let relative = below.and_then(|folder| path.strip_prefix(folder).ok());
    let plain = |relative: &Path| relative.components().all(|part| matches!(part, Component::Normal(_)));
    let Some(relative) = relative.filter(|relative| plain(relative)) else {
        return Err("it does not lie below the profiler's folder".into());
    };
    // Of the name itself: a link that has taken a file's place is none.
    let about = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !about.is_file() {
        return Err("it is no regular file any more".into());
    }
    let bytes = about.len();
    if bytes > *room {
        return Err(format!(
            "its {bytes} bytes are more than the {room} that are left of max_bytes: it stays where the engine put it"
        ));
    }
    let folder = store.engine_files(&manifest.capture_id);
    let name = name_of(relative, &manifest.artifacts);
    let copied = fs::create_dir_all(&folder).and_then(|()| link_or_copy(path, &folder.join(&name), file.ours));
    copied.map_err(|error| format!("it could not be copied: {error}"))?;
    *room -= bytes;
    let kind = match name.as_str() {
        n if [".json", ".json.gz", ".json.zst"].iter().any(|ending| n.ends_with(ending)) => "engine_trace",
        n if n.ends_with(".txt") => "engine_table",
        _ => "engine_file",
    };
    let written_at = Some(file.written_at.clone()).filter(|at| !at.is_empty());
    Ok(Artifact { rank: file.rank, name, kind: kind.into(), bytes, events: 0, written_at })
}

fn link_or_copy(from: &Path, to: &Path, may_link: bool) -> io::Result<()> {
    // What a sidecar that died had begun.
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if may_link && fs::hard_link(from, to).is_ok() && fs::symlink_metadata(to).is_ok_and(|about| about.is_file()) {
        return Ok(());
    }
    let _ = fs::remove_file(to);
    let part = PathBuf::from(format!("{}.part", to.display()));
    let copied = fs::copy(from, &part).and_then(|_| fs::rename(&part, to));
    copied.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// A name of one part, harmless in a path, a header and a shell; never twice the same.
fn name_of(relative: &Path, taken: &[Artifact]) -> String {
    let parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let harmless = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let name: String = parts.join("-").chars().map(harmless).collect();
    let name = name.trim_start_matches(['.', '-']);
    // Its end is what says what it is.
    let name = &name[name.len().saturating_sub(LONGEST_NAME)..];
    let mut unique = name.to_owned();
    let mut number = 2;
    while unique.is_empty() || taken.iter().any(|artifact| artifact.name == unique) {
        unique = format!("{number}-{name}");
        number += 1;
    }
    unique
}

/// Which iterations the traces show: in words how they differ from the window, or, as an error, why that is not known.
fn compare(
    manifest: &mut Manifest,
    store: &Store,
    native: &dyn Native,
    report: &mut NativeReport,
    missing: &mut Vec<String>,
) -> Result<Vec<String>, String> {
    report.found.clear();
    let lanes = lanes(manifest, store)?;
    let mut differences = Vec::new();
    let id = manifest.capture_id.clone();
    for artifact in manifest.artifacts.iter_mut().filter(|artifact| artifact.kind == "engine_trace") {
        let shown = match native.iterations(&store.artifact(&id, artifact)) {
            Ok(shown) => shown,
            Err(why) => {
                missing.push(format!("the engine's file {}: {why}", artifact.name));
                continue;
            }
        };
        artifact.events = shown.events;
        if let Some(cut) = shown.cut {
            missing.push(format!("the engine's file {} ends too early: {cut}", artifact.name));
        }
        if shown.begins_ns.is_empty() {
            continue; // of a process that runs no iterations, or of an engine that does not name them
        }
        let Some((lane, covered)) = best(&lanes, artifact.rank, &shown.begins_ns) else { continue };
        let found = found(artifact.name.clone(), lane, &covered, shown.empty);
        let who = who(found.rank, &found.group, &found.job);
        if found.lacking > 0 {
            let empty = match shown.empty {
                0 => String::new(),
                empty => format!("; {empty} empty steps counted as iterations there"),
            };
            let words = format!(
                "{who}: the engine's own profiler has {} of the window's {} iterations{empty}",
                covered.matched,
                lane.numbers.len()
            );
            differences.push(words.clone());
            missing.push(words);
        }
        let others = [
            (found.before, "in front of the window"),
            (found.after, "behind the window"),
            (covered.strange, "that we did not see"),
        ];
        for (count, place) in others.into_iter().filter(|(count, _)| *count > 0) {
            let words = if count == 1 { "1 iteration".into() } else { format!("{count} iterations") };
            differences.push(format!("{who}: the engine's own profiler has {words} {place} too"));
        }
        report.found.push(found);
    }
    if report.found.is_empty() {
        return Err("no file of the engine's profiler names the engine's iterations".into());
    }
    // Another engine's profiler was not asked.
    let is_found =
        |lane: &Lane| report.found.iter().any(|f| (&f.job, &f.group, f.rank) == (&lane.job, &lane.group, lane.rank));
    let is_asked = |lane: &&Lane| report.found.iter().any(|found| found.job == lane.job);
    for lane in lanes.iter().filter(is_asked).filter(|lane| !is_found(lane)) {
        let who = who(lane.rank, &lane.group, &lane.job);
        let words = format!("{who}: no file of the engine's own profiler shows its iterations");
        differences.push(words.clone());
        missing.push(words);
    }
    Ok(differences)
}

fn who(rank: u32, group: &str, job: &str) -> String {
    format!("rank {rank} of group {group} of job {job}")
}

/// The rank whose iterations these are: by its number, and then by what fits.
fn best<'a>(lanes: &'a [Lane], rank: Option<u32>, begins_ns: &[i64]) -> Option<(&'a Lane, Covered)> {
    let of_rank = |lane: &&Lane| rank.is_none_or(|rank| lane.rank == rank);
    let covered = lanes.iter().filter(of_rank).map(|lane| (lane, cover(&lane.spans_ns, begins_ns)));
    covered.max_by_key(|(_, covered)| covered.matched)
}

fn found(artifact: String, lane: &Lane, covered: &Covered, empty: u64) -> NativeFound {
    let number = |at: usize| lane.numbers.get(at).copied();
    NativeFound {
        artifact,
        job: lane.job.clone(),
        group: lane.group.clone(),
        rank: lane.rank,
        first_iteration: covered.ends.and_then(|(at, _)| number(at)).map(|n| n.saturating_sub(covered.before)),
        last_iteration: covered.ends.and_then(|(_, at)| number(at)).map(|n| n.saturating_add(covered.after)),
        iterations: covered.matched + covered.before + covered.after + covered.strange,
        before: covered.before,
        after: covered.after,
        empty,
        lacking: (lane.numbers.len() as u64).saturating_sub(covered.matched),
    }
}

fn lanes(manifest: &Manifest, store: &Store) -> Result<Vec<Lane>, String> {
    let fragments = store.fragment_files(&manifest.capture_id).map_err(|error| error.to_string())?;
    let mut walk = Walk::open(&fragments, &export::meta(manifest));
    let lane = |identity: crate::trace::fragment::FragmentIdentity| Lane {
        job: identity.job,
        group: identity.group,
        rank: identity.rank,
        numbers: Vec::new(),
        spans_ns: Vec::new(),
    };
    let mut lanes: Vec<Lane> = walk.identities().into_iter().map(lane).collect();
    let nanoseconds = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    while let Some((at, step)) = walk.next() {
        lanes[at].numbers.push(step.iteration.iteration);
        lanes[at].spans_ns.push((nanoseconds(step.begin_ns), nanoseconds(step.end_ns)));
    }
    lanes.retain(|lane| !lane.numbers.is_empty());
    Ok(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_short_and_never_twice_the_same() {
        let of = |path: &str, taken: &[&str]| {
            let artifact = |name: &&str| Artifact {
                name: (*name).into(),
                kind: "engine_file".into(),
                bytes: 0,
                events: 0,
                rank: None,
                written_at: None,
            };
            name_of(Path::new(path), &taken.iter().map(artifact).collect::<Vec<_>>())
        };
        assert_eq!(of("a/b c.json", &[]), "a-b_c.json");
        assert_eq!(of("..x/…", &[]), "x-_");
        assert_eq!(of("a.json", &["a.json"]), "2-a.json");
        assert_eq!(of("...", &[]), "2-");
        assert_eq!(of(&format!("{}.json.gz", "x".repeat(300)), &[]).len(), LONGEST_NAME);
    }
}
