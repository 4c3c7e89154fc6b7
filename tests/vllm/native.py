"""vLLM's own torch profiler behind our contract: which iterations it really has, its files, and every way of failing that a
real vLLM shows. Run by native.sh; one vLLM for all."""

import gzip
import json
import os
import subprocess
import time
import unittest

from engine import Engine, Sidecar, Traffic, call, eventually
from engine import options as options_of

SKIP, COUNT = 3, 5
EMPTY = "execute_context_0(0)_generation_0(0)"

check = unittest.TestCase()
check.maxDiff = None


def say(text):
    print(f"  {text}", flush=True)


def timed(sidecar, route, **body):
    """A POST as people send it, by curl: its answer and how long that took, which the load in this process must not count in."""
    line = ["curl", "-sS", "-X", "POST", f"{sidecar.url}/{route}", "-H", "content-type: application/json",
            "-d", json.dumps(body), "-w", "\n%{http_code} %{time_total}"]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    answer, _, told = said.rpartition("\n")
    status, seconds = told.split()
    return int(status), json.loads(answer), float(seconds) * 1000


def started_after(sidecar, **body):
    status, answer, ms = timed(sidecar, "start_profile", profiler="engine", **body)
    check.assertEqual(status, 200, answer)
    return answer["capture_id"], ms


def names(trace):
    """vLLM's annotations of iterations in a file of its torch profiler, in order."""
    marks = [e for e in trace["traceEvents"] if e.get("cat") == "user_annotation" and e["name"].startswith("execute_")]
    # A step without tokens is none.
    return [mark["name"] for mark in sorted(marks, key=lambda mark: mark["ts"]) if mark["name"] != EMPTY]


def artifacts(sidecar, manifest):
    """The engine's files of a capture, downloaded; those that are traces as what they hold."""
    found = {}
    for artifact in manifest["artifacts"]:
        if artifact["kind"] == "trace":
            continue
        url = f"{sidecar.url}/stepscope/v1/captures/{manifest['capture_id']}/artifacts/{artifact['name']}"
        data = call(url)
        check.assertEqual(len(data), artifact["bytes"], artifact)
        if artifact["kind"] == "engine_trace":
            text = gzip.decompress(data) if artifact["name"].endswith(".gz") else data
            found[artifact["name"]] = (artifact, json.loads(text))
    return found


def look_at(sidecar, manifest, ranks, what):
    """What a capture with the profiler engine says of itself has to be what its files say."""
    native = manifest["native"]
    check.assertEqual(native["state"], "over", native)
    check.assertEqual((native["kind"], native["problems"]), ("vllm", []), native)
    traces = artifacts(sidecar, manifest)
    of_ranks = {entry["artifact"]: entry for entry in native["found"]}
    check.assertEqual(len(of_ranks), ranks, native)
    ledger = sidecar.ledger(manifest["capture_id"])
    for name, entry in of_ranks.items():
        artifact, trace = traces[name]
        check.assertEqual(artifact["rank"], entry["rank"])
        theirs = names(trace)
        ours = [
            "execute_context_{context_requests}({context_tokens})"
            "_generation_{generation_requests}({generation_tokens})".format(**row)
            for row in ledger
            if row["rank"] == entry["rank"]
        ]
        check.assertEqual(len(theirs), entry["iterations"], entry)
        lacking_in_front = len(ours) - entry["lacking"] < len(ours) and entry["before"] == 0
        if entry["lacking"] == 0:
            check.assertEqual(theirs[entry["before"] : entry["before"] + len(ours)], ours, entry)
        elif lacking_in_front and entry["after"] == 0:
            check.assertEqual(theirs, ours[entry["lacking"] :], entry)
    say(f"{what}: sent {native['sent']}, exact {native['exact']}"
        + (f": {native['difference']}" if native["difference"] else "")
        + f"; stop took {native['stop']['duration_ms']} ms, "
        + f"{sum(a['bytes'] for a in manifest['artifacts']) / 1e6:.1f} MB")
    return native


def main():
    options = options_of()
    work, ranks = options.work, options.tensor_parallel_size
    segments, torch = os.path.join(work, "segments"), os.path.join(work, "torch")
    os.makedirs(segments, mode=0o700)
    profiler = ["--profiler-config.profiler", "torch", "--profiler-config.torch_profiler_dir", torch,
                "--profiler-config.torch_profiler_with_stack", "false"]
    python = os.path.join(work, "venv/bin/python")
    data = os.path.join(work, "data")
    with Engine("native", python, options, work, profiler, STEPSCOPE_DIR=segments) as engine:
        url = f"http://127.0.0.1:{engine.port}"
        more = ["--engine-url", url, "--engine-profile-dir", torch]
        with Sidecar(options.stepscope, work, segments, data, more) as sidecar:
            eventually("every rank is attached", lambda: len(sidecar.ranks()) == ranks, 60, sidecar.alive)
            eventually("the engine's profiler can be had",
                       lambda: sidecar.get("capabilities")["profilers"]["engine"]["available"], 30)
            under_load(options, engine, sidecar, ranks)
            idle(engine, sidecar, ranks)
            no_profiler(options, work, url)
            still_set(engine, sidecar, ranks)
            around_a_command(options, engine, sidecar, torch)
            killed_before(options, engine, sidecar, segments, more, torch)
        with Sidecar(options.stepscope, work, segments, data, more) as sidecar:
            eventually("every rank is attached", lambda: len(sidecar.ranks()) == ranks, 60, sidecar.alive)
            killed(options, engine, sidecar, ranks, segments, data, more)


