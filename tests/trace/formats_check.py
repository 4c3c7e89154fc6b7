"""Reads a capture's trace in every format with other people's decoders and asserts that all of them hold the same.

usage: formats_check.py TRACE.json [RANK0.json ...]

Beside each TRACE.json lie TRACE.pftrace, TRACE.json.gz and TRACE.json.zst, and beside the first of them its ledger,
TRACE.jsonl and TRACE.csv. Perfetto's protobuf is read with the descriptors of PyPI `perfetto`: every packet parses, no
field is unknown to them, interned ids resolve, slices nest on their tracks, and processes, rows, slices, instants,
counters and flows are those of the JSON. A file cut at any byte still gives all packets that are whole.
"""

import bisect
import collections
import csv
import gzip
import json
import pathlib
import random
import sys

import zstandard
from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

EVENT = schema.TrackEvent
CLEARED, NEEDS = schema.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED, schema.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE


def varint(data, at):
    """A varint and the offset behind it; None where the data ends in it."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return None, at


def packets(data):
    """The packets that are whole, with the offsets behind them."""
    at = 0
    while at < len(data):
        assert data[at] == 0x0A, f"something else than a packet at {at}"
        length, begin = varint(data, at + 1)
        if length is None or begin + length > len(data):
            return
        at = begin + length
        yield data[begin:at], at


def all_known(message):
    """No field that the descriptors do not have, at any depth."""
    assert not len(UnknownFieldSet(message)), f"unknown fields in {type(message).__name__}"
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                all_known(inner)


class Sequence:
    """Interned texts and defaults of one sequence."""

    def __init__(self):
        self.tables = None

    def take(self, packet):
        if packet.sequence_flags & CLEARED:
            self.tables = collections.defaultdict(dict)
            self.clock = packet.trace_packet_defaults.timestamp_clock_id
        assert self.tables is not None, "the first packet of a sequence clears its state"
        assert packet.sequence_flags & (CLEARED | NEEDS)
        for field, entries in packet.interned_data.ListFields():
            for entry in entries:
                assert entry.iid and entry.iid not in self.tables[field.name], (field.name, entry.iid)
                self.tables[field.name][entry.iid] = entry.name

    def text(self, table, number, text):
        return self.tables[table][number] if number else text


def plain(value):
    """Empty and null are the same; a null in an object is no member."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if plain(inner) is not None} or None
    if isinstance(value, list):
        return [plain(inner) for inner in value] or None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def annotation(sequence, entry):
    name = sequence.text("debug_annotation_names", entry.name_iid, entry.name)
    kind = entry.WhichOneof("value")
    if kind is not None:
        return name, getattr(entry, kind)
    if entry.dict_entries:
        return name, dict(annotation(sequence, inner) for inner in entry.dict_entries)
    return name, [annotation(sequence, inner)[1] for inner in entry.array_values]


def of_pftrace(data):
    """What a Perfetto trace shows; its slices put together as trace processor does it."""
    trace = schema.Trace()
    trace.ParseFromString(data)
    assert trace.SerializeToString() and len(trace.packet) == sum(1 for _ in packets(data))
    sequences, clocks, tracks, events = collections.defaultdict(Sequence), {}, {}, []
    for packet in trace.packet:
        all_known(packet)
        key = packet.trusted_packet_sequence_id
        assert key
        sequence = sequences[key]
        sequence.take(packet)
        if packet.HasField("clock_snapshot"):
            assert packet.clock_snapshot.primary_trace_clock == schema.BUILTIN_CLOCK_REALTIME
            clocks[key] = {clock.clock_id: clock.timestamp for clock in packet.clock_snapshot.clocks}
        elif packet.HasField("track_descriptor"):
            descriptor = packet.track_descriptor
            assert tracks.setdefault(descriptor.uuid, descriptor) == descriptor, descriptor.uuid
        else:
            event = packet.track_event
            # The clock of the sequence, tied to CLOCK_REALTIME by the snapshot.
            now = packet.timestamp - clocks[key][sequence.clock] + clocks[key][schema.BUILTIN_CLOCK_REALTIME]
            events.append((now, sequence, event))
    assert tracks[0].process_ordering == schema.TrackDescriptor.PROCESS_ORDERING_EXPLICIT
    picture, stacks, flows = collections.defaultdict(collections.Counter), collections.defaultdict(list), {}
    for track in tracks.values():
        if track.HasField("process"):
            picture["processes"][track.process.pid, track.process.process_name, *track.process.process_labels] += 1
        elif track.HasField("thread"):
            picture["rows"][track.thread.pid, track.thread.tid, track.thread.thread_name] += 1

    def row(track):
        if track.HasField("thread"):
            return track.thread.pid, track.thread.tid
        return (track.process.pid, 0) if track.HasField("process") else row(tracks[track.parent_uuid])

    for now, sequence, event in sorted(events, key=lambda event: event[0]):
        track = tracks[event.track_uuid]
        name = sequence.text("event_names", event.name_iid, event.name)
        category = "".join([sequence.tables["event_categories"][iid] for iid in event.category_iids] + [*event.categories])
        arguments = plain(dict(annotation(sequence, entry) for entry in event.debug_annotations))
        if track.name == "stepscope metadata":
            (arguments or {}).pop("rank", None)
            picture["metadata"][json.dumps(arguments, sort_keys=True)] += 1
            continue
        slice_of = (category, name, json.dumps(arguments, sort_keys=True))
        for ids, ends in [(event.flow_ids, False), (event.terminating_flow_ids, True)]:
            for number in ids:
                flows.setdefault(number, []).append((row(track), now, ends))
        if event.type == EVENT.TYPE_SLICE_BEGIN:
            stacks[event.track_uuid].append((row(track), now, *slice_of))
        elif event.type == EVENT.TYPE_SLICE_END:
            place, begin, *about = stacks[event.track_uuid].pop()
            kind = "slices" if track.HasField("thread") else "asynchronous"
            picture[kind][place, begin, now, *about] += 1
        elif event.type == EVENT.TYPE_INSTANT:
            picture["instants"][row(track), now, *slice_of] += 1
        else:
            assert event.type == EVENT.TYPE_COUNTER and track.HasField("counter")
            value = event.double_counter_value if event.HasField("double_counter_value") else event.counter_value
            picture["counters"][row(track)[0], track.name, now, plain(value)] += 1
    assert not any(stacks.values()), "slices without an end"
    picture["flows"] = collections.Counter(tuple(sorted(passes)) for passes in flows.values())
    return picture


