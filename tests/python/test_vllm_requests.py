"""What the vLLM plugin tells of requests, from the engine core and the API server, into a real segment. The real vLLM is
in tests/vllm; here stand the cases in order: captures that begin late, requests put back, given up, stopped by a string.
"""

import os
import unittest

import support

FAKE = os.path.join(support.HERE, "fake_vllm")

BEGIN = """
import sys
sys.path.insert(0, FAKE_PATH)
import segment, stepscope
from stepscope import vllm as plugin
plugin.register()
from vllm.v1.core.sched import scheduler as core
from vllm.v1.core.sched.scheduler import AsyncScheduler, Request, RequestStatus
from vllm.v1.worker.worker_base import WorkerWrapperBase, config, scheduled

def engine(slots=2, **parallel):
    return AsyncScheduler(config(**parallel), slots)

def step(s, times=1):
    for _ in range(times):
        s.update_from_output(s.schedule(), None)

def lives(records):
    told = dict()
    for record in records:
        if record["kind"] == "request":
            told.setdefault(record["request"], []).append(record)
    named = dict()
    for moments in told.values():
        (name,) = {moment["id"] for moment in moments if moment["id"]}
        assert [m["at"] for m in moments] == sorted(m["at"] for m in moments), moments
        named[name] = moments
    return named

def words(moments):
    return " ".join(moment["moment"] for moment in moments)
""".replace("FAKE_PATH", repr(FAKE))

WHOLE = "arrived queued scheduled first_token last_token finished"