def under_load(options, engine, sidecar, ranks):
    exact = []
    with Traffic(engine):
        time.sleep(1)
        for turn in range(4):
            capture, start_ms = started_after(
                sidecar, delay_iterations=SKIP, max_iterations=COUNT, profile_prefix=f"turn{turn}")
            manifest = sidecar.finished(capture)
            check.assertEqual([rank["iterations"] for rank in manifest["ranks"]], [COUNT] * ranks, manifest)
            say(f"start answered after {start_ms:.0f} ms")
            # On a machine whose cores are all taken, eight iterations may pass before the sidecar gets one.
            if manifest["native"]["state"] == "unused":
                check.assertIs(manifest["complete"], False, manifest)
                check.assertIn("had passed before the sidecar came to it", str(manifest["missing"]))
                exact.append("not asked")
                continue
            exact.append(look_at(sidecar, manifest, ranks, f"{SKIP} skipped, {COUNT} wanted")["exact"])
        # Until stop: the answer comes while vLLM writes.
        capture, start_ms = started_after(sidecar)
        eventually("the window is open", lambda: sidecar.get(f"captures/{capture}")["state"] == "recording", 60)
        time.sleep(0.5)
        status, stopped, stop_ms = timed(sidecar, "stop_profile")
        check.assertEqual((status, stopped["capture_id"]), (200, capture))
        eventually("vLLM is told to stop",
                   lambda: sidecar.get(f"captures/{capture}")["native"]["state"] in ("stopping", "collecting", "over"), 60)
        status, refused, refused_ms = timed(sidecar, "start_profile", profiler="engine")
        has_let_go = sidecar.get(f"captures/{capture}")["native"]["state"] == "over"
        check.assertTrue(status == 409 or has_let_go, refused)
        # A busy machine writes for minutes.
        manifest = sidecar.finished(capture, 600)
        say(f"until stop: start answered after {start_ms:.0f} ms, stop after {stop_ms:.0f} ms; vLLM let go after "
            f"{manifest['native']['stop']['duration_ms']} ms; another start meanwhile: {status} after {refused_ms:.0f} ms")
        look_at(sidecar, manifest, ranks, "until stop")
    check.assertLess(exact.count("not asked"), len(exact), exact)
    say(f"{exact.count(True)} of {len(exact)} windows under load were exact in vLLM's own profiler too, "
        f"{exact.count('not asked')} had passed before it was asked")
    merged(options, sidecar)


def merged(options, sidecar):
    folder = os.path.join(options.work, "got")
    os.makedirs(folder)
    line = [options.stepscope, "get", "latest", "--url", sidecar.url, "-o", os.path.join(folder, "ours.json.gz"),
            "--artifacts", folder, "--merged", os.path.join(folder, "all.json")]
    run = subprocess.run(line, capture_output=True, text=True)
    check.assertIn(run.returncode, (0, 5), run.stdout + run.stderr)
    with open(os.path.join(folder, "all.json"), encoding="utf-8") as file:
        trace = json.load(file)
    makers = {entry["maker"] for entry in trace["metadata"]["merge"]["inputs"]}
    check.assertEqual(makers, {"stepscope", "kineto"}, makers)
    say(f"merged: {len(trace['traceEvents'])} events of {len(trace['metadata']['merge']['inputs'])} files")


def idle(engine, sidecar, ranks):
    """An idle engine: what comes next is the window, and it need not go on behind it."""
    time.sleep(0.5)
    capture, start_ms = started_after(sidecar, max_iterations=4)
    engine.complete("an idle engine is asked", 4)
    manifest = sidecar.finished(capture)
    native = look_at(sidecar, manifest, ranks, f"idle, 4 wanted (start answered after {start_ms:.0f} ms)")
    check.assertIs(native["exact"], True, native)
    check.assertIs(manifest["complete"], True, manifest)


def no_profiler(options, work, url):
    """A vLLM whose profiler is not enabled answers 404; so does this one, at a place where it has none."""
    segments = os.path.join(work, "segments")
    more = ["--engine-url", f"{url}/nowhere", "--engine-kind", "vllm"]
    with Sidecar(options.stepscope, work, segments, os.path.join(work, "other"), more) as other:
        try:
            other.start(profiler="engine")
            check.fail("a start without a profiler was accepted")
        except RuntimeError as error:
            check.assertIn(": 422 ", str(error))
            check.assertIn("--profiler-config", str(error))
            say(f"without a profiler: {str(error)[-230:]}")


