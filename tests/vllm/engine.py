"""A real vLLM and a real sidecar as child processes, and the HTTP that the check speaks with them."""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))

ITERATION = re.compile(
    r"Iteration\((\d+)\): (\d+) context requests, (\d+) context tokens, "
    r"(\d+) generation requests, (\d+) generation tokens"
)


def options(*more):
    """What the scripts pass on; ``more`` are required words of one of them."""
    arguments = argparse.ArgumentParser()
    for name in ("model", "stepscope", "work", *more):
        arguments.add_argument(f"--{name}", required=True)
    arguments.add_argument("--tensor-parallel-size", type=int, default=1)
    return arguments.parse_args()


def surroundings() -> dict:
    """Our environment without what is meant for the test, or comes from a developer's shell."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STEPSCOPE_")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(url, body=None, method=None, timeout=60):
    """The answer's bytes; an HTTP error is an error with its body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method or ''} {url}: {error.code} {error.read().decode(errors='replace')}") from error


def eventually(what, probe, patience_s, alive=lambda: True):
    """``probe()``'s first true answer; an error names ``what`` if there is none in time, or somebody died."""
    deadline = time.monotonic() + patience_s
    last = None
    while time.monotonic() < deadline:
        if not alive():
            raise RuntimeError(f"{what}: the process ended meanwhile")
        try:
            answer = probe()
            if answer:
                return answer
        except (RuntimeError, OSError) as error:
            last = error
        time.sleep(0.05)
    raise RuntimeError(f"{what}: not within {patience_s} s ({last})")


class Process:
    """A child in a process group of its own, with its output in a file."""

    def __init__(self, name, command, folder, environment):
        self.name = name
        self.log = os.path.join(folder, f"{name}.log")
        with open(self.log, "wb") as output:
            self.child = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=folder, start_new_session=True
            )

    def alive(self):
        return self.child.poll() is None

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        if self.alive():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind is not None:
            print(f"--- {self.name}, last lines\n" + "\n".join(self.text().splitlines()[-40:]), flush=True)


class Engine(Process):
    """vLLM, ready when constructed."""

    def __init__(self, name, python, options, folder, more=(), before=(), **environment):
        self.port = free_port()
        variables = {**surroundings(), **environment}
        if options.tensor_parallel_size > 1:
            variables.setdefault("VLLM_CPU_OMP_THREADS_BIND", "|".join(map(str, range(options.tensor_parallel_size))))
        ranks = ["--tensor-parallel-size", str(options.tensor_parallel_size)]
        command = [*before, os.path.join(HERE, "serve.sh"), python, options.model, str(self.port), *ranks, *more]
        super().__init__(name, command, folder, variables)
        health = f"http://127.0.0.1:{self.port}/health"
        try:
            eventually(f"{name} boots", lambda: call(health, timeout=5) is not None, 600, self.alive)
        except BaseException:
            self.__exit__(RuntimeError)
            raise

    def complete(self, prompt, tokens) -> str:
        body = {"model": "tiny", "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
        answer = json.loads(call(f"http://127.0.0.1:{self.port}/v1/completions", body, timeout=300))
        return answer["choices"][0]["text"]

    def iterations(self) -> dict:
        """What vLLM logged of each iteration, by its own number: the four counts."""
        return {int(number): tuple(map(int, counts)) for number, *counts in ITERATION.findall(self.text())}


class Traffic:
    """Concurrent requests of many lengths, until the block ends. An answer that fails is an error at its end."""

    def __init__(self, engine, clients=6):
        self.engine = engine
        self.over = threading.Event()
        self.errors = []
        self.clients = [threading.Thread(target=self._client, args=(number,)) for number in range(clients)]

    def _client(self, number):
        turn = 0
        try:
            while not self.over.is_set():
                turn += 1
                words = "request %d of client %d " % (turn, number) * (1 + (number * 7 + turn * 3) % 12)
                self.engine.complete(words, 5 + (number * 11 + turn * 5) % 40)
        except Exception as error:
            self.errors.append(error)

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for client in self.clients:
            client.join()
        if self.errors:
            raise self.errors[0]


class Sidecar(Process):
    """`stepscope serve`, ready when constructed."""

    def __init__(self, command, folder, segments, data=None, more=()):
        self.url = f"http://127.0.0.1:{free_port()}"
        listen = self.url.removeprefix("http://")
        data = data or os.path.join(folder, "data")
        arguments = [command, "serve", "--listen", listen, "--data", data, "--dir", segments, *more]
        super().__init__("sidecar", arguments, folder, surroundings())
        try:
            eventually("the sidecar starts", lambda: call(f"{self.url}/stepscope/v1/healthz") is not None, 30, self.alive)
        except BaseException:
            self.__exit__(RuntimeError)
            raise

    def get(self, path):
        return json.loads(call(f"{self.url}/stepscope/v1/{path}"))

    def ranks(self) -> list:
        """Those that run iterations: the API server and an engine core of its own are there too, as sources of spans."""
        return [rank for rank in self.get("status")["ranks"] if rank["role"] == "rank"]

    def start(self, **body) -> dict:
        return json.loads(call(f"{self.url}/start_profile", body, "POST"))

    def kill(self):
        """Without a word of farewell."""
        self.child.kill()
        self.child.wait()

    def stop_capture(self) -> dict:
        return json.loads(call(f"{self.url}/stop_profile", {}, "POST"))

    def finished(self, capture, patience_s=120) -> dict:
        """The manifest of a capture once nothing about it changes any more."""

        def probe():
            manifest = self.get(f"captures/{capture}")
            return manifest if manifest["state"] in ("done", "cancelled", "failed") else None

        return eventually(f"capture {capture} ends", probe, patience_s, self.alive)

    def ledger(self, capture) -> list:
        lines = call(f"{self.url}/stepscope/v1/captures/{capture}/iterations").decode().splitlines()
        return [json.loads(line) for line in lines]

    def trace(self, capture) -> dict:
        def no_constant(word):
            raise ValueError(f"{word} is not JSON")

        return json.loads(
            call(f"{self.url}/stepscope/v1/captures/{capture}/trace?format=json"), parse_constant=no_constant
        )
