"""vLLM's own profiler, started where a window of ours begins.

The sidecar asks vLLM's ``/start_profile`` to cover its window too. That call reaches a worker between two of its steps, nobody
can say beforehand which, and vLLM counts from there, empty steps included. So a start that was asked for a window of ours is
kept back until that window's first iteration is the next one, and is stopped in front of the first step behind its last one:
where vLLM itself stops a session that has had its iterations.

Nobody pays for it otherwise: the methods of the worker that waits are wrapped, and unwrapped again.
"""

from stepscope.vllm.state import plugin

WRAPPED = ("execute_model", "execute_dummy_batch")


def keep_back(wrapper, native, arguments, bounds) -> bool:
    """Whether the start is kept back: a window of ours is to be covered, and its first iteration has not begun."""
    # Only the sidecar says how far off its window is; and only there a worker takes these bounds.
    if bounds.get("delay_iterations") is None or not native.until_window():
        return False
    count = bounds.get("max_iterations") or 0
    at_once = {**bounds, "delay_iterations": 0, "max_iterations": 0}
    started, done = False, 0

    def before_step(works):
        nonlocal started, done
        try:
            if started and count and done >= count:
                release(wrapper)
                wrapper.worker.profile(False)
            elif works and not started:
                ahead = native.until_window()
                if ahead == 1:
                    started = True
                    wrapper.worker.profile(*arguments, **at_once)
                elif ahead == 0:
                    release(wrapper)  # it was called off
            if works and started:
                done += 1
        except Exception as error:
            release(wrapper)
            plugin.problem("profile", error)

    execute, dummy = (getattr(wrapper, name) for name in WRAPPED)

    def execute_model(scheduler_output, *args, **kwargs):
        before_step(getattr(scheduler_output, "total_num_scheduled_tokens", 0) > 0)
        return execute(scheduler_output, *args, **kwargs)

    def execute_dummy_batch(*args, **kwargs):
        before_step(True)
        return dummy(*args, **kwargs)

    wrapper.execute_model, wrapper.execute_dummy_batch = execute_model, execute_dummy_batch
    return True


def release(wrapper) -> None:
    """From now on its methods are its own again."""
    for name in WRAPPED:
        vars(wrapper).pop(name, None)
