"""The engine core: what becomes of each request, and how the scheduler fares.

Of every request in flight its moments are kept, whether somebody captures or not: when it arrived, was queued, scheduled,
put back, and had its first token. So the life of a request that was under way when a capture began is told whole, as soon as
it begins. Kept are a few numbers, on vLLM's own request object, which takes them along when it goes. Per iteration and
token nothing is done: a first token is looked for only while some request awaits its own.

While a capture records there are besides: how many requests run and wait and how much of the KV cache is in use, whenever that
changes, and of each iteration the gap since the step before, and spans of ``schedule`` and ``update_from_output``. That is
done natively (``Scheduling``): it is for each iteration.

Times are the monotonic clock's; ``arrival_time`` is the wall clock's, and taken by its age.
"""

import time
from time import monotonic_ns

from stepscope.vllm.identity import engine_core
from stepscope.vllm.state import check, plugin

MODULE = "vllm.v1.core.sched.scheduler"
CATEGORY = "scheduler"
DETAIL = 2

#: ``STEPSCOPE_REQUEST_*``
ARRIVED, QUEUED, SCHEDULED, FIRST_TOKEN, PREEMPTED, LAST_TOKEN, FINISHED, ABORTED = range(1, 9)
#: Numbers kept of one request, two per moment. One that is put back more often is told of as it happens, but not kept.
MOST_KEPT = 64
#: Waiting requests that a new capture is told of in front of one ``schedule``: vLLM waits meanwhile.
SLICE = 256

EXPECTED = {
    "schedule": ("self", "throttle_prefills"),
    "update_from_output": ("self", "scheduler_output", "model_runner_output"),
    "add_request": ("self", "request"),
    "get_request_counts": ("self",),
    "get_kv_cache_usage": ("self",),
    "_preempt_request": ("self", "request", "timestamp", "drop_stale_output"),
    "_free_request": ("self", "request", "delay_free_blocks"),
}


#: What ``Scheduling.begin`` says of a capture that knows nothing yet.
NEW_CAPTURE = 2
#: What ``Scheduling.scheduled`` says of a batch with new or resumed requests.
NEWS = 2


def arrived_ns(request, now: int) -> int:
    """When a request arrived, by the monotonic clock. It may seem to have been before that clock began."""
    age_ns = int((time.time() - request.arrival_time) * 1e9)
    return max(now - max(age_ns, 0), 1)


class Life:
    """A request in flight."""

    __slots__ = ("id", "prompt_tokens", "cached_tokens", "moments", "capture", "told", "skips", "closes")

    def __init__(self, request):
        self.id = request.request_id
        self.prompt_tokens = request.num_prompt_tokens
        self.cached_tokens = 0
        now = monotonic_ns()
        #: ``[moment, at, moment, at, ...]``, in order.
        self.moments = [ARRIVED, arrived_ns(request, now), QUEUED, now]
        #: The capture that knows the first ``told`` of these numbers.
        self.capture = 0
        self.told = 0
        self.skips = False
        #: A session of streamed prompts that is being closed: it has come to its end, though vLLM calls that an abort.
        self.closes = False

    def add(self, moment, at):
        self.moments.append(moment)
        self.moments.append(at)


