"""Requests of a real vLLM: what the trace says of each is what its client saw, and all of them add up to what vLLM itself
counted over the same window. Some are preempted (the KV cache is small), one is given up by its client, one has two answers,
one is ended by a stop string. Run by lifecycles.sh.
"""

import collections
import contextlib
import http.client
import json
import os
import tempfile
import threading
import time
import unittest

from engine import Engine, Sidecar, call, eventually
from engine import options as options_of

#: Of 128 tokens each: four requests of 300 do not fit at once.
SMALL_CACHE = ["--num-gpu-blocks-override", "10", "--no-enable-prefix-caching"]
#: That nothing is dropped where the sidecar gets no processor for seconds: what is lost then is another check's matter.
ROOM = {"STEPSCOPE_SEGMENT_BYTES": str(32 << 20)}
CLIENTS, TURNS = 6, 4
#: Chunks; the rest would take seconds, in which an engine that is short of processors learns of it.
GIVEN_UP_AFTER = 3
#: Clocks of two processes, and what it takes to say it.
TOLERANCE_US = 2_000
STAGES = ["frontend", "queued", "prefill", "decode", "finish"]

check = unittest.TestCase()
check.maxDiff = None


class Asked:
    """One request as its client sees it."""

    def __init__(self, engine, name, prompt, tokens, gives_up_after=None, **more):
        self.name, self.answers, self.gives_up = name, more.get("n", 1), gives_up_after is not None
        body = {"model": "tiny", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more}
        body.update(stream=True, stream_options={"include_usage": True})
        connection = http.client.HTTPConnection("127.0.0.1", engine.port, timeout=300)
        self.text, self.chunks, self.reasons, self.usage = "", 0, [], None
        self.began_us = time.time() * 1e6
        headers = {"content-type": "application/json", "x-request-id": name}
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"{name}: {answer.status} {answer.read()}")
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            self.usage = chunk.get("usage") or self.usage
            for choice in chunk["choices"]:
                self.chunks += 1
                self.text += choice["text"]
                self.reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
            if self.gives_up and self.chunks >= gives_up_after:
                break
        # The response still holds the socket.
        answer.close()
        connection.close()
        self.ended_us = time.time() * 1e6


def counted(engine):
    """vLLM's own counters."""
    sums = collections.Counter()
    for line in call(f"http://127.0.0.1:{engine.port}/metrics").decode().splitlines():
        name, _, value = line.rpartition(" ")
        for word in ("request_success_total", "prompt_tokens_total", "generation_tokens_total", "num_preemptions_total"):
            if name.startswith(f"vllm:{word}{{"):
                reason = name.partition('finished_reason="')[2].partition('"')[0]
                sums[reason or word] += float(value)
    return sums


def idle(engine):
    lines = call(f"http://127.0.0.1:{engine.port}/metrics").decode().splitlines()
    return all(line.endswith(" 0.0") for line in lines if line.startswith(("vllm:num_requests_running{", "vllm:num_requests_waiting{")))


