"""The public functions of ``stepscope``: see the package's docstring."""

import json

from stepscope import _wrap
from stepscope._agent import native
from stepscope._recorder import BASIC, DETAIL, VERBOSE, traced  # noqa: F401

ROLES = {"rank": 1, "source": 2}

#: Word for word what ``join`` returns; see ``include/stepscope.h``.
OK, ALREADY_JOINED, OFF, NO_SEGMENT, BAD_ARGUMENT, INTERNAL = 0, 1, -1, -2, -3, -4

#: What our hooks did, for ``describe()``: by name, a word or something with a ``state``.
notes: dict = {}

available = native.available
leave = native.leave
reason = native.reason

#: The recorder: each says of itself what it takes (``help(stepscope.duration)``).
Counter = native.Counter
Instant = native.Instant
counter = native.counter
duration = native.duration
instant = native.instant
recording = native.recording
request = native.request
served = native.served
span = native.span
track = native.track


def join(role="rank", rank=0, world_size=0, job=None, group=None, engine=None, label=None) -> int:
    """Makes this process's segment, so that a sidecar finds it.

    ``role`` is ``"rank"`` (runs iterations) or ``"source"``; ``rank`` counts within ``group``, the ranks that step
    together, of which there are ``world_size`` (0: not known). ``job`` defaults to ``$STEPSCOPE_JOB``. Returns 0, 1 when
    the process had joined before (its first identity stays), or a negative number: then ``reason()`` says why. Never
    raises for what the surroundings lack; a role that does not exist is a ``ValueError``.
    """
    if role not in ROLES:
        raise ValueError(f"role {role!r}: expected one of {sorted(ROLES)}")
    return native.join(ROLES[role], rank, world_size, job, group, engine, label)


def batch(context_requests=0, context_tokens=0, generation_requests=0, generation_tokens=0, dummy=False) -> None:
    """Says what the iteration that just began holds. Context is prefill, generation is decode."""
    native.step_batch(context_requests, context_tokens, generation_requests, generation_tokens, 1 if dummy else 0)


def describe() -> dict:
    """What the agent says of itself, whether there is one, and what our hooks did in this process."""
    try:
        said = json.loads(native.describe() or "{}")
    except ValueError:
        said = {}
    said.update(available=available(), reason=reason(), library=native.library_path(), hooks={name: getattr(note, "state", note) for name, note in notes.items()})
    return said


class Step:
    """One iteration: ``with stepscope.step as iteration`` or ``@stepscope.step``.

    ``iteration`` is its number when it lies in an open window, else 0. A process that never called ``join`` joins with
    the first step, as the rank that the environment names (``RANK``, ``WORLD_SIZE``).
    """

    def __init__(self):
        self._source = _wrap.Source("python")
        self._begin = self._first_begin
        self._end = _wrap.no_end

    def __call__(self, function=None):
        return self if function is None else _wrap.wrap(function, self._source)

    def __enter__(self) -> int:
        iteration = self._begin()
        if iteration:
            self._source.inside()
        return iteration

    def __exit__(self, *_exception) -> None:
        self._end()

    def _first_begin(self) -> int:
        self._begin, self._end = self._source.start()
        return self._begin()


step = Step()
