"""An engine that emits NVTX as PyTorch and the `nvtx` package do, and knows nothing of Stepscope. Run by check.py."""

import sys
import threading
import time

import nvtx
import torch.cuda.nvtx as torch_nvtx

#: What each iteration emits beside its own range, by name; `iteration 7` stands for any number.
PER_ITERATION = {
    "forward": 1,
    "attention": 2,
    "sample the next tokens of every request in the batch": 1,
    "worker": 1,
    "copy": 1,
    "iteration": 1,
}
ASYNCHRONOUS = {"transfer": 1, "prefetch": 1}
#: Domain of each name; what is not here lies in the one without a name.
DOMAINS = {"attention": "engine", "copy": "engine", "prefetch": "engine"}

begin, end = threading.Barrier(2), threading.Barrier(2)


def work():
    while True:
        begin.wait()
        with torch_nvtx.range("worker"), nvtx.annotate("copy", domain="engine"):
            pass
        end.wait()


def step(number):
    """One iteration."""
    begin.wait()
    transfer = torch_nvtx.range_start("transfer")
    prefetch = nvtx.start_range("prefetch", domain="engine")
    with torch_nvtx.range("forward"):
        for _ in range(2):
            with nvtx.annotate("attention", domain="engine"):
                pass
        nvtx.push_range("sample the next tokens of every request in the batch")
        torch_nvtx.range_push(f"iteration {number}")
        torch_nvtx.range_pop()
        nvtx.pop_range()
    nvtx.end_range(prefetch)
    torch_nvtx.range_end(transfer)
    end.wait()


def run(kind):
    """Steps until it is killed; an iteration's own range is named, or named after its batch, or there is none."""
    threading.Thread(target=work, name="worker", daemon=True).start()
    number = 0
    while True:
        number += 1
        if kind == "python":
            step(number)
        else:
            name = "step" if kind == "exact" else f"execute_context_1({number})_generation_2(2)"
            torch_nvtx.range_push(name)
            step(number)
            torch_nvtx.range_pop()
        time.sleep(0.001)


if __name__ == "__main__":
    # By its name, under which a hook looks for it.
    import nvtx_engine

    nvtx_engine.run(sys.argv[1])
