"""The vLLM plugin (entry point group ``vllm.general_plugins``): every worker becomes a rank, vLLM's code untouched.

An iteration runs from the entry of the worker's ``execute_model`` with scheduled tokens to the return of the
``sample_tokens`` that belongs to it, or of ``execute_model`` itself when nothing follows: it returned an output
(encoder), raised, or the model is a pooling one (whose pipeline stages but the last return None). A dummy batch that
keeps data-parallel ranks in step is one. An empty step is none.

The hooks sit on ``WorkerWrapperBase``: what an executor asks of a worker goes through it, in the engine's own process,
in worker processes and in Ray's actors alike. Warm-up does not: it calls the worker's methods from inside the worker
(``vllm/v1/worker/gpu/warmup.py`` runs real batches through ``Worker.execute_model``), and so is none without our doing.

Where a hook goes in: a process becomes a rank when its wrapper's ``init_device`` has returned. API servers and schedulers
load the plugin too, have no worker, and load neither the native module nor the agent.

Not hooked, and said so in ``stepscope.describe()["hooks"]["vllm"]``: Ray's compiled graph
(``VLLM_USE_RAY_V2_EXECUTOR_BACKEND=0``), which runs the model runner behind the wrapper's back; a second worker that
lives at the same time in one process.

Nothing here raises into vLLM: a hook that fails is counted, said once in vLLM's log, and the engine runs on.
"""

import inspect
import logging
import os
import weakref

from stepscope import _import_hook, _stream

logger = logging.getLogger("vllm.plugins.stepscope")

WORKER_MODULE = "vllm.v1.worker.worker_base"
SOURCE = "vllm"
DUMMY = 1

#: Executors whose workers do not go through the wrapper.
NOT_HOOKED = {"RayDistributedExecutor": "Ray's compiled graph runs the model behind the worker's methods"}


class Plugin:
    """What the plugin did in this process: ``describe()["hooks"]["vllm"]``."""

    def __init__(self):
        self.hooks = "not installed"
        self.rank = None
        self.problems: dict = {}
        self._wrapper = None

    @property
    def state(self) -> dict:
        return {"hooks": self.hooks, "rank": self.rank, "problems": dict(self.problems), "not_hooked": dict(NOT_HOOKED)}

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


plugin = Plugin()


def register() -> None:
    """The entry point. vLLM calls it in every process, often more than once."""
    if plugin.hooks != "not installed":
        return
    plugin.hooks = "waiting for a worker"
    _import_hook.when_imported(WORKER_MODULE, install, lambda error: plugin.problem("install", error))


def install(worker_base) -> None:
    """Puts the hooks on ``WorkerWrapperBase``; none at all if it is not what we know."""
    wrapper_class = worker_base.WorkerWrapperBase
    if getattr(wrapper_class, "_stepscope_rank", None) is not None:
        return
    sample = getattr(getattr(worker_base, "WorkerBase", None), "sample_tokens", None)
    missing = [name for name in ("init_device", "execute_model", "shutdown") if name not in vars(wrapper_class)]
    if missing:
        plugin.hooks = "off"
        raise AttributeError(f"this vLLM's WorkerWrapperBase has no {', '.join(missing)}: no steps will be seen")
    expected = ((wrapper_class.execute_model, ("self", "scheduler_output")), (sample, ("self", "grammar_output")))
    for method, arguments in expected:
        if _arguments(method) != arguments:
            plugin.hooks = "off"
            raise TypeError(f"this vLLM's {method!r} does not take {arguments}: no steps will be seen")
    hooks = _hooks(wrapper_class)
    wrapper_class._stepscope_rank = False
    wrapper_class._stepscope_open = False
    for name, hook in hooks.items():
        setattr(wrapper_class, name, hook)
    plugin.hooks = "installed"


def _arguments(method):
    """The names of a plain function's arguments; None for anything else."""
    code = getattr(method, "__code__", None)
    if code is None or code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return None
    return code.co_varnames[: code.co_argcount]


