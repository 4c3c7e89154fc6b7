"""What the recorder costs in Python, while nobody captures and while somebody does, as multiples of an empty function.

    python python/benches/bench_recorder.py [--batches N]

Both are measured in turn in one process, medians of batches. It asks its own segment for events, and frees its ring between
batches, as a sidecar would: with tests/python/segment.py of this repository.
"""

import argparse
import asyncio
import contextlib  # noqa: F401
import math
import os
import statistics
import sys
import tempfile
import time  # noqa: F401
import types

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "tests", "python")]

import segment  # noqa: E402
import stepscope  # noqa: E402
from bench_hook import empty, loop, nothing  # noqa: E402
from stepscope._agent import native  # noqa: E402
from stepscope.vllm import scheduler  # noqa: E402

#: Calls of a batch: three records each have room in a ring, and the longest are over well within a turn of the scheduler.
CALLS = 500
REQUESTS = {f"cmpl-{n:032x}-0-{n:08x}": 1 for n in range(512)}


made_once = stepscope.span("made once")
made_counter = stepscope.Counter("made once")
made_instant = stepscope.Instant("made once")
counter, instant, recording, copysign = stepscope.counter, stepscope.instant, stepscope.recording, math.copysign


@stepscope.traced
def traced():
    pass


def loop_of(statement):
    """Statements are measured without a function around them."""
    scope = {**globals()}
    exec(f"""
def run(calls):
    start = time.perf_counter_ns()
    for _ in range(calls):
        {statement}
    return (time.perf_counter_ns() - start) / calls
""", scope)
    return scope["run"]


def scheduler_class():
    """A scheduler of vLLM's shape that does nothing: all of its requests decode."""
    output = types.SimpleNamespace(
        scheduled_new_reqs=[],
        scheduled_cached_reqs=types.SimpleNamespace(resumed_req_ids=set()),
        num_scheduled_tokens=REQUESTS,
        total_num_scheduled_tokens=len(REQUESTS),
    )

    class Scheduler:
        def __init__(self):
            self.requests = {}

        def schedule(self, throttle_prefills=False):
            return output

        def update_from_output(self, scheduler_output, model_runner_output):
            return None

        def add_request(self, request):
            pass

        def get_request_counts(self):
            return 512, 0

        def get_kv_cache_usage(self):
            return 0.5

        def _preempt_request(self, request, timestamp, drop_stale_output=False):
            pass

        def _free_request(self, request, delay_free_blocks=False):
            pass

    return Scheduler


def iteration_of(one):
    def iteration():
        one.update_from_output(one.schedule(), None)

    return iteration


def schedulers():
    plain, hooked_class = scheduler_class()(), scheduler_class()
    scheduler.install(types.SimpleNamespace(Scheduler=hooked_class))
    hooked = hooked_class.__new__(hooked_class)  # there is no configuration that it could join by
    hooked.requests = {}
    hooked._stepscope_watch = scheduler.Watch(native)
    return iteration_of(plain), iteration_of(hooked)


class Bench:
    def __init__(self, seen, batches):
        self.seen, self.batches = seen, batches
        self.samples: dict = {}

    def measure(self, rows):
        for _ in range(self.batches):
            for recording in (False, True):
                if recording:
                    self.seen.start()
                for name, (run, calls) in rows.items():
                    took = max(run(calls) - nothing(calls), 0.01)
                    self.samples.setdefault(name, ([], []))[recording].append(took)
                    self.seen.free()
                self.seen.stop()

    def show(self):
        unit = statistics.median(self.samples["empty()"][0])
        print(f"{self.batches} batches, loop subtracted; dropped: {self.seen.dropped()}")
        print(f"{'':<52} {'idle':>19} {'recording':>21}")
        for name, both in self.samples.items():
            idle, recording = map(statistics.median, both)
            print(f"{name:<52} {idle:8.1f} ns {idle / unit:6.2f} x {recording:10.1f} ns {recording / unit:6.2f} x")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--batches", type=int, default=300)
    options = arguments.parse_args()
    os.environ.setdefault("STEPSCOPE_DIR", tempfile.mkdtemp(prefix="stepscope-bench-"))
    code = stepscope.join(role="source", label="bench")
    if not stepscope.available() or code < 0:
        raise SystemExit(f"no agent to measure: {stepscope.reason()}")
    seen = segment.own()
    bench = Bench(seen, options.batches)
    plain, hooked = schedulers()
    statements = [
        "empty()",
        "stepscope.recording()",
        "recording()",
        "copysign(2.0, 1.0)",
        "counter('counter', 1)",
        "stepscope.counter('counter', 1)",
        "made_counter.set(1)",
        "instant('instant')",
        "stepscope.instant('instant')",
        "made_instant.tell()",
        "stepscope.instant('instant', n=3)",
        "with contextlib.nullcontext(): pass",
        "with stepscope.span('span'): pass",
        "with stepscope.span('span', cat='engine', n=3): pass",
        "with made_once: pass",
        "traced()",
    ]
    rows = {statement: (loop_of(statement), CALLS) for statement in statements}
    rows["stepscope.served(1, REQUESTS)  # 512"] = loop_of("stepscope.served(1, REQUESTS)"), 30
    rows["vLLM: schedule and update_from_output, no hooks"] = lambda calls: loop(plain, calls), 300
    rows["vLLM: the same, hooked"] = lambda calls: loop(hooked, calls), 300
    bench.measure(rows)

    async def in_a_task():
        with_span = "with stepscope.span('span'): pass"
        bench.measure({f"{with_span}  # in a task": (loop_of(with_span), CALLS)})

    asyncio.run(in_a_task())
    bench.show()


if __name__ == "__main__":
    main()
