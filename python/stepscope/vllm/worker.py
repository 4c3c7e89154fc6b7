"""Every worker becomes a rank.

An iteration runs from the entry of the worker's ``execute_model`` with scheduled tokens to the return of the
``sample_tokens`` that belongs to it, or of ``execute_model`` itself when nothing follows: it returned an output
(encoder), raised, or the model is a pooling one (whose pipeline stages but the last return None). A dummy batch that
keeps data-parallel ranks in step is one. An empty step is none.

The hooks sit on ``WorkerWrapperBase``: what an executor asks of a worker goes through it, in the engine's own process,
in worker processes and in Ray's actors alike. Warm-up does not: it calls the worker's methods from inside the worker
(``vllm/v1/worker/gpu/warmup.py`` runs real batches through ``Worker.execute_model``), and so is none without our doing.

A process becomes a rank when its wrapper's ``init_device`` has returned. Of the workers that compute the same requests the
first one (its tensor and its pipeline rank are 0) tells which those are, and how many tokens of each.

Not hooked, and said so in ``stepscope.describe()["hooks"]["vllm"]``: Ray's compiled graph
(``VLLM_USE_RAY_V2_EXECUTOR_BACKEND=0``), which runs the model runner behind the wrapper's back; a second worker that
lives at the same time in one process.
"""

from stepscope import _stream
from stepscope.vllm import profiler
from stepscope.vllm.identity import identity
from stepscope.vllm.state import NOT_HOOKED, arguments_of, plugin

MODULE = "vllm.v1.worker.worker_base"
SOURCE = "vllm"
DUMMY = 1


def install(worker_base) -> None:
    """Puts the hooks on ``WorkerWrapperBase``; none at all if it is not what we know."""
    wrapper_class = worker_base.WorkerWrapperBase
    if "_stepscope_steps" in vars(wrapper_class):
        return
    sample = getattr(getattr(worker_base, "WorkerBase", None), "sample_tokens", None)
    missing = [name for name in ("init_device", "execute_model", "shutdown") if name not in vars(wrapper_class)]
    if missing:
        plugin.hooks = "off"
        raise AttributeError(f"this vLLM's WorkerWrapperBase has no {', '.join(missing)}: no steps will be seen")
    expected = ((wrapper_class.execute_model, ("self", "scheduler_output")), (sample, ("self", "grammar_output")))
    for method, arguments in expected:
        if arguments_of(method) != arguments:
            plugin.hooks = "off"
            raise TypeError(f"this vLLM's {method!r} does not take {arguments}: no steps will be seen")
    hooks = _hooks(wrapper_class)
    # Of a rank: its iterations, what begins one and what ends one: looking a method up costs as much as calling it.
    wrapper_class._stepscope_steps = wrapper_class._stepscope_begin = wrapper_class._stepscope_end = None
    for name, hook in hooks.items():
        setattr(wrapper_class, name, hook)
    plugin.hooks = "installed"


def _hooks(wrapper_class) -> dict:
    """The methods that take the place of the wrapper's own, by name. They take exactly the arguments that ``install``
    checked, which spares a tuple and a dictionary for each call."""
    init_device, execute, shut_down = wrapper_class.init_device, wrapper_class.execute_model, wrapper_class.shutdown
    sample, dummy = vars(wrapper_class).get("sample_tokens"), vars(wrapper_class).get("execute_dummy_batch")
    ends_alone = False

    def hooked_init_device(self, *args, **kwargs):
        nonlocal ends_alone
        result = init_device(self, *args, **kwargs)
        try:
            joined = _become_rank(self)
            if joined is not None:
                steps, ends_alone = joined
                self._stepscope_end, self._stepscope_begin, self._stepscope_steps = steps.end, steps.begin, steps
        except Exception as error:
            plugin.problem("join", error)
        return result

    def ends(self):
        end = self._stepscope_end
        if end is not None:  # not shut down meanwhile
            end()

    def hooked_execute_model(self, scheduler_output):
        begin = self._stepscope_begin
        if begin is None or not begin(scheduler_output):
            return execute(self, scheduler_output)
        try:
            output = execute(self, scheduler_output)
        except BaseException:
            ends(self)
            raise
        if output is not None or ends_alone:
            ends(self)
        return output  # if it is none, sample_tokens follows

    def hooked_sample_tokens(self, grammar_output):
        try:
            return sample(self, grammar_output) if sample else self.worker.sample_tokens(grammar_output)
        finally:
            end = self._stepscope_end
            if end is not None:
                end()

    def hooked_execute_dummy_batch(self, *args, **kwargs):
        steps = self._stepscope_steps
        if steps is None:
            return dummy(self, *args, **kwargs) if dummy else self.worker.execute_dummy_batch(*args, **kwargs)
        steps.begin_dummy()
        try:
            return dummy(self, *args, **kwargs) if dummy else self.worker.execute_dummy_batch(*args, **kwargs)
        finally:
            steps.end()

    def hooked_profile(self, is_start=True, *args, **kwargs):
        try:
            profiler.release(self)
            is_rank = self._stepscope_steps is not None
            if is_start and is_rank and profiler.keep_back(self, plugin.native, (is_start, *args), kwargs):
                return None
        except Exception as error:
            plugin.problem("profile", error)
        return self.worker.profile(is_start, *args, **kwargs)

    def hooked_shutdown(self, *args, **kwargs):
        if self._stepscope_steps is not None:
            self._stepscope_begin = self._stepscope_end = self._stepscope_steps = None
            plugin.released()
            plugin.native.leave()
        return shut_down(self, *args, **kwargs)

    return {
        "init_device": hooked_init_device,
        "execute_model": hooked_execute_model,
        "sample_tokens": hooked_sample_tokens,
        "execute_dummy_batch": hooked_execute_dummy_batch,
        "profile": hooked_profile,
        "shutdown": hooked_shutdown,
    }


def _become_rank(wrapper):
    """Joins, once the worker knows its place. Gives its iterations, and whether ``execute_model`` is a whole one; or None
    when the worker's steps can't be seen, and says why."""
    from stepscope import _api
    from stepscope._agent import native

    _api.notes["vllm"] = plugin
    if hasattr(type(wrapper), "execute_model_ray"):
        plugin.problem("Ray's compiled graph", f"{NOT_HOOKED['RayDistributedExecutor']}: no steps will be seen")
        return None
    if not plugin.owns(wrapper):
        plugin.problem("second worker", "another one lives in this process: this one's steps are not seen")
        return None
    config = wrapper.vllm_config
    who = identity(config, wrapper.worker.rank)
    code = native.join(1, who["rank"], who["world_size"], who["job"], who["group"], who["engine"], who["label"])
    if code < 0:
        plugin.problem("join", native.reason() or f"join returned {code}")
        return None
    if not native.claim_steps(SOURCE):
        plugin.problem("join", "another source of steps was first in this process")
        return None
    plugin.rank = who
    plugin.uses(native)
    stream = _stream.teller(native, getattr(wrapper.worker, "device", None))
    steps = native.Steps(_counter(), stream, plugin.problem, who["first"])
    return steps, config.model_config.runner_type == "pooling"


def _counter():
    """vLLM's own count of a batch: requests and tokens of prefill, requests and tokens of decode."""
    from vllm.v1.utils import compute_iteration_details

    def count(scheduled):
        details = compute_iteration_details(scheduled)
        return [
            details.num_ctx_requests,
            details.num_ctx_tokens,
            details.num_generation_requests,
            details.num_generation_tokens,
        ]

    return count
