"""What our package costs a real vLLM, and the stall of a window beside vLLM's own torch profiler. Run by run.sh.

Each boot brings up two vLLMs that we step ourselves (stepped.py): one with our package, one without it and with vLLM's
torch profiler configured. Both have one and the same core; the one that has no order waits and runs nothing. This
process and the sidecar have the other cores. Three measurements, shuffled within each round:

- In one stream. Blocks of a few iterations, neighbours in random order: with our hooks, and with vLLM's own methods put
  back in their place. The finest comparison, since neighbours see the same machine; it does not see what the sidecar may
  cost the core of the engine. The control is a pair of neighbours that are both without.
- In turns. A stream of a fraction of a second each: the same two, recording, and the vLLM that never had our package;
  ratios within a round. Coarser, and nothing is left out. Two processes of one program differ by more than our package
  costs: only several boots say something about `package absent`.
- Stall. A span is a fixed number of tokens behind the mark of a stream; the window is started at the mark. The added
  stall is the longest gap between two tokens in it, minus the median of those of the same process's spans without one.
  The longest of hundreds of gaps is long anyway and hides a short stall: so the same for the ten gaps around the window
  alone, beside as many at the same place of spans without one.

On a machine that others use too, CPU time is the figure to go by: of all threads of vLLM's process, ours included.
"""

import argparse
import os
import random
import statistics
import time

from figures import Ratios, pairs_table, stall_table, turns_table
from sides import Profiled, Sidecar, Stepped, Watched

#: Sequences, iterations of a block, pairs of blocks in a stream.
BLOCKS = ((1, 15, 30), (64, 6, 30), (512, 4, 12))
#: Sequences and tokens of each one in a turn.
TURNS = ((1, 300), (64, 80), (512, 16))
#: Sequences, and tokens of the stream of which those behind MARK are the span.
SPANS = ((1, 900), (64, 250))
MARK = 30
#: What measures a gap. CPU time is that of all threads of vLLM's process: what others do on its core is not in it.
CLOCKS = {"stamps": "", "cpu": " of CPU time"}

OUT, CONTROL = "package's hooks taken out", "the same once more (control)"
ABSENT, IDLE, RECORDING = "package absent, another process", "idle", "recording all the time"
NONE, OURS = "no window", "a window of ours"
NONE_THERE, TORCH = "no window, package absent", "a window of vLLM's torch profiler"


