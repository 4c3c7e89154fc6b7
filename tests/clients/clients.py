"""The clients, each called as its users call it. What each gives back is its row of the table: where its calls went, and what
its capture holds. `Skipped` where it could not be had.
"""

import json
import os
import subprocess
import sys

from engine import Traffic
from lab import Skipped, check, said

REQUESTS, PROMPT, OUTPUT, AT_ONCE = 20, 32, 16, 4


def vllm_bench(lab):
    """It knows one address, the engine's: the plugin's routes are there."""
    text = lab.run(
        [
            *(sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "serve"),
            *("--backend", "vllm", "--base-url", lab.engine_url, "--model", "tiny", "--tokenizer", lab.options.model),
            *("--dataset-name", "random", "--random-input-len", str(PROMPT), "--random-output-len", str(OUTPUT)),
            *("--num-prompts", str(REQUESTS), "--max-concurrency", str(AT_ONCE), "--num-warmups", "3"),
            *("--ignore-eos", "--save-result", "--result-filename", "result.json", "--profile"),
        ]
    )
    said(text, "Profiler started", "Profiler stopped")
    result = lab.json("result.json")
    check.assertEqual(result["completed"], REQUESTS)
    return "plugin", lab.whole_phase(REQUESTS, result["total_input_tokens"], result["total_output_tokens"])


def _sglang_bench(lab, *more):
    # Texts, whose tokens it counts as vLLM does: what it makes up itself becomes other tokens on the way.
    talks = [
        {"conversations": [{"value": f"What is {number} times {number}? " * (number % 5 + 2)}, {"value": "Much."}]}
        for number in range(REQUESTS)
    ]
    with open(os.path.join(lab.folder, "talks.json"), "w", encoding="utf-8") as file:
        json.dump(talks, file)
    text = lab.run(
        [
            *(lab.python(), "-W", "ignore", "-m", "sglang.bench_serving"),
            *("--backend", "vllm", "--base-url", lab.engine_url, "--model", "tiny", "--tokenizer", lab.options.model),
            *("--dataset-name", "sharegpt", "--dataset-path", "talks.json", "--sharegpt-output-len", str(OUTPUT)),
            *("--num-prompts", str(REQUESTS), "--max-concurrency", str(AT_ONCE)),
            *("--warmup-requests", "3", "--output-file", "result.json", "--profile", *more),
        ],
        SGLANG_TORCH_PROFILER_DIR=lab.folder,
    )
    result = lab.json("result.json")
    check.assertEqual(result["completed"], REQUESTS)
    return text, (REQUESTS, result["total_input_tokens"], result["total_output_tokens"])


def sglang_bench(lab):
    """Without prefill and decode apart, its profile's address is the load's."""
    text, tokens = _sglang_bench(lab)
    said(text, "Profiler started", "Profiler stopped")
    return "plugin", lab.whole_phase(*tokens)


def sglang_bench_elsewhere(lab):
    """With prefill and decode apart it takes the profile's address by itself."""
    text, tokens = _sglang_bench(lab, "--pd-separated", "--profile-prefill-url", lab.sidecar.url)
    said(text, "Profiler started for Prefill-0", "Profiler stopped for Prefill-0")
    return "sidecar", lab.whole_phase(*tokens)


def sglang_bench_steps(lab):
    """It stops nothing where it said how many steps it wants."""
    text, _tokens = _sglang_bench(lab, "--profile-num-steps", "10")
    said(text, "Profiler started")
    check.assertNotIn("stop_profile", text)
    return "plugin", lab.exactly(10)


def sglang_profiler(lab):
    """It wants the server's settings first, and writes its numbers as text."""
    with Traffic(lab.engine, clients=1):  # it takes its time to begin
        command = [lab.python(), "-W", "ignore", "-m", "sglang.profiler"]
        text = lab.run([*command, "--url", lab.sidecar.url, "--num-steps", "5", "--output-dir", lab.folder])
        what = lab.exactly(5)
    said(text, "Dump profiling traces to")
    [saved] = [name for name in os.listdir(lab.folder) if os.path.isdir(os.path.join(lab.folder, name))]
    check.assertEqual(lab.json(saved, "server_args.json")["server"], "stepscope")
    return "sidecar", what


