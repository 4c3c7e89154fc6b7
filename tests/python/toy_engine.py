"""An engine of three kinds of steps, whose code knows nothing of Stepscope."""

import asyncio
import functools

__version__ = "7.1"
seen = []


class Engine:
    def step(self, work):
        seen.append(work)
        if work == "fail":
            raise KeyError(work)
        return work * 2

    async def step_async(self, work):
        await asyncio.sleep(0)
        if work == "fail":
            raise KeyError(work)
        return work * 3

    def alone(self):
        return "alone"

    @staticmethod
    def still(work):
        return work

    @classmethod
    def shared(cls, work):
        return cls.__name__, work

    def stream(self):
        yield 1

    #: No descriptor before Python 3.14: it is called without the instance.
    partial = functools.partial(lambda work=4: work * 2)


class Child(Engine):
    pass


made = Engine()


def step(work):
    return work + 1


number = 3
