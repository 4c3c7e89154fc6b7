from types import SimpleNamespace


class WorkerBase:
    def sample_tokens(self, grammar_output):
        raise NotImplementedError


class Worker(WorkerBase):
    """Answers what it is told to: ``answers`` is one answer per ``execute_model``; an exception is raised."""

    def __init__(self, rank):
        self.rank = rank
        self.answers = []

    def init_device(self):
        pass

    def execute_model(self, scheduler_output):
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sample_tokens(self, grammar_output):
        if grammar_output == "fail":
            raise ValueError("sampling")
        return "sampled"

    def execute_dummy_batch(self):
        pass

    def profile(self, is_start=True, profile_prefix=None, **bounds):
        print("profile", is_start, profile_prefix, sorted(bounds.items()))

    def compile_or_warm_up_model(self):
        self.execute_model(scheduled(8))
        self.sample_tokens(None)

    def shutdown(self):
        pass


class WorkerWrapperBase:
    def __init__(self, config, rank):
        self.vllm_config, self.worker = config, Worker(rank)

    def init_device(self):
        self.worker.init_device()

    def __getattr__(self, name):
        return getattr(self.worker, name)

    def execute_model(self, scheduler_output):
        return self.worker.execute_model(scheduler_output)

    def shutdown(self):
        self.worker.shutdown()


def scheduled(tokens):
    return SimpleNamespace(total_num_scheduled_tokens=tokens, num_scheduled_tokens={"a": tokens} if tokens else {})


def batch(new, made):
    """A batch as vLLM 0.32 describes it: the ids of new requests, and of each other one how many tokens it has made."""
    return SimpleNamespace(
        total_num_scheduled_tokens=sum(range(2, 2 + len(new))) + len(made),
        num_scheduled_tokens={**{name: 2 + n for n, name in enumerate(new)}, **{f"old-{n}": 1 for n in range(len(made))}},
        scheduled_new_reqs=new,
        scheduled_cached_reqs=SimpleNamespace(num_output_tokens=made),
    )


def config(runner_type="generate", instance_id="77", **parallel):
    known = dict(
        tensor_parallel_size=1, pipeline_parallel_size=1, world_size=1, data_parallel_size=1, data_parallel_rank=0,
        data_parallel_index=0, distributed_executor_backend="mp", data_parallel_external_lb=False,
        data_parallel_hybrid_lb=False, data_parallel_master_ip="10.0.0.1", data_parallel_rpc_port=29550,
    )
    known.update(parallel)
    return SimpleNamespace(
        parallel_config=SimpleNamespace(**known),
        model_config=SimpleNamespace(runner_type=runner_type, is_moe=False),
        instance_id=instance_id,
    )
