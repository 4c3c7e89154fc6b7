"""Slices windows out of the simulated engine under the real nsys, through `stepscope nsys --run`, and reads the reports
with nsys's own exporter: one range `capture` per report, exactly the window's iterations per rank, named as the ledger
has them, and matched to the right capture. The engine makes iterations only as told, so that nothing depends on time.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

DELAY, COUNT = 100, 4
# nsys begins with the process that asks for it, and tells the others of its session: they are heard some iterations later.
LEAD = 90
PATIENCE = 60


def eventually(what, look):
    """What `look` finds, once it finds something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.02)
    return found


class NsysFailed(Exception):
    """nsys itself did not come up."""


def bench(*arguments, **options):
    """A Bench. On a busy machine nsys 2022.4 now and then does not find its own agent, before it starts anything."""
    for attempt in range(5):
        made = Bench()
        try:
            made.start(*arguments, attempt=attempt, **options)
            return made
        except NsysFailed as error:
            made.close()
            print(f"nsys did not start, once more: {error}")
        except BaseException:
            made.close()
            raise
    raise SystemExit("nsys does not start")


class Bench:
    """A sidecar, and an engine below `stepscope nsys --run`."""

    nsys = sidecar = None

    def start(self, stepscope, work, ranks, engine=None, before=(), between=(), captures=3, line=None, attempt=0):
        self.stepscope, self.work, self.ranks = stepscope, work / str(attempt), ranks
        work = self.work
        work.mkdir(parents=True)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("STEPSCOPE_")}
        self.environment["STEPSCOPE_DIR"] = str(work / "segments")
        self.log = open(work / "serve.log", "w+")
        self.sidecar = subprocess.Popen(
            [stepscope, "serve", "--listen", "127.0.0.1:0", "--data", work / "data", "--start-rate-per-second", "0"],
            stderr=self.log, env=self.environment)
        self.url = eventually("the sidecar", self.listening)
        self.environment["STEPSCOPE_URL"] = self.url
        self.out = open(work / "nsys.log", "w+")
        self.paced = engine is None
        engine = engine or [stepscope, "engine", "--paced", "--iterations", "0", "--step-us", "2000", "--ranks", str(ranks)]
        line = line or [*before, stepscope, "nsys", "--run", "--capture-range", "nvtx", "--captures", str(captures),
                        "-o", "report", "--", *between]
        self.nsys = subprocess.Popen(
            [*line, *engine], cwd=work,
            stdin=subprocess.PIPE, stdout=self.out, stderr=self.out, text=True, env=self.environment)
        eventually(f"{ranks} ranks", self.attached)

    def listening(self):
        found = re.search(r"listening on (http://[^ \n]*)", (self.work / "serve.log").read_text())
        return found and found[1]

    def attached(self):
        if self.nsys.poll() is not None:
            text = (self.work / "nsys.log").read_text()
            its_own = next((words for words in ("sem_open", "Connection to the Agent lost", "End of file") if words in text), None)
            raise NsysFailed(its_own) if its_own else SystemExit(f"nsys ended:\n{text}")
        return len(self.get("/stepscope/v1/status")["ranks"]) == self.ranks

    def get(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.url + path, data, timeout=PATIENCE) as reply:
            text = reply.read().decode()
        return [json.loads(line) for line in text.splitlines()] if path.endswith("iterations") else json.loads(text)

    def capture(self):
        """One capture of COUNT iterations. nsys is ready for the next one when a range has ended: its end waits for it."""
        started = self.get("/start_profile", {"delay_iterations": DELAY, "max_iterations": COUNT, "lead_iterations": LEAD})
        if self.paced:
            self.nsys.stdin.write(f"{DELAY + COUNT + 20}\n")
            self.nsys.stdin.flush()
        path = f"/stepscope/v1/captures/{started['capture_id']}"
        capture = eventually("the capture", lambda: (c := self.get(path))["state"] in ("done", "failed") and c)
        assert capture["complete"] is True, capture
        return capture

    def end(self):
        self.nsys.stdin.close()
        code = self.nsys.wait(PATIENCE)
        assert code == 0, f"{code}\n{(self.work / 'nsys.log').read_text()}"
        return (self.work / "nsys.log").read_text()

    def matched(self):
        """What `stepscope reports` says, while the sidecar is there."""
        done = subprocess.run([self.stepscope, "reports", "--json", self.work / "report"], env=self.environment,
                              stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout)

    def doctor(self):
        """What doctor says of nsys."""
        done = subprocess.run([self.stepscope, "doctor", "--json", "--python", "/nonexistent"], env=self.environment,
                              stdout=subprocess.PIPE)
        return [f for f in json.loads(done.stdout)["findings"] if f["about"] == "nsys"]

    def close(self):
        running = [process for process in (self.nsys, self.sidecar) if process]
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            sys.stderr.write((self.work / "nsys.log").read_text() + (self.work / "serve.log").read_text())
        self.close()


