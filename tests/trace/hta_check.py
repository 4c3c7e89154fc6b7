"""Loads a capture's one-rank files with HolisticTraceAnalysis and asserts that it sees each as its own rank, with steps.

usage: hta_check.py RANK0.json [RANK1.json ...]
"""

import json
import pathlib
import re
import shutil
import sys
import tempfile

from hta.trace_analysis import TraceAnalysis


def main(files):
    with tempfile.TemporaryDirectory() as folder:
        steps = {}
        for number, file in enumerate(files):
            target = pathlib.Path(folder) / f"file{number}{''.join(pathlib.Path(file).suffixes[-2:])}"
            shutil.copy(file, target)
            trace = json.loads(target.read_text())
            names = [e["name"] for e in trace["traceEvents"] if e.get("cat") == "user_annotation"]
            steps[trace["rank"]] = [int(re.fullmatch(r"ProfilerStep#(\d+)", name).group(1)) for name in names]
        assert len(steps) == len(files), f"the files name only the ranks {sorted(steps)}"
        # The files found by HTA itself: this is where it looks for the rank.
        analysis = TraceAnalysis(trace_dir=folder)
        ranks = sorted(analysis.t.get_ranks())
        assert ranks == sorted(steps), f"HTA sees the ranks {ranks}, the files are of {sorted(steps)}"
        for rank in ranks:
            frame = analysis.t.get_trace(rank)
            symbols = analysis.t.symbol_table.get_sym_table()
            seen = {symbols[name] for name in frame["name"].unique()}
            seen = sorted(int(name.split("#")[1]) for name in seen if name.startswith("ProfilerStep#"))
            # HTA leaves the last step out by default (HolisticTraceAnalysis#76).
            wanted = sorted(steps[rank])
            assert seen in (wanted, wanted[:-1]), f"rank {rank}: HTA sees {seen}, the file has {wanted}"
            print(f"rank {rank}: {len(frame)} events, steps {seen[0]}..{seen[-1]}")
    print(f"HTA: {len(ranks)} ranks")


if __name__ == "__main__":
    main(sys.argv[1:])
