"""An output processor of vLLM 0.32's shape: an output that is the text "stop" ends its request here."""

from types import SimpleNamespace


class RequestState:
    def __init__(self, request_id, detokenizer):
        self.request_id, self.detokenizer = request_id, detokenizer


class OutputProcessor:
    def __init__(self):
        self.request_states = {}

    def add_request(self, request, prompt, parent_req=None, request_index=0, queue=None) -> None:
        detokenizer = SimpleNamespace(made=0)
        detokenizer.num_output_tokens = lambda: detokenizer.made
        self.request_states[request.request_id] = RequestState(request.request_id, detokenizer)

    def process_outputs(self, engine_core_outputs, engine_core_timestamp=None, iteration_stats=None, weight_version=None):
        stopped = []
        for request_id, text in engine_core_outputs:
            state = self.request_states[request_id]
            state.detokenizer.made += 1
            if text == "stop":
                self._finish_request(state)
                stopped.append(request_id)
        return SimpleNamespace(request_outputs=[], reqs_to_abort=stopped)

    def _finish_request(self, req_state) -> None:
        self.request_states.pop(req_state.request_id)
