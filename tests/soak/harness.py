"""Real processes for the soak scripts: an engine, a sidecar, HTTP with a bound on every answer, and a tally."""

import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

# Far beyond what is promised: what takes longer hangs.
BOUND_SECONDS = 30
FINAL = ("done", "cancelled", "failed")

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
SECONDS = float(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("SECONDS_TO_RUN") or 60)


class Hang(Exception):
    """Nothing came within the bound."""


class Tally:
    """Counts what held and what did not, and says the latter at once."""

    def __init__(self):
        self.passed = self.failed = 0
        self.lock = threading.Lock()

    def check(self, held, what):
        with self.lock:
            if held:
                self.passed += 1
            else:
                self.failed += 1
                print(f"FAILED: {what}", flush=True)
        return held

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed or not self.passed else 0)


def binary():
    """The command: $STEPSCOPE, else built here."""
    given = os.environ.get("STEPSCOPE")
    if given:
        return given
    subprocess.run(["cargo", "build", "--quiet", "--bin", "stepscope"], cwd=ROOT, check=True)
    described = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True, capture_output=True
    )
    return str(pathlib.Path(json.loads(described.stdout)["target_directory"]) / "debug" / "stepscope")


class Place:
    """Folders for segments and captures; gone at the end, unless something failed."""

    def __init__(self, name):
        shared = pathlib.Path("/dev/shm")
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"stepscope-{name}-", dir=shared if shared.is_dir() else None))
        self.segments, self.data = self.path / "segments", self.path / "data"
        self.segments.mkdir(mode=0o700)
        self.data.mkdir(mode=0o700)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("STEPSCOPE_")}
        self.environment["STEPSCOPE_DIR"] = str(self.segments)

    def end(self, keep):
        if keep:
            print(f"left for you to look at: {self.path}")
        else:
            shutil.rmtree(self.path, ignore_errors=True)


def strict(text):
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


class Engine:
    """The simulated engine."""

    def __init__(self, program, place, *arguments):
        self.process = subprocess.Popen(
            [program, "engine", "--iterations", "0", *arguments],
            env=place.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        if not self.process.stdout.readline().startswith(b"job "):
            raise RuntimeError("the engine did not start")

    def ranks(self):
        """Process ids of the ranks that live."""
        pid = self.process.pid
        try:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            stats = {int(child): pathlib.Path(f"/proc/{child}/stat").read_text() for child in children}
        except OSError:
            return []
        return [child for child, stat in stats.items() if stat.rsplit(")", 1)[1].split()[0] not in "ZX"]

    def end(self):
        for rank in self.ranks():
            kill(rank, signal.SIGCONT)
            kill(rank, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


class Sidecar:
    """The sidecar, and calls to it."""

    def __init__(self, program, place, *arguments):
        self.log = open(place.path / "sidecar.log", "ab+")
        begin = self.log.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", "--start-rate-per-second", "0",
             "--data", str(place.data), "--dir", str(place.segments), *arguments],
            env=place.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self.log,
        )
        deadline = time.monotonic() + BOUND_SECONDS
        while True:
            said = (place.path / "sidecar.log").read_bytes()[begin:]
            found = re.search(rb"listening on http://([0-9.]+):(\d+)", said)
            if found:
                self.host, self.port = found[1].decode(), int(found[2])
                return
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Hang(f"the sidecar did not listen: {said.decode(errors='replace')[-400:]}")
            time.sleep(0.01)

    def call(self, method, path, body=None):
        """Status and text. Raises Hang past the bound, OSError when nobody is there."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=BOUND_SECONDS)
        try:
            connection.request(method, path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except TimeoutError as error:
            raise Hang(f"{method} {path}") from error
        finally:
            connection.close()

    def json(self, method, path, body=None):
        status, text = self.call(method, path, None if body is None else json.dumps(body))
        return status, strict(text)

    def until(self, what, look):
        deadline = time.monotonic() + BOUND_SECONDS
        while True:
            found = look()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise Hang(what)
            time.sleep(0.02)

    def finished(self, capture_id):
        def look():
            status, capture = self.json("GET", f"/stepscope/v1/captures/{capture_id}")
            if status != 200:
                raise RuntimeError(f"capture {capture_id} is gone: {capture}")
            return capture if capture["state"] in FINAL else None

        return self.until(f"capture {capture_id} to end", look)

    def end(self, number=signal.SIGKILL):
        kill(self.process.pid, signal.SIGCONT)
        kill(self.process.pid, number)
        try:
            return self.process.wait(BOUND_SECONDS)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            raise Hang("the sidecar's end") from error
        finally:
            self.log.close()


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def check_capture(tally, sidecar, manifest):
    """What must hold of every capture, whatever befell it."""
    name = f"capture {manifest['capture_id']}"
    tally.check(manifest["state"] in FINAL, f"{name} is {manifest['state']}")
    if manifest["state"] == "failed":
        tally.check(False, f"{name} failed: {manifest['reason']}")
    own = f"/stepscope/v1/captures/{manifest['capture_id']}"
    status, text = sidecar.call("GET", f"{own}/trace?format=json")
    try:
        tally.check(status == 200 and "traceEvents" in strict(text), f"{name}: trace is {status}")
    except ValueError as error:
        tally.check(False, f"{name}: its trace is not JSON: {error}")
    status, text = sidecar.call("GET", f"{own}/iterations")
    rows = [strict(line) for line in text.splitlines()] if status == 200 else []
    tally.check(status == 200, f"{name}: ledger is {status}")
    for rank in manifest["ranks"]:
        numbers = [r["iteration"] for r in rows if (r["group"], r["rank"]) == (rank["group"], rank["rank"])]
        first, last = rank["first_iteration"], rank["last_iteration"]
        expected = [] if first is None else list(range(first, last + 1))
        who = f"{name} rank {rank['rank']} ({rank['closed_by']})"
        tally.check(numbers == expected, f"{who}: iterations {shown(numbers)} instead of {shown(expected)}")
    if manifest["complete"] is True:
        spans = {(r["group"], r["first_iteration"], r["last_iteration"]) for r in manifest["ranks"]}
        tally.check(len(spans) == len({s[0] for s in spans}), f"{name}: complete, and uneven: {spans}")


def shown(numbers):
    if not numbers:
        return "none"
    holes = [n for n, m in zip(numbers, numbers[1:]) if m != n + 1][:5]
    return f"{numbers[0]}..{numbers[-1]} ({len(numbers)}{f', holes after {holes}' if holes else ''})"
