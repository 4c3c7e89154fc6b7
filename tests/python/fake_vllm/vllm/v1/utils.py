from types import SimpleNamespace


def compute_iteration_details(scheduler_output):
    if scheduler_output.total_num_scheduled_tokens == 666:
        raise RuntimeError("changed")
    return SimpleNamespace(
        num_ctx_requests=1,
        num_ctx_tokens=scheduler_output.total_num_scheduled_tokens,
        num_generation_requests=0,
        num_generation_tokens=0,
    )
