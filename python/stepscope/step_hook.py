"""``STEPSCOPE_STEP=module:Class.method`` or ``module:function``: each call of it is an iteration, its code untouched.

The process joins with the first call, as the rank that ``STEPSCOPE_RANK``, ``RANK`` or ``LOCAL_RANK`` and
``STEPSCOPE_WORLD_SIZE`` or ``WORLD_SIZE`` name, in the group ``STEPSCOPE_GROUP``. What went wrong is said once on
stderr and stands in ``stepscope.describe()["hooks"]``; the engine runs on. A function of ``__main__`` can't be named:
it is not imported.
"""

import inspect
import os
import sys

from stepscope import _import_hook

VARIABLE = "STEPSCOPE_STEP"


def install(target: "str | None" = None) -> None:
    """Waits for ``target`` (else ``$STEPSCOPE_STEP``). Never raises. Called by ``stepscope._pth`` at interpreter start."""
    if target is None:
        target = os.environ.get(VARIABLE, "").strip()
    if not target:
        return
    module, separator, name = target.partition(":")
    if not (module and separator and name):
        _say(target, "expected module:function or module:Class.method")
        return
    _import_hook.when_imported(module, lambda loaded: patch(loaded, name, target), lambda error: _say(target, error))


def patch(module, name: str, target: str) -> None:
    """Wraps ``name`` of ``module`` where it is defined. Raises ``AttributeError`` or ``TypeError`` if it can't."""
    from stepscope import _api, _wrap

    *holders, last = name.split(".")
    holder = module
    for part in holders:
        holder = getattr(holder, part)
    if not (inspect.ismodule(holder) or inspect.isclass(holder)):
        raise TypeError(f"{'.'.join(holders)} is an object: name its class, as in module:Class.method")
    raw = inspect.getattr_static(holder, last)
    if inspect.isclass(raw):
        raise TypeError(f"{name} is a class: name one of its methods, as in module:Class.method")
    source = _wrap.Source(f"hook {target}", engine=_engine(module.__name__), flags=_wrap.NO_BATCH)
    if isinstance(raw, (staticmethod, classmethod)):
        wrapped = type(raw)(_wrap.wrap(raw.__func__, source))
    elif callable(raw):
        wrapped = _wrap.wrap(raw, source)
        if inspect.isclass(holder) and not hasattr(type(raw), "__get__"):
            wrapped = staticmethod(wrapped)  # as before, it is called without the instance
    else:
        raise TypeError(f"{name} is a {type(raw).__name__}, not a function")
    setattr(holder, last, wrapped)
    _api.notes[target] = source


def _engine(module: str) -> str:
    top = module.partition(".")[0]
    version = getattr(sys.modules.get(top), "__version__", None)
    return f"{top} {version}" if isinstance(version, str) else top


def _say(target: str, problem) -> None:
    text = f"{type(problem).__name__}: {problem}" if isinstance(problem, Exception) else str(problem)
    try:
        from stepscope import _api

        _api.notes[target] = f"off: {text}"
        sys.stderr.write(f"stepscope: {VARIABLE}={target}: no steps will be seen: {text}\n")
    except Exception:  # stderr may be closed
        pass
