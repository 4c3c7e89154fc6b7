"""What is looked at: a function per row, which gives what it saw, or raises ``Short`` or ``NotSeen``."""

import csv
import io
import json
import os
import statistics
import subprocess
import sys
import time

from lab import NotSeen, Short, eventually, microseconds

#: Kernels of an iteration, and their length: long beside what a launch costs.
LAUNCHES, KERNEL_US = 4, 500
SPINS = ("--launches", LAUNCHES, "--kernel-us", KERNEL_US)
#: How far off ``device_ns`` may be.
TOLERANCE = 0.05

ROWS = []


def row(name, wanted, *needs):
    """``needs``: ``device`` (a real one), ``torch``, ``no tool``."""

    def keep(function):
        ROWS.append((name, wanted, needs, function))
        return function

    return keep


def expect(true, otherwise):
    if not true:
        raise Short(otherwise)


def whole(capture, iterations=None):
    expect(capture["complete"] is True, f"complete is {capture['complete']}: {capture['missing']} {capture['warnings']}")
    for rank in capture["ranks"]:
        expect(iterations in (None, rank["iterations"]), f"{rank['iterations']} iterations instead of {iterations}")


def exactly(report, first, last, process=None, launches=LAUNCHES):
    """The kernels of these iterations and no others."""
    found = {iteration: len(kernels) for iteration, kernels in report.by_iteration(first, process).items()}
    wanted = {iteration: launches for iteration in range(first, last + 1)}
    missing = {i: n - found.get(i, 0) for i, n in wanted.items() if found.get(i, 0) < n}
    foreign = {i: n - wanted.get(i, 0) for i, n in found.items() if n > wanted.get(i, 0)}
    expect(not missing and not foreign, f"missing (iteration: kernels) {missing}, foreign {foreign}, first {first}, last {last}")
    return f"{sum(found.values())} kernels, those of iterations {first} to {last}"


