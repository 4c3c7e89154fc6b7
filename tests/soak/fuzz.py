"""Mutated bodies and mutated segments against a live sidecar with a real engine. See tests/fuzz.sh."""

import fcntl
import http.client
import json
import os
import random
import signal
import struct
import threading
import time

from harness import BOUND_SECONDS, SECONDS, SEED, Engine, Hang, Place, Sidecar, Tally, binary, check_capture

BODIES = 10_000
CLIENTS = 4
# What the clients that exist send, and what our own fields look like.
SEEDS = [
    b"", b"{}", b"null", b"[]",
    b'{"delay_iterations": 1, "max_iterations": 4}',
    b'{"delay_steps": "2", "num_steps": "10", "start_step": null, "activities": ["CPU", "GPU"], "with_stack": false}',
    b'{"output_dir": "/tmp/x", "num_steps": 5, "activities": ["CUDA_PROFILER"], "record_shapes": true}',
    b'{"start_iteration": 1000000, "max_iterations": 1, "profile_prefix": "a.b-c_1"}',
    b'{"profiler": "steps", "job": "fuzz", "ranks": [0, 1], "max_duration_ms": 50, "max_events": 100}',
    b'{"max_bytes": 4096, "max_iterations": 0, "delay_iterations": 3}',
    b'{"model": "m", "prompt": "Once upon a time", "max_tokens": 16, "temperature": 0.0, "stop": ["\\n"]}',
    b'{"messages": [{"role": "user", "content": "caf\\u00e9 \\ud83d\\ude00"}], "n": 1, "logit_bias": {"50256": -100}}',
]
PIECES = [
    b"-1", b"0", b"1e999", b"-0.0", b"18446744073709551615", b"18446744073709551616", b"9" * 400, b"1.5", b"true",
    b"null", b'""', b'"\\u0000"', b'"\\ud800"', b"[" * 300, b"{" * 300, b"NaN", b"Infinity", b'"ranks"', b"\xff\xfe",
    b"\xef\xbb\xbf", b"\x00", b",", b":",
    b'"delay_iterations":', b'"max_iterations":', b'"start_step":', b'"profile_prefix":"../../etc/passwd"', b"A" * 5000,
]
QUERIES = [
    "", "", "", "?max_iterations=3", "?delay_iterations=-1", "?job=fuzz", "?%ff=%fe", "?wait=0.01", "?wait=x",
    "?ranks=0,1", "?a=b&a=c",
]
CLOSED = (BrokenPipeError, ConnectionResetError, http.client.RemoteDisconnected)
KINDS = [None, "application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "\xe9"]


def mutated(dice, seed):
    """A few edits of some bytes."""
    body = bytearray(seed)
    for _ in range(dice.randrange(5)):
        at = dice.randrange(len(body) + 1)
        match dice.randrange(6):
            case 0 if body:
                body[at % len(body)] ^= 1 << dice.randrange(8)
            case 1:
                body[at:at] = dice.choice(PIECES)
            case 2:
                del body[at : at + dice.randrange(1, 20)]
            case 3:
                body[at:at] = body[: dice.randrange(len(body) + 1)]
            case 4:
                del body[at:]
            case _:
                # A number becomes another one, so that the body often stays one that is understood.
                digits = [i for i, b in enumerate(body) if 48 <= b <= 57]
                if digits:
                    i = dice.choice(digits)
                    body[i : i + 1] = dice.choice([b"0", b"1", b"7", b"99", b"-3", b"1e3", b'"5"', b"null"])
    return bytes(body[:100_000])


class Client(threading.Thread):
    """One connection, kept alive, that sends mutated bodies until there have been enough."""

    def __init__(self, number, sidecar, tally, deadline, enough):
        super().__init__(name=f"client {number}")
        self.dice = random.Random(SEED * 1000 + number)
        self.sidecar, self.tally, self.deadline, self.enough = sidecar, tally, deadline, enough
        self.sent, self.statuses, self.connections, self.slowest = 0, {}, 0, 0.0
        self.closed = 0

    def run(self):
        connection, reused = None, False
        while self.sent < self.enough or time.monotonic() < self.deadline:
            path = self.dice.choice(["/start_profile", "/start_profile", "/stop_profile"]) + self.dice.choice(QUERIES)
            body = mutated(self.dice, self.dice.choice(SEEDS))
            kind = self.dice.choice(KINDS)
            headers = {} if kind is None else {"Content-Type": kind}
            chunked = self.dice.randrange(8) == 0
            if connection is None:
                connection = http.client.HTTPConnection(self.sidecar.host, self.sidecar.port, timeout=BOUND_SECONDS)
                self.connections += 1
                reused = False
            began = time.monotonic()
            try:
                if chunked:
                    connection.request("POST", path, iter([body[:7], body[7:]]), headers, encode_chunked=True)
                else:
                    connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                text = answer.read()
            except TimeoutError:
                self.tally.check(False, f"hung: {path} {body[:300]!r}")
                return
            except (OSError, http.client.HTTPException) as error:
                if reused and isinstance(error, CLOSED):
                    # A server may close a connection between two requests; every client tries that on a new one.
                    connection, self.closed = None, self.closed + 1
                    continue
                self.tally.check(False, f"{error!r} to {path} {body[:300]!r}")
                connection = None
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.sent += 1
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            fine = answer.status == 200 or 400 <= answer.status < 500
            self.tally.check(fine, f"{answer.status} to {path} {body[:300]!r}: {text[:300]!r}")
            try:
                shape = json.loads(text)
                self.tally.check(fine and ("state" in shape) != ("error" in shape), f"{path}: {text[:300]!r}")
            except ValueError:
                self.tally.check(False, f"{answer.status} to {path} is not JSON: {text[:300]!r}")
            reused = True
            if answer.will_close:
                connection.close()
                connection = None


class Forgery:
    """A copy of a live segment, changed; some hold the agent's lock, so that a process seems to be behind them."""

    BLOCKS = [(0, 512), (512, 768), (1024, 2048), (4096, 6000), (36_864, 39_744), (53_248, 60_000)]

    def __init__(self, dice, original, folder, number, job=b"forged"):
        content = bytearray(original)
        struct.pack_into("<Q", content, 80, dice.randrange(1 << 64))
        content[112:208] = job.ljust(96, b"\0")
        if dice.randrange(3) == 0:
            content = content[: dice.choice([0, 1, 511, 512, 4096, 100_000, len(content) - 1])]
        self.path = folder / f"forged-{number}.seg"
        made = folder / f".forged-{number}.part"
        self.file = open(made, "w+b", buffering=0)
        self.file.write(content)
        self.dice = dice
        for _ in range(dice.randrange(12)):
            self.scribble()
        if dice.randrange(2):
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        os.rename(made, self.path)

    def scribble(self):
        """Changes some bytes of a block that means something; also while it is mapped."""
        begin, end = self.dice.choice(self.BLOCKS)
        at = self.dice.randrange(begin, end) & ~7
        value = self.dice.choice([0, 1, 2, 3, 7, 1 << 32, (1 << 63) + 1, (1 << 64) - 1, self.dice.randrange(1 << 64)])
        if at + 8 <= os.fstat(self.file.fileno()).st_size:
            os.pwrite(self.file.fileno(), struct.pack("<Q", value), at)

    def cut(self):
        os.ftruncate(self.file.fileno(), self.dice.choice([0, 100, 4096, 40_000]))

    def end(self):
        self.path.unlink(missing_ok=True)
        self.file.close()


def fuzz_bodies(tally, sidecar, seconds):
    deadline = time.monotonic() + seconds
    clients = [Client(n, sidecar, tally, deadline, BODIES // CLIENTS) for n in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    statuses = {}
    for client in clients:
        for status, count in client.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    sent, connections = sum(c.sent for c in clients), sum(c.connections for c in clients)
    closed = sum(c.closed for c in clients)
    slowest = max(c.slowest for c in clients) * 1000
    kinds = dict(sorted(statuses.items()))
    print(f"{sent} bodies over {connections} connections ({closed} closed between requests): {kinds}")
    print(f"the slowest answer took {slowest:.0f} ms")
    tally.check(sent >= BODIES, f"only {sent} bodies were answered")
    tally.check(statuses.get(200, 0) > 100 and statuses.get(400, 0) > 100, f"too much of one kind: {statuses}")


def capture_exactly(tally, sidecar, iterations):
    """The real engine's job alone: exact, whatever lies in the folder beside it."""
    status, answer = sidecar.json("POST", "/start_profile", {"job": "fuzz", "max_iterations": iterations})
    if not tally.check(status == 200, f"start: {status} {answer}"):
        return None
    manifest = sidecar.finished(answer["capture_id"])
    counts = [r["iterations"] for r in manifest["ranks"]]
    whole = manifest["state"] == "done" and manifest["complete"] is True and counts == [iterations] * 2
    tally.check(whole, f"capture beside forgeries: {manifest['state']}, {manifest['missing']}, {counts}")
    return manifest


def lies(sidecar):
    """Ranks beside the engine's own two that say they are of its job."""
    return len([r for r in sidecar.json("GET", "/stepscope/v1/ranks")[1]["ranks"] if r["job"] == "fuzz"]) > 2


def fuzz_segments(tally, sidecar, place, seconds):
    dice, forgeries, made, captures = random.Random(SEED), [], 0, 0
    originals = [p.read_bytes() for p in place.segments.glob("*.seg")]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        while len(forgeries) < 12:
            made += 1
            forgeries.append(Forgery(dice, dice.choice(originals), place.segments, made))
        manifest = capture_exactly(tally, sidecar, dice.choice([1, 20, 200]))
        captures += 1
        if manifest is not None and dice.randrange(4) == 0:
            check_capture(tally, sidecar, manifest)
        # Everything that is attached, forgeries and all: it need not be whole, but it must be answered and must end.
        # Among them for this once are some that pretend to be of the engine's own group.
        made += 2
        liars = [Forgery(dice, dice.choice(originals), place.segments, f"{made}-{n}", b"fuzz") for n in range(2)]
        status, answer = sidecar.json("POST", "/start_profile", {"max_iterations": dice.choice([0, 0, 5])})
        tally.check(status in (200, 400, 503), f"start of all: {status} {answer}")
        for forgery in forgeries + liars:
            forgery.scribble()
        if dice.randrange(3) == 0:
            dice.choice(forgeries + liars).cut()
        status, _ = sidecar.json("POST", "/stop_profile")
        tally.check(status == 200, f"stop of all: {status}")
        if "capture_id" in answer:
            manifest = sidecar.finished(answer["capture_id"])
            status, text = sidecar.call("GET", f"/stepscope/v1/captures/{manifest['capture_id']}/trace?format=json")
            tally.check(status == 200 and json.loads(text), f"trace of all: {status}")
        for path in ("/stepscope/v1/status", "/metrics", "/healthz"):
            status, _ = sidecar.call("GET", path)
            tally.check(status == 200, f"{path}: {status}")
        for forgery in liars:
            forgery.end()
        for forgery in dice.sample(forgeries, 4):
            forgery.end()
            forgeries.remove(forgery)
        sidecar.until("the liars to be let go", lambda: None if lies(sidecar) else True)
    for forgery in forgeries:
        forgery.end()
    print(f"{made} forged segments beside {captures} captures of the real engine")


def main():
    print(f"seed {SEED}, {SECONDS:.0f} s")
    tally, place, program = Tally(), Place("fuzz"), binary()
    place.environment["STEPSCOPE_SEGMENT_BYTES"] = str(256 << 10)
    engine = Engine(program, place, "--ranks", "2", "--step-us", "1000", "--job", "fuzz")
    sidecar = Sidecar(program, place, "--retention-max-captures", "50", "--lease-ms", "2000")
    try:
        def attached():
            return True if len(sidecar.json("GET", "/stepscope/v1/ranks")[1]["ranks"]) == 2 else None

        def idle():
            return True if sidecar.json("GET", "/stepscope/v1/status")[1]["state"] == "idle" else None

        sidecar.until("the engine to attach", attached)
        fuzz_bodies(tally, sidecar, SECONDS / 2)
        sidecar.json("POST", "/stop_profile")
        sidecar.until("quiet", idle)
        capture_exactly(tally, sidecar, 50)
        fuzz_segments(tally, sidecar, place, SECONDS / 2)
        capture_exactly(tally, sidecar, 50)
        panics = (place.path / "sidecar.log").read_text(errors="replace").count("panicked")
        tally.check(panics == 0, f"{panics} panics in {place.path}/sidecar.log")
        tally.check(len(engine.ranks()) == 2, "the engine lost a rank")
        tally.check(sidecar.end(signal.SIGTERM) == 0, "the sidecar did not end in order")
        sidecar = None
    except (Hang, OSError) as error:
        tally.check(False, f"hung or gone: {error!r}")
    finally:
        engine.end()
        if sidecar is not None:
            sidecar.end()
        place.end(keep=tally.failed > 0)
    tally.end()


if __name__ == "__main__":
    main()