class Requests(support.Case):
    def engine(self, code, **environment):
        return self.python(BEGIN + code, recorder=False, **environment)

    def test_a_life_is_told_as_it_happens_with_its_counts(self):
        out = self.engine("""
s = engine(slots=1)
seen = segment.own()
seen.start()
s.add_request(Request("a", prompt_tokens=7, output_tokens=2, cached_tokens=4, arrived_s_ago=2.5))
s.add_request(Request("b", output_tokens=1))
step(s, 3)
told = lives(seen.drain())
print(seen.role, seen.label, seen.job)
for name in "ab": print(words(told[name]))
first, last = told["a"][0], told["a"][-1]
print(first["prompt"], first["output"], last["output"], last["cached"], told["b"][-1]["output"])
print(2.4e9 < (told["a"][1]["at"] - first["at"]) * 1e9 / segment.ticks_per_s(seen) < 2.6e9)
""")
        self.assertEqual(out, ["2 engine core dp0 vllm-77", WHOLE, WHOLE, "7 0 2 4 1", "True"])

    def test_a_request_under_way_when_a_capture_begins_is_told_whole_and_again_in_the_next_one(self):
        out = self.engine("""
s = engine(slots=1)
seen = segment.own()
s.add_request(Request("a", output_tokens=9))
s.add_request(Request("gone", output_tokens=1))
step(s, 3)
s.put_back()
step(s)
print(seen.drain())
seen.start()
step(s)
print(words(lives(seen.drain())["a"]))
step(s)
print([record for record in seen.drain() if record["kind"] == "request"])
seen.start()
step(s, 3)
told = lives(seen.drain())
print(sorted(told), words(told["a"]), words(told["gone"]))
step(s)
print([record["moment"] for record in seen.drain() if record["kind"] == "request"])
""")
        back = "arrived queued scheduled first_token preempted scheduled"
        self.assertEqual(out[:3], ["[]", back, "[]"])
        self.assertEqual(out[3], f"['a', 'gone'] {back} last_token finished arrived queued")
        self.assertEqual(out[4], str(WHOLE.split()[2:]))

    def test_who_waits_long_for_a_first_token_has_it_when_it_comes(self):
        out = self.engine("""
s = engine()
seen = segment.own()
seen.start()
s.add_request(Request("chunked", prefills=3, output_tokens=2))
step(s, 2)
print(words(lives(seen.drain())["chunked"]), list(s._stepscope_watch.awaiting))
step(s, 2)
print([record["moment"] for record in seen.drain() if record["kind"] == "request"], s._stepscope_watch.awaiting)
""")
        self.assertEqual(out, ["arrived queued scheduled ['chunked']", "['first_token', 'last_token', 'finished'] {}"])

    def test_its_spans_and_an_engines_own_are_nested_in_each_other(self):
        out = self.engine("""
class Custom(AsyncScheduler):
    def schedule(self, throttle_prefills=False):
        with stepscope.span("around"):
            return super().schedule(throttle_prefills)
custom = Custom(config(), 2)
seen = segment.own()
seen.start()
custom.add_request(Request("a"))
class Slow(list):
    def pop(self, index):
        with stepscope.span("inside"):
            return super().pop(index)
custom.waiting = Slow(custom.waiting)
custom.schedule()
with stepscope.span("behind"):
    pass
print([(event["name"], event["depth"]) for event in seen.events("span")])
""")
        self.assertEqual(out, ["[('inside', 2), ('schedule', 1), ('around', 0), ('behind', 0)]"])

    def test_a_span_that_is_left_out_of_turn_is_a_duration(self):
        out = self.engine("""
class Waiting(list):
    def pop(self, index):
        custom.open = stepscope.span("across").__enter__()
        return super().pop(index)
custom = engine()
seen = segment.own()
seen.start()
custom.add_request(Request("a"))
custom.waiting = Waiting(custom.waiting)
output = custom.schedule()
custom.open.__exit__()
custom.update_from_output(output, None)
print([(event["name"], event["shape"], event["depth"]) for event in seen.drain() if event["kind"] == "event" and event["shape"] != "counter"])
""")
        self.assertEqual(out, ["[('schedule', 'duration', 0), ('across', 'span', 0), ('update_from_output', 'span', 0)]"])

    def test_a_request_given_up_is_aborted_wherever_it_stands(self):
        out = self.engine("""
s = engine(slots=1)
seen = segment.own()
seen.start()
for name in ("runs", "waits", "fails"): s.add_request(Request(name))
step(s)
s.finish_requests("runs", RequestStatus.FINISHED_ABORTED)
s.finish_requests("waits", RequestStatus.FINISHED_ABORTED)
step(s)
s.finish_requests("fails", RequestStatus.FINISHED_ERROR)
told = lives(seen.drain())
for name in ("runs", "waits", "fails"): print(words(told[name]), told[name][-1]["output"])
""")
        begun = "arrived queued scheduled first_token aborted 1"
        self.assertEqual(out, [begun, "arrived queued aborted 0", begun])

    def test_a_request_that_is_put_back_for_ever_does_not_grow_for_ever_and_is_told_of_all_the_same(self):
        out = self.engine("""
s = engine(slots=1)
seen = segment.own()
s.add_request(Request("a", output_tokens=10**9))
request = s.requests["a"]
for _ in range(100):
    step(s); s.put_back()
print(len(request._stepscope_life.moments) < 80)
step(s)
seen.start()
step(s)
seen.drain()
for _ in range(3):
    s.put_back(); step(s)
print([record["moment"] for record in seen.drain() if record["kind"] == "request"])
""")
        self.assertEqual(out, ["True", str(["preempted", "scheduled"] * 3)])

    def test_a_prompt_that_is_streamed_in_parts_is_one_request_that_does_not_grow_and_finishes(self):
        out = self.engine("""
s = engine(slots=1)
seen = segment.own()
seen.start()
def part(name="a", **more): return Request(name, output_tokens=1, **more)
s.add_request(part(resumable=True)); s.add_request(part("aborted", resumable=True))
step(s)
request = s.requests["a"]
for _ in range(100):
    step(s); s.add_request(part(resumable=True))
step(s)
print(len(request._stepscope_life.moments))
s.add_request(part())
s.finish_requests("aborted", RequestStatus.FINISHED_ABORTED)
told = lives(seen.drain())
print(words(told["a"]), "|", words(told["aborted"]), "|", s.requests, s._stepscope_watch.awaiting)
""")
        self.assertEqual(out, ["8", f"{WHOLE} | {WHOLE.replace('finished', 'aborted').replace(' last_token', '')} | {{}} {{}}"])

    def test_a_new_capture_is_told_of_a_long_queue_bit_by_bit_and_of_each_request_once(self):
        out = self.engine("""
s = engine(slots=2)
seen = segment.own()
for n in range(1000): s.add_request(Request(f"r{n}", output_tokens=3))
step(s)
seen.start()
counts, records = [], []
for _ in range(6):
    step(s)
    records += seen.drain()
    counts.append(len(lives(records)))
told = lives(records)
print(counts, {words(told[name]) for name in told} - {"arrived queued"} == {WHOLE, WHOLE.rpartition(" last")[0]}, s._stepscope_watch.untold)
seen.stop(); step(s); seen.start(); step(s); seen.stop(); step(s)
print(s._stepscope_watch.untold)
""".replace("WHOLE", repr(WHOLE)))
        self.assertEqual(out, ["[256, 512, 768, 1000, 1000, 1000] True []", "[]"])

    def test_while_nobody_captures_a_step_tells_nothing_and_keeps_nothing(self):
        out = self.engine("""
s = engine()
seen = segment.own()
for n in range(50):
    s.add_request(Request(str(n)))
    step(s, 2)
step(s, 200)
print(s.requests, s._stepscope_watch.awaiting, seen.drain(), seen.dropped())
""")
        self.assertEqual(out, ["{} {} [] 0"])

    def test_the_queue_and_the_cache_are_counters_that_change_and_the_gap_is_one_of_each_step(self):
        out = self.engine("""
s = engine(slots=2)
seen = segment.own()
seen.start()
for name in "abc": s.add_request(Request(name, output_tokens=2))
step(s, 3)
events = seen.events()
for name in ("requests running", "requests waiting", "kv cache use", "step gap ms"):
    print(name, [event["end"] if name != "step gap ms" else event["end"] >= 0 for event in events if event["name"] == name])
spans = [event for event in events if event["shape"] == "span"]
print([(span["name"], span["category"], span["arguments"]) for span in spans])
""")
        self.assertEqual(out[:4], ["requests running [2.0, 1.0]", "requests waiting [1.0, 0.0]", "kv cache use [1.0, 0.5]", "step gap ms [True, True]"])
        batch, last = (("schedule", "scheduler", {"tokens": count, "requests": count}) for count in (2, 1))
        update = ("update_from_output", "scheduler", {})
        self.assertEqual(out[4], str([batch, update, batch, update, last, update]))

    def test_the_cache_is_a_counter_of_its_own_changes_too_and_nothing_is_missed_for_long(self):
        out = self.engine("""
from types import SimpleNamespace
class Pooled(AsyncScheduler):
    def get_kv_cache_usage(self): return self.use
s = Pooled(config(), 2)
s.use, queue = 0.0, SimpleNamespace(num_free_blocks=10)
s.kv_cache_manager = SimpleNamespace(block_pool=SimpleNamespace(free_block_queue=queue))
seen = segment.own()
s.add_request(Request("a", output_tokens=10**9))
def used(): return [event["end"] for event in seen.events() if event["name"] == "kv cache use"]
seen.start()
step(s, 3); print(used())
s.use, queue.num_free_blocks = 0.1, 9
step(s, 3); print(used())
s.use = 0.2  # and nothing else shows it
step(s, 40); print(used())
seen.start()
step(s, 3); print(used())
""")
        self.assertEqual(out, ["[0.0]", "[0.1]", "[0.2]", "[0.2]"])

    def test_a_scheduler_that_raises_is_a_span_with_its_error_and_the_next_ones_are_whole(self):
        out = self.engine("""
class Failing(AsyncScheduler): pass
s = Failing(config(), 2)
seen = segment.own()
seen.start()
s.add_request(Request("a", output_tokens=9))
step(s)
s.waiting = s.running = None
for failing in (lambda: s.schedule(), lambda: s.update_from_output(None, None)):
    try: failing()
    except (TypeError, AttributeError) as error: print(type(error).__name__)
s.waiting, s.running = [], [s.requests["a"]]
step(s)
print([(event["name"], event["depth"], event["arguments"]) for event in seen.events("span")])
print(plugin.plugin.problems)
""")
        batch = {"tokens": 1, "requests": 1}
        whole = [("schedule", 0, batch), ("update_from_output", 0, {})]
        raised = [("schedule", 0, {"error": "TypeError"}), ("update_from_output", 0, {"error": "AttributeError"})]
        self.assertEqual(out, ["TypeError", "AttributeError", str(whole + raised + whole), "{}"])

    def test_where_the_engine_core_is_the_rank_nothing_joins_twice(self):
        out = self.engine("""
import os
worker = WorkerWrapperBase(config(), 0)
worker.init_device()
s = engine()
seen = segment.own()
seen.start()
s.add_request(Request("a", output_tokens=1))
step(s)
print(seen.role, seen.label, len(os.listdir(os.environ["STEPSCOPE_DIR"])), words(lives(seen.drain())["a"]))
print(plugin.plugin.source, plugin.plugin.problems)
""")
        self.assertEqual(out, [f"1 tp0 pp0 dp0 1 {WHOLE}", "None {}"])

    def test_switched_off_the_engine_runs_and_nothing_is_there(self):
        out = self.engine(
            """
import os
s = engine()
s.add_request(Request("a", output_tokens=1))
step(s)
print(s.requests, s._stepscope_watch, os.listdir(os.environ["STEPSCOPE_DIR"]), plugin.plugin.problems)
""",
            STEPSCOPE_AGENT="off",
        )
        self.assertEqual((out, self.stderr), (["{} None [] {}"], ""))

    def test_a_scheduler_that_is_not_what_we_know_is_left_alone_and_said_once(self):
        for change in ("del core.Scheduler._preempt_request", "core.Scheduler.schedule = lambda self: 0"):
            with self.subTest(change):
                out = self.python(
                    f"""
import sys
sys.path.insert(0, {FAKE!r})
from vllm.v1.core.sched import scheduler as core
{change}
before = dict(vars(core.Scheduler))
from stepscope import vllm as plugin
plugin.register()
print(dict(vars(core.Scheduler)) == before)
""",
                    recorder=False,
                )
                self.assertEqual(out, ["True"])
                self.assertEqual(self.stderr.count("stepscope:"), 1, self.stderr)

    def test_a_hook_that_fails_costs_its_events_alone(self):
        out = self.engine("""
s = engine()
seen = segment.own()
seen.start()
odd = Request("odd", output_tokens=1)
del odd.arrival_time
s.add_request(odd)
s.add_request(Request("a", output_tokens=1))
step(s)
print(s.requests, sorted(lives(seen.drain())), plugin.plugin.problems)
""")
        self.assertEqual(out, ["{} ['a'] {'add_request': 1}"])
        self.assertEqual(self.stderr.count("stepscope:"), 1, self.stderr)

    def test_the_first_worker_of_a_group_tells_which_requests_an_iteration_computes(self):
        for rank, served in (("0", ["served 1 a=5"]), ("1", []), ("2", ["served 1 a=5"])):
            with self.subTest(rank):
                self.python(
                    BEGIN
                    + f"""
parallel = dict(world_size=2, tensor_parallel_size=2, data_parallel_size=2, data_parallel_rank={rank} // 2)
worker = WorkerWrapperBase(config(**parallel), {rank} % 2)
worker.init_device()
worker.execute_model(scheduled(5))
""",
                    STEPSCOPE_RECORDER_RECORDING="1",
                )
                self.assertEqual([line for line in self.calls() if line.startswith("served")], served)


