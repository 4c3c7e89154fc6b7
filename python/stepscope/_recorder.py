"""Spans around functions: ``@stepscope.span("x")`` and ``@stepscope.traced``. The rest of the recorder is native."""

import functools
import inspect

from stepscope._agent import native

#: Levels of spans and events: a capture asks for a highest one, DETAIL unless it says otherwise.
BASIC, DETAIL, VERBOSE = 1, 2, 3


def traced(function=None, /, **about):
    """``@stepscope.traced``, or ``@stepscope.traced(cat="engine", level=stepscope.VERBOSE)``: each call of the function is
    a span of its name. What stands in the brackets is what ``span`` takes."""
    if function is None:
        return lambda function: traced(function, **about)
    return decorate(function, native.span(getattr(function, "__qualname__", type(function).__name__), **about))


def decorate(function, span):
    """The same callable, and each call of it is this span; of an ``async`` one from its first step to its return."""
    if not callable(function):
        raise TypeError(f"{function!r} is not a function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{function!r} is a generator: a call of it runs nothing yet; open spans inside it")
    if inspect.iscoroutinefunction(function):

        async def spanned(*args, **kwargs):
            with span:
                return await function(*args, **kwargs)

    else:

        def spanned(*args, **kwargs):
            with span:
                return function(*args, **kwargs)

    return functools.wraps(function)(spanned)
