"""A real vLLM behind the sidecar: what its clients get is what they get without it, to the token; errors pass unchanged; a
client that leaves is one to vLLM too; and `vllm bench serve --profile` works with one URL. Run by run.sh.
"""

import concurrent.futures
import http.client
import json
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

from engine import Engine, Sidecar, call, eventually, surroundings
from engine import options as options_of

#: As many as two cores make in reasonable time; a thousand at once are the stub's matter (many.rs).
STREAMS = 48
check = unittest.TestCase()
check.maxDiff = None


def ask(base, number):
    """One stream: its chunks without what differs from request to request."""
    at = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=300)
    body = {
        "model": "tiny", "prompt": f"stream {number} " * (1 + number % 7), "max_tokens": 20 + number % 30, "temperature": 0,
        "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True},
    }
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    check.assertEqual((answer.status, answer.getheader("content-type")), (200, "text/event-stream; charset=utf-8"))
    lines = [line for line in answer.read().split(b"\n\n") if line]
    connection.close()
    check.assertEqual(lines[-1], b"data: [DONE]")
    text, reasons, usage = "", [], None
    for line in lines[:-1]:
        chunk = json.loads(line.removeprefix(b"data: "))
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            text += choice["text"]
            reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
    return text, reasons, usage


def ask_all(base):
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as threads:
        return list(threads.map(lambda number: ask(base, number), range(STREAMS)))


def error(base, method, path, body):
    """Status, body and type of an answer that is no 200."""
    at = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    connection.request(method, path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.getheader("content-type"), answer.read()


def value(engine, name):
    """A number of vLLM's own metrics."""
    lines = call(f"{engine}/metrics").decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"vllm:{name}{{"))


def idle(engine):
    return value(engine, "num_requests_running") + value(engine, "num_requests_waiting") == 0


#: What vLLM makes for a client that stays: enough to take seconds, in which an engine that is short of processors learns of it.
TOKENS, ANSWERS = 1000, 16


def leave(base, engine):
    """Asks for more than it waits for: leaves as soon as vLLM works on it."""
    at = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
    body = {"model": "tiny", "prompt": "never mind", "max_tokens": TOKENS, "n": ANSWERS, "ignore_eos": True}
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    eventually("vLLM works on it", lambda: not idle(engine), 60)
    connection.close()


def bench(options, base):
    """vLLM's own client, with one URL for load and profile; what it says."""
    command = [
        sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "serve", "--backend", "openai", "--base-url", base,
        "--model", "tiny", "--tokenizer", options.model, "--dataset-name", "random", "--random-input-len", "24",
        "--random-output-len", "40", "--num-prompts", "24", "--max-concurrency", "8", "--ignore-eos", "--profile",
    ]
    environment = {**surroundings(), "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=options.work)
    check.assertEqual(done.returncode, 0, done.stderr[-2000:])
    return done.stdout


def slices(trace, process):
    """Slices of the process that is called so, row by row."""
    names = {event["pid"]: event["args"]["name"] for event in trace["traceEvents"] if event.get("name") == "process_name"}
    mine = {pid for pid, name in names.items() if name.startswith(process)}
    return [event for event in trace["traceEvents"] if event["ph"] == "X" and event["pid"] in mine]


def main():
    options = options_of()
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="stepscope-behind-") as segments:
        with Engine("vllm", sys.executable, options, options.work, STEPSCOPE_DIR=segments) as engine:
            plain = f"http://127.0.0.1:{engine.port}"
            with Sidecar(options.stepscope, options.work, segments, more=["--upstream", plain]) as sidecar:
                through = sidecar.url
                expected = ask_all(plain)
                check.assertEqual(ask_all(through), expected)
                print(f"{STREAMS} streams at once: the same text, reasons and usage with the sidecar in front", flush=True)

                for method, path, body in [
                    ("GET", "/v1/nothing", None), ("POST", "/v1/completions", "{"), ("POST", "/v1/completions", "{}"),
                    ("GET", "/v1/completions", None), ("POST", "/v1/completions", '{"model":"other","prompt":"x"}'),
                ]:
                    check.assertEqual(error(through, method, path, body), error(plain, method, path, body), (method, path))
                check.assertEqual(call(f"{through}/version"), call(f"{plain}/version"))
                print("errors of vLLM pass unchanged", flush=True)

                before = value(plain, "generation_tokens_total")
                leave(through, plain)
                eventually("vLLM is idle", lambda: idle(plain), 60, engine.alive)
                made = value(plain, "generation_tokens_total") - before
                check.assertLess(made, TOKENS * ANSWERS)
                print(f"a client that left had vLLM give up after {made:.0f} of {TOKENS * ANSWERS} tokens", flush=True)

                said = bench(options, through)
                check.assertIn("Profiler started", said)
                check.assertIn("Profiler stopped", said)
                capture = sidecar.get("captures/latest")["capture_id"]
                manifest = sidecar.finished(capture)
                check.assertEqual(manifest["state"], "done", manifest)
                iterations = len(sidecar.ledger(capture))
                check.assertGreater(iterations, 40)
                trace = sidecar.trace(capture)
                passed = [one for one in slices(trace, "proxy") if one["name"] == "request"]
                done = [one["args"] for one in passed if one["args"]["path"] == "/v1/completions"]
                check.assertEqual(len(done), 24)
                check.assertEqual({(one["outcome"], one["status"]) for one in done}, {("finished", 200)})
                # vLLM's own id of a request has the client's in it: both views of one request can be told to be one.
                told = {one["args"]["request"] for one in slices(trace, "requests") if one["name"] == "request"}
                named = [one["x_request_id"] for one in done if "x_request_id" in one]
                for mine in named:
                    check.assertEqual(sum(f"-{mine}-0-" in theirs for theirs in told), 1, (mine, sorted(told)))
                report = json.loads(call(f"{through}/stepscope/v1/captures/{capture}/report"))
                check.assertGreaterEqual(report["proxied"]["complete"], 24)
                print(
                    f"vllm bench serve --profile with one URL: {iterations} iterations captured, {len(done)} requests in front of "
                    f"the engine, {len(named)} of them found by their id in what the engine told",
                    flush=True,
                )
    print(f"behind the sidecar: ok ({os.path.basename(options.model)})")


if __name__ == "__main__":
    main()