def of_json(trace):
    base = trace["baseTimeNanoseconds"]
    picture, begun, flows, labels = collections.defaultdict(collections.Counter), {}, {}, {}
    for event in trace["traceEvents"]:
        if event["name"] == "process_labels":
            labels[event["pid"]] = [event["args"]["labels"]]
    for event in trace["traceEvents"]:
        kind, place = event["ph"], (event["pid"], event["tid"])
        now, duration = (base + round(event.get(key, 0) * 1000) for key in ("ts", "dur"))
        about = (event.get("cat", ""), event.get("name"), json.dumps(plain(event.get("args", {})), sort_keys=True))
        if kind == "M" and event["name"] == "process_name":
            picture["processes"][event["pid"], event["args"]["name"], *labels.get(event["pid"], [])] += 1
        elif kind == "M" and event["name"] == "thread_name":
            picture["rows"][(*place, event["args"]["name"])] += 1
        elif kind == "X":
            picture["slices"][place, now, now + duration - base, *about] += 1
        elif kind == "i":
            picture["instants"][place, now, *about] += 1
        elif kind == "b":
            begun[event["id"]] = (place, now, about)
        elif kind == "e":
            place, begin, about = begun.pop(event["id"])
            picture["asynchronous"][place, begin, now, *about] += 1
        elif kind == "C":
            for key, value in event["args"].items():
                name = event["name"] if key == "value" else f"{event['name']} {key}"
                picture["counters"][event["pid"], name, now, plain(value)] += 1
        elif kind in "stf":
            flows.setdefault(event["id"], []).append((place, now, kind == "f"))
        else:
            assert kind == "M", event
    picture["metadata"][json.dumps(plain(trace["metadata"]), sort_keys=True)] += 1
    picture["flows"] = collections.Counter(tuple(sorted(passes)) for passes in flows.values())
    return picture


def check_cuts(data):
    """Whole packets come out of a file that ends anywhere."""
    ends = [0] + [end for _, end in packets(data)]
    assert ends[-1] == len(data)
    chosen = random.Random(4)
    cuts = {*ends[:200], *(end - 1 for end in ends[1:200]), *(chosen.randrange(len(data)) for _ in range(300))}
    for cut in cuts:
        whole = list(packets(data[:cut]))
        assert len(whole) == bisect.bisect_right(ends, cut) - 1, cut
        trace = schema.Trace()
        trace.ParseFromString(data[: whole[-1][1] if whole else 0])
        assert len(trace.packet) == len(whole)
    return len(cuts)


def check_ledger(stem):
    rows = [json.loads(line) for line in pathlib.Path(f"{stem}.jsonl").read_text().splitlines()]
    text = pathlib.Path(f"{stem}.csv").read_bytes().decode()
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", ""), "RFC 4180 ends lines with CRLF"
    values = list(csv.DictReader(text.splitlines()))
    as_text = {None: "", True: "true", False: "false"}
    expected = [{key: as_text.get(v, v) if v is None or isinstance(v, bool) else str(v) for key, v in row.items()} for row in rows]
    assert values == expected and rows
    print(f"ledger: {len(rows)} rows of {len(rows[0])} columns, CSV as the JSON lines")


def main(files):
    parts = []
    for file in files:
        stem = str(pathlib.Path(file).with_suffix(""))
        text = pathlib.Path(file).read_bytes()
        assert gzip.decompress(pathlib.Path(f"{stem}.json.gz").read_bytes()) == text
        packed = pathlib.Path(f"{stem}.json.zst").read_bytes()
        assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == text
        assert zstandard.get_frame_parameters(packed).has_checksum
        data = pathlib.Path(f"{stem}.pftrace").read_bytes()
        parts.append(data)
        seen, expected = of_pftrace(data), of_json(json.loads(text))
        for kind in sorted({*seen, *expected}):
            missing, more = expected[kind] - seen[kind], seen[kind] - expected[kind]
            assert not missing and not more, (file, kind, list(missing)[:3], list(more)[:3])
        counts = {kind: sum(counter.values()) for kind, counter in sorted(seen.items()) if counter}
        print(f"{pathlib.Path(file).name}: {counts}, {len(data) / len(text):.2f} of the JSON's bytes")
    print(f"cut at {check_cuts(parts[0])} places: all whole packets are there")
    if len(parts) > 2:
        # One-rank files put behind each other are one trace: the same tracks, each sequence its own.
        joined, alone = of_pftrace(b"".join(parts[1:])), [of_pftrace(part) for part in parts[1:]]
        assert joined["slices"] == sum((one["slices"] for one in alone), collections.Counter())
        print(f"{len(parts) - 1} one-rank files concatenated: {sum(joined['slices'].values())} slices")
    check_ledger(str(pathlib.Path(files[0]).with_suffix("")))


if __name__ == "__main__":
    main(sys.argv[1:])
