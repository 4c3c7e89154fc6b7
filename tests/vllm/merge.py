"""vLLM's own torch trace of a window merged with ours: the same iterations lie at the same time. Run by merge.sh."""

import json
import os
import shutil
import statistics
import subprocess
import time
import unittest
from pathlib import Path

from engine import HERE, Engine, Sidecar, Traffic, call, eventually
from engine import options as options_of

COUNT = 40
#: The profiling routes that our package has for vLLM's server, too: where vLLM has its own, those are asked.
PLUGINS = "stepscope,stepscope_routes"
PROBE = os.path.join(HERE, "probe")
#: How far the two clocks may be apart: vLLM's annotation begins between two events of ours, see probe/.
CLOCKS_US = 50
#: What is wanted of the median between our hook and the annotation, with vLLM's own code in between, which takes as long as the
#: cores' other work lets it: said, not checked.
WANTED_NS = 50_000
#: What the least offset may be: next to none of that code is in it.
LEAST_NS = 200_000

check = unittest.TestCase()
check.maxDiff = None


def record(options, work):
    """A window of ours inside a window of vLLM's torch profiler: the two files, and our manifest."""
    segments, torch = os.path.join(work, "segments"), os.path.join(work, "torch")
    os.makedirs(segments, mode=0o700)
    profiler = ["--profiler-config.profiler", "torch", "--profiler-config.torch_profiler_dir", torch,
                "--profiler-config.torch_profiler_with_stack", "false"]
    python = os.path.join(work, "venv/bin/python")
    with (
        Engine(
            "torch", python, options, work, profiler, STEPSCOPE_DIR=segments, VLLM_PLUGINS=PLUGINS, PYTHONPATH=PROBE
        ) as engine,
        Sidecar(options.stepscope, work, segments) as sidecar,
    ):
        ranks = options.tensor_parallel_size
        eventually("every rank is attached", lambda: len(sidecar.ranks()) == ranks, 60, sidecar.alive)
        with Traffic(engine):
            call(f"http://127.0.0.1:{engine.port}/start_profile", {}, "POST", timeout=300)
            manifest = sidecar.finished(sidecar.start(delay_iterations=5, max_iterations=COUNT)["capture_id"])
            call(f"http://127.0.0.1:{engine.port}/stop_profile", {}, "POST", timeout=600)
        check.assertIs(manifest["complete"], True, manifest)
        check.assertIn("vLLM's own profiler (torch) has /start_profile here", engine.text())
        ours = os.path.join(work, "ours.json.gz")
        with open(ours, "wb") as file:
            file.write(call(f"{sidecar.url}/stepscope/v1/captures/{manifest['capture_id']}/trace?format=json.gz"))

    def written():
        return sorted(Path(torch).glob("*rank*.pt.trace.json.gz"))

    theirs = eventually("vLLM writes a trace per rank", lambda: len(written()) == ranks and written(), 120)
    return ours, theirs, manifest


def clocks(events, ranks):
    """Checks where vLLM's annotations begin, between our events right in front of and right behind that."""
    theirs, ours = {}, {}
    for event in events:
        if event.get("cat") == "user_annotation" and event["name"].startswith("execute_"):
            theirs.setdefault(event["pid"], []).append(event["ts"])
        elif event.get("cat") == "probe":
            ours.setdefault((event["pid"], event["name"]), []).append(event["ts"])
    check.assertEqual((len(theirs), len(ours)), (ranks, 2 * ranks))
    for (_, name), told in sorted(ours.items()):
        check.assertGreaterEqual(len(told), COUNT - 1)
        # Ranks step together: that of the same process is the one that is nearest all along.
        offsets = [[min((at - mine for at in annotations), key=abs) for mine in told] for annotations in theirs.values()]
        nearest = min(offsets, key=lambda some: statistics.fmean(map(abs, some)))
        apart = statistics.median(nearest)
        print(f"  vLLM's annotation begins {apart:+.1f} µs from our event {name} it (median of {len(told)})", flush=True)
        check.assertLessEqual(abs(apart), CLOCKS_US)


def main():
    options = options_of()
    work = options.work
    ours, theirs, manifest = record(options, work)
    merged = os.path.join(work, "merged.json")
    line = [options.stepscope, "merge", "--json", "-o", merged, ours, *map(str, theirs)]
    began = time.monotonic()
    run = subprocess.run(line, capture_output=True, text=True)
    took = time.monotonic() - began
    check.assertEqual(run.returncode, 0, run.stdout + run.stderr)
    said = json.loads(run.stdout)
    with open(merged, encoding="utf-8") as file:
        trace = json.load(file, parse_constant=lambda word: check.fail(f"{word} is not JSON"))
    check.assertEqual(trace["metadata"]["merge"]["inputs"], said["inputs"])
    # Every process once, whatever numbers it had.
    names = [event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "process_name"]
    check.assertEqual(len(names), len(set(names)), names)
    check.assertEqual(len(said["matches"]), len(theirs), said)
    for match in said["matches"]:
        print(f"  {match['a']} beside {match['b']}: {match['iterations']} of {COUNT} iterations have the same name; "
              f"from the second on they begin {match['median_offset_ns'] / 1000:+.1f} µs later (median), "
              f"{match['least_offset_ns'] / 1000:+.1f} µs at least", flush=True)
        check.assertGreaterEqual(match["iterations"], COUNT - 1, match)
        check.assertLessEqual(abs(match["least_offset_ns"]), LEAST_NS, match)
        if abs(match["median_offset_ns"]) > WANTED_NS:
            print(f"  the median is beyond the {WANTED_NS // 1000} µs that are wanted: is the machine busy?", flush=True)
    clocks(trace["traceEvents"], len(theirs))
    size = sum(os.path.getsize(path) for path in [ours, *theirs])
    print(f"  {size / 1e6:.1f} MB in, {os.path.getsize(merged) / 1e6:.1f} MB out, {took:.2f} s", flush=True)
    if keep := os.environ.get("STEPSCOPE_TEST_KEEP"):
        shutil.copy(merged, keep)


if __name__ == "__main__":
    main()
