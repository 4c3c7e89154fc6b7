"""The vLLM plugin (entry point group ``vllm.general_plugins``): vLLM's code untouched, in every process of an engine.

| file | process | what it sees |
| --- | --- | --- |
| ``worker`` | a worker: a rank | iterations, their batch and device stream, which requests each computed |
| ``scheduler`` | the engine core: a source of spans, or the rank itself where it runs the one worker | a request's life from its arrival to its end, the queue, the cache, the gap between steps |
| ``front_end`` | the API server: a source of spans | the lag of its loop |
| ``outputs`` | the API server | arrival of requests, processing of outputs, what its stop strings end |
| ``routes``, ``sidecar`` | the API server, where it is asked to | nothing: hands ``/start_profile`` and ``/stop_profile`` on to the sidecar |
| ``state`` | each | what was hooked, and what went wrong: ``stepscope.describe()["hooks"]["vllm"]`` |

Ids and counts of requests are told, never prompts or outputs. The native module and the agent are loaded where a process has
something to tell: a worker's with its ``init_device``, an engine core's with its scheduler, an API server's with its event
loop. ``STEPSCOPE_AGENT=off`` keeps all of them out.

Each place asks at first whether vLLM is what it knows, down to the names of arguments; what does not fit is left alone
and said once in vLLM's log. Nothing here raises into vLLM: a hook that fails is counted, said once, and the engine runs on.
"""

from stepscope import _import_hook
from stepscope.vllm import front_end, outputs, scheduler, worker
from stepscope.vllm.identity import identity
from stepscope.vllm.state import plugin
from stepscope.vllm.worker import install

__all__ = ["identity", "install", "plugin", "register"]

#: Which module's import brings which hooks.
PLACES = (
    (worker.MODULE, worker.install),
    (scheduler.MODULE, scheduler.install),
    (outputs.MODULE, outputs.install),
    (front_end.MODULE, front_end.install),
)


def register() -> None:
    """The entry point. vLLM calls it in every process, often more than once."""
    if plugin.hooks != "not installed":
        return
    plugin.hooks = "waiting for a worker"
    for module, install_there in PLACES:
        _import_hook.when_imported(module, install_there, lambda error: plugin.problem("install", error))