def _endpoints(lab, *urls):
    source = lab.options.endpoints
    python = lab.options.environment and lab.python()
    trigger = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trigger.py")
    lab.warm_up()
    with subprocess.Popen(
        [python if source else sys.executable, trigger, source if python else "", *urls],
        cwd=lab.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        lines = []
        while (line := child.stdout.readline()) not in ("started\n", ""):
            lines.append(line)
        tokens = lab.load()
        rest, _ = child.communicate("\n")
    text = "".join(lines) + rest
    check.assertEqual(child.returncode, 0, text)
    check.assertEqual(text.count("200 OK"), 2, text)
    if source:
        said(text, "Engine: vllm", "Trigger span")
    how = "" if source else " (its source can't be had here: the same calls by hand)"
    return lab.whole_phase(*tokens) + how


def endpoints(lab):
    """MLCommons' trigger with `--profile-urls`."""
    return "sidecar", _endpoints(lab, f"{lab.engine_url}/v1", lab.sidecar.url)


def endpoints_without_urls(lab):
    """MLCommons' trigger as it makes its addresses itself, from the endpoints that it loads."""
    return "plugin", _endpoints(lab, f"{lab.engine_url}/v1")


def _curl(lab, url, *more):
    return lab.run(["curl", "-sS", "-f", "-X", "POST", url, *more])


def curl(lab):
    """As the README has it: a window of its own size while requests run."""
    with Traffic(lab.engine, clients=2):
        _curl(lab, f"{lab.sidecar.url}/start_profile", "-d", '{"delay_iterations":10,"max_iterations":4}')
        return "sidecar", lab.exactly(4, delay=10)


def curl_around(lab):
    """A start and a stop without a word, as scripts send them."""
    lab.warm_up()
    said(_curl(lab, f"{lab.engine_url}/start_profile"), '"capture_id"')
    tokens = lab.load()
    said(_curl(lab, f"{lab.engine_url}/stop_profile"), '"capture_id"')
    return "plugin", lab.whole_phase(*tokens)


JSON = ("-H", "Content-Type: application/json", "-d")


def dynamo(lab):
    """What srt-slurm's scripts send to a Dynamo worker: the steps are SGLang's, one that is past means the next."""
    lab.warm_up()
    body = '{"output_dir": "/profiles", "start_step": 0, "num_steps": 50, "activities": ["CPU", "GPU"]}'
    begun = lab.begun()
    _curl(lab, f"{lab.sidecar.url}/engine/control/start_profile", *JSON, body)
    lab.load()
    _curl(lab, f"{lab.sidecar.url}/engine/control/stop_profile", *JSON, "{}")
    what = lab.exactly(50)
    check.assertEqual(lab.capture()["ranks"][0]["first_iteration"], begun + 1)
    return "sidecar", f"{what}, from the first one of its load"


def dynamo_earlier(lab):
    """The same of Dynamo's releases before June 2026."""
    lab.warm_up()
    _curl(lab, f"{lab.sidecar.url}/engine/start_profile", *JSON, '{"output_dir": "/profiles"}')
    tokens = lab.load()
    _curl(lab, f"{lab.sidecar.url}/engine/stop_profile")
    return "sidecar", lab.whole_phase(*tokens)


CLIENTS = {
    "vllm-bench": vllm_bench,
    "sglang-bench": sglang_bench,
    "sglang-bench-elsewhere": sglang_bench_elsewhere,
    "sglang-bench-steps": sglang_bench_steps,
    "sglang-profiler": sglang_profiler,
    "endpoints": endpoints,
    "endpoints-without-urls": endpoints_without_urls,
    "curl": curl,
    "curl-around": curl_around,
    "dynamo": dynamo,
    "dynamo-earlier": dynamo_earlier,
}