def in_one_stream(watched, table, shuffled):
    """A stream for each batch, idle and recording: how much longer an iteration takes, wall clock and CPU time."""
    for batch, block, pairs in BLOCKS:
        for name in shuffled.sample((IDLE, RECORDING), 2):
            kinds = [(False, True), (True, False), (False, False)] * (pairs // 3)
            shuffled.shuffle(kinds)
            blocks = [on for pair in kinds for on in pair]
            times = watched.blocks(batch, blocks, block, name == RECORDING)
            for number, (first, second) in enumerate(kinds):
                before, behind = times[2 * number], times[2 * number + 1]
                # `one` is the one without our hooks; of a pair of such, either.
                one, other = (behind, before) if first or not second and shuffled.random() < 0.5 else (before, behind)
                row = table.setdefault(batch, {}).setdefault(name if first or second else CONTROL, Ratios())
                row.add(other[0] / one[0], other[1] / one[1], one[0] / (block - 1) / 1e3)


def in_turns(absent, watched, table, shuffled, core):
    """A turn of each variant for each batch: tokens/s, µs of CPU time per iteration, median ms from token to token; and
    to `core` the CPU and the wall-clock time of each."""
    variants = {OUT: watched.hooks_out, CONTROL: watched.hooks_out, ABSENT: absent.idle}
    variants |= {IDLE: watched.idle, RECORDING: watched.recording}
    for batch, tokens in TURNS:
        for name in shuffled.sample(list(variants), len(variants)):
            result = variants[name](batch, tokens)
            stamps = result["stamps"]
            wall = stamps[-1] - result["began"]
            core.append((result["cpu"][-1], wall))
            latency = statistics.median(gaps(stamps, 1))
            values = (batch * tokens / wall * 1e9, result["cpu"][-1] / tokens / 1e3, latency)
            table.setdefault(batch, {}).setdefault(name, []).append(values)


def spans(absent, watched, table, shuffled, torch):
    """A span of each kind for each batch; those of the torch profiler's vLLM only on demand: a window takes seconds."""
    for batch, tokens in SPANS:
        kinds = {NONE: (watched, False), OURS: (watched, True)}
        kinds |= {NONE_THERE: (absent, False), TORCH: (absent, True)} if torch else {}
        for name in shuffled.sample(list(kinds), len(kinds)):
            side, window = kinds[name]
            answer, first = side.span(batch, tokens, MARK, window)
            span = {clock: gaps(answer[clock], MARK) for clock in CLOCKS} | {"first": first - MARK - 1}
            table.setdefault(batch, {}).setdefault(name, []).append(span)


def gaps(stamps, mark):
    """Milliseconds between tokens, from the one at the mark (counted from 1) on."""
    span = stamps[mark - 1 :]
    return [(later - earlier) / 1e6 for earlier, later in zip(span, span[1:])]


def show_stalls(batch, tokens, spans):
    """`spans`: by kind, the gaps in ms by either clock, and the index of the one in which the window's first iteration
    ran. In a span without a window the ten are those of the span with one that was measured in the same round."""
    for clock, said in CLOCKS.items():
        whole, close = {}, {}
        for none, window in ((NONE, OURS), (NONE_THERE, TORCH)):
            starts = [max(0, span["first"] - 3) for span in spans[window]]
            for name in (none, window):
                whole[name] = ([span[clock] for span in spans[name]], [span[clock] for span in spans[none]])
                pairs = [list(zip(spans[kind], starts, strict=True)) for kind in (name, none)]
                close[name] = [[span[clock][start : start + 10] for span, start in pair] for pair in pairs]
        title = f"Gaps between two tokens in ms{said}, batch {batch}"
        stall_table(f"{title}: the ten around the window", close)
        stall_table(f"{title}: in spans of {tokens - MARK} tokens", whole)


def measured(options, boot, shuffled, streams, turns, stalls, core):
    """One boot of both engines and the sidecar; adds to the tables."""
    folder = os.path.join(options.work, str(boot))
    segments, torch_folder = os.path.join(folder, "segments"), os.path.join(folder, "torch")
    os.makedirs(segments, mode=0o700)
    os.makedirs(torch_folder)
    with (
        Stepped("absent", options.plain_python, options, folder, torch_folder) as absent,
        Stepped("ours", options.python, options, folder, STEPSCOPE_DIR=segments) as ours,
        Sidecar(options.stepscope, folder, segments) as sidecar,
    ):
        absent, watched = Profiled(absent, torch_folder), Watched(ours, sidecar)
        for table in ({}, streams):  # the first round of each kind warms up
            for _ in range(2 * options.rounds if table is streams else 1):
                in_one_stream(watched, table, shuffled)
        for table in ({}, turns):
            for _ in range(options.rounds if table is turns else 1):
                in_turns(absent, watched, table, shuffled, core)
        for table in ({}, stalls):
            for number in range(options.windows if table is stalls else 1):
                spans(absent, watched, table, shuffled, number % 3 == 0)


def main():
    arguments = argparse.ArgumentParser()
    for name in ("plain-python", "python", "model", "stepscope", "work"):
        arguments.add_argument(f"--{name}", required=True)
    arguments.add_argument("--boots", type=int, default=3)
    arguments.add_argument("--rounds", type=int, default=8, help="of each boot; streams twice as often")
    arguments.add_argument("--windows", type=int, default=12, help="of each boot and batch; a third as many of vLLM's")
    options = arguments.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("one core for vLLM and one for all else: two are needed")
    options.core = cores[0]
    os.sched_setaffinity(0, set(cores[1:]))  # and the sidecar's with it

    shuffled, began = random.Random(1), time.monotonic()
    streams, turns, stalls, core = {}, {}, {}, []
    for boot in range(options.boots):
        print(f"boot {boot + 1}, {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.2f}", flush=True)
        measured(options, boot, shuffled, of_boot := {}, turns_of_boot := {}, stalls, core)
        for table, more in ((streams, of_boot), (turns, turns_of_boot)):
            for batch, rows in more.items():
                for name, values in rows.items():
                    table.setdefault(batch, {}).setdefault(name, []).append(values)
    print("\n%: the median [its 95 % bootstrap interval]; boots: the median of each boot")
    for batch, block, _ in BLOCKS:
        pairs = {name: streams[batch][name] for name in (CONTROL, IDLE, RECORDING)}
        pairs_table(f"In one stream, batch {batch}, blocks of {block} iterations, beside '{OUT}'", pairs)
    for batch, tokens in TURNS:
        table = {name: turns[batch][name] for name in (OUT, CONTROL, ABSENT, IDLE, RECORDING)}
        turns_table(f"In turns of {tokens} iterations, batch {batch}, beside '{OUT}'", table, OUT)
    for batch, tokens in SPANS:
        show_stalls(batch, tokens, stalls[batch])
    off = 100 * (1 - sum(cpu for cpu, _ in core) / sum(wall for _, wall in core))
    print(f"\n{time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.2f}; others had vLLM's core {off:.1f} % of its turns")


if __name__ == "__main__":
    main()
