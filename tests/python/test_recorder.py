"""The recorder from Python, with the real agent: what is told, on which track, and what is not."""

import unittest

import support

BEGIN = """
import asyncio, gc, sys, threading
import segment, stepscope
stepscope.join(role="source", label="test")
seen = segment.own()

def spans(events):
    return [(event["name"], event["depth"], event["arguments"]) for event in events if event["shape"] == "span"]
"""


class Recorder(support.Case):
    def recorded(self, code, **environment):
        return self.python(BEGIN + code, recorder=False, **environment)


class Told(Recorder):
    def test_nothing_is_told_while_nobody_captures(self):
        out = self.recorded("""
with stepscope.span("a", n=1) as span: span.args(m=2)
stepscope.instant("b"); stepscope.counter("c", 1); stepscope.duration("d", host_ns=5)
stepscope.request("r", "arrived"); stepscope.served(1, {"r": 1})
print(stepscope.recording(), seen.drain(), seen.dropped(), seen.role)
seen.start(level=3)
print(stepscope.recording() == seen.generation << 8 | 3)
""")
        self.assertEqual(out, ["0 [] 0 2", "True"])

    def test_spans_nest_and_say_what_was_known_before_within_and_of_the_device(self):
        out = self.recorded("""
seen.start()
with stepscope.span("outer", cat="engine", n=3, device_ns=7) as outer:
    with stepscope.span("inner") as inner:
        inner.set(device_ns=9)
    outer.args(n=4, late=True)
events = seen.events()
print(spans(events), [(event["category"], event["device_ns"]) for event in events])
inner, outer = events
print(outer["begin"] <= inner["begin"] <= inner["end"] <= outer["end"], inner["thread"] == outer["thread"], inner["track"])
""")
        self.assertEqual(out[0], "[('inner', 1, {}), ('outer', 0, {'n': 4, 'late': True})] [(None, 9), ('engine', 7)]")
        self.assertEqual(out[1], "True True 0")

    def test_an_instant_is_the_same_however_it_is_called_and_from_wherever(self):
        out = self.recorded("""
import inspect
name, category = "".join(["no", "wn"]), "".join(["c", "at"])
seen.start()
for _ in range(3):
    stepscope.instant(name)
    stepscope.instant(name, None)
    stepscope.instant(name, category)
    stepscope.instant(name, cat=category)
    stepscope.instant(name, category, n=1)
async def in_a_task():
    stepscope.instant(name)
    stepscope.instant(name, category)
asyncio.run(in_a_task())
thread = threading.Thread(target=stepscope.instant, args=(name,), name="other")
thread.start(); thread.join()
told = seen.events("instant")
print([(event["category"], event["arguments"]) for event in told[:5]] * 3 == [(event["category"], event["arguments"]) for event in told[:15]])
print([(event["category"], event["arguments"]) for event in told[:5]])
print([event["track"] != 0 for event in told[15:]], len({event["thread"] for event in told[:15]}), told[17]["thread"] != told[0]["thread"])
print(all(event["end"] == event["begin"] > 0 for event in told), [event["begin"] for event in told[:15]] == sorted(event["begin"] for event in told[:15]))
stepscope.instant(7); stepscope.instant(None)
print([event["name"] for event in seen.events("instant")])
for arguments in ((), (1, 2, 3)):
    try:
        stepscope.instant(*arguments)
    except TypeError as error:
        print("instant()" in str(error))
print(list(inspect.signature(stepscope.instant).parameters)[:3], "A moment" in stepscope.instant.__doc__)
print(stepscope.instant.__name__, stepscope.instant.__module__)
""")
        plain = "[(None, {}), (None, {}), ('cat', {}), ('cat', {}), ('cat', {'n': 1})]"
        self.assertEqual(out[:4], ["True", plain, "[True, True, False] 1 True", "True True"])
        self.assertEqual(out[4:7], ["['7', 'None']", "True", "True"])
        self.assertEqual(out[7:], ["['name', 'cat', 'level'] True", "instant stepscope._stepscope"])

    def test_instants_counters_durations_and_flows(self):
        out = self.recorded("""
import time
seen.start()
stepscope.instant("i", "c", flow_begin=5, x=1)
stepscope.counter("depth", 2.5)
stepscope.counter("depth", "no number")
end = time.monotonic_ns()
stepscope.duration("d", host_ns=2_000_000, device_ns=1_500, end_ns=end, flow_end=5, y=2)
with stepscope.span("s", flow_step=5): pass
for event in seen.events():
    print(event["shape"], event["name"], event["category"], event["flow"], event["device_ns"], event["arguments"],
          event["end"] if event["shape"] == "counter" else "")
stepscope.duration("now", host_ns=2_000_000)
(event,) = seen.events()
took_ns = (event["end"] - event["begin"]) * 1e9 / segment.ticks_per_s(seen)
print(1.9e6 < took_ns < 2.1e6)
""")
        self.assertEqual(
            out,
            [
                "instant i c ['begin', 5] None {'x': 1} ",
                "counter depth None None None {} 2.5",
                "duration d None ['end', 5] 1500 {'y': 2} ",
                "span s None ['step', 5] None {} ",
                "True",
            ],
        )

    def test_what_was_made_once_tells_the_same_from_the_first_capture_on_and_nothing_outside_of_one(self):
        out = self.recorded("""
depth, fine = stepscope.Counter("depth", "c"), stepscope.Counter("fine", level=stepscope.VERBOSE)
full = stepscope.Instant("full", cat="c")
depth.set(1); full.tell()
for _ in range(2):
    seen.start()
    depth.set(2); depth.set(2.5); depth.set("no number"); depth.set(2**80); fine.set(1)
    full.tell(); full.tell({"blocks": 7}); full.tell(5)
    seen.stop()
    print([(event["name"], event["category"], event["end"] if event["shape"] == "counter" else event["arguments"])
           for event in seen.events()])
async def main():
    seen.start(); full.tell()
    print([event["track"] != 0 for event in seen.drain() if event["kind"] == "event"])
asyncio.run(main())
""")
        counted = [("depth", "c", 2.0), ("depth", "c", 2.5), ("depth", "c", float(2**80))]
        told = counted + [("full", "c", {}), ("full", "c", {"blocks": 7}), ("full", "c", {})]
        self.assertEqual(out, [str(told)] * 2 + ["[True]"])

    def test_names_that_are_made_anew_each_time_by_many_threads_are_never_mistaken_for_each_other(self):
        out = self.recorded("""
seen.start()
def tell(thread):
    for n in range(400):
        stepscope.counter("name " + str(n % 7), n % 7)
threads = [threading.Thread(target=tell, args=(thread,)) for thread in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
events = seen.events()
print(len(events), all(event["name"] == f"name {event['end']:.0f}" for event in events))
""")
        self.assertEqual(out, ["2400 True"])

    def test_which_requests_an_iteration_computes_is_right_however_its_batch_changes(self):
        out = self.recorded("""
import random
ids = [f"cmpl-{n}" for n in range(60)]
rnd = random.Random(5)
batch, iteration, wrong = dict.fromkeys(ids[:20], 1), 0, 0
seen.start()
for iteration in range(1, 200):
    change = rnd.random()
    if change < 0.2: batch.pop(rnd.choice(list(batch)), None)
    elif change < 0.4: batch[rnd.choice(ids)] = rnd.randrange(1, 500)
    elif change < 0.5: batch = dict(rnd.sample(list(batch.items()), len(batch)))
    elif change < 0.6: batch = {str(id.encode(), "ascii") if rnd.random() < 0.5 else id: n for id, n in batch.items()}
    if not batch: batch = {"last": 3}
    stepscope.served(iteration, batch)
    told = {}
    for record in seen.drain():
        if record["kind"] == "served": told.update(record["tokens"])
    for id, count in batch.items():
        stepscope.request(id, "queued")
    numbers = [record["request"] for record in seen.drain() if record["kind"] == "request"]
    wrong += told != dict(zip(numbers, batch.values()))
print(iteration, wrong)
""")
        self.assertEqual(out, ["199 0"])

    def test_a_request_is_told_by_its_id_and_a_moment_that_does_not_exist_is_an_error_even_while_nobody_captures(self):
        out = self.recorded("""
for id in ("r", "s"):
    try: stepscope.request(id, "began")
    except ValueError as error: print("began" in str(error) and "first_token" in str(error))
    seen.start()
stepscope.request("cmpl-1", "arrived", prompt_tokens=512)
stepscope.request("cmpl-1", "finished", output_tokens=9, cached_tokens=2**40, iteration=3)
stepscope.served(3, {"cmpl-1": 5, "other": 1, 7: 1, "odd": "x", "negative": -1, "x": 2, "y": 3})
stepscope.served(3, None)
first, last, *served = seen.drain()
print(first["id"], first["moment"], first["prompt"], last["moment"], last["output"], last["cached"], last["iteration"])
tokens = {number: count for record in served for number, count in record["tokens"].items()}
print(tokens[first["request"]], sorted(tokens.values()), first["request"] == last["request"])
""")
        self.assertEqual(out[:2], ["True", "True"])
        self.assertEqual(out[2:], [f"cmpl-1 arrived 512 finished 9 {2**32 - 1} 3", "5 [1, 2, 3, 5] True"])

    def test_levels_that_nobody_wants_are_not_told(self):
        out = self.recorded("""
seen.start(level=1)
with stepscope.span("kept"):
    with stepscope.span("detail", level=stepscope.DETAIL):
        with stepscope.span("within"): pass
stepscope.instant("verbose", level=stepscope.VERBOSE)
stepscope.instant("odd", level="high")
print([(event["name"], event["depth"]) for event in seen.events()])
""")
        self.assertEqual(out, ["[('within', 1), ('kept', 0), ('odd', 0)]"])

    def test_whatever_an_argument_is_it_costs_little_and_raises_nothing(self):
        out = self.recorded("""
import decimal, enum
class Big:
    def __repr__(self): raise SystemExit("spelled out")
class Sized(list):
    def __str__(self): raise SystemExit("spelled out")
class Fails:
    def __str__(self): raise OSError("mine")
class Level(enum.IntEnum):
    HIGH = 3
class Scalar:  # NumPy's
    def __index__(self): return 6
class Tensor(Scalar):  # its one number may be on a device
    def __len__(self): raise TypeError("0-d")
    def __float__(self): raise SystemExit("waited")
values = dict(
    i=-5, u=2**64 - 1, big=2**64, huge=10**5000, f=0.5, b=True, n=None, t='quo"te\\n', long="x" * 1000, wide="\u00e9" * 200,
    lone="a\\ud800b", raw=b"abc", l=[1] * 10**6, d={1: 2}, o=Big())
seen.start()
stepscope.instant("i", **values)
stepscope.instant("j", sized=Sized("ab"), fails=Fails(), high=Level.HIGH, scalar=Scalar(), tensor=Tensor(),
                  decimal=decimal.Decimal("1.5"), error=KeyError("k"), kind=int)
first, second = (event["arguments"] for event in seen.events())
long, wide = first.pop("long"), first.pop("wide")
print(first)
print(len(long.encode()), long[-1] == "\u2026", len(wide.encode()), wide[-1] == "\u2026")
print(second)
stepscope.instant("many", **{f"a{n}": n for n in range(40)})
stepscope.instant("x" * 10**6)
stepscope.instant(7, cat=8)
stepscope.instant(None)
print([(event["name"][:3], len(event["name"].encode()), len(event["arguments"]), event["category"]) for event in seen.events()])
""")
        told = eval(out[0])
        self.assertEqual(
            told,
            {
                "i": -5, "u": 2**64 - 1, "big": str(2**64), "huge": "int", "f": 0.5, "b": True, "n": "None", "t": 'quo"te\n',
                "lone": "a\ufffd\ufffd\ufffdb", "raw": "bytes of 3", "l": "list of 1000000", "d": "dict of 1", "o": "Big",
            },
        )
        self.assertEqual(out[1], "240 True 239 True")
        self.assertEqual(
            eval(out[2]),
            {
                "sized": "Sized", "fails": "Fails", "high": 3, "scalar": 6, "tensor": "Tensor", "decimal": 1.5,
                "error": "'k'", "kind": "int",
            },
        )
        self.assertEqual(eval(out[3]), [("man", 4, 16, None), ("xxx", 240, 0, None), ("7", 1, 0, "8"), ("Non", 4, 0, None)])

    def test_what_is_told_by_a_dictionary_that_changes_meanwhile_and_numbers_of_a_device_cost_nothing(self):
        out = self.recorded("""
class Changes:
    def __str__(self): values["more"] = values["other"] = 1; return "said"
class Tensor:
    def __len__(self): raise TypeError("0-d")
    def __index__(self): raise SystemExit("waited")
    def __float__(self): raise SystemExit("waited")
class Scalar:
    def __float__(self): return 1.5
seen.start()
values = {"a": Changes(), "b": 2}
stepscope.Instant("i").tell(values)
for value in (Tensor(), Scalar(), 3, None, "4"): stepscope.counter("c", value); stepscope.Counter("d").set(value)
stepscope.duration("d", host_ns=Tensor(), device_ns=Scalar())
instant, *rest = seen.events()
print(instant["arguments"], [event["end"] for event in rest if event["shape"] == "counter"])
""")
        self.assertEqual(out, ["{'a': 'said', 'b': 2} [1.5, 1.5, 3.0, 3.0]"])

    def test_requests_whose_long_ids_differ_at_their_ends_are_two(self):
        out = self.recorded("""
seen.start()
for end in "ab": stepscope.request("x" * 300 + end, "arrived")
stepscope.served(1, {"x" * 300 + "a": 1, "x" * 300 + "b": 2})
first, second, served = seen.drain()
print(first["request"] != second["request"], served["tokens"] == {first["request"]: 1, second["request"]: 2}, len(first["id"]))
""")
        self.assertEqual(out, ["True True 238"])

    def test_a_span_that_raises_says_so_and_lets_it_through(self):
        out = self.recorded("""
seen.start()
try:
    with stepscope.span("fails"): raise KeyError("mine")
except KeyError as error: print(error.args)
print(spans(seen.events()))
""")
        self.assertEqual(out, ["('mine',)", "[('fails', 0, {'error': 'KeyError'})]"])

    def test_what_is_open_at_an_edge_of_a_capture_is_forgotten_and_harms_nothing(self):
        out = self.recorded("""
with stepscope.span("before"):
    seen.start()
    with stepscope.span("inside"): pass
with stepscope.span("across"):
    seen.start()
    with stepscope.span("second"): pass
with stepscope.span("behind"):
    seen.stop()
print(spans(seen.events()))
""")
        self.assertEqual(out, ["[('inside', 0, {}), ('second', 0, {})]"])

    def test_a_span_that_is_never_left_holds_up_nothing(self):
        out = self.recorded("""
seen.start()
stepscope.span("lost").__enter__()
gc.collect()
with stepscope.span("kept"): pass
stepscope.span("never entered").__exit__(None, None, None)
def generator():
    with stepscope.span("dropped"): yield
next(generator())
with stepscope.span("last"): pass
print(spans(seen.events()))
""")
        self.assertEqual(out, ["[('kept', 0, {}), ('dropped', 0, {'error': 'GeneratorExit'}), ('last', 0, {})]"])

    def test_a_forked_child_records_nothing_of_its_parents_capture_and_its_own_once_it_joins(self):
        out = self.recorded("""
import os
seen.start()
with stepscope.span("parent"):
    child = os.fork()
    if not child:
        with stepscope.span("child"): stepscope.instant("child")
        print(stepscope.recording(), stepscope.join(role="source", label="child"), flush=True)
        own = segment.own()
        own.start()
        with stepscope.span("own"): pass
        print([event["name"] for event in own.events()], own.label, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print(spans(seen.events()))
""")
        self.assertEqual(out, ["0 0", "['own'] child", "[('parent', 0, {})]"])

    def test_an_agent_without_a_recorder_and_a_process_without_an_agent_run_all_the_same(self):
        code = """
import asyncio, stepscope
stepscope.join()
lane = stepscope.track("lane")
@stepscope.traced
def function(n): return n + 1
@stepscope.span("x")
async def later(n): return n + 2
with stepscope.span("a", "c", track=lane, n=1) as span: span.args(m=2); span.set(device_ns=3)
stepscope.instant("b"); stepscope.counter("c", 1); stepscope.duration("d", host_ns=5)
stepscope.request("r", "arrived"); stepscope.served(1, {"r": 1})
try: stepscope.request("r", "began")
except ValueError: print(function(1), asyncio.run(later(1)), stepscope.recording())
"""
        self.assertEqual(self.python(code, STEPSCOPE_RECORDER_FIRST_TABLE="1"), ["2 3 0"])
        self.assertEqual(self.python(code, recorder=False, STEPSCOPE_LIBRARY="/nowhere"), ["2 3 0"])
        self.assertEqual(self.python("import sys; sys.modules['stepscope._stepscope'] = None\n" + code), ["2 3 0"])