def ask_all(engine, stop):
    """Requests of many lengths at once; among them the odd ones."""
    asked, errors = [], []

    def client(number):
        try:
            for turn in range(TURNS):
                words = f"client {number} turn {turn} " * (2 + (number * 5 + turn * 3) % 9)
                asked.append(Asked(engine, f"plain-{number}-{turn}", words, 150 + (number * 37 + turn * 53) % 150))
        except Exception as error:
            errors.append(error)

    def odd(*arguments, **more):
        try:
            asked.append(Asked(engine, *arguments, **more))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    threads.append(threading.Thread(target=odd, args=("twice", "two answers", 40), kwargs={"n": 2, "temperature": 1}))
    threads.append(threading.Thread(target=odd, args=("stopped", PROMPT, 60), kwargs={"stop": stop}))
    threads.append(threading.Thread(target=odd, args=("given-up", "never mind", 1000, GIVEN_UP_AFTER)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return asked


PROMPT = "def main(argv):"


class Told:
    """One request as the trace shows it."""

    def __init__(self, slices):
        (self.whole,) = [one for one in slices if one["name"] == "request"]
        self.stages = [one for one in slices if one["name"] in STAGES]
        self.preempted = [one for one in slices if one["name"] == "preempted"]
        self.arguments = self.whole["args"]
        self.id = self.arguments["request"]


def requests_of(trace):
    rows = collections.defaultdict(list)
    for event in trace["traceEvents"]:
        if event.get("cat") == "request" and event["ph"] == "X":
            rows[event["pid"], event["tid"]].append(event)
    return [Told(slices) for slices in rows.values()]


def served(trace, told):
    """Each token of a request came of an iteration that is tied to it by an arrow."""
    arrows = collections.Counter(event["id"] for event in trace["traceEvents"] if event["ph"] == "t" and event.get("cat") == "request")
    begins = {(event["pid"], event["tid"]): event["id"] for event in trace["traceEvents"] if event["ph"] == "s"}
    for one in told:
        steps = arrows[begins[one.whole["pid"], one.whole["tid"]]]
        check.assertGreaterEqual(steps, one.arguments["output_tokens"], one.whole)


def holds(told, asked, base_us):
    """The trace's requests of one client's, and what all its tokens were."""
    name, mine = asked.name, [one for one in told if one.id.startswith(f"cmpl-{asked.name}-") or f"_cmpl-{asked.name}-" in one.id]
    check.assertEqual(len(mine), asked.answers, f"{name}: {[one.id for one in told]}")
    for one in mine:
        outcome = "aborted" if asked.gives_up else "finished"
        check.assertEqual(one.arguments["outcome"], outcome, f"{name}: {one.whole}")
        begins, ends = base_us + one.whole["ts"], base_us + one.whole["ts"] + one.whole["dur"]
        check.assertGreaterEqual(begins, asked.began_us - TOLERANCE_US, name)
        if not asked.gives_up:
            check.assertLessEqual(ends, asked.ended_us + TOLERANCE_US, name)
            check.assertEqual([stage["name"] for stage in one.stages], STAGES, name)
        # One behind the other, from its beginning to its end.
        stages = sorted(one.stages, key=lambda stage: (stage["ts"], STAGES.index(stage["name"])))
        check.assertAlmostEqual(sum(stage["dur"] for stage in stages), one.whole["dur"], delta=0.01, msg=name)
        for before, after in zip(stages, stages[1:]):
            check.assertAlmostEqual(before["ts"] + before["dur"], after["ts"], delta=0.01, msg=name)
        check.assertEqual(len(one.preempted), one.arguments.get("preemptions", 0), name)
    tokens = sum(one.arguments["output_tokens"] for one in mine)
    if asked.gives_up:
        check.assertGreaterEqual(tokens, asked.chunks, name)
    else:
        check.assertEqual({one.arguments["prompt_tokens"] for one in mine}, {asked.usage["prompt_tokens"]}, name)
        check.assertEqual(tokens, asked.usage["completion_tokens"], name)


def adds_up(told, before, after, asked):
    """All requests together against vLLM's counters over the same window."""
    counts = after - before
    outcomes = collections.Counter(one.arguments["outcome"] for one in told)
    finished = [one for one in told if one.arguments["outcome"] == "finished"]
    reasons = collections.Counter(reason for one in asked for reason in one.reasons)
    check.assertEqual(outcomes["finished"], counts["stop"] + counts["length"], (outcomes, counts))
    check.assertEqual(dict(reasons), {reason: counts[reason] for reason in reasons}, counts)
    check.assertEqual(sum(one.arguments["prompt_tokens"] for one in told), counts["prompt_tokens_total"], counts)
    # Of the one that was given up, the front end had fewer tokens than the engine core had made.
    (given_up,) = [one for one in told if one.arguments["outcome"] == "aborted"]
    rest = counts["generation_tokens_total"] - sum(one.arguments["output_tokens"] for one in finished)
    check.assertTrue(GIVEN_UP_AFTER <= rest <= given_up.arguments["output_tokens"], (rest, given_up.arguments))
    preemptions = sum(one.arguments.get("preemptions", 0) for one in told)
    check.assertEqual(preemptions, counts["num_preemptions_total"], counts)
    check.assertGreater(preemptions, 0, "the cache is small enough to preempt some")
    return f"{dict(outcomes)}, {preemptions} preemptions, {int(counts['generation_tokens_total'])} tokens: equal to /metrics"


def processes(trace, ranks):
    """The engine's processes have their names, and tell of themselves."""
    names, told = {}, collections.defaultdict(set)
    for event in trace["traceEvents"]:
        if event["name"] == "process_name":
            names[event["pid"]] = event["args"]["name"]
        elif event["ph"] in ("C", "X"):
            told[event["pid"]].add(event["name"])
    by_label = {label: told[pid] for pid, name in names.items() for label in ("api server", "engine core") if label in name}
    check.assertIn("loop lag ms", by_label["api server"], names)
    check.assertIn("process_outputs", by_label["api server"], names)
    for word in ("requests running", "requests waiting", "kv cache use", "step gap ms", "schedule", "update_from_output"):
        check.assertIn(word, by_label["engine core"], names)
    check.assertEqual(sum(" tp" in f" {name}" or name.startswith("rank") for name in names.values()), ranks, names)


def main(stack):
    options = options_of()
    ranks, work = options.tensor_parallel_size, options.work
    ours = os.path.join(work, "venv", "bin", "python")
    # In memory: a disk that stalls for longer than the rings hold has records dropped, which is another check's matter.
    memory = stack.enter_context(tempfile.TemporaryDirectory(prefix="stepscope-", dir="/dev/shm"))
    segments = os.path.join(memory, "segments")
    os.makedirs(segments, mode=0o700)
    with (
        Engine("requests", ours, options, work, SMALL_CACHE, STEPSCOPE_DIR=segments, **ROOM) as engine,
        Sidecar(options.stepscope, work, segments, os.path.join(memory, "data")) as sidecar,
    ):
        eventually("every rank is attached", lambda: len(sidecar.ranks()) == ranks, 30, sidecar.alive)
        # What the model says to it: a stop string in the midst.
        text = engine.complete(PROMPT, 60)
        stop = text[len(text) // 2 :][:6]
        eventually("vLLM is idle", lambda: idle(engine), 60)
        before = counted(engine)
        capture = sidecar.start()["capture_id"]
        asked = ask_all(engine, stop)
        eventually("vLLM is idle", lambda: idle(engine), 60)
        sidecar.stop_capture()
        manifest = sidecar.finished(capture)
        after = counted(engine)
        check.assertIs(manifest["complete"], True, manifest)
        trace = sidecar.trace(capture)
        if os.environ.get("STEPSCOPE_TEST_KEEP"):
            with open(os.environ["STEPSCOPE_TEST_KEEP"], "w", encoding="utf-8") as file:
                json.dump({"trace": trace, "manifest": manifest}, file)
        told = requests_of(trace)
        check.assertEqual(len(told), sum(one.answers for one in asked), [one.id for one in told])
        base_us = int(trace["baseTimeNanoseconds"]) / 1e3
        for one in asked:
            holds(told, one, base_us)
        print(f"  {len(asked)} requests: each as its client saw it, its stages from end to end", flush=True)
        print("  " + adds_up(told, before, after, asked), flush=True)
        served(trace, told)
        processes(trace, ranks)
        check.assertEqual(engine.text().count("vLLM runs on"), 0)
    print(f"tensor parallel {ranks}: requests are as they must be", flush=True)


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        main(stack)
