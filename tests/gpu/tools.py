"""The tools that see kernels and ranges: nsys where it can make a report, else a small reader of CUPTI of our own."""

import glob
import json
import os
import shutil
import signal
import site
import sqlite3
import subprocess
import sys

from lab import NotSeen, Short

KERNEL = "stepscope_spin"
#: examples/cuda_engine tells this many iterations apart by a kernel's block.
SHAPES = 1000


class Report:
    """What a tool saw. ``kernels``: dicts with name, start, end, grid, block, stream, process; ``ranges``: (process, text,
    domain, payload) of push/pop ranges, ``captures``: those of start/end ranges; ``calls``: processes that started it."""

    def __init__(self):
        self.kernels, self.ranges, self.captures, self.calls = [], [], [], []

    def spins(self, process=None):
        return [k for k in self.kernels if k["name"] == KERNEL and process in (None, k["process"])]

    def by_iteration(self, first, process=None):
        """The engine's kernels by the iteration that their block names, the one next to ``first``."""
        found = {}
        for kernel in self.spins(process):
            shape = kernel["block"] - 1
            iteration = first + (shape - first + SHAPES // 2) % SHAPES - SHAPES // 2
            found.setdefault(iteration, []).append(kernel)
        return found

    def steps(self, process=None):
        """Payloads of the ranges that are iterations, in order."""
        return [p for who, _, domain, p in self.ranges if domain == "stepscope" and process in (None, who)]


class Cupti:
    """tests/gpu/cupti_reader.c and tests/fakes/nvtx_tool.c, injected into the engine."""

    name = "CUPTI"
    several = True  # windows of one process

    def __init__(self, binaries, library):
        self.reader = os.path.join(binaries, "libgpu_reader.so")
        self.listener = os.path.join(binaries, "libnvtx_tool.so")
        self.library = library

    def wrap(self, place, name, command, environment, session):
        environment.setdefault("NVTX_INJECTION64_PATH", self.listener)
        environment.update(
            CUDA_INJECTION64_PATH=self.reader,
            STEPSCOPE_GPU_CUPTI=self.library,
            STEPSCOPE_GPU_REPORT=place.file(f"{name}.kernels"),
            STEPSCOPE_TEST_CALLS=place.file("calls"),
        )
        if session:
            environment["NSYS_PROFILING_SESSION_ID"] = session
        return command, environment

    def end(self, process):
        """Nothing stays behind the engine that was started as ``process``."""

    def report(self, place, names):
        report = Report()
        for name in names:
            files = glob.glob(glob.escape(place.file(f"{name}.kernels")) + ".*")
            if not files:
                raise Short(f"the driver did not load {self.reader} into {name}")
            for file in files:
                self._read(report, file)
        self._read_calls(report, place.file("calls"))
        return report

    @staticmethod
    def _read(report, file):
        process = int(file.rpartition(".")[2])
        with open(file, encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if "error" in row:
                    raise Short(f"CUPTI: {row['error']}")
                if row.get("dropped"):
                    raise Short(f"CUPTI dropped {row['dropped']} records")
                # One that had not ended when the tool stopped has no end.
                if "kernel" in row and row["end"]:
                    row.update(name=row.pop("kernel"), process=process)
                    report.kernels.append(row)
                if row.get("mark") == "start":
                    report.calls.append(process)

    @staticmethod
    def _read_calls(report, file):
        if not os.path.exists(file):
            return
        with open(file, encoding="utf-8") as lines:
            for line in lines:
                process, _, name, detail = line.rstrip("\n").split(" ", 3)
                if name in ("push", "start"):
                    message, _, payload = detail.rpartition(" ")
                    text, _, domain = message.rpartition("@")
                    found = (int(process), text, domain, int(payload))
                    (report.ranges if name == "push" else report.captures).append(found)


class Nsys:
    """nsys, waiting for cuProfilerStart; its report read as SQLite."""

    name = "nsys"
    several = False

    def __init__(self, command):
        self.command = command

    def wrap(self, place, name, command, environment, session):
        del session  # its own
        options = ["profile", "-t", "cuda,nvtx", "-s", "none", "--cpuctxsw=none", "-c", "cudaProfilerApi"]
        options += ["--capture-range-end=stop", "--cuda-graph-trace=node", "-f", "true", "-o", place.file(name)]
        return [self.command, *options, *command], environment

    def works(self, out):
        """Whether it makes a report on this machine: some have only the half that records."""
        base = os.path.join(out, "nsys-trial")
        tried = [self.command, "profile", "-t", "nvtx", "-s", "none", "--cpuctxsw=none", "-f", "true", "-o", base, "true"]
        try:
            done = subprocess.run(tried, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False)
            self._export(base)
        except (OSError, subprocess.TimeoutExpired, Short) as error:
            return f"nsys makes no report here: {error}"
        return None if done.returncode == 0 else f"nsys makes no report here: it ended with {done.returncode}"

    def _export(self, base):
        report, recorded, made = base + ".nsys-rep", base + ".qdstrm", base + ".sqlite"
        if not os.path.exists(report):
            if not os.path.exists(recorded):
                raise Short(f"nsys recorded nothing: there is no {report}")
            importer = self._importer()
            if importer is None:
                raise Short("it leaves a .qdstrm, and its importer is not here")
            self._run([importer, "-i", recorded, "-o", report], report)
        self._run([self.command, "export", "-t", "sqlite", "-f", "true", "-o", made, report], made)
        return made

    def _importer(self):
        """What makes a report of a recording where nsys does not do it itself (Debian's)."""
        home = os.path.dirname(os.path.dirname(os.path.realpath(self.command)))
        patterns = [f"{home}/host-*/QdstrmImporter", "/usr/lib/nsight-systems/host-*/QdstrmImporter"]
        return next((found for pattern in patterns for found in glob.glob(pattern)), None)

    @staticmethod
    def _run(command, makes):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
        # Exit codes do not tell; what they make does.
        if not os.path.exists(makes):
            said = (done.stdout + done.stderr).strip().replace("\r", "\n").splitlines()
            raise Short(f"{os.path.basename(command[0])} made no {makes}: {said[-1] if said else done.returncode}")

    def end(self, process):
        """An nsys that failed leaves its agent running; the agent's session is named after it."""
        for file in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(file, "rb") as words:
                    said = words.read().split(b"\0")
                if b"--start-agent" in said and any(
                    word.startswith(b"--session-name=") and word.endswith(b"-%d" % process) for word in said
                ):
                    os.kill(int(file.split("/")[2]), signal.SIGTERM)
            except OSError:
                continue  # ended meanwhile, or another user's

    def report(self, place, names):
        report = Report()
        for name in names:
            self._read(report, self._export(place.file(name)))
        return report

    @staticmethod
    def _read(report, file):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as data:
            tables = {name for (name,) in data.execute("SELECT name FROM sqlite_master")}
            if "CUPTI_ACTIVITY_KIND_KERNEL" in tables:
                query = """SELECT s.value, k.start, k.end, k.gridX, k.blockX, k.streamId, (k.globalPid >> 24) & 0xffffff
                           FROM CUPTI_ACTIVITY_KIND_KERNEL k JOIN StringIds s ON s.id = k.shortName"""
                names = ("name", "start", "end", "grid", "block", "stream", "process")
                report.kernels += [dict(zip(names, row, strict=True)) for row in data.execute(query)]
            if "NVTX_EVENTS" in tables:
                # 75 makes a domain, 59 is a push/pop range, 60 a start/end one.
                query = """SELECT n.eventType, n.globalTid, n.domainId, coalesce(n.text, s.value), n.uint64Value
                           FROM NVTX_EVENTS n LEFT JOIN StringIds s ON s.id = n.textId ORDER BY n.start"""
                events = list(data.execute(query))
                domains = {(tid >> 24, domain): text for kind, tid, domain, text, _ in events if kind == 75}
                for kind, tid, domain, text, payload in events:
                    found = ((tid >> 24) & 0xFFFFFF, text, domains.get((tid >> 24, domain), "default"), payload or 0)
                    if kind in (59, 60):
                        (report.ranges if kind == 59 else report.captures).append(found)
        report.calls += sorted({k["process"] for k in report.kernels})


def libcupti(given):
    """A libcupti: the one named, PyTorch's own, a toolkit's. PyTorch's comes first, since a process can't have two."""
    if given:
        return given
    folders = [*site.getsitepackages(), *sys.path]
    patterns = [f"{folder}/nvidia/*/lib/libcupti.so.1[0-9]" for folder in folders if folder]
    patterns += ["/usr/local/cuda*/extras/CUPTI/lib64/libcupti.so.1[0-9]", "/usr/local/cuda*/targets/*/lib/libcupti.so.1[0-9]"]
    patterns += ["/usr/lib/*/libcupti.so.1[0-9]*"]
    patterns += [f"{folder}/triton/backends/nvidia/lib/cupti/libcupti.so.1[0-9]" for folder in folders if folder]
    for pattern in patterns:
        for found in sorted(glob.glob(pattern), reverse=True):
            return found
    raise NotSeen("there is no libcupti: install a CUDA toolkit, or name it with --cupti")


def choose(wanted, binaries, out, library):
    """The tool to see with, and a word on why."""
    command = shutil.which("nsys")
    why = "nsys is not here"
    if wanted in ("auto", "nsys") and command:
        why = Nsys(command).works(out)
        if why is None:
            return Nsys(command), f"nsys: {command}"
    if wanted == "nsys":
        raise NotSeen(why)
    try:
        library = libcupti(library)
    except NotSeen as lacking:
        raise NotSeen(f"{why}; {lacking}" if wanted == "auto" else str(lacking)) from None
    return Cupti(binaries, library), f"CUPTI: {library}" + (f" ({why})" if wanted == "auto" else "")
