"""What a client is run with, and what is asked of the capture that it made."""

import collections
import json
import os
import subprocess
import threading
import unittest

from engine import call, eventually, surroundings

COUNTS = ("context_requests", "context_tokens", "generation_requests", "generation_tokens")
PATIENCE_S = 300

check = unittest.TestCase()
check.maxDiff = None


class Skipped(Exception):
    """The client could not be had."""


class Lab:
    """One client's turn: the engine, the sidecar, a folder of its own."""

    def __init__(self, engine, sidecar, options, name):
        self.engine, self.sidecar, self.options = engine, sidecar, options
        self.folder = os.path.join(options.work, name)
        os.makedirs(self.folder)
        self.engine_url = f"http://127.0.0.1:{engine.port}"
        self.captures = self._ids()
        self.logged = len(engine.iterations())
        print(f"--- {name}", flush=True)

    def python(self) -> str:
        """The clients' environment."""
        if not self.options.environment:
            raise Skipped("SGLang's package could not be had, see above")
        return os.path.join(self.options.environment, "bin", "python")

    def run(self, command, **environment) -> str:
        """The client's output; it has to end well."""
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "NO_COLOR": "1"}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**surroundings(), **offline, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
        )
        if done.returncode:
            tail = "\n".join(line[:300] for line in done.stdout.splitlines()[-40:])
            raise RuntimeError(f"{command[:6]}… ended with {done.returncode}:\n{tail}")
        return done.stdout

    def _ids(self) -> set:
        return {one["capture_id"] for one in self.sidecar.get("captures")["captures"]}

    def capture(self) -> dict:
        """The finished manifest of the one capture that the client made."""
        new = self._ids() - self.captures
        check.assertEqual(len(new), 1, "captures made")
        manifest = self.sidecar.finished(new.pop())
        check.assertEqual(manifest["state"], "done", manifest)
        check.assertIs(manifest["complete"], True, manifest)
        return manifest

    def rows(self, manifest) -> list:
        """Its ledger, found equal to vLLM's own log of the same iterations."""
        rows = self.sidecar.ledger(manifest["capture_id"])
        [rank] = manifest["ranks"]
        wanted = list(range(rank["first_iteration"], rank["last_iteration"] + 1))
        check.assertEqual([row["iteration"] for row in rows], wanted)
        logged = eventually("vLLM logs it", lambda: wanted[-1] - 1 in (seen := self.engine.iterations()) and seen, 30)
        for row in rows:
            said = tuple(row[name] for name in COUNTS)
            check.assertEqual(said, logged[row["iteration"] - 1], f"iteration {row['iteration']}")
        return rows

    def whole_phase(self, requests, prompt_tokens, output_tokens, warmed_up=True) -> str:
        """The capture has every iteration of these requests and none of any other. A request's first token comes out of
        its prefill, every other one out of an iteration."""
        rows = self.rows(self.capture())
        sums = collections.Counter()
        for row in rows:
            sums.update({name: row[name] for name in COUNTS})
        check.assertEqual(sums["context_tokens"], prompt_tokens, "prompt tokens in the capture")
        check.assertEqual(sums["generation_tokens"], output_tokens - requests, "output tokens in the capture")
        before = rows[0]["iteration"] - 1 - self.logged
        behind = len(self.engine.iterations()) - rows[-1]["iteration"]
        check.assertEqual(behind, 0, "iterations behind the window")
        if warmed_up:
            check.assertGreater(before, 0, "iterations of the warm-up, before the window")
        return (
            f"{len(rows)} iterations: all {prompt_tokens} + {output_tokens} tokens of its {requests} requests; "
            f"{before} of its warm-up outside"
        )

    def exactly(self, iterations, delay=0) -> str:
        """The capture has so many iterations, all of which began behind the client's call."""
        manifest = self.capture()
        rows = self.rows(manifest)
        check.assertEqual(len(rows), iterations)
        [rank] = manifest["ranks"]
        check.assertEqual(rank["first_iteration"], rank["accepted_iteration"] + delay, rank)
        check.assertGreater(rank["accepted_iteration"], self.logged)
        return f"exactly the {iterations} iterations it asked for"

    def warm_up(self):
        self.load(requests=3)

    def load(self, requests=20, at_once=4) -> tuple:
        """A load of our own, for what brings none: requests, prompt tokens, output tokens, as vLLM counted them."""
        todo, usages = list(range(requests)), []

        def client():
            while todo:
                words = "one of the requests that are measured, %d " % todo.pop()
                body = {"model": "tiny", "prompt": words * 3, "max_tokens": 16, "temperature": 0, "ignore_eos": True}
                usages.append(json.loads(call(f"{self.engine_url}/v1/completions", body))["usage"])

        clients = [threading.Thread(target=client) for _ in range(at_once)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        check.assertEqual(len(usages), requests)
        return requests, sum(one["prompt_tokens"] for one in usages), sum(one["completion_tokens"] for one in usages)

    def begun(self) -> int:
        """Iterations so far, once the sidecar and vLLM's log agree."""
        numbers = lambda: {self.sidecar.ranks()[0]["begun"], len(self.engine.iterations())}  # noqa: E731
        [number] = eventually("the engine rests", lambda: len(seen := numbers()) == 1 and seen, 30)
        return number

    def settle(self):
        """Nothing runs when the next one comes."""
        call(f"{self.sidecar.url}/stop_profile?wait=30", {}, "POST")

    def json(self, *path):
        with open(os.path.join(self.folder, *path), encoding="utf-8") as file:
            return json.load(file)


def said(text, *lines):
    """A client's own words."""
    for line in lines:
        check.assertIn(line, text)