class Functions(Recorder):
    def test_plain_and_async_functions_are_spans_of_each_call_and_look_as_before(self):
        out = self.recorded("""
@stepscope.traced
def plain(n):
    "Says more."
    return n if n == 0 else plain(n - 1)
@stepscope.span("named", cat="engine", k=1)
async def later(n):
    await asyncio.sleep(0)
    return n
@stepscope.traced(cat="own")
def fails(): raise KeyError
class Holder:
    @stepscope.traced
    def method(self, *values, **named): return values, named
seen.start()
print(plain(2), asyncio.run(later(5)), plain.__name__, plain.__doc__, asyncio.iscoroutinefunction(later))
print(Holder().method(1, name=2))
try: fails()
except KeyError: pass
events = seen.events()
print(spans(events), sorted({event["category"] for event in events} - {None}))
def generator(): yield
for decorate in (stepscope.traced, stepscope.span("x")):
    for what in (generator, 3):
        try: decorate(what)
        except TypeError as error: print(type(error).__name__)
""")
        self.assertEqual(out[0], "0 5 plain Says more. True")
        self.assertEqual(out[1], "((1,), {'name': 2})")
        self.assertIn("[('plain', 2, {}), ('plain', 1, {}), ('plain', 0, {}), ('named', 0, {'k': 1})", out[2])
        self.assertIn("('Holder.method', 0, {}), ('fails', 0, {'error': 'KeyError'})] ['engine', 'own']", out[2])
        self.assertEqual(out[3:], ["TypeError"] * 4)

    def test_one_span_may_be_entered_by_many_at_once_and_within_itself(self):
        out = self.recorded("""
once = stepscope.span("once")
seen.start()
with once as outer:
    with once as inner: inner.args(which="inner")
    outer.args(which="outer")
print(spans(seen.events()))
async def work(n):
    with once as span:
        await asyncio.sleep(0.001 * (3 - n))
        span.args(n=n)
async def main(): await asyncio.gather(*map(work, range(3)))
asyncio.run(main())
events = seen.events()
print([event["arguments"] for event in events], len({event["track"] for event in events}))
""")
        self.assertEqual(out[0], "[('once', 1, {'which': 'inner'}), ('once', 0, {'which': 'outer'})]")
        self.assertEqual(out[1], "[{'n': 2}, {'n': 1}, {'n': 0}] 3")

    def test_one_that_was_entered_before_a_capture_is_not_taken_for_one_that_others_entered_in_it(self):
        out = self.recorded("""
once = stepscope.span("once")
started, go_on = None, None
async def early():
    with once: await go_on.wait()
async def late():
    await started.wait()
    with once as span:
        go_on.set()
        await asyncio.sleep(0.01)
        span.args(whose="late")
async def main():
    global started, go_on
    started, go_on = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.ensure_future(early()), asyncio.ensure_future(late())]
    await asyncio.sleep(0)
    seen.start()
    started.set()
    await asyncio.gather(*tasks)
asyncio.run(main())
print(spans(seen.events()))
""")
        self.assertEqual(out, ["[('once', 0, {'whose': 'late'})]"])


