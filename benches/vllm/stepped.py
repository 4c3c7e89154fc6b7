"""A vLLM inside this very process, stepped by a loop of our own: no front end, no other process. Started by bench.py.

Orders come as JSON lines on standard input, answers go out on what was standard output; vLLM's own words go to stderr.
Waiting for an order costs no CPU time, so that several of these share a core by taking turns.

`{"batch", "tokens"}` runs that many sequences to the end, and answers `{"began", "stamps", "cpu"}`: the time in front of
the first step and behind each step (CLOCK_MONOTONIC, ns), and the CPU time of all threads of the process by then, from the
same start. One step is one iteration with one token for each sequence, which is checked. More keys of an order:
- `hooks`: false puts vLLM's own methods back in the place of our package's, true has our package's. Not there: as it is.
- `blocks` and `block`: a list of such, each one for `block` steps; the answer's `blocks` has the wall-clock and the CPU
  time (ns) of each block without its first step, in which Python's caches find the other methods.
- `mark`: behind that step the line `{"mark": ns}` goes out, and the run goes on.
- `torch`: at the mark, a window of four iterations of vLLM's torch profiler opens, behind two that are skipped.
"""

import json
import os
import sys
import time

MAXIMUM_SEQUENCES = 512
#: So short that the prompts of all sequences fit in the first step, which then yields a token of each one.
PROMPT = [11, 12, 13, 14]


class Hooks:
    """Our package's hooks on classes of vLLM, to be taken off and put back."""

    def __init__(self, *classes):
        self.original = [(one, dict(vars(one))) for one in classes]
        self.ours = []

    def found(self):
        """To be called once the engine is up; names what our package replaced."""
        for one, original in self.original:
            for name, value in vars(one).items():
                if callable(value) and original.get(name) is not value:
                    self.ours.append((one, name, value, original.get(name)))
        return sorted(name for _, name, _, _ in self.ours)

    def put(self, on):
        if not self.ours:
            raise RuntimeError("our package put no hooks here")
        for one, name, ours, original in self.ours:
            if on or original is not None:
                setattr(one, name, ours if on else original)
            elif name in vars(one):
                delattr(one, name)


def boot(model, torch_folder):
    """The engine and the hooks on it, warmed up."""
    from vllm import EngineArgs, LLMEngine
    from vllm.config import ProfilerConfig
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.engine.output_processor import OutputProcessor
    from vllm.v1.worker.worker_base import WorkerWrapperBase

    hooks = Hooks(WorkerWrapperBase, Scheduler, OutputProcessor)
    profiler = ProfilerConfig(profiler="torch", torch_profiler_dir=torch_folder) if torch_folder else ProfilerConfig()
    arguments = EngineArgs(
        model=model,
        load_format="dummy",
        dtype="float32",
        max_model_len=1024,
        max_num_seqs=MAXIMUM_SEQUENCES,
        max_num_batched_tokens=MAXIMUM_SEQUENCES * len(PROMPT),
        enforce_eager=True,
        disable_log_stats=True,
        profiler_config=profiler,
    )
    engine = LLMEngine.from_engine_args(arguments)
    for batch in (1, 64, MAXIMUM_SEQUENCES):
        run(engine, batch, 20)
    return engine, hooks


def run(engine, batch, tokens, mark=None, torch=False, said=None):
    add(engine, batch, tokens)
    clock, cpu_clock, stamps, cpu = time.monotonic_ns, time.process_time_ns, [], []
    step, unfinished = engine.step, engine.has_unfinished_requests
    cpu_began, began = cpu_clock(), clock()
    while unfinished():
        outputs = step()
        stamps.append(clock())
        cpu.append(cpu_clock() - cpu_began)
        if len(outputs) != batch:
            raise RuntimeError(f"step {len(stamps)} of {tokens} yielded {len(outputs)} tokens for {batch} sequences")
        if len(stamps) == mark:
            said({"mark": stamps[-1]})
            if torch:
                # vLLM skips one iteration less than it is told.
                engine.start_profile(delay_iterations=3, max_iterations=4)
        elif torch and len(stamps) == mark + 20:
            engine.stop_profile()
    if len(stamps) != tokens:
        raise RuntimeError(f"{len(stamps)} steps for {tokens} tokens of each sequence")
    return {"began": began, "stamps": stamps, "cpu": cpu}


def run_in_blocks(engine, hooks, batch, blocks, block):
    """The hooks come and go while the sequences run: neighbours of a few milliseconds see the same machine."""
    tokens = len(blocks) * block
    add(engine, batch, tokens)
    wall, cpu, step = time.monotonic_ns, time.process_time_ns, engine.step
    times = []
    for on in blocks:
        hooks.put(on)
        step()
        cpu_before, before = cpu(), wall()
        for _ in range(block - 1):
            outputs = step()
        times.append((wall() - before, cpu() - cpu_before))
        if len(outputs) != batch:
            raise RuntimeError(f"a step yielded {len(outputs)} tokens for {batch} sequences")
    if engine.has_unfinished_requests():
        raise RuntimeError(f"the sequences are not at their end behind {tokens} steps")
    return {"blocks": times}


def add(engine, batch, tokens):
    """The sequences wait for their first step."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    # As a server's engine process has it: each token goes out by itself, and text is made of it elsewhere.
    kind = RequestOutputKind.DELTA
    parameters = SamplingParams(max_tokens=tokens, temperature=0, ignore_eos=True, detokenize=False, output_kind=kind)
    for number in range(batch):
        engine.add_request(f"{time.monotonic_ns()}-{number}", {"prompt_token_ids": PROMPT}, parameters)


def main():
    model, core, torch_folder = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def said(line):
        answers.write(json.dumps(line) + "\n")
        answers.flush()

    engine, hooks = boot(model, torch_folder)
    said({"hooks": hooks.found(), "pid": os.getpid()})
    for line in sys.stdin:
        order = json.loads(line)
        if (on := order.pop("hooks", None)) is not None:
            hooks.put(on)
        said(run_in_blocks(engine, hooks, **order) if "blocks" in order else run(engine, **order, said=said))


if __name__ == "__main__":
    main()
