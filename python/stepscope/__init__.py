"""Stepscope in a Python engine: says who this process is, and where its iterations begin and end.

    import stepscope

    stepscope.join(rank=0, world_size=1, engine="mine 1.0")

    while True:
        with stepscope.step as iteration:      # costs next to nothing while nobody captures
            if iteration:                      # inside a window: say what is in the batch
                stepscope.batch(context_requests=1, context_tokens=512, generation_requests=30, generation_tokens=30)
            run_one_iteration()

or ``@stepscope.step`` above the function that runs one iteration. What happens around iterations is told by

    with stepscope.span("prefill", cat="engine", tokens=512) as span:     # or @stepscope.span("prefill"), @stepscope.traced
        span.args(cached=3)
    stepscope.instant("cache full", blocks=7)
    stepscope.counter("queue", 12)
    stepscope.duration("copy", host_ns=1200, device_ns=900)               # afterwards; ended now, or at end_ns=
    stepscope.request("cmpl-1", "arrived", prompt_tokens=512)             # ids and counts, never what a request says
    stepscope.served(iteration, {"cmpl-1": 512})

from any thread, task or process of the engine; one that runs no iterations says ``join(role="source", label="router")``
first. What is told often is made once, and then costs half: ``queue = stepscope.Counter("queue")`` and ``queue.set(12)``,
``full = stepscope.Instant("cache full")`` and ``full.tell()`` or ``full.tell({"blocks": 7})``, and a span that is made once
and entered again and again. It is kept while a capture records; else each call is a look at one word, and ``recording()`` is 0. Threads and
asyncio tasks have tracks of their own, and so has what you give one: ``lane = stepscope.track("lane 1")``, then
``span("x", track=lane)``. ``flow_begin=7``, ``flow_step=7`` and ``flow_end=7`` draw an arrow through events. Names, categories
and the names of arguments are meant to be few (8192 in a process); values may be anything: numbers and flags are kept,
all else as text, cut to 240 bytes, containers by their kind and length alone.

Where there is no agent library everything here does nothing, and ``available()`` and ``reason()`` say why. vLLM needs none
of this: see ``stepscope.vllm``.

Importing this package loads nothing: the native module comes with the first use of a name below.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepscope._api import (
        BASIC,
        DETAIL,
        VERBOSE,
        Counter,
        Instant,
        available,
        batch,
        counter,
        describe,
        duration,
        instant,
        join,
        leave,
        reason,
        recording,
        request,
        served,
        span,
        step,
        traced,
        track,
    )

__all__ = [
    "BASIC",
    "Counter",
    "DETAIL",
    "Instant",
    "VERBOSE",
    "available",
    "batch",
    "counter",
    "describe",
    "duration",
    "instant",
    "join",
    "leave",
    "reason",
    "recording",
    "request",
    "served",
    "span",
    "step",
    "traced",
    "track",
]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name in __all__:
        from stepscope import _api

        # From now on they are found at once, and quicker: Python remembers nothing of a module that has a __getattr__.
        globals().update({name: getattr(_api, name) for name in __all__})
        globals().pop("__getattr__", None)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
