"""Windows out of a real vLLM: exact, equal on all ranks, and with the numbers that vLLM itself logs. Run by run.sh."""

import collections
import os
import unittest

from engine import Engine, Sidecar, Traffic, eventually
from engine import options as options_of

PROMPTS = ["def main(argv):", "import os, sys", "class Window:\n    ", "for i in range(10):", "return the first of"]
LOGGED = ["--enable-logging-iteration-details"]
COUNTS = ("context_requests", "context_tokens", "generation_requests", "generation_tokens")

check = unittest.TestCase()
check.maxDiff = None


def one_at_a_time(engine):
    return [engine.complete(prompt, 24) for prompt in PROMPTS]


def exact(sidecar, engine, manifest, ranks, iterations, delay):
    """The manifest, the ledger and the trace of a finished capture say the same, and vLLM's log says it too."""
    check.assertEqual(manifest["state"], "done", manifest)
    check.assertIs(manifest["complete"], True, manifest)
    check.assertEqual(sorted(rank["rank"] for rank in manifest["ranks"]), list(range(ranks)))
    firsts = {rank["first_iteration"] for rank in manifest["ranks"]}
    check.assertEqual(len(firsts), 1, manifest["ranks"])
    first = firsts.pop()
    for rank in manifest["ranks"]:
        if iterations is not None:
            check.assertEqual(rank["iterations"], iterations, rank)
        check.assertEqual(rank["first_iteration"], rank["accepted_iteration"] + delay, rank)
        check.assertEqual(rank["dropped"], 0, rank)
        check.assertEqual(rank["last_iteration"], first + rank["iterations"] - 1, rank)
    wanted = list(range(first, manifest["ranks"][0]["last_iteration"] + 1))

    rows = collections.defaultdict(list)
    for row in sidecar.ledger(manifest["capture_id"]):
        rows[row["rank"]].append(row)
    check.assertEqual(sorted(rows), list(range(ranks)))
    # vLLM counts its iterations from 0, and warm-up is none of ours either: number N is its N-1.
    logged = eventually("vLLM logs the window", lambda: wanted[-1] - 1 in (seen := engine.iterations()) and seen, 30)
    for rank, of_rank in rows.items():
        check.assertEqual([row["iteration"] for row in of_rank], wanted, f"rank {rank}")
        for row in of_rank:
            said = tuple(row[name] for name in COUNTS)
            check.assertEqual(said, logged[row["iteration"] - 1], f"rank {rank}, iteration {row['iteration']}")

    slices = collections.defaultdict(list)
    for event in sidecar.trace(manifest["capture_id"])["traceEvents"]:
        if event.get("cat") == "iteration":
            slices[event["pid"]].append(event["args"]["iteration"])
    check.assertEqual([sorted(numbers) for numbers in slices.values()], [wanted] * ranks)
    kinds = collections.Counter(
        "mixed" if row["context_requests"] and row["generation_requests"]
        else "prefill" if row["context_requests"] else "decode"
        for row in rows[0]
    )
    print(f"  iterations {wanted[0]} to {wanted[-1]} on {ranks} rank(s): {dict(kinds)}; equal to vLLM's log", flush=True)


def main():
    options = options_of("plain-python")
    ranks, work = options.tensor_parallel_size, options.work
    segments = os.path.join(work, "segments")
    os.makedirs(segments, mode=0o700)

    print("vLLM without our package", flush=True)
    with Engine("plain", options.plain_python, options, work, LOGGED) as engine:
        expected = one_at_a_time(engine)
    check.assertEqual(os.listdir(segments), [])

    print("vLLM with our package, and a sidecar", flush=True)
    ours = os.path.join(work, "venv", "bin", "python")
    with (
        Engine("hooked", ours, options, work, LOGGED, STEPSCOPE_DIR=segments) as engine,
        Sidecar(options.stepscope, work, segments) as sidecar,
    ):
        # The API server and the engine core, which this executor gives a process of its own, are sources of spans.
        check.assertEqual(len(os.listdir(segments)), ranks + 2)
        eventually("every rank is attached", lambda: len(sidecar.ranks()) == ranks, 30, sidecar.alive)
        labels = sorted(one["label"] for one in sidecar.get("status")["ranks"] if one["role"] == "source")
        check.assertEqual(labels, ["api server", "engine core dp0"])
        print("the same text, idle and recorded", flush=True)
        check.assertEqual(one_at_a_time(engine), expected)
        capture = sidecar.start()["capture_id"]
        check.assertEqual(one_at_a_time(engine), expected)
        sidecar.stop_capture()
        exact(sidecar, engine, sidecar.finished(capture), ranks, None, 0)

        print("windows while requests run", flush=True)
        for delay, iterations in ((0, 1), (7, 20), (50, 100)):
            with Traffic(engine):
                before = len(engine.iterations())
                eventually("requests run", lambda: len(engine.iterations()) > before + 20, 60, engine.alive)
                capture = sidecar.start(delay_iterations=delay, max_iterations=iterations)["capture_id"]
                manifest = sidecar.finished(capture)
            exact(sidecar, engine, manifest, ranks, iterations, delay)

        print("a window that was armed on an idle engine", flush=True)
        # Only a group that has been quiet for a while counts as idle; one that runs is given time to see the order.
        def idle():
            return not any(rank["iterations_per_second"] for rank in sidecar.ranks())

        eventually("the engine is idle", idle, 60)
        numbers = {rank["begun"] for rank in sidecar.ranks()}
        begun = max(engine.iterations()) + 1
        check.assertEqual(numbers, {begun})
        capture = sidecar.start(delay_iterations=3, max_iterations=5)["capture_id"]
        check.assertEqual(engine.complete(PROMPTS[0], 24), expected[0])
        manifest = sidecar.finished(capture)
        exact(sidecar, engine, manifest, ranks, 5, 3)
        check.assertEqual(manifest["ranks"][0]["first_iteration"], begun + 4, manifest["groups"])
    check.assertEqual(engine.text().count("vLLM runs on"), 0)
    print(f"tensor parallel {ranks}: all as it must be", flush=True)


if __name__ == "__main__":
    main()