def check(bench, captures, reports):
    """Report by report: the capture it is matched to, and every iteration with its name."""
    assert len(reports) == len(captures), reports
    for capture, report in zip(captures, reports):
        found = [(c["capture_id"], c["sure"]) for c in report["captures"]]
        assert found == [(capture["capture_id"], "certain")], (report, capture["capture_id"])
        assert sum(p["capture_ranges"] for p in report["processes"]) == 1, report
        ledger = bench.get(f"/stepscope/v1/captures/{capture['capture_id']}/iterations")
        assert len(capture["ranks"]) == bench.ranks
        for rank in capture["ranks"]:
            rows = [row for row in ledger if row["rank"] == rank["rank"]]
            wanted = [{"iteration": r["iteration"], "name": name(r)} for r in rows]
            seen = [p["iterations"] for p in report["processes"] if p["pid"] == rank["pid"]]
            assert len(wanted) == COUNT and seen == [wanted], (seen, wanted)


def doctored(stepscope, work):
    """`doctor` beside an engine below an nsys that will not capture a thing, and the line that it prints instead."""
    wrong = ["nsys", "profile", "-t", "osrt", "-s", "none", "--cpuctxsw=none", "-c", "nvtx", "-p", "step@engine",
             "-o", "report", "-f", "true"]
    with bench(stepscope, work / "wrong", 2, line=wrong) as run:
        findings = run.doctor()
        bad = [f for f in findings if f["level"] == "bad"]
        assert len(bad) == 3, findings
        for word in ("--trace=osrt has no nvtx", "ours is capture@stepscope", "ended with its first capture"):
            assert any(word in f["what"] for f in bad), (word, bad)
        mended = {f["mend"] for f in bad}
        assert len(mended) == 1, mended
        mended = shlex.split(mended.pop().removeprefix("restart the engine with: "))
        run.end()
    with bench(stepscope, work / "mended", 2, line=mended[:mended.index(str(stepscope))]) as run:
        findings = run.doctor()
        assert [f["level"] for f in findings] == ["ok"], findings
        captures = [run.capture(), run.capture()]
        run.end()
        check(run, captures, run.matched())
    print("ok: doctor names what nsys will not capture, and the line that it prints captures")


def nested(stepscope, work, emitter, library):
    """An engine that emits NVTX and knows nothing of us, counted by its ranges: `exec` around nsys, and inside it."""
    # Until its standard input ends.
    engine = [emitter, "text", "0", "2000"]
    wrapped = [stepscope, "exec", "--library", library, "--nvtx-step", "step", "--"]
    for how, options in (("exec around nsys", {"before": wrapped}), ("exec inside nsys", {"between": wrapped})):
        with bench(stepscope, work / how.replace(" ", "-"), 1, engine=engine, captures=2, **options) as run:
            captures = [run.capture(), run.capture()]
            run.end()
            check(run, captures, run.matched())
        print(f"ok: {how}: the engine's NVTX ranges are iterations, and nsys makes a report of each window")


def name(row):
    if row["context_requests"] is None:  # an engine that does not tell its batches
        return "iteration"
    return (f"execute_context_{row['context_requests']}({row['context_tokens']})"
            f"_generation_{row['generation_requests']}({row['generation_tokens']})")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stepscope", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--emitter", type=Path, required=True, help="tests/fakes/nvtx_emitter.c, built")
    parser.add_argument("--library", type=Path, required=True, help="the agent library")
    arguments = parser.parse_args()
    stepscope, work = arguments.stepscope.resolve(), arguments.work

    for ranks in (1, 2):
        for count in (1, 3):
            with bench(stepscope, work / f"{ranks}-{count}", ranks, captures=count) as run:
                captures = [run.capture() for _ in range(count)]
                said = run.end()
                check(run, captures, run.matched())
                for capture in captures:
                    assert capture["capture_id"] in said, said
            print(f"ok: {ranks} ranks, {count} captures: {count} reports with {COUNT} iterations per rank")

    with bench(stepscope, work / "fewer", 1, captures=1) as run:
        kept = run.capture()
        lost = run.get("/start_profile", {"max_iterations": COUNT})["capture_id"]
        run.nsys.stdin.write("20\n")
        run.nsys.stdin.flush()
        eventually("the capture", lambda: run.get(f"/stepscope/v1/captures/{lost}")["state"] == "done")
        said = run.end()
        check(run, [kept], run.matched())
        assert f"capture {lost} is in no report" in said, said
    print("ok: a capture that nsys did not wait for is said to be in no report")

    with bench(stepscope, work / "signal", 1) as run:
        capture = run.capture()
        run.nsys.send_signal(signal.SIGTERM)
        code = run.nsys.wait(PATIENCE)
        check(run, [capture], run.matched())
    print(f"ok: SIGTERM is passed on (nsys left with {code}), and the report stays")

    doctored(stepscope, work)
    nested(stepscope, work, arguments.emitter.resolve(), arguments.library.resolve())


main()
