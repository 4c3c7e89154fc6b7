"""An engine on PyTorch whose code knows nothing of Stepscope: four kernels of a known length an iteration."""

import sys
import threading

import torch

#: About 0.5 ms at 2 GHz.
CYCLES = 1_000_000
KERNELS = 4


class Engine:
    def __init__(self):
        torch.cuda.init()
        self.stream = torch.cuda.Stream()
        torch.cuda.set_stream(self.stream)

    def step(self):
        for _ in range(KERNELS):
            torch.cuda._sleep(CYCLES)
        self.stream.synchronize()


def main():
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no CUDA device")
        return 77
    # Steps through the module of this name, where STEPSCOPE_STEP finds it.
    import torch_engine

    engine = torch_engine.Engine()
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    ranges = "--nvtx" in sys.argv
    print("ready", flush=True)
    made = 0
    while not ended.is_set():
        made += 1
        if ranges:
            torch.cuda.nvtx.range_push(f"step_{made}")
        engine.step()
        if ranges:
            torch.cuda.nvtx.range_pop()
    print(f"made {made} iterations")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
