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


def iterate(function, inside, arguments, keywords):
    return function(*arguments, **keywords)


def until_window():
    return 0


def leave():
    return None


def reason():
    return REASON


def describe():
    return ""


def recording():
    return 0


def _nothing(*_positional, **_named):
    return None


counter = duration = instant = served = moments = _nothing

MOMENTS = ("arrived", "queued", "scheduled", "first_token", "preempted", "last_token", "finished", "aborted")


def request(_id, moment, /, **_named):
    if moment not in MOMENTS:
        raise ValueError(f"moment {moment!r}: expected one of {list(MOMENTS)}")


class Counter:
    def __init__(self, _name, /, _cat=None, **_named):
        pass

    set = _nothing


class Instant:
    def __init__(self, _name, /, _cat=None, **_named):
        pass

    tell = _nothing


class track:
    def __init__(self, name):
        pass


class span:
    def __init__(self, _name, /, _cat=None, **_named):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        return None

    def __call__(self, function):
        from stepscope import _recorder

        return _recorder.decorate(function, self)

    args = set = _nothing
