"""The two sides of bench.py: a vLLM that is stepped on order, and the same one with the sidecar that watches it.

Nothing is measured of a vLLM that was not hooked: what the sidecar has seen must be the steps that were made, each time.
"""

import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "vllm"))

from engine import Sidecar, call, eventually, surroundings  # noqa: E402

SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


class Stepped:
    """A vLLM that runs what it is told, and nothing else, on one core."""

    def __init__(self, name, python, options, folder, torch_folder="", **environment):
        self.log = os.path.join(folder, f"{name}.log")
        variables = {**surroundings(), **SETTINGS, "VLLM_CPU_OMP_THREADS_BIND": str(options.core), **environment}
        command = [python, os.path.join(HERE, "stepped.py"), options.model, str(options.core), torch_folder]
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=variables, text=True
            )
        self.hello = self.answer()

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise RuntimeError("vLLM ended; its last lines:\n" + "".join(log.readlines()[-30:]))
        return json.loads(line)

    def order(self, **order):
        self.child.stdin.write(json.dumps(order) + "\n")
        self.child.stdin.flush()

    def run(self, **order):
        self.order(**order)
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Watched:
    """The vLLM with our package, and the sidecar; counts on both sides what was stepped."""

    def __init__(self, engine, sidecar):
        self.engine, self.sidecar = engine, sidecar
        if not {"execute_model", "update_from_output"} <= set(engine.hello["hooks"]):
            raise RuntimeError(f"our package is not in this vLLM: {engine.hello}")
        self.steps = eventually("the rank is attached", self.rank, 30, sidecar.alive)["begun"]

    def rank(self):
        ranks = self.sidecar.get("status")["ranks"]
        if ranks and [rank["pid"] for rank in ranks] != [self.engine.hello["pid"]]:
            raise SystemExit(f"the sidecar sees other ranks than ours: {ranks}")
        return ranks[0] if ranks else None

    def seen(self, steps):
        """The sidecar has seen exactly so many more."""
        self.steps += steps
        eventually(f"begun and ended are {self.steps}", lambda: self._stands_at(self.steps), 10, self.sidecar.alive)

    def _stands_at(self, steps):
        rank = self.rank()
        return rank["begun"] == rank["ended"] == steps

    def hooks_out(self, batch, tokens):
        result = self.engine.run(batch=batch, tokens=tokens, hooks=False)
        self.seen(0)
        return result

    def idle(self, batch, tokens):
        result = self.engine.run(batch=batch, tokens=tokens, hooks=True)
        self.seen(tokens)
        return result

    def recording(self, batch, tokens):
        capture = self.sidecar.start()["capture_id"]
        result = self.engine.run(batch=batch, tokens=tokens, hooks=True)
        self.sidecar.stop_capture()
        self.captured(capture, tokens, self.steps + 1)
        self.seen(tokens)
        return result

    def blocks(self, batch, blocks, block, recording):
        """Wall-clock and CPU time of each block of a stream in which the hooks come and go."""
        capture = self.sidecar.start()["capture_id"] if recording else None
        times = self.engine.run(batch=batch, blocks=blocks, block=block)["blocks"]
        hooked = sum(blocks) * block
        if capture:
            self.sidecar.stop_capture()
            self.captured(capture, hooked, self.steps + 1)
        self.seen(hooked)
        return times

    def captured(self, capture, iterations, first=None):
        """The capture is finished and holds these iterations, all of them and no other."""
        manifest = self.sidecar.finished(capture)
        rank = manifest["ranks"][0]
        held = (manifest["state"], manifest["complete"], rank["iterations"], rank["dropped"])
        if held != ("done", True, iterations, 0) or first not in (None, rank["first_iteration"]):
            raise RuntimeError(f"{iterations} iterations from {first} on were made, this was captured: {manifest}")
        if len(self.sidecar.ledger(capture)) != iterations:
            raise RuntimeError(f"the ledger of {capture} has not {iterations} rows")
        return rank

    def span(self, batch, tokens, mark, window):
        """A stream's answer, and which token (from 1) came out of the window's first iteration (0: no window).
        A window's capture, from its start to its trace, fits in the stream behind the mark."""
        self.engine.order(batch=batch, tokens=tokens, mark=mark, hooks=True)
        self.engine.answer()
        if window:
            capture = self.sidecar.start(delay_iterations=2, max_iterations=4)["capture_id"]
            rank = self.captured(capture, 4)
            call(f"{self.sidecar.url}/stepscope/v1/captures/{capture}/trace?format=json.gz")
            over = time.monotonic_ns()
        answer = self.engine.answer()
        if window:
            first, last = self.steps + mark, self.steps + tokens
            if over > answer["stamps"][-1] or not first < rank["first_iteration"] <= last - 4:
                raise RuntimeError(f"the span (iterations {first} to {last}) is too short for {rank}")
        number = rank["first_iteration"] - self.steps if window else 0
        self.seen(tokens)
        return answer, number


class Profiled:
    """The vLLM without our package, with its own torch profiler."""

    def __init__(self, engine, folder):
        self.engine, self.folder = engine, folder
        if engine.hello["hooks"]:
            raise RuntimeError(f"our package is in the vLLM that is to be without it: {engine.hello}")

    def idle(self, batch, tokens):
        return self.engine.run(batch=batch, tokens=tokens)

    def span(self, batch, tokens, mark, window):
        """As `Watched.span`, around a window of vLLM's torch profiler, which writes one trace in it."""
        before = self._traces()
        self.engine.order(batch=batch, tokens=tokens, mark=mark, torch=window)
        self.engine.answer()
        answer = self.engine.answer()
        if self._traces() != before + window:
            raise RuntimeError(f"vLLM's profiler wrote {self._traces() - before} traces")
        return answer, mark + 3 if window else 0  # two are skipped

    def _traces(self):
        return sum(name.endswith(".pt.trace.json.gz") for name in os.listdir(self.folder))
