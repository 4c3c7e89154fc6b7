"""`vllm bench serve` with and without a capture of what it measures, again and again against one vLLM. Run by bench_serve.sh.

The client is vLLM's own, called in this process so that its imports are outside; `--profile` is the only difference, and the
capture it makes is looked at each time: every iteration of the phase has to be in it. A round is four benchmarks, plain,
captured, captured, plain, so that what drifts evenly drops out; its ratio is that of the sums. The two plain ones of a round,
held against each other, are what the machine does by itself. A capture's export is waited for: it runs behind what is measured.
"""

import argparse
import contextlib
import io
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "vllm"))

from engine import Engine, Sidecar, eventually  # noqa: E402
from figures import interval, percent  # noqa: E402
from vllm.benchmarks import serve  # noqa: E402
from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: E402


def options():
    arguments = argparse.ArgumentParser()
    for name in ("model", "stepscope", "work"):
        arguments.add_argument(f"--{name}", required=True)
    arguments.add_argument("--rounds", type=int, default=12)
    arguments.add_argument("--requests", type=int, default=200)
    arguments.add_argument("--at-once", type=int, default=16)
    arguments.add_argument("--tensor-parallel-size", type=int, default=1)
    return arguments.parse_args()


class Client:
    def __init__(self, given, url):
        self.given, self.url = given, url

    def run(self, captured):
        """The client's result; what it prints is kept back."""
        parser = FlexibleArgumentParser()
        serve.add_cli_args(parser)
        line = [
            *("--backend", "vllm", "--base-url", self.url, "--model", "tiny", "--tokenizer", self.given.model),
            *("--dataset-name", "random", "--random-input-len", "64", "--random-output-len", "64", "--ignore-eos"),
            *("--num-prompts", str(self.given.requests), "--max-concurrency", str(self.given.at_once)),
            *("--num-warmups", "8", "--disable-tqdm", *(["--profile"] if captured else [])),
        ]
        words = io.StringIO()
        with contextlib.redirect_stdout(words):
            result = serve.main(parser.parse_args(line))
        if result["completed"] != self.given.requests or words.getvalue().count("Profiler st") != 2 * captured:
            raise SystemExit(f"the benchmark went wrong: {words.getvalue()[-2000:]}")
        return result


def captured_whole(sidecar, result):
    """How many iterations the newest capture has, once it is found to hold the whole phase."""
    capture = sidecar.get("captures/latest")["capture_id"]
    manifest = sidecar.finished(capture)
    tokens = sum(row["generation_tokens"] for row in sidecar.ledger(capture))
    if manifest["complete"] is not True or tokens != result["total_output_tokens"] - result["completed"]:
        raise SystemExit(f"capture {capture} does not hold the benchmark: {tokens} tokens, {manifest['missing']}")
    return manifest["ranks"][0]["iterations"]


def main():
    given = options()
    segments = os.path.join(given.work, "segments")
    os.makedirs(segments, mode=0o700)
    with Sidecar(given.stepscope, given.work, segments) as sidecar:
        plugins = {"VLLM_PLUGINS": "stepscope,stepscope_routes", "STEPSCOPE_URL": sidecar.url}
        with Engine("vllm", sys.executable, given, given.work, STEPSCOPE_DIR=segments, **plugins) as engine:
            eventually("the rank is attached", lambda: len(sidecar.ranks()) == 1, 30, sidecar.alive)
            client = Client(given, f"http://127.0.0.1:{engine.port}")
            client.run(False)
            measure(given, client, sidecar)


#: What of a result is compared, and what it is called.
FIGURES = {
    "output_throughput": "output tokens/s",
    "mean_tpot_ms": "time per output token, mean",
    "p99_itl_ms": "time between tokens, p99",
}


def measure(given, client, sidecar):
    ours, nothing, plain = ({name: [] for name in FIGURES} for _ in range(3))
    iterations = []

    def with_a_capture():
        result = client.run(True)
        iterations.append(captured_whole(sidecar, result))
        return result

    for _ in range(given.rounds):
        first, captured, again, last = client.run(False), with_a_capture(), with_a_capture(), client.run(False)
        for name in FIGURES:
            ours[name].append((captured[name] + again[name]) / (first[name] + last[name]))
            nothing[name].append(last[name] / first[name])
            plain[name] += [first[name], last[name]]
        print(".", end="", flush=True, file=sys.stderr)
    load = os.getloadavg()
    print(f"\n\n{given.rounds} rounds of four benchmarks of {given.requests} requests, {given.at_once} at once; captures of "
          f"{min(iterations)} to {max(iterations)} iterations; load {load[1]:.1f}\n")
    print("| | plain | captured over plain, % | plain over plain, % |\n| --- | ---: | ---: | ---: |")
    for name, what in FIGURES.items():
        print(f"| {what} | {statistics.median(plain[name]):.5g} | {percent(ours[name])} | {percent(nothing[name])} |")
    low, high = interval(ours["output_throughput"])
    print(f"\nthroughput with a capture, of that without: {statistics.median(ours['output_throughput']):.4f}, "
          f"95 % interval of the median {low:.4f} to {high:.4f}, rounds {min(ours['output_throughput']):.3f} to "
          f"{max(ours['output_throughput']):.3f}")


if __name__ == "__main__":
    main()
