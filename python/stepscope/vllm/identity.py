"""Who the processes of a vLLM are: which job, which group, which rank, and what people call them."""

import os


def identity(config, rank: int) -> dict:
    """Who a worker is. ``rank`` is the worker's own: within its executor.

    A group is what steps together: one executor's workers; with a mixture of experts all data-parallel ranks, which is
    when vLLM leaves ``data_parallel_size`` above 1 in a worker's configuration. Independent data-parallel engines all
    call themselves data-parallel rank 0: ``data_parallel_index`` tells them apart.
    """
    parallel = config.parallel_config
    index, replicas = parallel.data_parallel_index, parallel.data_parallel_size
    world_size = parallel.world_size
    per_replica = world_size
    group, job = f"dp{index}", _instance(config)
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
            job = _meeting(parallel)
    # vLLM numbers them data-parallel, pipeline, prefill-context, tensor: the last one fastest.
    tensor, pipeline = parallel.tensor_parallel_size, parallel.pipeline_parallel_size
    stage = per_replica // pipeline
    within = rank % per_replica
    return {
        **_engine(job),
        "rank": rank,
        "world_size": world_size,
        "group": group,
        "label": f"tp{within % tensor} pp{within // stage} dp{index}",
        "first": within == 0,
    }


def engine_core(config) -> dict:
    """Who an engine core is, where it is no rank: of its workers' job and group."""
    who = identity(config, 0)
    index = config.parallel_config.data_parallel_index
    return {name: who[name] for name in ("job", "group", "engine")} | {"label": f"engine core dp{index}"}


def api_server(config, number: "int | None") -> dict:
    """Who an API server is: of the job of the engines that it serves, and of no group of them. ``number``: which one, where
    there are several. Its configuration still has all replicas of a dense model, whose engines are told that they are alone.
    """
    parallel = config.parallel_config
    meets = parallel.data_parallel_external_lb or parallel.data_parallel_hybrid_lb
    together = parallel.data_parallel_size > 1 and meets and config.model_config.is_moe
    label = "api server" if number is None else f"api server {number}"
    return {**_engine(_meeting(parallel) if together else _instance(config)), "group": None, "label": label}


def _engine(job: str) -> dict:
    import vllm

    return {"job": None if os.environ.get("STEPSCOPE_JOB") else f"vllm-{job}", "engine": f"vllm {vllm.__version__}"}


def _instance(config) -> str:
    return str(config.instance_id).removesuffix(f"_dp{config.parallel_config.data_parallel_index}")


def _meeting(parallel) -> str:
    return f"dp-{parallel.data_parallel_master_ip}-{parallel.data_parallel_rpc_port}"