FRONT = """
import asyncio, time
from types import SimpleNamespace
from vllm.v1.engine.async_llm import AsyncLLM

def arriving(name, tokens=3):
    return SimpleNamespace(request_id=name, arrival_time=time.time(), prompt_token_ids=[0] * tokens)
"""


class FrontEnd(support.Case):
    def front(self, code):
        return self.python(BEGIN + FRONT + code, recorder=False)

    def test_arrivals_and_what_a_stop_string_ends_are_told_with_the_engine_cores_id(self):
        out = self.front("""
async def main():
    llm = AsyncLLM(config())
    outputs, seen = llm.output_processor, segment.own()
    outputs.add_request(arriving("before"), None)
    seen.start()
    outputs.add_request(arriving("cmpl-1-0-abcd", 9), None, None, 0, None)
    outputs.process_outputs([("before", "x"), ("cmpl-1-0-abcd", "x")], 1.0, None)
    processed = outputs.process_outputs([("cmpl-1-0-abcd", "stop")])
    records = seen.drain()
    print(seen.role, seen.label, seen.job, processed.reqs_to_abort)
    told = lives(records)
    print({name: words(moments) for name, moments in told.items()}, told["cmpl-1-0-abcd"][0]["prompt"], told["cmpl-1-0-abcd"][-1]["output"])
    spans = [event for event in records if event["kind"] == "event"]
    print([(span["name"], span["arguments"]) for span in spans])
asyncio.run(main())
""")
        self.assertEqual(out[0], "2 api server vllm-77 ['cmpl-1-0-abcd']")
        self.assertEqual(out[1], "{'cmpl-1-0-abcd': 'arrived last_token finished'} 9 2")
        self.assertEqual(out[2], "[('process_outputs', {'outputs': 2}), ('process_outputs', {'outputs': 1})]")

    def test_no_request_is_kept_alive_whatever_a_capture_wants_and_however_a_call_ends(self):
        out = self.front("""
import gc, weakref
async def main():
    llm = AsyncLLM(config())
    outputs, seen = llm.output_processor, segment.own()
    kept = []
    def one(name):
        outputs.add_request(arriving(name, 9), None, None, 0, None)
        kept.append(weakref.ref(outputs.request_states[name]))
    seen.start(level=1)
    one("a")
    outputs.process_outputs([("a", "stop")])
    seen.start(level=2)
    one("b")
    try:
        outputs.process_outputs([("b", "stop"), ("unknown", "x")])
    except KeyError as error:
        print(repr(error))
    one("c")
    outputs._finish_request(outputs.request_states["c"])
    one("d")
    outputs.process_outputs([("d", "stop")])
    gc.collect()
    print([state() for state in kept])
    print([(span["name"], span["arguments"], span["depth"]) for span in seen.events("span")])
asyncio.run(main())
""")
        self.assertEqual(out[:2], ["KeyError('unknown')", "[None, None, None, None]"])
        spans = "[('process_outputs', {'error': 'KeyError'}, 0), ('process_outputs', {'outputs': 1}, 0)]"
        self.assertEqual(out[2:], [spans])

    def test_the_loops_lag_is_sampled_by_no_task_and_ends_with_the_engine(self):
        out = self.front("""
async def main():
    llm = AsyncLLM(config())
    print(len(asyncio.all_tasks()))
    seen = segment.own()
    seen.start()
    late = asyncio.get_running_loop().time() + 0.5
    asyncio.get_running_loop().call_soon(lambda: time.sleep(0.5))
    lags = []
    while not lags:
        await asyncio.sleep(0.01)
        lags += [event["end"] for event in seen.events("counter") if event["name"] == "loop lag ms"]
    print(lags[0] > 150, lags[0] < 10_000)
    llm.output_handler.cancel()
    lag = llm._stepscope_lag
    await asyncio.sleep(0)
    lag.wait = lambda: print("went on")
    lag.ring()
asyncio.run(main())
""")
        self.assertEqual(out, ["2", "True True"])

    def test_several_api_servers_are_told_apart_and_belong_to_their_engines_job(self):
        for arguments, expected in (
            ("config(), 2, 1", "api server 1 vllm-77"),
            # Replicas of a dense model behind one front end each are alone, as their engines know.
            ("config(data_parallel_size=2, data_parallel_external_lb=True)", "api server vllm-77"),
        ):
            with self.subTest(arguments):
                out = self.front(f"""
async def main():
    AsyncLLM({arguments})
    seen = segment.own()
    print(seen.label, seen.job)
asyncio.run(main())
""")
                self.assertEqual(out, [expected])


if __name__ == "__main__":
    unittest.main()
