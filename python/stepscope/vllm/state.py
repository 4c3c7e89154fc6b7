"""What the plugin did in this process, and the one place that says what went wrong."""

import inspect
import logging
import os
import weakref

logger = logging.getLogger("vllm.plugins.stepscope")

#: Executors whose workers do not go through the wrapper.
NOT_HOOKED = {"RayDistributedExecutor": "Ray's compiled graph runs the model behind the worker's methods"}

#: What ``join`` says where the agent was switched off, or is not there.
OFF = -1
SOURCE_ROLE = 2


class Plugin:
    """``describe()["hooks"]["vllm"]``."""

    def __init__(self):
        self.hooks = "not installed"
        self.rank = None
        #: What else this process is: a source of spans.
        self.source = None
        #: The agent's functions, once the process has joined.
        self.native = None
        self.problems: dict = {}
        self._wrapper = None
        self._process = None

    @property
    def state(self) -> dict:
        return {
            "hooks": self.hooks,
            "rank": self.rank,
            "source": self.source,
            "problems": dict(self.problems),
            "not_hooked": dict(NOT_HOOKED),
        }

    def problem(self, where: str, error) -> None:
        """Counts it, and says the first one of each place in vLLM's log."""
        seen = self.problems.get(where, 0)
        self.problems[where] = seen + 1
        if not seen:
            logger.warning("stepscope: %s: %s; vLLM runs on", where, error)

    def owns(self, wrapper) -> bool:
        """Makes ``wrapper`` this process's one rank, unless another one is alive."""
        owner = self._wrapper() if self._wrapper is not None else None
        if owner is not None and owner is not wrapper:
            return False
        self._wrapper = weakref.ref(wrapper)
        return True

    def released(self) -> None:
        """Its rank was shut down."""
        self._wrapper = None

    def joined(self, who: dict):
        """The agent's functions in a process that tells of itself and runs no iterations of its own, or is a rank
        already; None where there is no agent."""
        if self.native is None or self._process != os.getpid():  # forked since
            from stepscope import _api
            from stepscope._agent import native

            _api.notes["vllm"] = self
            self.native = None
            code = native.join(SOURCE_ROLE, 0, 0, who["job"], who["group"], who["engine"], who["label"])
            if code == OFF:
                return None
            if code < 0:
                self.problem("join", native.reason() or f"join returned {code}")
                return None
            self.source = who
            self.uses(native)
        return self.native

    def uses(self, native) -> None:
        """This process has joined."""
        self.native, self._process = native, os.getpid()


plugin = Plugin()


def arguments_of(method):
    """The names of a plain function's arguments; None for anything else."""
    code = getattr(method, "__code__", None)
    if code is None or code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return None
    return code.co_varnames[: code.co_argcount]


def check(owner, expected: dict, lost: str) -> None:
    """Raises unless ``owner`` itself has these methods with these arguments; ``lost`` is what will not be seen."""
    for name, arguments in expected.items():
        method = vars(owner).get(name)
        if method is None:
            raise AttributeError(f"this vLLM's {owner.__name__} has no {name}: {lost}")
        if arguments_of(method) != arguments:
            raise TypeError(f"this vLLM's {owner.__name__}.{name} does not take {arguments}: {lost}")
