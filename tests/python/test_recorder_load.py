"""Many threads and tasks in four processes, through a real sidecar into a trace: every span once, and each where it belongs."""

import collections
import json
import subprocess
import sys
import unittest

import segment
import served

PROCESSES, THREADS, TASKS, ROUNDS = 4, 16, 50, 40
#: A ring per thread, and one for the tasks that holds all they tell: a sidecar may be kept from draining for that long.
SEGMENT_BYTES = 24 << 20

CODE = """
import asyncio, os, sys, threading
import stepscope
number = int(sys.argv[1])
assert stepscope.join(role="source" if number else "rank", world_size=1, label=f"process {number}", job="load") == 0

def work(who):
    for n in range(ROUNDS):
        with stepscope.span("outer", "load", who=who, n=n) as span:
            with stepscope.span("middle", "load"):
                with stepscope.span("inner", "load", level=2): pass
            span.args(more=f"of {who}")
        stepscope.instant("mark", "load")

async def task(who):
    for n in range(ROUNDS):
        with stepscope.span("outer", "load", who=who, n=n):
            await asyncio.sleep(0)
            with stepscope.span("middle", "load"):
                await asyncio.sleep(0)
                with stepscope.span("inner", "load"): await asyncio.sleep(0)
        stepscope.instant("mark", "load")

async def tasks():
    await asyncio.gather(*(asyncio.create_task(task(n), name=f"task {n}") for n in range(TASKS)))

def load():
    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads: thread.start()
    asyncio.run(tasks())
    for thread in threads: thread.join()
    print("over", flush=True)

print("joined", flush=True)
if number:
    sys.stdin.readline()
    load()
    sys.stdin.readline()
else:
    loader = None
    while True:
        with stepscope.step as iteration: pass
        if iteration and loader is None:
            print("open", flush=True)
            loader = threading.Thread(target=load)
            loader.start()
"""


class Load(served.Case):
    def test_every_span_is_there_once_nested_on_its_track_and_the_totals_are_those_that_were_emitted(self):
        code = f"ROUNDS, TASKS, THREADS = {ROUNDS}, {TASKS}, {THREADS}\n" + CODE
        with self.sidecar():
            engines = [
                self.start(
                    [sys.executable, "-c", code, str(number)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    STEPSCOPE_SEGMENT_BYTES=str(SEGMENT_BYTES),
                )
                for number in range(PROCESSES)
            ]
            for engine in engines:
                self.assertEqual(engine.stdout.readline(), "joined\n")
            served.eventually(
                "all are attached", lambda: len(json.loads(self.ask("/stepscope/v1/status"))["ranks"]) == PROCESSES
            )
            capture = json.loads(self.ask("/start_profile", {}))["capture_id"]
            self.assertEqual(engines[0].stdout.readline(), "open\n")
            for engine in engines[1:]:
                engine.stdin.write("go\n")
                engine.stdin.flush()
            for engine in engines:
                self.assertEqual(engine.stdout.readline(), "over\n")
            self.ask("/stop_profile", {})
            path = "/stepscope/v1/captures/" + capture
            manifest = served.eventually(
                "the capture", lambda: (lambda c: c if c["state"] == "done" else None)(json.loads(self.ask(path)))
            )
            trace = json.loads(self.ask(path + "/trace?format=json"))
        self.totals(trace, manifest)

    def totals(self, trace, manifest):
        told = [event for event in trace["traceEvents"] if event.get("cat") == "load"]
        names = {event["pid"]: event["args"]["name"] for event in trace["traceEvents"] if event["name"] == "process_name"}
        counts = collections.Counter((names[event["pid"]].split(" (")[0], event["name"]) for event in told)
        each = (THREADS + TASKS) * ROUNDS
        self.assertEqual(len({process for process, _ in counts}), PROCESSES, counts)
        self.assertEqual(set(counts.values()), {each}, (counts, manifest))
        self.assertEqual(len(counts), PROCESSES * 4, counts)
        # Each once: who and which round, on a track of its own.
        once = collections.Counter(
            (event["pid"], event["tid"], event["args"]["who"], event["args"]["n"]) for event in told if event["name"] == "outer"
        )
        self.assertEqual((len(once), set(once.values())), (PROCESSES * each, {1}))
        tracks = {(event["pid"], event["tid"]) for event in told}
        self.assertEqual(len(tracks), PROCESSES * (THREADS + TASKS))
        self.assertFalse([event for event in told if event.get("args", {}).get("clamped")])
        ns = lambda us: round(us * 1000)
        spans = [
            {"shape": "span", "track": (event["pid"], event["tid"]), "begin": ns(event["ts"]),
             "end": ns(event["ts"]) + ns(event["dur"]), "depth": ["outer", "middle", "inner"].index(event["name"])}
            for event in told if event["ph"] == "X"
        ]
        self.assertEqual(segment.nested_or_disjoint(spans), PROCESSES * 3 * each)


if __name__ == "__main__":
    unittest.main()
