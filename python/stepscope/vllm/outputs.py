"""The API server's requests: when they arrive there, what processing their outputs takes, and which ones it ends.

An engine core knows a request by the id that the front end made for it: the one that came in, with eight random characters
behind it, and one more in front for each of several answers. That id is told here too.

A stop string is found in here: to the engine core such a request is aborted. So it is here that it is said to be finished.
"""

from time import monotonic_ns

from stepscope._parameters import maker, parameters_of, take_defaults
from stepscope.vllm.scheduler import FINISHED, LAST_TOKEN, arrived_ns
from stepscope.vllm.state import check, plugin

MODULE = "vllm.v1.engine.output_processor"
CATEGORY = "api server"
DETAIL = 2

EXPECTED = {
    "add_request": ("self", "request", "prompt", "parent_req", "request_index", "queue"),
    "_finish_request": ("self", "req_state"),
}
#: ``process_outputs`` with vLLM's own parameters, which differ between versions, and what it calls for each request that ends.
HOOKS = """
def make(_process, _finish, _calls, _aborts):
    def _begin():
        nonlocal _begin, _end, _failed
        calls = _calls()
        if calls is None:
            return False
        _begin, _end, _failed = calls
        return _begin()

    _end = _failed = None
    # What the call that runs has finished, by request; None while nobody wants to know.
    _finished = None

    def hooked_process_outputs({parameters}):
        nonlocal _finished
        if not _begin():
            return _process({arguments})
        _finished = {{}}
        try:
            _outputs = _process({arguments})
        except BaseException as _error:
            _finished = None
            _failed(_error)
            raise
        _ended, _finished = _finished, None
        _end(engine_core_outputs)
        if getattr(_outputs, "reqs_to_abort", None):
            _aborts(_outputs.reqs_to_abort, _ended)
        return _outputs

    def hooked_finish_request(self, req_state):
        if _finished is not None:
            _finished[req_state.request_id] = req_state
        return _finish(self, req_state)

    return hooked_process_outputs, hooked_finish_request
"""
#: Names that the template uses itself.
RESERVED = ("_process", "_finish", "_calls", "_aborts", "_begin", "_end", "_failed", "_finished", "_outputs", "_error", "_ended")


def install(module) -> None:
    """Puts the hooks on ``OutputProcessor``; none at all if it is not what we know."""
    processor_class = module.OutputProcessor
    if "_stepscope_hooked" in vars(processor_class):
        return
    check(processor_class, EXPECTED, "arrivals and stop strings will not be seen in the API server")
    parameters = parameters_of(vars(processor_class).get("process_outputs"), RESERVED)
    if parameters is None or parameters[0].split(", ")[:2] != ["self", "engine_core_outputs"]:
        raise TypeError("this vLLM's OutputProcessor.process_outputs is not known: stop strings will not be seen")
    for name, hook in _hooks(processor_class, *parameters).items():
        setattr(processor_class, name, hook)
    processor_class._stepscope_hooked = True


def _hooks(processor_class, parameters: str, arguments: str) -> dict:
    add, process = processor_class.add_request, processor_class.process_outputs

    def hooked_add_request(self, request, prompt, parent_req=None, request_index=0, queue=None):
        if plugin.native is not None and plugin.native.recording():
            try:
                _arrived(plugin.native, request)
            except Exception as error:
                plugin.problem("arrival", error)
        return add(self, request, prompt, parent_req, request_index, queue)

    make = maker(HOOKS, "<stepscope.vllm.outputs>", parameters, arguments)
    hooked_process_outputs, hooked_finish_request = make(process, processor_class._finish_request, _calls, _aborts)
    take_defaults(hooked_process_outputs, process)
    return {
        "add_request": hooked_add_request,
        "_finish_request": hooked_finish_request,
        "process_outputs": hooked_process_outputs,
    }


def _calls():
    """What begins and ends a call's span; None as long as this process has not joined."""
    if plugin.native is None:
        return None
    try:
        section = plugin.native.Section("process_outputs", CATEGORY, DETAIL, "outputs")
        return section.begin, section.end, section.failed
    except Exception as error:
        plugin.problem("process_outputs", error)
        return None


def _aborts(request_ids, finished: dict):
    """A call that a capture has seen is about to have these requests aborted."""
    try:
        for request_id in request_ids:
            _stopped(plugin.native, request_id, finished.get(request_id))
    except Exception as error:
        plugin.problem("stop strings", error)


def _arrived(native, request):
    prompt = request.prompt_token_ids
    native.request(
        request.request_id,
        "arrived",
        at_ns=arrived_ns(request, monotonic_ns()),
        prompt_tokens=0 if prompt is None else len(prompt),
    )


def _stopped(native, request_id, state):
    """Its stop string came: the engine core is about to be told to abort it."""
    detokenizer = getattr(state, "detokenizer", None)
    tokens, now = detokenizer.num_output_tokens() if detokenizer else 0, monotonic_ns()
    native.moments(request_id, True, [LAST_TOKEN, now, FINISHED, now], 0, (0, tokens, 0))
