"""What stands in for the native module where that can't be loaded: the same functions, and they do nothing."""

REASON = ""


def available():
    return False


def library_path():
    return None


def join(role, rank, world_size, job=None, group=None, engine=None, label=None, flags=0):
    return -1


def claim_steps(name):
    return False


def step_begin():
    return 0


def step_batch(context_requests, context_tokens, generation_requests, generation_tokens, flags=0):
    return None


def step_stream(stream):
    return None


def step_end():
    return None


def leave():
    return None


def reason():
    return REASON


def describe():
    return ""
