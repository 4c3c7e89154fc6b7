"""A process's own segment, read and asked as a sidecar would: for tests of what is recorded. The layout is that of
``src/wire``; nothing here is checked, it is our own agent's.
"""

import glob
import mmap
import os
import struct

CONTROL, STATUS, RINGS = 512, 1024, 4096 + (32 << 10)
EVENTS, LEVEL, SHIFT, LEASE = CONTROL + 192, CONTROL + 200, CONTROL + 208, CONTROL + 152
DROPPED_WITHOUT_RING = STATUS + 128 + 8 + 13 * 8 + 2 * 8
SHAPES = {1: "span", 2: "instant", 3: "counter", 4: "duration"}
STEPS = ["begin", "step", "end"]
MOMENTS = [None, "arrived", "queued", "scheduled", "first_token", "preempted", "last_token", "finished", "aborted"]
NONE = 2**64 - 1


class Segment:
    def __init__(self, path):
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)
        self.ring_records, self.ring_count, self.data = struct.unpack_from("<IIQ", self.map, 24)
        self.role, self.attach_ticks, self.attach_ns = self.u32(12), self.u64(56), self.u64(64)
        self.job, self.label = self.text(112, 96), self.text(336, 64)
        self.generation = 0
        self.readers = [Reader() for _ in range(self.ring_count)]

    def u32(self, at):
        return struct.unpack_from("<I", self.map, at)[0]

    def u64(self, at):
        return struct.unpack_from("<Q", self.map, at)[0]

    def put(self, at, value):
        struct.pack_into("<Q", self.map, at, value)

    def text(self, at, count):
        return self.map[at : at + count].split(b"\0")[0].decode()

    def start(self, level=2, shift=0):
        """A capture wants events from now on."""
        self.generation += 2
        self.put(LEASE, NONE // 2)
        self.put(LEVEL, level)
        self.put(SHIFT, shift)
        self.put(EVENTS, self.generation)

    def stop(self):
        self.put(EVENTS, 0)

    def dropped(self):
        rings = (self.u64(RINGS + 192 * ring + 8) for ring in range(self.ring_count))
        return self.u64(DROPPED_WITHOUT_RING) + sum(rings)

    def drain(self):
        """What was recorded since the last look, a dictionary each; texts and arguments are put where they belong."""
        found = []
        for ring in range(self.ring_count):
            descriptor = RINGS + 192 * ring
            head, tail = self.u64(descriptor), self.u64(descriptor + 64)
            base = self.data + 64 * self.ring_records * ring
            for index in range(tail, head):
                words = struct.unpack_from("<8Q", self.map, base + 64 * (index % self.ring_records))
                record = self.readers[ring].read(words)
                if record is not None:
                    found.append(record)
            self.put(descriptor + 64, head)
        return found

    def free(self):
        """Forgets what was recorded, which is quicker than to look at it."""
        for ring in range(self.ring_count):
            self.put(RINGS + 192 * ring + 64, self.u64(RINGS + 192 * ring))

    def events(self, shape=None):
        return [event for event in self.drain() if event["kind"] == "event" and shape in (None, event["shape"])]


class Reader:
    """Of one ring. Texts and the thread are told once in a capture."""

    def __init__(self):
        self.texts, self.arguments, self.parts, self.thread = {}, {}, {}, None

    def read(self, w):
        kind, flags = w[0] & 0xFFFF, w[0] >> 16 & 0xFFFF
        if kind == 3 or kind == 1:
            return {"kind": "iteration" if kind == 1 else "range", "number": w[1]}
        if kind == 2:
            self.thread = w[1]
        elif kind == 4:
            self.texts[w[1] & 0xFFFF] = self.join(("text", w[1] & 0xFFFF), w)
        elif kind == 6:
            self.argument(flags, w)
        elif kind == 7:
            return {"kind": "track", "track": w[1], "name": self.texts[w[2]], "generation": w[0] >> 32}
        elif kind == 8:
            return {
                "kind": "request", "request": w[1], "moment": MOMENTS[flags], "at": w[2], "iteration": w[3],
                "prompt": w[4] & 0xFFFFFFFF, "output": w[4] >> 32, "cached": w[5], "id": self.texts.get(w[6]),
            }
        elif kind == 9:
            pairs = ((w[2], w[5] & 0xFFFFFFFF), (w[3], w[5] >> 32), (w[4], w[6]))
            return {"kind": "served", "iteration": w[1], "tokens": {number: count for number, count in pairs if number}}
        elif kind == 5:
            return self.event(flags, w)
        return None

    def event(self, flags, w):
        arguments, self.arguments = self.arguments, {}
        shape = SHAPES[flags & 15]
        return {
            "kind": "event", "shape": shape, "name": self.texts[w[3] & 0xFFFF],
            "category": self.texts.get(w[3] >> 16 & 0xFFFF), "depth": w[3] >> 32 & 0xFFFF, "begin": w[1],
            "end": struct.unpack("<d", struct.pack("<Q", w[2]))[0] if shape == "counter" else w[2],
            "track": w[4], "device_ns": None if w[5] == NONE else w[5],
            "flow": [STEPS[flags >> 4 & 3], w[6]] if w[6] else None,
            "arguments": arguments, "thread": self.thread,
        }

    def argument(self, kind, w):
        key, bits = self.texts[w[1] & 0xFFFF], struct.pack("<Q", w[2])
        if kind == 5:
            self.arguments[key] = self.join(("argument", key), w)
        else:
            form = {1: "<Q", 2: "<q", 3: "<d", 4: "<Q"}[kind]
            value = struct.unpack(form, bits)[0]
            self.arguments[key] = bool(value) if kind == 4 else value

    def join(self, place, w):
        part, length = w[1] >> 16 & 0xFFFF, w[1] >> 32 & 0xFFFF
        held = self.parts.get(place, b"") if part else b""
        self.parts[place] = held + struct.pack("<6Q", *w[2:])
        return self.parts[place][:length].decode(errors="replace")


def own():
    """The calling process's segment; it has joined."""
    (path,) = glob.glob(os.path.join(os.environ["STEPSCOPE_DIR"], f"{os.getpid()}-*.seg"))
    return Segment(path)


def nested_or_disjoint(events):
    """Whether the spans of each track are. Gives how many there were."""
    tracks = {}
    for event in events:
        if event["shape"] == "span":
            tracks.setdefault((event["track"], event["thread"] if not event["track"] else 0), []).append(event)
    for spans in tracks.values():
        open_ends = []
        for span in sorted(spans, key=lambda span: (span["begin"], -span["end"], span["depth"])):
            while open_ends and open_ends[-1] <= span["begin"]:
                open_ends.pop()
            if open_ends and span["end"] > open_ends[-1]:
                raise AssertionError(f"{span} overlaps")
            open_ends.append(span["end"])
    return sum(map(len, tracks.values()))


def ticks_per_s(segment):
    """Measured from the anchor that the agent took when it joined, for long enough."""
    import time

    from stepscope import _agent

    segment.start()
    best = None
    while best is None or best[1] - segment.attach_ns < 50_000_000:
        before = time.monotonic_ns()
        _agent.native.instant("now")
        after = time.monotonic_ns()
        at = [event["begin"] for event in segment.drain() if event["kind"] == "event"][-1]
        if best is None or after - before < 20_000:  # not put off in between
            best = at, before
    return (best[0] - segment.attach_ticks) * 1e9 / (best[1] - segment.attach_ns)
