"""The API server joins once its loop runs, and says how late that is.

The loop's lag is how much later than due a timer of the loop rings, each 0.3 s. It is a timer and no task, so that whoever
waits for all tasks of a loop, or closes it, does not meet one of ours.
"""

import asyncio

from stepscope.vllm.identity import api_server
from stepscope.vllm.state import check, plugin

MODULE = "vllm.v1.engine.async_llm"
CATEGORY = "api server"
LAG_PERIOD_S = 0.3


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
