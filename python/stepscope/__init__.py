"""Stepscope in a Python engine: says who this process is, and where its iterations begin and end.

    import stepscope

    stepscope.join(rank=0, world_size=1, engine="mine 1.0")

    while True:
        with stepscope.step as iteration:      # costs next to nothing while nobody captures
            if iteration:                      # inside a window: say what is in the batch
                stepscope.batch(context_requests=1, context_tokens=512, generation_requests=30, generation_tokens=30)
            run_one_iteration()

or ``@stepscope.step`` above the function that runs one iteration. Where there is no agent library everything here does
nothing, and ``available()`` and ``reason()`` say why. vLLM needs none of this: see ``stepscope.vllm``.

Importing this package loads nothing: the native module comes with the first use of a name below. That is how processes
that run no iterations (API servers, schedulers) stay untouched.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stepscope._api import available, batch, describe, join, leave, reason, step

__all__ = ["available", "batch", "describe", "join", "leave", "reason", "step"]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name in __all__:
        from stepscope import _api

        return getattr(_api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(set(globals()) | set(__all__))
