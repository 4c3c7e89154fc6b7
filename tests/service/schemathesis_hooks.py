"""What a document can't say, and what schemathesis can't know of a running engine. No check is left out for it.

Requests that are meant to be wrong are sent as they were made, but for a wait that is none of what is wrong with them. Of those
that are meant to be right:

- A window begins after a delay, or at a number, or at a number or later: a start keeps one of them, and one name of each.
- `start_iteration` names one that is not past: far ahead of where the engine is.
- `job` is that of the engine that is attached; `ranks` have rank 0 among them, and `rank` is 0: every capture has it. The
  profiler is `steps`: there is no CUDA here.
- A wait is half a second at most, so that the time goes into requests.
- Half of the calls that look at a capture look at the newest one: a name made up is nearly always 404.
"""

import schemathesis
from schemathesis import GenerationMode

BEGINS = (("delay_iterations",), ("start_iteration",), ("start_step",), ("delay_steps",))
AHEAD = 10**12
LARGEST = 2**53 - 1


def mended(name, value):
    """A value that holds for the engine that runs."""
    if value is None:
        return None
    match name:
        case "start_iteration":
            ahead = min(int(float(value)) % AHEAD + AHEAD, LARGEST)
            return str(ahead) if isinstance(value, str) else ahead
        case "job":
            return "tested"
        case "ranks":
            if isinstance(value, list):
                return [mended(name, one) for one in value]
            return "0,1" if isinstance(value, str) else 0
        case "rank":
            return 0
        case "profiler":
            return "steps"
        case _:
            return value


def waits(value):
    """Whether it is a wait that would be kept."""
    try:
        return float(value) > 0.5
    except (TypeError, ValueError):
        return False


def one_begin(parts, salt):
    """Leaves one way to begin, and one name of what has two."""
    there = [names[0] for names in BEGINS if any(part.get(names[0]) is not None for part in parts)]
    for name in there[1:] if salt % 2 else there[:-1]:
        for part in parts:
            part.pop(name, None)
    if any(part.get("max_iterations") is not None for part in parts):
        for part in parts:
            part.pop("num_steps", None)


@schemathesis.hook
def before_call(context, case, kwargs):
    meta = case.meta
    if isinstance(case.query, dict) and waits(case.query.get("wait")):
        case.query["wait"] = 0.5
    if meta is None or meta.generation.mode != GenerationMode.POSITIVE:
        return
    parts = [part for part in (case.query, case.body) if isinstance(part, dict)]
    for part in parts:
        for name in list(part):
            part[name] = mended(name, part[name])
    salt = sum(len(str(part)) for part in parts)
    if case.path.endswith("/start_profile"):
        one_begin(parts, salt)
    is_a_look = case.method.upper() == "GET" and "{id}" in case.path
    if is_a_look and meta.phase.name.value != "stateful" and len(case.path_parameters["id"]) % 2:
        case.path_parameters["id"] = "latest"
