"""What the step hook costs in Python: alternating batches in one process, medians, ratios to an empty function.

    python python/benches/bench_hook.py [--batches N] [--calls N] [--recording]

Nanoseconds drift from minute to minute; the ratios are what counts. With --recording it steps until a window opens and
measures inside it: beside `stepscope serve`, `stepscope start --max-iterations 0` opens one. The heading says what it saw.
"""

import argparse
import statistics
import time
import types

import stepscope
from stepscope import _wrap
from stepscope._agent import native
from stepscope.vllm import install


def empty():
    pass


def loop(function, calls):
    start = time.perf_counter_ns()
    for _ in range(calls):
        function()
    return (time.perf_counter_ns() - start) / calls


def nothing(calls):
    start = time.perf_counter_ns()
    for _ in range(calls):
        pass
    return (time.perf_counter_ns() - start) / calls


def worker_class():
    """A worker wrapper with vLLM's shape, whose work is nothing."""

    class WorkerWrapperBase:
        def init_device(self):
            pass

        def shutdown(self):
            pass

        def execute_model(self, scheduler_output):
            return None

        def sample_tokens(self, grammar_output):
            return None

    return WorkerWrapperBase


def vllm_pair():
    """vLLM's hooks on a worker that does nothing, and the same worker without them."""
    scheduled = types.SimpleNamespace(total_num_scheduled_tokens=1)

    def step(worker):
        def run():
            worker.execute_model(scheduled)
            worker.sample_tokens(None)

        return run

    plain, hooked_class = worker_class()(), worker_class()
    install(types.SimpleNamespace(WorkerWrapperBase=hooked_class, WorkerBase=hooked_class))
    hooked = hooked_class()
    hooked._stepscope_steps = steps = native.Steps(lambda _scheduled: [0, 0, 1, 1], None, print, False)
    hooked._stepscope_begin, hooked._stepscope_end = steps.begin, steps.end
    return step(plain), step(hooked)


def main():
    arguments = argparse.ArgumentParser()
    # Short: one that lasts as long as a turn of the scheduler is interrupted more often than not on a busy machine.
    arguments.add_argument("--batches", type=int, default=1_000)
    arguments.add_argument("--calls", type=int, default=1_000)
    arguments.add_argument("--recording", action="store_true", help="wait for a window, and measure inside it")
    options = arguments.parse_args()
    code = stepscope.join(rank=0, world_size=1, engine="bench_hook")
    if not stepscope.available() or code < 0:
        raise SystemExit(f"no agent to measure: {stepscope.reason()}")
    wrapped = _wrap.wrap(empty, _wrap.Source("python"))
    wrapped()

    def empty_variadic(*args, **kwargs):
        pass

    wrapped_variadic = _wrap.wrap(empty_variadic, _wrap.Source("python"))
    wrapped_variadic()

    class Engine:
        def step(self):
            pass

    plain_step = Engine().step
    Engine.step = _wrap.wrap(Engine.step, _wrap.Source("python"))
    wrapped_step = Engine().step
    wrapped_step()
    plain_worker, hooked_worker = vllm_pair()

    def pair():
        native.step_begin()
        native.step_end()

    rows = {
        "an empty Python function": empty,
        "one native call (step_begin)": native.step_begin,
        "one native call (step_end)": native.step_end,
        "begin and end from a Python function": pair,
        "a wrapped step around an empty function": wrapped,
        "an empty function f(*args, **kwargs)": empty_variadic,
        "the same function, wrapped": wrapped_variadic,
        "an empty method step(self)": plain_step,
        "the same method, wrapped": wrapped_step,
        "vLLM: execute_model and sample_tokens, no hooks": plain_worker,
        "vLLM: the same, hooked": hooked_worker,
    }
    samples = {name: [] for name in rows}
    while options.recording and not native.step_begin():
        native.step_end()
        time.sleep(0.001)
    seen = native.step_begin()
    for _ in range(options.batches):
        base = nothing(options.calls)
        for name, function in rows.items():
            samples[name].append(max(loop(function, options.calls) - base, 0.01))
    seen_after = native.step_begin()
    native.step_end()
    unit = statistics.median(samples["an empty Python function"])
    window = {(False, False): "idle", (True, True): "recording"}.get((bool(seen), bool(seen_after)), "window moved: rerun")
    print(f"{window}: {options.batches} batches of {options.calls} calls, loop subtracted")
    for name, values in samples.items():
        median = statistics.median(values)
        print(f"{name:<48} {median:8.1f} ns {median / unit:6.2f} x")


if __name__ == "__main__":
    main()
