"""Real processes: the sidecar, engines under a tool, and what they say. Everything ends with its handle."""

import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

#: Long enough for a device that starts cold and an import of PyTorch; nothing waits this long unless it is broken.
PATIENCE = 180


class NotSeen(Exception):
    """This machine lacks what the row needs."""


class Short(Exception):
    """What was seen is not what was wanted."""


class Fallen(Short):
    """A process ended before it stepped."""


def eventually(what, look, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Short(f"waited {patience} s in vain for {what}")
        time.sleep(0.01)


class Place:
    """A folder for one row: segments, captures, logs, what the tool wrote."""

    def __init__(self, out, name):
        self.path = os.path.join(out, name)
        os.makedirs(self.path, mode=0o700)
        self.segments = tempfile.mkdtemp(prefix="stepscope-gpu-", dir="/dev/shm")

    def file(self, name):
        return os.path.join(self.path, name)

    def close(self):
        for name in os.listdir(self.segments):
            os.unlink(os.path.join(self.segments, name))
        os.rmdir(self.segments)


class Engine:
    """A process under a tool. ``ready`` on its standard output says that it steps."""

    def __init__(self, place, name, command, environment):
        self.name, self.log = name, place.file(f"{name}.log")
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment, text=True
            )

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def ready(self):
        def look():
            code = self.process.poll()
            if code == 77:
                raise NotSeen(self.last_line())
            if code is not None and "ready" not in self.said():
                raise Fallen(f"{self.name} ended with {code}: {self.last_line()}")
            return re.search(r"^ready$", self.said(), re.MULTILINE)

        eventually(f"{self.name} to be ready", look)

    def last_line(self):
        """The engine's own, if it said any: a tool speaks last."""
        lines = [line.strip() for line in self.said().splitlines() if line.strip()]
        own = [line for line in lines if line.startswith(("cuda_engine:", "torch "))]
        return (own or lines or ["it said nothing"])[-1]

    def make(self, iterations):
        self.process.stdin.write(f"{iterations}\n")
        self.process.stdin.flush()

    def end(self):
        """In order: standard input is closed. Gives its exit code."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Short(f"{self.name} did not end when its standard input was closed") from None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Sidecar:
    def __init__(self, place, command):
        self.log = place.file("sidecar.log")
        environment = {**clean_environment(), "STEPSCOPE_DIR": place.segments}
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [command, "serve", "--listen", "127.0.0.1:0", "--data", place.file("data")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self.url = eventually("the sidecar", self._address)

    def _address(self):
        if self.process.poll() is not None:
            raise Short(f"the sidecar ended, see {self.log}")
        with open(self.log, encoding="utf-8") as log:
            found = re.search(r"listening on (http://\S+)\n", log.read())
        return found and found.group(1)

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data=data), timeout=60) as reply:
                return reply.read().decode()
        except urllib.error.HTTPError as error:
            raise Short(f"{path} answered {error.code}: {error.read().decode()}") from None

    def status(self):
        return json.loads(self.ask("/stepscope/v1/status"))

    def attached(self, ranks):
        def look():
            there = self.status()["ranks"]
            return len(there) >= ranks and there

        return eventually(f"{ranks} ranks to attach", look)

    def start(self, **body):
        body.setdefault("profiler", "cuda")
        return json.loads(self.ask("/start_profile", body))["capture_id"]

    def capture(self, capture_id):
        return json.loads(self.ask(f"/stepscope/v1/captures/{capture_id}"))

    def in_state(self, capture_id, state):
        eventually(f"the capture to be {state}", lambda: self.capture(capture_id)["state"] == state)

    def finished(self, capture_id):
        """The manifest, and each rank's rows of the ledger."""

        def look():
            capture = self.capture(capture_id)
            return capture["state"] in ("done", "failed", "cancelled") and capture

        capture = eventually("the capture to be over", look)
        if capture["state"] != "done":
            raise Short(f"the capture is {capture['state']}: {capture['reason'] or capture['missing']}")
        rows = [json.loads(line) for line in self.ask(f"/stepscope/v1/captures/{capture_id}/iterations").splitlines()]
        return capture, rows

    def window(self, **body):
        return self.finished(self.start(**body))

    def stop(self):
        self.ask("/stop_profile", {})

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Lab:
    """What a row works with: ``with lab.place("name") as bench``."""

    def __init__(self, binaries, out, tool, driver=None):
        self.binaries, self.out, self.tool, self.driver = binaries, out, tool, driver

    def binary(self, name):
        path = os.path.join(self.binaries, name)
        if not os.path.exists(path):
            raise NotSeen(f"there is no {name} in {self.binaries}")
        return path

    def environment(self, **more):
        environment = {**clean_environment(), **more}
        if self.driver:
            environment["LD_LIBRARY_PATH"] = self.driver
            environment["STEPSCOPE_TEST_GPU"] = os.environ.get("STEPSCOPE_TEST_GPU", "")
        return environment

    @contextlib.contextmanager
    def bench(self, name):
        place = Place(self.out, name)
        with contextlib.ExitStack() as stack:
            stack.callback(place.close)
            bench = Bench(self, place)
            stack.callback(bench.close)
            yield bench


class Bench:
    """One sidecar, and engines under the tool."""

    def __init__(self, lab, place):
        self.lab, self.place, self.engines, self.ranks = lab, place, [], 0
        self.sidecar = Sidecar(place, lab.binary("stepscope"))

    def engine(self, *arguments, name="engine", ranks=1, session=None, environment=None, command=None, bare=False):
        """Starts one of as many ranks, and waits until it steps. ``session``: tools of one name are one session. ``bare``:
        without a tool."""
        command = command or [self.lab.binary("cuda_engine"), *map(str, arguments)]
        variables = {**self.lab.environment(STEPSCOPE_DIR=self.place.segments, STEPSCOPE_JOB="gpu"), **(environment or {})}
        if not bare:
            command, variables = self.lab.tool.wrap(self.place, name, command, variables, session)
        for attempts_left in (4, 3, 2, 1, 0):
            engine = Engine(self.place, name, command, variables)
            self.engines.append(engine)
            try:
                engine.ready()
                break
            except Fallen:
                # nsys now and then does not find its own agent, before it starts anything.
                if not attempts_left or self.lab.tool.name != "nsys":
                    raise
                self.engines.remove(engine)
                self.lab.tool.end(engine.process.pid)
        self.ranks += ranks
        self.sidecar.attached(self.ranks)
        return engine

    def report(self):
        """Ends the engines in order, and reads what the tool saw."""
        for engine in self.engines:
            code = engine.end()
            if code:
                raise Short(f"{engine.name} ended with {code}: {engine.last_line()}")
        return self.lab.tool.report(self.place, [engine.name for engine in self.engines])

    def close(self):
        for engine in self.engines:
            engine.kill()
            if self.lab.tool:
                self.lab.tool.end(engine.process.pid)
        self.sidecar.end()


def clean_environment():
    """Ours, without what would make a difference."""
    dropped = ("STEPSCOPE_", "NVTX_", "CUDA_INJECTION", "NSYS_", "KINETO_", "RANK", "LOCAL_RANK", "WORLD_SIZE")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def microseconds(calls):
    """What calls cost, from the manifests of several captures."""
    times = sorted(call["duration_ns"] / 1000 for call in calls)
    middle = statistics.median(times)
    return f"{middle:.0f} µs" + (f" (to {times[-1]:.0f})" if len(times) > 1 else "")
