"""A scheduler of vLLM 0.32's shape: ``slots`` requests run, each makes one token a step; the last one is put back when asked."""

import enum
import time
from types import SimpleNamespace


class RequestStatus(enum.IntEnum):
    WAITING = 1
    RUNNING = 2
    PREEMPTED = 3
    FINISHED_STOPPED = 4
    FINISHED_LENGTH_CAPPED = 5
    FINISHED_ABORTED = 6
    FINISHED_ERROR = 7
    WAITING_FOR_STREAMING_REQ = 8


class Request:
    def __init__(self, request_id, prompt_tokens=5, output_tokens=3, arrived_s_ago=0.0, cached_tokens=0, prefills=1,
                 resumable=False):
        self.request_id, self.num_prompt_tokens, self.max_tokens = request_id, prompt_tokens, output_tokens
        self.num_computed_tokens = cached_tokens
        self.arrival_time = time.time() - arrived_s_ago
        self.num_output_tokens = 0
        self.prefills = prefills  # steps until its first token
        self.status = RequestStatus.WAITING
        self.resumable = resumable  # a prompt that is streamed: more of it may come


class Scheduler:
    def __init__(self, vllm_config, slots=2):
        self.vllm_config, self.slots = vllm_config, slots
        self.requests, self.running, self.waiting = {}, [], []

    def add_request(self, request: Request) -> None:
        existing = self.requests.get(request.request_id)
        if existing is None:
            self.requests[request.request_id] = request
            self.waiting.append(request)
        elif request.resumable:
            existing.status, existing.num_output_tokens = RequestStatus.WAITING, 0
        elif existing.status == RequestStatus.WAITING_FOR_STREAMING_REQ:
            self.finish_requests(request.request_id, RequestStatus.FINISHED_ABORTED)

    def get_request_counts(self) -> tuple[int, int]:
        return len(self.running), len(self.waiting)

    def get_kv_cache_usage(self) -> float:
        return len(self.running) / self.slots

    def schedule(self, throttle_prefills: bool = False):
        new, resumed = [], set()
        paused = [one for one in self.waiting if one.status == RequestStatus.WAITING_FOR_STREAMING_REQ]
        while len(self.waiting) > len(paused) and len(self.running) < self.slots:
            request = self.waiting.pop(0)
            if request in paused:
                self.waiting.append(request)
                continue
            if request.status == RequestStatus.PREEMPTED:
                resumed.add(request.request_id)
            else:
                new.append(SimpleNamespace(req_id=request.request_id, num_computed_tokens=request.num_computed_tokens))
            request.status = RequestStatus.RUNNING
            self.running.append(request)
        tokens = {request.request_id: 1 for request in self.running}
        return SimpleNamespace(
            scheduled_new_reqs=new,
            scheduled_cached_reqs=SimpleNamespace(resumed_req_ids=resumed, num_output_tokens=[]),
            num_scheduled_tokens=tokens,
            total_num_scheduled_tokens=len(tokens),
        )

    def put_back(self):
        self._preempt_request(self.running.pop(), time.monotonic())

    def _preempt_request(self, request: Request, timestamp: float, drop_stale_output: bool = False) -> None:
        request.status = RequestStatus.PREEMPTED
        self.waiting.insert(0, request)

    def update_from_output(self, scheduler_output, model_runner_output):
        outputs = []
        for request_id in scheduler_output.num_scheduled_tokens:
            request = self.requests.get(request_id)
            if request is None or request.status != RequestStatus.RUNNING:
                continue
            request.prefills -= 1
            if request.prefills > 0:
                continue
            request.num_output_tokens += 1
            outputs.append(request_id)
            if request.num_output_tokens == request.max_tokens and request.resumable:
                request.status = RequestStatus.WAITING_FOR_STREAMING_REQ
                self.running.remove(request)
                self.waiting.append(request)
            elif request.num_output_tokens == request.max_tokens:
                request.status = RequestStatus.FINISHED_LENGTH_CAPPED
                self.running.remove(request)
                self._free_request(request)
        return outputs

    def finish_requests(self, request_id, finished_status):
        request = self.requests[request_id]
        (self.running if request in self.running else self.waiting).remove(request)
        request.status = finished_status
        self._free_request(request)

    def _free_request(self, request: Request, delay_free_blocks: bool = False):
        del self.requests[request.request_id]
        return None, None


class AsyncScheduler(Scheduler):
    """What vLLM runs: another class, with the methods of the one that is hooked."""
