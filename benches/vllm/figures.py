"""Medians, intervals and tables of bench.py."""

import random
import statistics

RESAMPLES = 2000


def quantile(values, share):
    """Linear between the two nearest."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def interval(values):
    """The 95 % bootstrap interval of the median. The same values always give the same one."""
    draw = random.Random(1)
    medians = [statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES)]
    return quantile(medians, 0.025), quantile(medians, 0.975)


def percent(ratios):
    """How far ratios lie from 1: the median and its interval."""
    values = [100 * (ratio - 1) for ratio in ratios]
    low, high = interval(values)
    return f"{statistics.median(values):+.2f} [{low:+.2f} .. {high:+.2f}]"


def middle(values, digits=1):
    """The middle half."""
    return f"{quantile(values, 0.25):+.{digits}f} .. {quantile(values, 0.75):+.{digits}f}"


def by_boot(groups):
    """The median of each boot's ratios."""
    return " ".join(f"{100 * (statistics.median(group) - 1):+.2f}" for group in groups)


class Ratios:
    """What pairs of neighbouring blocks gave, the second one of each over the first one."""

    def __init__(self):
        self.wall, self.cpu, self.iteration_us = [], [], []

    def add(self, wall, cpu, iteration_us):
        self.wall.append(wall)
        self.cpu.append(cpu)
        self.iteration_us.append(iteration_us)


def table_head(title, *columns):
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n| --- |{' ---: |' * (len(columns) - 1)}")


def pairs_table(title, table):
    """`table`: by what the neighbour without our hooks is compared with, the `Ratios` of each boot."""
    columns = ("iterations", "pairs", "µs without", "wall clock, % longer", "CPU time, % longer")
    table_head(title, *columns, "middle half of the wall clock's", "boots")
    for name, boots in table.items():
        wall, cpu = ([ratio for boot in boots for ratio in getattr(boot, what)] for what in ("wall", "cpu"))
        without = statistics.median(value for boot in boots for value in boot.iteration_us)
        spread = middle([100 * (ratio - 1) for ratio in wall])
        each = by_boot([boot.wall for boot in boots])
        print(f"| {name} | {len(wall)} | {without:.0f} | {percent(wall)} | {percent(cpu)} | {spread} | {each} |")


def turns_table(title, table, reference):
    """`table`: by variant, each boot's list of (tokens/s, µs of CPU time per iteration, ms from token to token)."""
    figures = ("tokens/s", "% more", "boots", "latency, ms", "% more", "CPU time of an iteration, µs", "% more")
    table_head(title, "vLLM", *figures)
    for name, boots in table.items():
        cells = [name]
        for column in (0, 2, 1):
            values = [[turn[column] for turn in boot] for boot in boots]
            usual = [[turn[column] for turn in boot] for boot in table[reference]]
            ratios = [[a / b for a, b in zip(*pair)] for pair in zip(values, usual)]
            cells.append(f"{statistics.median(value for boot in values for value in boot):.4g}")
            cells.append("" if name == reference else percent([ratio for boot in ratios for ratio in boot]))
            if column == 0:
                cells.append("" if name == reference else by_boot(ratios))
        print(f"| {' | '.join(cells)} |")


def stall_table(title, table):
    """`table`: by what was done in the span, (the gaps of each span, those of the spans it is compared with), in ms."""
    columns = ("in the span", "spans", "gap p50", "p99", "longest gap, median", "most")
    table_head(title, *columns, "added stall, median [95 % interval]", "middle half", "most")
    for name, (spans, beside) in table.items():
        gaps = [gap for span in spans for gap in span]
        longest = [max(span) for span in spans]
        usual = statistics.median(max(span) for span in beside)
        added = [value - usual for value in longest]
        low, high = interval(added)
        cells = [quantile(gaps, 0.5), quantile(gaps, 0.99), statistics.median(longest), max(longest)]
        cells = [f"{value:.2f}" for value in cells]
        cells += [f"{statistics.median(added):+.2f} [{low:+.2f} .. {high:+.2f}]", middle(added, 2), f"{max(added):+.2f}"]
        print(f"| {name} | {len(spans)} | {' | '.join(cells)} |")
