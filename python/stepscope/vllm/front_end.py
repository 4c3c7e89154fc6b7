"""The API server: when requests arrive there, what processing their outputs takes, which ones it ends, how late its loop is.

An engine core knows a request by the id that the front end made for it: the one that came in, with eight random characters
behind it, and one more in front for each of several answers. That id is told here too.

A stop string is found in here: to the engine core such a request is aborted. So it is here that it is said to be finished.

The loop's lag is how much later than due a timer of the loop rings, each 0.3 s. It is a timer and no task, so that whoever
waits for all tasks of a loop, or closes it, does not meet one of ours.
"""

import asyncio
import time
from time import monotonic_ns
from types import MappingProxyType

from stepscope.vllm.identity import api_server
from stepscope.vllm.scheduler import FINISHED, LAST_TOKEN
from stepscope.vllm.state import arguments_of, check, plugin

MODULE = "vllm.v1.engine.async_llm"
OUTPUTS_MODULE = "vllm.v1.engine.output_processor"
CATEGORY = "api server"
DETAIL = 2
LAG_PERIOD_S = 0.3
#: Outputs are processed, and no request is finished yet.
NOTHING = MappingProxyType({})


class LoopLag:
    """Samples until the task that processes the engine's outputs is over."""

    def __init__(self, native, loop, outputs_task):
        self.native, self.loop, self.outputs_task = native, loop, outputs_task
        self.wait()

    def wait(self):
        self.due = self.loop.time() + LAG_PERIOD_S
        self.loop.call_at(self.due, self.ring)

    def ring(self):
        if self.native.recording():
            self.native.counter("loop lag ms", max(self.loop.time() - self.due, 0) * 1e3, CATEGORY)
        if not self.outputs_task.done():
            self.wait()


def install(module) -> None:
    """Has ``AsyncLLM`` join once its loop runs."""
    engine_class = module.AsyncLLM
    if "_stepscope_lag" in vars(engine_class):
        return
    check(engine_class, {"_run_output_handler": ("self",)}, "its API server will not be seen")
    run = engine_class._run_output_handler

    def hooked_run_output_handler(self):
        run(self)
        if self._stepscope_lag is None:
            self._stepscope_lag = False
            try:
                # The engine cores are started: none is forked from here any more.
                self._stepscope_lag = _joined(self)
            except Exception as error:
                plugin.problem("api server", error)

    engine_class._run_output_handler = hooked_run_output_handler
    engine_class._stepscope_lag = None


def _joined(engine):
    count = getattr(engine, "_client_count", 1)
    number = getattr(engine.engine_core, "client_index", 0) if count > 1 else None
    native = plugin.joined(api_server(engine.vllm_config, number))
    return False if native is None else LoopLag(native, asyncio.get_running_loop(), engine.output_handler)


def install_outputs(module) -> None:
    """Puts the hooks on ``OutputProcessor``; none at all if it is not what we know."""
    processor_class = module.OutputProcessor
    if "_stepscope_finished" in vars(processor_class):
        return
    expected = {
        "add_request": ("self", "request", "prompt", "parent_req", "request_index", "queue"),
        "_finish_request": ("self", "req_state"),
    }
    check(processor_class, expected, "arrivals and stop strings will not be seen in the API server")
    if (arguments_of(vars(processor_class).get("process_outputs")) or ())[:2] != ("self", "engine_core_outputs"):
        raise TypeError("this vLLM's OutputProcessor.process_outputs is not known: stop strings will not be seen")
    for name, hook in _hooks(processor_class).items():
        setattr(processor_class, name, hook)
    processor_class._stepscope_finished = None


def _hooks(processor_class) -> dict:
    add, finish = processor_class.add_request, processor_class._finish_request
    process = processor_class.process_outputs

    def hooked_add_request(self, request, prompt, parent_req=None, request_index=0, queue=None):
        if plugin.native is not None and plugin.native.recording():
            try:
                _arrived(plugin.native, request)
            except Exception as error:
                plugin.problem("arrival", error)
        return add(self, request, prompt, parent_req, request_index, queue)

    def hooked_finish_request(self, req_state):
        finished = self._stepscope_finished
        if finished is not None:
            if finished is NOTHING:
                finished = self._stepscope_finished = {}
            finished[req_state.request_id] = req_state
        return finish(self, req_state)

    section = None

    def hooked_process_outputs(self, engine_core_outputs, *args, **kwargs):
        nonlocal section
        if section is None:
            if plugin.native is None:
                return process(self, engine_core_outputs, *args, **kwargs)
            section = plugin.native.Section("process_outputs", CATEGORY, DETAIL, "outputs")
        if not section.begin():
            return process(self, engine_core_outputs, *args, **kwargs)
        self._stepscope_finished = NOTHING
        try:
            processed = process(self, engine_core_outputs, *args, **kwargs)
        except BaseException as error:
            self._stepscope_finished = None
            section.failed(error)
            raise
        section.end(len(engine_core_outputs))
        finished, self._stepscope_finished = self._stepscope_finished, None
        if processed.reqs_to_abort:
            try:
                for request_id in processed.reqs_to_abort:
                    _stopped(plugin.native, request_id, finished.get(request_id))
            except Exception as error:
                plugin.problem("stop strings", error)
        return processed

    return {
        "add_request": hooked_add_request,
        "_finish_request": hooked_finish_request,
        "process_outputs": hooked_process_outputs,
    }


def _arrived(native, request):
    age_ns = int((time.time() - request.arrival_time) * 1e9)
    prompt = request.prompt_token_ids
    native.request(
        request.request_id,
        "arrived",
        at_ns=monotonic_ns() - max(age_ns, 0),
        prompt_tokens=0 if prompt is None else len(prompt),
    )


def _stopped(native, request_id, state):
    """Its stop string came: the engine core is about to be told to abort it."""
    detokenizer = getattr(state, "detokenizer", None)
    tokens, now = detokenizer.num_output_tokens() if detokenizer else 0, monotonic_ns()
    native.moments(request_id, True, [LAST_TOKEN, now, FINISHED, now], 0, (0, tokens, 0))