class Tracks(Recorder):
    def test_each_task_has_a_track_of_its_own_named_again_in_each_capture(self):
        out = self.recorded("""
async def inner(n):
    with stepscope.span("outer", n=n):
        for _ in range(3):
            with stepscope.span("inner"): await asyncio.sleep(0)
        stepscope.instant("within")
async def main():
    with stepscope.span("main"):
        await asyncio.gather(*(asyncio.create_task(inner(n), name=f"named {n}" if n else None) for n in range(3)))
for _ in range(2):
    seen.start()
    asyncio.run(main())
    records = seen.drain()
    events = [record for record in records if record["kind"] == "event"]
    names = {record["track"]: record["name"] for record in records if record["kind"] == "track"}
    print(segment.nested_or_disjoint(events), sorted(names.values()), 0 in names)
    print(sorted({(names[event["track"]], event["name"], event["depth"], event["shape"]) for event in events if event["name"] != "main"}))
""")
        names = ["inner", "named 1", "named 2"]
        first = f"13 {sorted([*names, 'main'])} False"
        self.assertEqual((out[0], out[2]), (first, first))
        kinds = [("inner", 1, "span"), ("outer", 0, "span"), ("within", 0, "instant")]
        self.assertEqual(eval(out[1]), [(name, *kind) for name in names for kind in kinds])
        self.assertEqual(out[1], out[3])

    def test_what_is_left_out_of_turn_or_elsewhere_is_told_and_no_track_is_the_worse_for_it(self):
        out = self.recorded("""
seen.start()
first, second, third = (stepscope.span(name) for name in ("first", "second", "third"))
first.__enter__(); second.__enter__(); first.__exit__(None, None, None)
with third: pass
second.__exit__(None, None, None)
events = seen.events()
print([(event["name"], event["shape"], event["depth"]) for event in events], segment.nested_or_disjoint(events))

carried = []
async def enters():
    span = stepscope.span("carried")
    span.__enter__()
    carried.append(span)
    with stepscope.span("mine"): await asyncio.sleep(0)
async def leaves():
    with stepscope.span("around"):
        await asyncio.sleep(0)
        carried.pop().__exit__(None, None, None)
async def main():
    await asyncio.gather(enters(), leaves())
asyncio.run(main())
events = seen.events()
print(sorted((event["name"], event["shape"]) for event in events), segment.nested_or_disjoint(events))

span = stepscope.span("threads").__enter__()
thread = threading.Thread(target=span.__exit__, args=(None, None, None))
thread.start(); thread.join()
with stepscope.span("behind"): pass
print(sorted((event["name"], event["shape"], event["depth"]) for event in seen.events()))
""")
        self.assertEqual(out[0], "[('first', 'duration', 0), ('third', 'span', 1), ('second', 'span', 0)] 2")
        self.assertEqual(out[1], "[('around', 'span'), ('carried', 'duration'), ('mine', 'span')] 2")
        self.assertEqual(out[2], "[('behind', 'span', 0), ('threads', 'duration', 0)]")

    def test_a_track_of_ones_own_is_shared_by_whoever_names_it(self):
        out = self.recorded("""
lane, other = stepscope.track("lane"), stepscope.track("other")
seen.start()
with stepscope.span("own thread"):
    with stepscope.span("outer", track=lane):
        thread = threading.Thread(target=lambda: stepscope.span("inner", track=lane).__enter__().__exit__())
        thread.start(); thread.join()
    stepscope.instant("i", track=other)
    stepscope.duration("d", host_ns=1, track="no track")
records = seen.drain()
names = {record["track"]: record["name"] for record in records if record["kind"] == "track"}
print([(event["name"], names.get(event["track"]), event["depth"]) for event in records if event["kind"] == "event"])
""")
        told = [("inner", "lane", 1), ("outer", "lane", 0), ("i", "other", 0), ("d", None, 0), ("own thread", None, 0)]
        self.assertEqual(eval(out[0]), told)

    def test_many_short_tasks_do_not_pile_up_and_their_names_do_not_use_up_the_names(self):
        out = self.recorded("""
async def work():
    stepscope.instant("i")
async def main():
    for n in range(12_000):
        await asyncio.create_task(work(), name=f"request {n}")
        if n % 500 == 0: drain()
tracks, names = set(), set()
def drain():
    for record in seen.drain():
        if record["kind"] == "track": names.add(record["name"]); tracks.add(record["track"])
seen.start()
asyncio.run(main())
drain()
print(len(tracks), len(names), seen.dropped())
stepscope.instant("a new name")
print(seen.events()[-1]["name"])
""")
        self.assertEqual(out, ["12000 1025 0", "a new name"])

    def test_threads_have_pythons_names_unless_the_system_knows_them_by_one(self):
        out = self.recorded("""
import ctypes
seen.start()
def name():
    with open("/proc/thread-self/comm") as file: return file.read().strip()
def work(own):
    if own: ctypes.CDLL(None).prctl(15, own.encode(), 0, 0, 0)
    stepscope.instant("i")
    print(name())
before = name()
for own in ("", "engine's own"):
    thread = threading.Thread(target=work, args=(own,), name="loader of weights")
    thread.start(); thread.join()
stepscope.instant("main")
print(name() == before)
""")
        self.assertEqual(out, ["loader of weigh", "engine's own", "True"])


if __name__ == "__main__":
    unittest.main()
