"""The parameters of a function, for a wrapper that has the same ones: to pass any arguments on costs more than all else."""

import inspect
import keyword
import types


def parameters_of(function, reserved: tuple) -> "tuple[str, str] | None":
    """The parameters of a plain function without ``*args`` and ``**kwargs``, as they are declared and as they are passed
    on, defaults aside; None for any other callable, and for one with a parameter of a reserved name.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(function, types.FunctionType) or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return None
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if any(not name.isidentifier() or keyword.iskeyword(name) or name in reserved for name in names):
        return None
    positional, named = list(names[: code.co_argcount]), names[code.co_argcount :]
    arguments = positional + [f"{name}={name}" for name in named]
    if code.co_posonlyargcount:
        positional.insert(code.co_posonlyargcount, "/")
    parameters = positional + (["*", *named] if named else [])
    return ", ".join(parameters), ", ".join(arguments)


def maker(template: str, file: str, parameters: str, arguments: str):
    """The function ``make`` of a template whose wrapper has these parameters, which ``parameters_of`` gave."""
    scope: dict = {}
    exec(compile(template.format(parameters=parameters, arguments=arguments), file, "exec"), scope)
    return scope["make"]


def take_defaults(wrapper, function) -> None:
    """Gives a wrapper with the parameters of a function its defaults, too."""
    wrapper.__defaults__ = function.__defaults__
    wrapper.__kwdefaults__ = function.__kwdefaults__ and dict(function.__kwdefaults__)