class Watch:
    """What is kept of one scheduler."""

    __slots__ = ("native", "course", "awaiting", "recording", "untold", "begin", "scheduled", "updates", "updated")

    def __init__(self, native):
        self.native = native
        #: What is done for each iteration, and its methods: looking one up costs as much as calling it.
        self.course = course = native.Scheduling(CATEGORY, DETAIL)
        self.begin, self.scheduled = course.begin, course.scheduled
        self.updates, self.updated = course.updates, course.updated
        #: What ``begin`` said last: an ``update_from_output`` is seen if the last ``schedule`` in front of it was.
        self.recording = 0
        #: Requests that were scheduled and have no token yet, by id.
        self.awaiting = {}
        #: Requests that a capture is still to be told of, the next one last.
        self.untold = []

    def adds(self, scheduler, request):
        """The session of streamed prompts that this is the next part of, or the end."""
        life = getattr(scheduler.requests.get(request.request_id), "_stepscope_life", None)
        if life is not None:
            life.closes = not getattr(request, "resumable", True)
        return life

    def added(self, scheduler, request, session):
        if session is not None:
            session.closes = False
        # Not the next part of a streamed prompt: that is the request which is there already.
        if scheduler.requests.get(request.request_id) is request:
            self.course.changes()
            life = request._stepscope_life = Life(request)
            self.tell(request, life)

    def catches_up(self, scheduler):
        """A new capture is told of all that is in flight: at once of what runs, and bit by bit of what waits. What happens to one of
        those meanwhile has it told whole."""
        if self.recording == NEW_CAPTURE:
            self.untold = list(scheduler.requests.values())
            self.untold.reverse()
            for request in scheduler.running:
                self.tell_whole(request)
        elif not self.recording:
            self.untold.clear()
        for _ in range(min(SLICE, len(self.untold))):
            self.tell_whole(self.untold.pop())

    def tell_whole(self, request):
        life = getattr(request, "_stepscope_life", None)
        if life is not None:
            self.tell(request, life)

    def run(self, scheduler, output):
        """Some requests of a batch are new or resumed."""
        now = monotonic_ns()
        for new in output.scheduled_new_reqs:
            self.runs(scheduler, new.req_id, now, new.num_computed_tokens)
        for request_id in output.scheduled_cached_reqs.resumed_req_ids:
            self.runs(scheduler, request_id, now, 0)

    def runs(self, scheduler, request_id, now, computed_tokens):
        """Computed for the first time, or again."""
        request = scheduler.requests.get(request_id)
        life = getattr(request, "_stepscope_life", None)
        if life is None:
            return
        if len(life.moments) == 4:
            life.cached_tokens = computed_tokens
        # The next part of a streamed prompt comes as a new request, and is none: its tokens are counted from 0 again.
        has_begun = FIRST_TOKEN in life.moments[4::2]
        if not request.num_output_tokens and not has_begun:
            self.awaiting[request_id] = request
        if life.skips or life.moments[-2] in (QUEUED, PREEMPTED):
            self.happened(request, life, SCHEDULED, now)

    def preempted(self, request):
        self.course.changes()
        life = getattr(request, "_stepscope_life", None)
        if life is not None:
            life.skips = len(life.moments) >= MOST_KEPT
            self.happened(request, life, PREEMPTED, monotonic_ns())

    def happened(self, request, life, moment, at):
        if not life.skips:
            life.add(moment, at)
            self.tell(request, life)
        else:
            if self.native.recording() >> 8 == life.capture != 0:
                self.native.moments(life.id, False, [moment, at], 0, self.tokens(request, life))
            life.skips = moment == PREEMPTED

    def look_for_first_tokens(self):
        """After each ``update_from_output`` while some request awaits its first token."""
        for request_id, request in list(self.awaiting.items()):
            if request.num_output_tokens:
                del self.awaiting[request_id]
                life = request._stepscope_life
                life.add(FIRST_TOKEN, monotonic_ns())
                self.tell(request, life)

    def freed(self, request):
        """It ends: as it is due, or given up."""
        self.course.changes()
        life = getattr(request, "_stepscope_life", None)
        if life is None:
            return
        awaited = self.awaiting.pop(request.request_id, None)
        request._stepscope_life = None
        if not self.native.recording():
            return
        now = monotonic_ns()
        if awaited is not None and request.num_output_tokens:
            life.add(FIRST_TOKEN, now)
        if request.status.name in ("FINISHED_ABORTED", "FINISHED_ERROR") and not life.closes:
            life.add(ABORTED, now)
        else:
            if request.num_output_tokens:
                life.add(LAST_TOKEN, now)
            life.add(FINISHED, now)
        self.tell(request, life)

    def tell(self, request, life):
        """Tells a capture what it does not know yet."""
        recording = self.native.recording()
        if recording:
            if life.capture != recording >> 8:
                life.capture, life.told = recording >> 8, 0
            self.native.moments(life.id, life.told == 0, life.moments, life.told, self.tokens(request, life))
            life.told = len(life.moments)

    @staticmethod
    def tokens(request, life):
        return life.prompt_tokens, request.num_output_tokens, life.cached_tokens

