"""Looks at every row, and prints what was wanted, what was seen, and whether that will do. Called by run.sh."""

import argparse
import importlib.util
import json
import os
import sys
import textwrap
import time

import rows
import tools
from lab import Lab, NotSeen, Short

OK, FAILED, NOT_SEEN = "ok", "FAILED", "not seen"


def main():
    arguments = parse()
    names = {name for name, *_ in rows.ROWS}
    unknown = set(arguments.only) - names
    if unknown:
        print(f"no row {', '.join(sorted(unknown))}; there are: {', '.join(sorted(names))}", file=sys.stderr)
        return 2
    os.makedirs(arguments.out, exist_ok=True)
    try:
        tool, said = choose(arguments)
    except NotSeen as lacking:
        tool, said = None, str(lacking)
    print(f"{arguments.title}\ntool: {said}\nlogs: {arguments.out}\n", flush=True)
    lab = Lab(arguments.binaries, arguments.out, tool, arguments.driver)
    table = []
    for name, wanted, needs, look in rows.ROWS:
        if arguments.only and name not in arguments.only:
            continue
        began = time.monotonic()
        verdict, seen = judge(lab, needs, look, arguments.driver is not None, said)
        table.append({"row": name, "wanted": wanted, "seen": seen, "verdict": verdict})
        show(table[-1], time.monotonic() - began)
    with open(os.path.join(arguments.out, "rows.json"), "w", encoding="utf-8") as file:
        json.dump({"tool": said, "rows": table}, file, indent=1)
    return conclude(table, arguments.driver is not None)


def parse():
    parser = argparse.ArgumentParser(prog="tests/gpu/run.sh")
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--title", required=True)
    parser.add_argument("--driver", help="folder of a driver that stands in")
    parser.add_argument("--tool", choices=("auto", "nsys", "cupti"), default="auto")
    parser.add_argument("--cupti")
    parser.add_argument("--only", action="append", default=[])
    return parser.parse_args()


def choose(arguments):
    if arguments.driver:
        library = os.path.join(arguments.driver, "libcuda.so.1")
        return tools.Cupti(arguments.binaries, library), "a stand-in for CUPTI"
    return tools.choose(arguments.tool, arguments.binaries, arguments.out, arguments.cupti)


def judge(lab, needs, look, dry, said):
    """A verdict and words. Whatever goes wrong in a row is that row's."""
    try:
        if dry and not set(needs) <= {"no tool"}:
            raise NotSeen("not in a dry run")
        if "torch" in needs and importlib.util.find_spec("torch") is None:
            raise NotSeen(f"there is no PyTorch for {sys.executable}")
        if lab.tool is None and "no tool" not in needs:
            raise NotSeen(said)
        return OK, look(lab)
    except NotSeen as lacking:
        return NOT_SEEN, str(lacking)
    except Short as short:
        return FAILED, str(short)
    except Exception as error:
        return FAILED, f"{type(error).__name__}: {error}"


def show(row, seconds):
    print(f"{row['verdict']:<9}{row['row']}  ({seconds:.1f} s)")
    for label in ("wanted", "seen"):
        text = textwrap.wrap(row[label], 108, break_long_words=False) or [""]
        print(f"         {label + ':':<8}{text[0]}")
        for line in text[1:]:
            print(f"                 {line}")
    sys.stdout.flush()


def conclude(table, dry):
    """0: all was seen and will do; 1: a row fell short; 77: none did, but not all could be seen."""
    count = {verdict: sum(row["verdict"] == verdict for row in table) for verdict in (OK, FAILED, NOT_SEEN)}
    print("\n" + ", ".join(f"{n} {verdict}" for verdict, n in count.items()))
    if count[FAILED]:
        return 1
    if dry:
        print("A DRY RUN: a stand-in for driver and device. It shows that this script works, and nothing of a GPU.")
        return 0 if count[OK] else 77
    return 77 if count[NOT_SEEN] else 0


if __name__ == "__main__":
    raise SystemExit(main())