def _hooks(wrapper_class) -> dict:
    """The methods that take the place of the wrapper's own, by name. They take exactly the arguments that ``install``
    checked, which spares a tuple and a dictionary for each call."""
    init_device, execute, shut_down = wrapper_class.init_device, wrapper_class.execute_model, wrapper_class.shutdown
    sample, dummy = vars(wrapper_class).get("sample_tokens"), vars(wrapper_class).get("execute_dummy_batch")
    native, count = None, None
    ends_alone = False

    def hooked_init_device(self, *args, **kwargs):
        nonlocal native, count, ends_alone
        result = init_device(self, *args, **kwargs)
        try:
            joined = _become_rank(self)
            if joined is not None:
                native, count, ends_alone = joined
                self._stepscope_rank = True
        except Exception as error:
            plugin.problem("join", error)
        return result

    def tell_stream():
        try:
            _stream.tell(native)
        except Exception as error:
            plugin.problem("time on the device", error)

    def hooked_execute_model(self, scheduler_output):
        if not self._stepscope_rank:
            return execute(self, scheduler_output)
        work = False
        try:
            work = scheduler_output.total_num_scheduled_tokens > 0
            if work and native.step_begin():
                native.step_batch(*count(scheduler_output))
                tell_stream()  # last, so that nothing of ours lies between it and the work
        except Exception as error:
            plugin.problem("execute_model", error)
        if not work:
            return execute(self, scheduler_output)
        try:
            output = execute(self, scheduler_output)
        except BaseException:
            native.step_end()
            raise
        if output is None and not ends_alone:
            self._stepscope_open = True  # sample_tokens follows
        else:
            self._stepscope_open = False
            native.step_end()
        return output

    def hooked_sample_tokens(self, grammar_output):
        try:
            return sample(self, grammar_output) if sample else self.worker.sample_tokens(grammar_output)
        finally:
            if self._stepscope_open:
                self._stepscope_open = False
                native.step_end()

    def hooked_execute_dummy_batch(self, *args, **kwargs):
        if not self._stepscope_rank:
            return dummy(self, *args, **kwargs) if dummy else self.worker.execute_dummy_batch(*args, **kwargs)
        if native.step_begin():
            native.step_batch(0, 0, 0, 0, DUMMY)
            tell_stream()
        try:
            return dummy(self, *args, **kwargs) if dummy else self.worker.execute_dummy_batch(*args, **kwargs)
        finally:
            native.step_end()

    def hooked_shutdown(self, *args, **kwargs):
        if self._stepscope_rank:
            self._stepscope_rank = False
            plugin.released()
            native.leave()
        return shut_down(self, *args, **kwargs)

    return {
        "init_device": hooked_init_device,
        "execute_model": hooked_execute_model,
        "sample_tokens": hooked_sample_tokens,
        "execute_dummy_batch": hooked_execute_dummy_batch,
        "shutdown": hooked_shutdown,
    }


def _become_rank(wrapper):
    """Joins, once the worker knows its place. Gives the native calls, what counts a batch, and whether
    ``execute_model`` is a whole iteration; or None when the worker's steps can't be seen, and says why."""
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
    return native, _counter(), config.model_config.runner_type == "pooling"


def _counter():
    """What counts a batch: requests and tokens of prefill, requests and tokens of decode. It is vLLM's own count, but for
    a batch of nothing but decode: most are, and that is seen without Python passing over every request."""
    from vllm.v1.utils import compute_iteration_details

    def count(scheduled):
        try:
            if not scheduled.scheduled_new_reqs and 0 not in scheduled.scheduled_cached_reqs.num_output_tokens:
                return 0, 0, len(scheduled.num_scheduled_tokens), scheduled.total_num_scheduled_tokens
        except AttributeError:
            pass  # a vLLM that calls them otherwise; it can count them itself
        details = compute_iteration_details(scheduled)
        return (
            details.num_ctx_requests,
            details.num_ctx_tokens,
            details.num_generation_requests,
            details.num_generation_tokens,
        )

    return count


def identity(config, rank: int) -> dict:
    """Who a worker is. ``rank`` is the worker's own: within its executor.

    A group is what steps together: one executor's workers; with a mixture of experts all data-parallel ranks, which is
    when vLLM leaves ``data_parallel_size`` above 1 in a worker's configuration. Independent data-parallel engines all
    call themselves data-parallel rank 0: ``data_parallel_index`` tells them apart.
    """
    import vllm

    parallel = config.parallel_config
    index, replicas = parallel.data_parallel_index, parallel.data_parallel_size
    world_size = parallel.world_size
    per_replica = world_size
    group, job = f"dp{index}", str(config.instance_id).removesuffix(f"_dp{index}")
    if replicas > 1:
        group = "dp*"
        if parallel.distributed_executor_backend == "external_launcher":
            # There the world size and the worker's rank span all replicas already.
            per_replica = world_size // replicas
        else:
            world_size *= replicas
            rank += parallel.data_parallel_rank * per_replica
        if parallel.data_parallel_external_lb or parallel.data_parallel_hybrid_lb:
            # Each replica is a server with an instance id of its own; what they share is where they meet.
            job = f"dp-{parallel.data_parallel_master_ip}-{parallel.data_parallel_rpc_port}"
    # vLLM numbers them data-parallel, pipeline, prefill-context, tensor: the last one fastest.
    tensor, pipeline = parallel.tensor_parallel_size, parallel.pipeline_parallel_size
    stage = per_replica // pipeline
    within = rank % per_replica
    return {
        "rank": rank,
        "world_size": world_size,
        "job": None if os.environ.get("STEPSCOPE_JOB") else f"vllm-{job}",
        "group": group,
        "engine": f"vllm {vllm.__version__}",
        "label": f"tp{within % tensor} pp{within // stage} dp{index}",
    }
