"""Throughput, inter-token latency and the stall of a window, on a real vLLM. Run by run.sh.

Three engines are up at the same time and loaded in turns, A B C A B C ..., since the machine drifts: vLLM alone, vLLM
with our package (idle in one turn, recording without end in the next), and vLLM with its own torch profiler configured.
While one is loaded the others are stopped (SIGSTOP): vLLM's workers poll for seconds after their last request, and would
take the cores away. Ratios are formed per round; the table shows their median and spread.
"""

import argparse
import http.client
import json
import os
import signal
import statistics
import threading
import time

from engine import Engine, Sidecar, call, eventually

PROMPT = "class Window:\n    def close(self):\n"


class Turns:
    """All engines but the one whose turn it is stand still."""

    def __init__(self, engines):
        self.engines = engines

    def give(self, engine):
        for other in self.engines:
            os.killpg(other.child.pid, signal.SIGCONT if other is engine else signal.SIGSTOP)
        engine.complete(PROMPT, 300)  # awake again, with every poll loop running

    def end(self):
        for engine in self.engines:
            os.killpg(engine.child.pid, signal.SIGCONT)


def batch_tokens_per_second(engine, batch, tokens):
    """One request of `batch` sequences: what the engine makes per second, with the least of HTTP around it."""
    body = {"model": "tiny", "prompt": [PROMPT] * batch, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    began = time.perf_counter()
    call(f"http://127.0.0.1:{engine.port}/v1/completions", body, timeout=600)
    return batch * tokens / (time.perf_counter() - began)


class Stream:
    """A token stream; iterating gives the gap in front of each chunk, in seconds."""

    def __init__(self, engine, tokens):
        self.connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=600)
        body = {"model": "tiny", "prompt": PROMPT, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        headers = {"content-type": "application/json"}
        self.connection.request("POST", "/v1/completions", json.dumps({**body, "stream": True}), headers)
        self.answer = self.connection.getresponse()

    def __iter__(self):
        last = None
        while line := self.answer.readline():
            if not line.startswith(b"data: {"):
                continue
            now = time.perf_counter()
            if last is not None:
                yield now - last
            last = now
        self.connection.close()


def mean_gap(engine, tokens=300):
    """The mean, not the median: the front end sends several tokens in one write when it falls behind."""
    return statistics.fmean(list(Stream(engine, tokens))[20:])


def longest_gap(engine, window, tokens=600, at=200):
    """The longest gap in the stretch of a stream in which `window` is called (another thread's work, started here)."""
    gaps, caller = [], None
    for number, gap in enumerate(Stream(engine, tokens)):
        gaps.append(gap)
        if number == at and window:
            caller = threading.Thread(target=window)
            caller.start()
    if caller:
        caller.join()
    return max(gaps[at - 50 :])


def ratios(table, name, base):
    values = [a / b for a, b in zip(table[name], table[base])]
    return f"{statistics.median(values):.4f} [{min(values):.4f} .. {max(values):.4f}]"


def show(title, unit, table, base):
    print(f"\n{title}", flush=True)
    print(f"| vLLM | median {unit} | ratio to {base}, median [min .. max] |\n| --- | --- | --- |")
    for name, values in table.items():
        print(f"| {name} | {statistics.median(values):.3f} | {ratios(table, name, base)} |")


def main():
    arguments = argparse.ArgumentParser()
    for name in ("plain-python", "python", "model", "stepscope", "work"):
        arguments.add_argument(f"--{name}", required=True)
    arguments.add_argument("--rounds", type=int, default=7)
    options = arguments.parse_args()
    options.tensor_parallel_size = 1
    work, segments = options.work, os.path.join(options.work, "segments")
    os.makedirs(segments, mode=0o700)
    # The model has one core, everything else the other: with both, the front end starves and sends a stream in one piece.
    bind = {"VLLM_CPU_OMP_THREADS_BIND": "0"}
    torch = ["--profiler-config.profiler", "torch", "--profiler-config.torch_profiler_dir", os.path.join(work, "torch")]
    with (
        Engine("alone", options.plain_python, options, work, **bind) as alone,
        Engine("ours", options.python, options, work, STEPSCOPE_DIR=segments, **bind) as ours,
        Engine("torch", options.plain_python, options, work, more=torch, **bind) as with_torch,
        Sidecar(options.stepscope, work, segments) as sidecar,
    ):
        eventually("the rank is attached", lambda: len(sidecar.get("status")["ranks"]) == 1, 30, sidecar.alive)
        turns = Turns([alone, ours, with_torch])

        def recorded(measure):
            capture = sidecar.start()["capture_id"]
            try:
                return measure(ours)
            finally:
                sidecar.stop_capture()
                sidecar.finished(capture)

        def rounds(measure):
            table = {"alone": [], "with stepscope, idle": [], "with stepscope, recording": []}
            for number in range(options.rounds + 1):
                turns.give(alone)
                values = [measure(alone)]
                turns.give(ours)
                values += [measure(ours), recorded(measure)] if number % 2 else [recorded(measure), measure(ours)][::-1]
                if number:  # the first round warms up
                    for name, value in zip(table, values):
                        table[name].append(value)
            return table

        for batch, tokens in ((1, 400), (64, 100), (512, 30)):
            table = rounds(lambda engine: batch_tokens_per_second(engine, batch, tokens))
            show(f"Throughput, batch {batch}", "tokens/s", table, "alone")
        table = rounds(lambda engine: mean_gap(engine) * 1e3)
        show("Inter-token latency, batch 1", "ms", table, "alone")

        def window_of_ours():
            sidecar.start(max_iterations=4)

        def window_of_torch():
            base = f"http://127.0.0.1:{with_torch.port}"
            call(f"{base}/start_profile", {"max_iterations": 4}, "POST", timeout=600)
            time.sleep(0.1)
            call(f"{base}/stop_profile", {}, "POST", timeout=600)

        stalls = {"no window": [], "stepscope, 4 iterations": [], "vLLM's torch profiler, 4 iterations": []}
        for _ in range(options.rounds):
            turns.give(ours)
            stalls["no window"].append(longest_gap(ours, None) * 1e3)
            stalls["stepscope, 4 iterations"].append(longest_gap(ours, window_of_ours) * 1e3)
            turns.give(with_torch)
            stalls["vLLM's torch profiler, 4 iterations"].append(longest_gap(with_torch, window_of_torch) * 1e3)
        show("Longest gap in a token stream around a window", "ms", stalls, "no window")
        turns.end()


if __name__ == "__main__":
    main()