def install(module) -> None:
    """Puts the hooks on ``Scheduler``; none at all if it is not what we know."""
    scheduler_class = module.Scheduler
    if "_stepscope_watch" in vars(scheduler_class):
        return
    check(scheduler_class, EXPECTED, "no requests will be seen")
    for name, hook in _hooks(scheduler_class).items():
        setattr(scheduler_class, name, hook)
    scheduler_class._stepscope_watch = None


def _hooks(scheduler_class) -> dict:
    initialise, add, free = scheduler_class.__init__, scheduler_class.add_request, scheduler_class._free_request
    schedule, update = scheduler_class.schedule, scheduler_class.update_from_output
    preempt = scheduler_class._preempt_request

    def hooked_init(self, *args, **kwargs):
        initialise(self, *args, **kwargs)
        try:
            # The workers are there: one in this process has joined as the rank that it is.
            native = plugin.joined(engine_core(self.vllm_config))
            if native is not None:
                self._stepscope_watch = Watch(native)
        except Exception as error:
            plugin.problem("scheduler", error)

    def hooked_add_request(self, request):
        watch, session = self._stepscope_watch, None
        if watch is not None:
            try:
                session = watch.adds(self, request)
            except Exception as error:
                plugin.problem("add_request", error)
        add(self, request)
        if watch is not None:
            try:
                watch.added(self, request, session)
            except Exception as error:
                plugin.problem("add_request", error)

    def hooked_schedule(self, throttle_prefills=False):
        watch = self._stepscope_watch
        if watch is None:
            return schedule(self, throttle_prefills)
        # Looked up first, then called: ``watch.begin()`` would search for a method.
        begin = watch.begin
        recording = watch.recording = begin()
        if recording == NEW_CAPTURE or watch.untold:
            try:
                watch.catches_up(self)
            except Exception as error:
                plugin.problem("schedule", error)
        try:
            output = schedule(self, throttle_prefills)
        except BaseException as error:
            watch.course.failed(error)
            raise
        try:
            if recording:
                scheduled = watch.scheduled
                changed = scheduled(output)
                if changed:
                    watch.course.count(self)
                    if changed == NEWS:
                        watch.run(self, output)
            elif output.scheduled_new_reqs or output.scheduled_cached_reqs.resumed_req_ids:
                watch.run(self, output)
        except Exception as error:
            plugin.problem("schedule", error)
        return output

    def hooked_update_from_output(self, scheduler_output, model_runner_output):
        watch = self._stepscope_watch
        if watch is None:
            return update(self, scheduler_output, model_runner_output)
        updates = watch.updates
        if watch.recording and updates():
            try:
                outputs = update(self, scheduler_output, model_runner_output)
            except BaseException as error:
                watch.course.failed(error)
                raise
            updated = watch.updated
            updated()
        else:
            outputs = update(self, scheduler_output, model_runner_output)
        if watch.awaiting:
            try:
                watch.look_for_first_tokens()
            except Exception as error:
                plugin.problem("update_from_output", error)
        return outputs

    def hooked_preempt_request(self, request, timestamp, drop_stale_output=False):
        preempt(self, request, timestamp, drop_stale_output)
        watch = self._stepscope_watch
        if watch is not None:
            try:
                watch.preempted(request)
            except Exception as error:
                plugin.problem("preemption", error)

    def hooked_free_request(self, request, delay_free_blocks=False):
        watch = self._stepscope_watch
        if watch is not None:
            try:
                watch.freed(request)
            except Exception as error:
                plugin.problem("end of a request", error)
        return free(self, request, delay_free_blocks)

    return {
        "__init__": hooked_init,
        "add_request": hooked_add_request,
        "schedule": hooked_schedule,
        "update_from_output": hooked_update_from_output,
        "_preempt_request": hooked_preempt_request,
        "_free_request": hooked_free_request,
    }
