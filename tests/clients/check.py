"""Benchmark clients as they are, each against a real vLLM and a sidecar: what a client called its measured phase is what the
capture holds, to the token, and its warm-up is not in it. Run by run.sh; a client is a class in clients.py.
"""

import os
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vllm"))

from clients import CLIENTS
from engine import Engine, Sidecar, eventually
from engine import options as options_of
from lab import Lab, Skipped

#: Every prompt is computed in full, so that tokens add up; each iteration is in vLLM's own log (of several API servers it logs none).
ENGINE = ["--no-enable-prefix-caching", "--enable-logging-iteration-details"]


def main():
    options = options_of("clients", "environment", "endpoints")
    wanted = [name for name in options.clients.split(",") if name]
    unknown = [name for name in wanted if name not in CLIENTS]
    if unknown:
        sys.exit(f"no client {unknown}: there are {', '.join(CLIENTS)}")
    segments = os.path.join(options.work, "segments")
    os.makedirs(segments, mode=0o700)
    rows, failed = [], False
    with Sidecar(options.stepscope, options.work, segments) as sidecar:
        plugins = {"VLLM_PLUGINS": "stepscope,stepscope_routes", "STEPSCOPE_URL": sidecar.url}
        python = os.path.join(options.work, "venv", "bin", "python")
        with Engine("vllm", python, options, options.work, ENGINE, STEPSCOPE_DIR=segments, **plugins) as engine:
            eventually("the rank is attached", lambda: len(sidecar.ranks()) == 1, 30, sidecar.alive)
            for name in wanted or CLIENTS:
                lab = Lab(engine, sidecar, options, name)
                try:
                    rows.append((name, "ok", *CLIENTS[name](lab)))
                except Skipped as reason:
                    rows.append((name, "skipped", "", reason))
                except Exception:
                    traceback.print_exc()
                    lab.settle()
                    rows.append((name, "FAILED", "", "see above"))
                    failed = True
        assert engine.text().count("vLLM runs on") == 0, "the plugin had trouble, see vLLM's log"
    print(f"\n{'client':<24} {'result':<8} {'calls':<9} what its capture holds")
    for name, result, calls, what in rows:
        print(f"{name:<24} {result:<8} {calls:<9} {what}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