def still_set(engine, sidecar, ranks):
    """Somebody's session is still set: vLLM says 409, is told to stop, and starts."""
    call(f"http://127.0.0.1:{engine.port}/start_profile", {}, "POST", timeout=120)
    started = sidecar.start(profiler="engine", max_iterations=3)
    eventually("vLLM has answered",
               lambda: sidecar.get(f"captures/{started['capture_id']}")["native"]["state"] == "on", 120)
    engine.complete("after a conflict", 6)
    manifest = sidecar.finished(started["capture_id"])
    check.assertTrue(any("session of somebody" in warning for warning in manifest["warnings"]), manifest["warnings"])
    check.assertEqual(manifest["native"]["start"]["status"], 200, manifest["native"])
    look_at(sidecar, manifest, ranks, "after a 409")


def iterations_of(torch, before):
    """How many iterations each trace has that was not there before."""
    counts = []
    for name in sorted(set(os.listdir(torch)) - before):
        if ".pt.trace.json" in name:
            with (gzip.open if name.endswith(".gz") else open)(os.path.join(torch, name), "rt", encoding="utf-8") as file:
                counts.append(len(names(json.load(file))))
    return counts


def around_a_command(options, engine, sidecar, torch):
    """`stepscope run` on the sidecar and on vLLM itself, which it finds out: each has the window, of its own kind."""
    out, before = os.path.join(options.work, "run"), set(os.listdir(torch))
    line = [options.stepscope, "run", "--target", sidecar.url, "--target", f"http://127.0.0.1:{engine.port}/v1",
            "--delay-iterations", str(SKIP), "--max-iterations", str(COUNT), "--wait", "300", "--out", out,
            "--", "sh", "-c", "sleep 3; exit 3"]
    with Traffic(engine, clients=2):
        run = subprocess.run(line, capture_output=True, text=True)
    check.assertEqual(run.returncode, 3, run.stderr)
    with open(os.path.join(out, "profiling.json"), encoding="utf-8") as file:
        record = json.load(file)
    for calls in record["starts"], record["stops"]:
        said = sorted((entry["target"], entry["engine"], entry["status"]) for entry in calls)
        check.assertEqual(said, [(0, "stepscope", 200), (1, "vllm", 200)], record)
    windows = [rank["iterations"] for capture in record["phases"][0]["captures"] for rank in capture["ranks"]]
    check.assertEqual(windows, [COUNT] * options.tensor_parallel_size, record)
    theirs = iterations_of(torch, before)
    # The API server has a trace of its own, without iterations.
    check.assertEqual([count for count in theirs if count], [COUNT] * options.tensor_parallel_size, theirs)
    say(f"stepscope run: both opened within {record['phases'][0]['skew']['answers_ns'] / 1e6:.0f} ms, {COUNT} iterations in "
        f"both; vLLM's stop took {max(entry['duration_ns'] for entry in record['stops']) / 1e6:.0f} ms")


def killed_before(options, engine, sidecar, segments, more, torch):
    """A sidecar that is killed before its window: nobody is left to stop vLLM's profiler, so it does not start with the next
    request either."""
    sidecar.kill()
    with Sidecar(options.stepscope, options.work, segments, os.path.join(options.work, "short"),
                 [*more, "--lease-ms", "1000"]) as short:
        eventually("a rank is attached", short.ranks, 60, short.alive)
        started = short.start(profiler="engine")
        eventually("vLLM has answered",
                   lambda: short.get(f"captures/{started['capture_id']}")["native"]["state"] == "on", 60)
        short.kill()
    time.sleep(1.5)
    before = set(os.listdir(torch))
    engine.complete("after its lease", 6)
    call(f"http://127.0.0.1:{engine.port}/stop_profile", {}, "POST", timeout=120)
    # The API server has a trace of its own, without iterations.
    check.assertEqual([count for count in iterations_of(torch, before) if count], [])
    say("killed before its window: vLLM's profiler did not start without it")


def killed(options, engine, sidecar, ranks, segments, data, more):
    """A sidecar that is killed leaves vLLM's profiler on; the next one stops it and takes its files."""
    started = sidecar.start(profiler="engine")
    with Traffic(engine, clients=2):
        eventually("vLLM's profiler is on",
                   lambda: sidecar.get(f"captures/{started['capture_id']}")["native"]["state"] == "on", 60)
        eventually("the window is open",
                   lambda: sidecar.get(f"captures/{started['capture_id']}")["state"] == "recording", 60)
        time.sleep(1)
        sidecar.kill()
    with Sidecar(options.stepscope, options.work, segments, data, more) as following:
        manifest = following.finished(started["capture_id"])
        native = manifest["native"]
        check.assertEqual(native["stop"]["status"], 200, native)
        check.assertTrue(any(a["kind"] == "engine_trace" for a in manifest["artifacts"]), manifest["artifacts"])
        say(f"killed in the middle: {len(manifest['artifacts'])} artefacts, found {native['found']}")
        # And vLLM's profiler is free again.
        started = following.start(profiler="engine", max_iterations=3)
        engine.complete("after a kill", 6)
        manifest = following.finished(started["capture_id"])
        check.assertIs(manifest["native"]["exact"], True, manifest["native"])


if __name__ == "__main__":
    main()