@row("driver", "doctor names a driver and a device; cuInit answers 0", "no tool")
def driver(lab):
    done = subprocess.run(
        [lab.binary("stepscope"), "doctor", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=lab.environment(),
    )
    findings = [f for f in json.loads(done.stdout)["findings"] if f["about"] == "cuda"]
    if not findings:
        raise NotSeen("this doctor does not look at the CUDA driver")
    said = "; ".join(f["what"] for f in findings)
    expect(all(f["level"] == "ok" for f in findings), said)
    if "cuInit answered 0 " not in said:
        raise NotSeen(said)
    return said


@row("kernels, lead 0", "those of exactly the window's iterations, none of others, none missing")
def kernels_lead_0(lab):
    return window(lab, "lead-0", dict(lead_iterations=0), "--ahead", 2)


@row("kernels, lead 1", "the same, and those of the one iteration that the start-up takes")
def kernels_lead_1(lab):
    return window(lab, "lead-1", dict(lead_iterations=1), "--ahead", 2)


@row("kernels, 3 streams", "the same with work on several streams")
def kernels_streams(lab):
    return window(lab, "streams", dict(lead_iterations=1), "--ahead", 2, "--streams", 3)


@row("kernels, CUDA graph", "the same with each iteration's kernels in a graph")
def kernels_graph(lab):
    return window(lab, "graph", dict(lead_iterations=1), "--ahead", 1, "--graph")


@row("kernels, graph made before", "as many as the iterations have, of a graph that is older than the window")
def kernels_replayed(lab):
    with lab.bench("replay") as bench:
        bench.engine(*SPINS, "--ahead", 1, "--replay")
        capture, _ = bench.sidecar.window(delay_iterations=20, max_iterations=6)
        whole(capture, 6)
        rank = capture["ranks"][0]
        wanted = (rank["last_iteration"] - rank["profiler"]["start_iteration"] + 1) * LAUNCHES
        seen = len(bench.report().spins())
        expect(seen == wanted, f"{seen} kernels instead of {wanted}")
        return f"{seen} kernels of {wanted // LAUNCHES} iterations"


def window(lab, name, body, *engine):
    with lab.bench(name) as bench:
        bench.engine(*SPINS, *engine)
        capture, _ = bench.sidecar.window(delay_iterations=20, max_iterations=6, **body)
        whole(capture, 6)
        rank = capture["ranks"][0]
        report = bench.report()
        first = rank["profiler"]["start_iteration"]
        expect(first == rank["first_iteration"] - body["lead_iterations"], f"started before {first}")
        return exactly(report, first, rank["last_iteration"])


@row("ranges", "M iterations are M NVTX ranges, within one range `capture`")
def ranges(lab):
    with lab.bench("ranges") as bench:
        bench.engine(*SPINS, "--ahead", 2)
        capture, _ = bench.sidecar.window(delay_iterations=10, max_iterations=7)
        whole(capture, 7)
        report = bench.report()
        rank = capture["ranks"][0]
        wanted = list(range(rank["first_iteration"], rank["last_iteration"] + 1))
        expect(report.steps() == wanted, f"payloads {report.steps()} instead of {wanted}")
        named = {text for _, text, domain, _ in report.ranges if domain == "stepscope"}
        expect(named == {f"execute_context_0(0)_generation_{LAUNCHES}({LAUNCHES})"}, f"named {named}")
        around = [text for _, text, domain, _ in report.captures if domain == "stepscope"]
        expect(around == ["capture"], f"around them {around}")
        return f"{len(wanted)} ranges, payloads {wanted[0]} to {wanted[-1]}, in one capture"


@row("device_ns", "within 5 % of the tool's own times: the median, since a host that is late is time on the device too")
def device_ns(lab):
    # Long ones, beside what the host takes to see that they are done.
    return times(lab, "device-ns", "--kernel-us", 4 * KERNEL_US)


@row("device_ns, run-ahead", "the same for every iteration, while the host runs two ahead of the device")
def device_ns_ahead(lab):
    return times(lab, "device-ns-ahead", "--ahead", 2)


@row("device_ns, CUDA graph", "the same with each iteration's kernels in a graph")
def device_ns_graph(lab):
    return times(lab, "device-ns-graph", "--ahead", 2, "--graph")


def times(lab, name, *engine):
    with lab.bench(name) as bench:
        bench.engine(*SPINS, *engine)
        capture, rows = bench.sidecar.window(delay_iterations=10, max_iterations=8)
        whole(capture, 8)
        missed = capture["ranks"][0]["profiler"]["device_times_missed"]
        expect(missed == 0, f"{missed} iterations without a time on the device")
        report = bench.report()
        kernels = report.by_iteration(capture["ranks"][0]["first_iteration"])
        spans = {i: (min(k["start"] for k in ks), max(k["end"] for k in ks)) for i, ks in kernels.items()}
        # A stand-in's host is late when this machine is busy.
        return compare(rows, spans, every="--ahead" in engine and not lab.driver)


def compare(rows, spans, every):
    """The ledger's times beside the tool's, by iteration."""
    off = {}
    for row in rows:
        begin, end = spans.get(row["iteration"], (0, 0))
        expect(end > begin, f"the tool saw no kernels of iteration {row['iteration']}")
        expect(row["device_ns"], f"iteration {row['iteration']} has no device_ns")
        off[row["iteration"]] = row["device_ns"] / (end - begin) - 1
    worst, middle = max(off.values(), key=abs), statistics.median(off.values())
    lengths = statistics.median(row["device_ns"] for row in rows) / 1e6
    said = f"{middle:+.1%} off (median), at most {worst:+.1%}, over {len(off)} iterations of {lengths:.2f} ms"
    expect(abs(worst if every else middle) <= TOLERANCE, said)
    return said


@row("synchronize end", "all kernels of the window; those of others are counted")
def synchronize_end(lab):
    return loose(lab, "synchronize-end", "end")


@row("synchronize none", "nothing is waited for; what is missing and foreign is counted")
def synchronize_none(lab):
    return loose(lab, "synchronize-none", "none")


def loose(lab, name, synchronize):
    with lab.bench(name) as bench:
        bench.engine(*SPINS, "--ahead", 4)
        capture, _ = bench.sidecar.window(delay_iterations=20, max_iterations=6, synchronize=synchronize, lead_iterations=0)
        whole(capture, 6)
        rank = capture["ranks"][0]
        calls = rank["profiler"]
        expect(calls["synchronize_open"] is None, "the device was waited for at the beginning")
        expect((calls["synchronize_close"] is None) == (synchronize == "none"), "waited at the end, or not, against the word")
        inside = range(rank["first_iteration"], rank["last_iteration"] + 1)
        found = {i: len(kernels) for i, kernels in bench.report().by_iteration(inside[0]).items()}
        missing = sum(LAUNCHES - found.get(i, 0) for i in inside)
        foreign = sum(n for i, n in found.items() if i not in inside)
        said = f"{missing} of {6 * LAUNCHES} kernels missing, {foreign} of other iterations"
        expect(synchronize == "none" or missing == 0, said)
        return said


@row("what calls cost", "every call answers 0; the time each held the engine's thread")
def cost(lab):
    rounds = 5 if lab.tool.several else 1
    with lab.bench("cost") as bench:
        bench.engine(*SPINS, "--ahead", 2)
        ranks = []
        for _ in range(rounds):
            capture, _ = bench.sidecar.window(max_iterations=4)
            whole(capture, 4)
            ranks.append(capture["ranks"][0])
        said = []
        for name in ("start", "stop", "synchronize_open", "synchronize_close"):
            calls = [rank["profiler"][name] for rank in ranks]
            expect(all(call and call["code"] == 0 for call in calls), f"{name}: {calls}")
            said.append(f"{name} {microseconds(calls[:1])} first" + (f", then {microseconds(calls[1:])}" if calls[1:] else ""))
        return f"with {lab.tool.name}: " + "; ".join(said)


@row("thread without context", "the window is whole and says `no_context`; what the calls answered")
def without_context(lab):
    with lab.bench("without-context") as bench:
        engine = bench.engine(*SPINS, "--without-context")
        identity = bench.sidecar.start(max_iterations=4, delay_iterations=10)
        capture, _ = bench.sidecar.finished(identity)
        rank = capture["ranks"][0]
        expect(rank["iterations"] == 4, f"{rank['iterations']} iterations: {capture['missing']}")
        profiler = rank["profiler"]
        expect(profiler["no_context"], f"no_context is not said: {profiler}")
        expect(engine.process.poll() is None, f"the engine ended: {engine.last_line()}")
        said = [f"{name} {(profiler[name] or {}).get('name')}" for name in ("start", "stop", "synchronize_close")]
        found = bench.report().by_iteration(rank["first_iteration"])
        inside = sum(len(found.get(i, ())) for i in range(rank["first_iteration"], rank["last_iteration"] + 1))
        return f"{', '.join(said)}; {inside} of {4 * LAUNCHES} kernels seen; complete {capture['complete']}"


@row("idle engine", "the helper stops the profiler in the engine's context; all kernels are there")
def idle(lab):
    with lab.bench("idle") as bench:
        engine = bench.engine(*SPINS, "--paced")
        identity = bench.sidecar.start(lead_iterations=0)
        engine.make(8)
        bench.sidecar.in_state(identity, "recording")
        eventually("8 iterations", lambda: bench.sidecar.status()["ranks"][0]["ended"] >= 8)
        time.sleep(0.2)  # the last one's kernels: nothing waits for them when the helper stops
        bench.sidecar.stop()
        capture, _ = bench.sidecar.finished(identity)
        rank = capture["ranks"][0]
        profiler = rank["profiler"]
        expect(profiler["stopped_by"] == "helper", f"stopped by {profiler['stopped_by']}")
        expect(profiler["stop"] and profiler["stop"]["code"] == 0, f"cuProfilerStop: {profiler['stop']}")
        whole(capture)
        seen = exactly(bench.report(), rank["first_iteration"], rank["last_iteration"])
        return f"{seen}; stop took {microseconds([profiler['stop']])}"


@row("2 processes, leader", "one of a session makes the calls; its kernels are all there, those until all are through counted")
def leader(lab):
    with lab.bench("leader") as bench:
        bench.engine("--ranks", 2, *SPINS, "--ahead", 1, ranks=2, session="one")
        # An nsys hears the other processes of its session some iterations after the one that asked.
        lead = 90 if lab.tool.name == "nsys" else 0
        ranks, report, (first, last) = two(bench, "leader", lead)
        ((leading, other),) = [(a, b) for a, b in (ranks, ranks[::-1]) if a["profiler"]["leader"]]
        expect(not other["profiler"]["leader"], "two leaders")
        # It stops once every rank of the session is through, which the sidecar tells it.
        found = report.by_iteration(first, leading["pid"])
        beyond = max([*found, last]) - last
        expect(beyond <= 20, f"{beyond} iterations beyond the window")
        seen = exactly(report, first - lead, last + beyond, leading["pid"]) + f", {beyond} of them beyond the window"
        found = report.by_iteration(first, other["pid"])
        if lab.tool.name == "nsys":
            inside = sum(len(found.get(i, ())) for i in range(first, last + 1))
            expect(inside == 5 * LAUNCHES, f"{inside} of {5 * LAUNCHES} kernels of the other rank")
            # The two are in step but for the iteration that either has begun.
            return f"{seen}; {sum(map(len, found.values()))} of the other rank, of {min(found)} to {max(found)}"
        expect(report.calls == [leading["pid"]] and not found, f"cuProfilerStart in processes {report.calls}")
        return f"{seen}; the other rank made no call"


@row("2 processes, all", "each makes its own calls, and has exactly its window's kernels")
def every_rank(lab):
    with lab.bench("all") as bench:
        for rank in (0, 1):
            one = ("--rank", rank, "--world-size", 2)
            bench.engine(*one, *SPINS, "--ahead", 1, name=f"rank{rank}", session="one")
        ranks, report, (first, last) = two(bench, "all", 0)
        expect(all(rank["profiler"]["leader"] for rank in ranks), "not both lead")
        return "; ".join(exactly(report, first, last, rank["pid"]) for rank in ranks)


def two(bench, cuda_ranks, lead):
    capture, _ = bench.sidecar.window(
        delay_iterations=100, max_iterations=5, cuda_ranks=cuda_ranks, lead_iterations=lead
    )
    whole(capture, 5)
    windows = {(rank["first_iteration"], rank["last_iteration"]) for rank in capture["ranks"]}
    expect(len(capture["ranks"]) == 2 and len(windows) == 1, f"windows {windows}")
    report = bench.report()
    for rank in capture["ranks"]:
        steps = report.steps(rank["pid"])
        expect(len(steps) == 5, f"{len(steps)} ranges of rank {rank['rank']}: {steps}")
    return capture["ranks"], report, windows.pop()


#: By nvidia-smi's name: ours, what ours is multiplied with, and how far off it may be, of nvidia-smi's value or at least.
COUNTERS = {
    "memory.used": ("memory_used_bytes", 2**-20, 0.0, 64),
    "temperature.gpu": ("temperature_celsius", 1, 0.0, 5),
    "power.draw": ("power_watts", 1, 0.25, 20),
}


@row("NVML", "counters as nvidia-smi has them: memory within 64 MiB, temperature within 5 °C, power within 25 %", "device", "no tool")
def nvml(lab):
    with lab.bench("nvml") as bench:
        bench.engine(*SPINS, "--ahead", 2, bare=True)
        status = bench.sidecar.status()
        if "gpus" not in status:
            raise NotSeen("not built: `status` has no `gpus`")
        if not status["gpus"]:
            raise Short(f"no GPU in `status`: {status.get('gpus_absent')}")
        time.sleep(2)  # a second of samples
        smi = subprocess.run(
            ["nvidia-smi", f"--query-gpu=index,{','.join(COUNTERS)}", "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        expect(smi.returncode == 0, f"nvidia-smi ended with {smi.returncode}: {smi.stdout.strip()[-200:]}")
        theirs = [[cell.strip() for cell in line] for line in csv.reader(io.StringIO(smi.stdout)) if line]
        return beside(bench.sidecar.status()["gpus"], {int(line[0]): dict(zip(COUNTERS, line[1:])) for line in theirs})


def beside(ours, theirs):
    """Our GPUs' values beside nvidia-smi's of the same index."""
    said = []
    for gpu in ours:
        if gpu.get("mig") is not None:
            continue
        for name, (key, factor, part, least) in COUNTERS.items():
            value, other = gpu["values"].get(key), theirs.get(gpu["index"], {}).get(name, "")
            if value is None or not other.replace(".", "").isdigit():
                said.append(f"{key} not there ({value}, {other})")
                continue
            value, other = value * factor, float(other)
            said.append(f"{key} {value:.0f}, nvidia-smi {other:.0f}")
            expect(abs(value - other) <= max(least, part * other), said[-1])
    expect(any("nvidia-smi" in word for word in said), f"nothing to compare: {said or ours}")
    return "; ".join(said)


@row("PyTorch, NVTX injected", "its own NVTX ranges are counted: exactly M, and exactly their kernels", "torch")
def torch_nvtx(lab):
    with lab.bench("torch-nvtx") as bench:
        library = lab.binary("libstepscope.so")
        injected = {"NVTX_INJECTION64_PATH": library, "STEPSCOPE_NVTX_STEP": "step_*"}
        if lab.tool.name == "nsys":
            raise NotSeen("nsys is the injection library there: run this row with --tool cupti")
        injected["STEPSCOPE_NVTX_NEXT"] = lab.tool.listener
        bench.engine(command=torch_engine("--nvtx"), environment=injected)
        capture, rows = bench.sidecar.window(delay_iterations=10, max_iterations=6)
        whole(capture, 6)
        report = bench.report()
        rank = capture["ranks"][0]
        seen = torch_kernels(report)
        wanted = (rank["last_iteration"] - rank["profiler"]["start_iteration"] + 1) * TORCH_KERNELS
        expect(len(seen) == wanted, f"{len(seen)} kernels instead of {wanted}")
        own = [text for _, text, domain, _ in report.ranges if domain == "default" and text.startswith("step_")]
        expect(len(own) >= 6, f"the tool behind us saw {len(own)} ranges of the engine's own")
        return f"{len(rows)} iterations, {len(seen)} kernels; the tool behind us saw {len(own)} ranges of PyTorch's"


@row("PyTorch, STEPSCOPE_STEP", "device_ns of each iteration within 5 % of the tool's times", "torch")
def torch_step(lab):
    package = subprocess.run([sys.executable, "-c", "import stepscope._stepscope"], capture_output=True, check=False)
    if package.returncode:
        raise NotSeen("the package stepscope is not installed for this Python")
    with lab.bench("torch-step") as bench:
        bench.engine(command=torch_engine(), environment={"STEPSCOPE_STEP": "torch_engine:Engine.step"})
        capture, rows = bench.sidecar.window(delay_iterations=10, max_iterations=6)
        whole(capture, 6)
        report = bench.report()
        rank = capture["ranks"][0]
        kernels = sorted(torch_kernels(report), key=lambda kernel: kernel["start"])
        first = rank["profiler"]["start_iteration"]
        wanted = (rank["last_iteration"] - first + 1) * TORCH_KERNELS
        expect(len(kernels) == wanted, f"{len(kernels)} kernels instead of {wanted}")
        spans = {}
        for place in range(0, wanted, TORCH_KERNELS):
            of_one = kernels[place : place + TORCH_KERNELS]
            spans[first + place // TORCH_KERNELS] = (of_one[0]["start"], of_one[-1]["end"])
        return compare(rows, spans, every=False)


#: torch_engine.py launches as many of PyTorch's spin kernel in an iteration.
TORCH_KERNELS = 4


def torch_kernels(report):
    return [kernel for kernel in report.kernels if "spin_kernel" in kernel["name"]]


def torch_engine(*arguments):
    return [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_engine.py"), *arguments]
