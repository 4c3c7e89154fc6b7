"""Windows of an engine that emits NVTX through PyTorch and the `nvtx` package: iterations by its ranges or by a Python
function, and every other range a span. Run by run.sh.

usage: check.py STEPSCOPE PYTHON WORK
"""

import collections
import json
import os
import pathlib
import re
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "vllm"), str(HERE)]

from engine import Process, Sidecar, call, eventually, surroundings  # noqa: E402

check = unittest.TestCase()
check.maxDiff = None

HOW = {
    "exact": ["--nvtx-step", "step"],
    "prefix": ["--nvtx-step", "execute_*"],
    "python": ["--nvtx", "--step", "nvtx_engine:step"],
}


def tables():
    """What the engine says of itself, without what it imports."""
    text = (HERE / "nvtx_engine.py").read_text()
    names = {}
    for name in ("PER_ITERATION", "ASYNCHRONOUS", "DOMAINS"):
        names[name] = eval(re.search(rf"^{name} = (\{{.*?\}})$", text, re.S | re.M).group(1))
    return names["PER_ITERATION"], names["ASYNCHRONOUS"], names["DOMAINS"]


def slice_of(event):
    return event["ts"], event["ts"] + event["dur"]


def run(kind, stepscope, python, work):
    folder = work / kind
    folder.mkdir()
    segments = str(folder / "segments")
    command = [stepscope, "exec", "--dir", segments, *HOW[kind], "--", python, str(HERE / "nvtx_engine.py"), kind]
    with Sidecar(stepscope, str(folder), segments) as sidecar, Process("engine", command, str(folder), surroundings()) as engine:
        eventually("the engine joins", lambda: sidecar.get("status")["ranks"], 120, engine.alive)
        started = sidecar.start(delay_iterations=7, max_iterations=40)
        manifest = sidecar.finished(started["capture_id"])
        check.assertIs(manifest["complete"], True, manifest)
        check.assertEqual(manifest["dropped"], 0)
        trace = sidecar.trace("latest")
        (folder / "trace.json").write_text(json.dumps(trace))
        rank = call(f"{sidecar.url}/stepscope/v1/captures/latest/trace?format=json&rank=0")
        (folder / "rank0.json").write_bytes(rank)
        rows = sidecar.ledger("latest")
    report = manifest["ranks"][0]
    window = list(range(report["first_iteration"], report["last_iteration"] + 1))
    check.assertEqual([row["iteration"] for row in rows], window)
    check.assertEqual(len(window), 40)
    if kind == "prefix":
        check.assertEqual([(row["context_tokens"], row["generation_tokens"]) for row in rows], [(n, 2) for n in window])

    wanted, asynchronous, domains = tables()
    events = trace["traceEvents"]
    spans = [e for e in events if e.get("cat") == "nvtx"]
    bare = lambda name: re.sub(r" \d+$", "", name)
    seen = {phase: collections.Counter(bare(e["name"]) for e in spans if e["ph"] == phase) for phase in "Xbe"}
    check.assertEqual(seen["X"], {name: 40 * count for name, count in wanted.items()})
    for phase in "be":
        check.assertEqual(seen[phase], {name: 40 * count for name, count in asynchronous.items()})
    numbers = [int(e["name"].split()[1]) for e in spans if e["name"].startswith("iteration ")]
    check.assertEqual(sorted(numbers), window)
    for span in spans:
        if span["ph"] != "e":
            check.assertEqual(span.get("args", {}).get("domain"), domains.get(bare(span["name"])), span)

    # One track per thread, one more for each domain; and all of it in the iterations.
    named = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == 1}
    tracks = {(named[e["tid"]], "domain" in e.get("args", {})) for e in spans if e["ph"] == "X"}
    check.assertEqual(sorted(in_domain for _, in_domain in tracks), [False, False, True, True], tracks)
    check.assertTrue(all(track.endswith(", engine") == in_domain for track, in_domain in tracks), tracks)
    steps = [slice_of(e) for e in events if e.get("cat") == "iteration"]
    for span in spans:
        if span["ph"] == "X":
            begin, end = slice_of(span)
            check.assertTrue(any(a <= begin and end <= b for a, b in steps), span)
    print(f"{kind}: iterations {window[0]} to {window[-1]}, {sum(seen['X'].values())} spans and {sum(seen['b'].values())} asynchronous ones")


def main(stepscope, python, work):
    for kind in HOW:
        run(kind, stepscope, python, pathlib.Path(work))
    print("NVTX: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
