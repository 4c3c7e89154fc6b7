"""The one place that turns a callable into an iteration.

What always holds: the callable's result and exceptions pass through unchanged, its iteration ends however it ends, and
nothing here raises into the engine. Used by ``stepscope.step`` and by ``step_hook``; vLLM's iteration spans two calls
and has its own place.
"""

import functools
import inspect
import os

from stepscope import _stream
from stepscope._agent import native
from stepscope._parameters import maker, parameters_of, take_defaults

#: ``STEPSCOPE_IDENTITY_NO_BATCH``.
NO_BATCH = 1


def no_begin() -> int:
    return 0


def no_end() -> None:
    return None


def identity_from_environment() -> dict:
    """Rank, world size and group of a process that was started by torchrun, mpirun's wrappers or by hand."""

    def number(names: tuple, default: int) -> int:
        for name in names:
            value = os.environ.get(name, "").strip()
            if value.isdecimal():
                return int(value)
        return default

    return {
        "rank": number(("STEPSCOPE_RANK", "RANK", "LOCAL_RANK"), 0),
        "world_size": number(("STEPSCOPE_WORLD_SIZE", "WORLD_SIZE"), 0),
        "group": os.environ.get("STEPSCOPE_GROUP") or None,
    }


class Source:
    """A source of steps by name. It joins and claims when it is started, with its first step and not before: a process
    that only imports the engine stays no rank. ``flags``: ``NO_BATCH`` when nobody says what is in its steps.
    """

    def __init__(self, name: str, engine: "str | None" = None, flags: int = 0):
        self.name = name
        self.engine = engine
        self.flags = flags
        self.state = "waiting for the first step"
        self._calls = None

    def start(self) -> tuple:
        """The calls that begin and end a step from now on: the native ones, or nothing if another source was first."""
        if self._calls is None:
            self._calls = (no_begin, no_end)
            try:
                self._calls = self._join()
            except Exception as error:
                self.state = f"off: {error!r}"
        return self._calls

    def inside(self) -> None:
        """A step began inside an open window."""
        try:
            _stream.tell(native)
        except Exception as error:
            self.state = f"on, without times on the device: {error!r}"

    def _join(self) -> tuple:
        who = identity_from_environment()
        code = native.join(1, who["rank"], who["world_size"], None, who["group"], self.engine, None, self.flags)
        if code < 0:
            self.state = f"off: {native.reason() or f'join returned {code}'}"
        elif not native.claim_steps(self.name):
            self.state = "off: another source of steps was first"
        else:
            self.state = "on"
            return native.step_begin, native.step_end
        return no_begin, no_end


def wrap(function, source: Source):
    """The same callable, and each call of it is an iteration. Functions, methods, coroutine functions.

    An ``async`` function's iteration begins when it is first awaited and ends when it returns. Generators are refused
    with a ``TypeError``: a call of one runs nothing yet.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function!r} is a generator: name the function that runs one iteration")

    if inspect.iscoroutinefunction(function):
        iteration = _wrap_coroutine(function, source)
    elif (parameters := parameters_of(function, RESERVED)) is not None:
        iteration = _wrap_exactly(function, source, *parameters)
    else:
        iteration = _wrap_variadic(function, source)
    return functools.wraps(function)(iteration)


def _wrap_coroutine(function, source: Source):
    def begin():
        nonlocal begin, end
        begin, end = source.start()
        return begin()

    end = no_end

    async def iteration(*args, **kwargs):
        if begin():
            source.inside()
        try:
            return await function(*args, **kwargs)
        finally:
            end()

    return iteration


def _wrap_variadic(function, source: Source):
    def run(*passed):
        nonlocal run
        run = native.iterate if source.start()[0] is native.step_begin else no_iteration
        return run(*passed)

    inside = source.inside

    def iteration(*args, **kwargs):
        return run(function, inside, args, kwargs)

    return iteration


def no_iteration(function, _inside, arguments, keywords):
    return function(*arguments, **keywords)


#: Names that ``EXACT`` has for itself.
RESERVED = ("_function", "_source", "_begin", "_end")
#: A wrapper with the function's own parameters: passing any arguments on would cost as much again as all the rest.
EXACT = """
def make(_function, _source, _end):
    def _begin():
        nonlocal _begin, _end
        _begin, _end = _source.start()
        return _begin()

    def iteration({parameters}):
        if _begin():
            _source.inside()
        try:
            return _function({arguments})
        finally:
            _end()

    return iteration
"""


def _wrap_exactly(function, source: Source, parameters: str, arguments: str):
    iteration = maker(EXACT, __file__, parameters, arguments)(function, source, no_end)
    take_defaults(iteration, function)
    return iteration
