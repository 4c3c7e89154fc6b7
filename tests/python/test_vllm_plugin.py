"""The vLLM plugin's definition of an iteration and of who steps with whom. The real vLLM is in tests/vllm; here stand the
cases that it can't be brought into: failures, pipeline stages of pooling models, data-parallel replicas, other versions.
"""

import os
import unittest

import support

FAKE = os.path.join(support.HERE, "fake_vllm")

BEGIN = """
import gc, sys
sys.path.insert(0, {fake!r})
from stepscope import vllm as plugin
plugin.register()
from vllm.v1.worker import worker_base as base
from vllm.v1.worker.worker_base import WorkerWrapperBase, batch, config, scheduled
def rank(*arguments, **parallel):
    wrapper = WorkerWrapperBase(config(**parallel), *arguments or (0,))
    wrapper.init_device()
    return wrapper
""".format(fake=FAKE)

STEP = ["begin", "batch", "end"]


class Iterations(support.Case):
    def run_engine(self, code, **environment):
        out = self.python(BEGIN + code, **environment)
        self.joins, self.batches, self.verbs = [], [], []
        for line in self.calls():
            verb, _, rest = line.partition(" ")
            if verb == "join":
                self.joins.append(rest)
            elif verb == "batch":
                self.batches.append(rest)
            if verb in ("begin", "batch", "end"):
                self.verbs.append(verb)
        return out

    def test_an_iteration_ends_with_its_sample_tokens(self):
        out = self.run_engine("""
w = rank()
for tokens in (5, 6):
    print(w.execute_model(scheduled(tokens)), w.sample_tokens(None))
""")
        self.assertEqual(out, ["None sampled"] * 2)
        self.assertEqual(self.verbs, STEP * 2)
        self.assertEqual(self.batches, ["1 5 0 0 0", "1 6 0 0 0"])

    def test_a_batch_of_decode_alone_is_counted_at_once_and_any_other_by_vllm(self):
        # What stands in for vLLM's count calls everything one request of prefill.
        self.run_engine("""
w = rank()
for b in (batch([], [4, 1, 9]), batch(["a"], [4, 1]), batch([], [4, 0]), batch(["a", "b"], []), batch([], [7])):
    w.execute_model(b); w.sample_tokens(None)
""")
        self.assertEqual(self.batches, ["0 0 3 3 0", "1 4 0 0 0", "1 2 0 0 0", "1 5 0 0 0", "0 0 1 1 0"])

    def test_counts_that_are_no_whole_numbers_of_pythons_are_compared_one_by_one(self):
        self.run_engine("""
class Count:
    def __init__(self, n): self.n = n
    def __eq__(self, other): return self.n == other
w = rank()
for made in ([Count(4), Count(1)], [Count(4), Count(0)], (4, 1), (4, 0)):
    w.execute_model(batch([], made)); w.sample_tokens(None)
""")
        self.assertEqual(self.batches, ["0 0 2 2 0", "1 2 0 0 0"] * 2)

    def test_an_output_of_execute_model_ends_it_and_a_sampling_behind_it_is_none(self):
        self.run_engine("""
w = rank()
w.worker.answers = ["encoded"]
w.execute_model(scheduled(5)); w.sample_tokens(None)
""")
        self.assertEqual(self.verbs, STEP)

    def test_vllms_own_profiler_covers_our_window_exactly_and_nobody_elses_is_touched(self):
        code = """
w = rank()
w.profile(True, "p", delay_iterations=9, max_iterations=2)
for step in range(1, 9):
    # The fifth step is empty, and no iteration.
    w.execute_model(scheduled(0 if step == 5 else 1)); w.sample_tokens(None)
    print("step", step)
w.profile(False, None)
print(sorted(vars(w)))
"""
        plain = "['_stepscope_begin', '_stepscope_end', '_stepscope_steps', 'vllm_config', 'worker']"
        steps = [f"step {step}" for step in range(1, 9)]
        start = "profile True p [('delay_iterations', 0), ('max_iterations', 0)]"
        stop = "profile False None []"
        covered = self.run_engine(code, STEPSCOPE_RECORDER_FIRST="4")
        self.assertEqual(covered, [*steps[:3], start, *steps[3:6], stop, *steps[6:], stop, plain])
        started = "profile True p [('delay_iterations', 9), ('max_iterations', 2)]"
        self.assertEqual(self.run_engine(code), [started, *steps, stop, plain])
        other = code.replace("delay_iterations=9, max_iterations=2", "max_iterations=2")
        started = "profile True p [('max_iterations', 2)]"
        self.assertEqual(self.run_engine(other, STEPSCOPE_RECORDER_FIRST="4"), [started, *steps, stop, plain])

    def test_every_stage_of_a_pooling_pipeline_ends_with_execute_model(self):
        self.run_engine("w = rank(runner_type='pooling'); w.execute_model(scheduled(5)); w.execute_model(scheduled(5))")
        self.assertEqual(self.verbs, STEP * 2)

    def test_failures_pass_unchanged_and_end_it_once(self):
        out = self.run_engine("""
w = rank()
w.worker.answers = [KeyError("mine")]
try: w.execute_model(scheduled(5))
except KeyError as error: print(error.args)
w.sample_tokens(None)
w.execute_model(scheduled(5))
try: w.sample_tokens("fail")
except ValueError as error: print(error.args)
""")
        self.assertEqual(out, ["('mine',)", "('sampling',)"])
        self.assertEqual(self.verbs, STEP * 2)

    def test_a_signal_that_comes_while_a_batch_is_counted_reaches_the_worker_and_the_iteration_has_ended(self):
        out = self.run_engine("""
def exits(scheduled): raise SystemExit(5)
from vllm.v1 import utils
utils.compute_iteration_details = exits
w = rank()
try: w.execute_model(scheduled(5))
except SystemExit as error: print("exit", error.code)
print(plugin.plugin.problems)
""")
        self.assertEqual(out, ["exit 5", "{}"])
        self.assertEqual(self.verbs, ["begin", "end"])

    def test_an_empty_step_and_warm_up_are_none_and_a_dummy_batch_is_one(self):
        self.run_engine("""
w = rank()
w.compile_or_warm_up_model()
w.worker.answers = ["empty"]
w.execute_model(scheduled(0))
w.execute_dummy_batch()
""")
        self.assertEqual(self.verbs, STEP)
        self.assertEqual(self.batches, ["0 0 0 0 1"])

    def test_a_count_that_fails_is_said_once_and_the_engine_runs(self):
        out = self.run_engine("""
w = rank()
for _ in range(3): print(w.execute_model(scheduled(666)), w.sample_tokens(None))
print(plugin.plugin.problems)
""")
        self.assertEqual(out, ["None sampled"] * 3 + ["{'execute_model': 3}"])
        self.assertEqual(self.verbs, ["begin", "end"] * 3)
        self.assertEqual(self.stderr.count("stepscope:"), 1, self.stderr)

    def test_the_stream_is_told_of_batches_and_of_dummy_ones_and_a_failure_costs_only_that(self):
        torch = f"sys.path.insert(0, {os.path.join(support.HERE, 'fake_torch')!r}); import torch; torch.cuda.init()\n"
        steps = "w = rank()\nw.execute_model(scheduled(5)); w.sample_tokens(None); w.execute_dummy_batch()\n"
        self.python(BEGIN + torch + steps)
        told = [line for line in self.calls() if line.split()[0] in ("begin", "stream", "batch", "end")]
        stream = "stream 0x5000"
        self.assertEqual(told, ["begin 1", "batch 1 5 0 0 0", stream, "end", "begin 2", "batch 0 0 0 0 1", stream, "end"])
        elsewhere = "from types import SimpleNamespace\nw = rank()\nw.worker.device = SimpleNamespace(type='cpu')\nw.init_device()\n"
        self.python(BEGIN + torch + elsewhere + "w.execute_model(scheduled(5)); w.sample_tokens(None)")
        verbs = [line.split()[0] for line in self.calls()]
        self.assertEqual([verb for verb in verbs if verb in ("begin", "stream", "batch", "end")], STEP)
        failure = "torch.cuda.failure = RuntimeError('mine')\n"
        out = self.run_engine(torch + failure + steps + "print(plugin.plugin.problems)")
        self.assertEqual((out, self.verbs), (["{'time on the device': 2}"], STEP * 2))
        self.assertEqual(self.stderr.count("stepscope:"), 1, self.stderr)

    def test_a_version_without_what_we_hook_is_left_alone_and_said_so(self):
        for change in ("del base.WorkerWrapperBase.execute_model", "base.WorkerBase.sample_tokens = lambda self, *more: 0"):
            with self.subTest(change):
                self.left_alone(change)

    def left_alone(self, change):
        out = self.python(f"""
import sys
sys.path.insert(0, {FAKE!r})
from vllm.v1.worker import worker_base as base
{change}
before = dict(vars(base.WorkerWrapperBase))
from stepscope import vllm as plugin
plugin.register(); plugin.register()
print(dict(vars(base.WorkerWrapperBase)) == before, plugin.plugin.hooks)
""")
        self.assertEqual(out, ["True off"])
        self.assertEqual(self.stderr.count("stepscope:"), 1, self.stderr)

    def test_a_version_whose_configuration_changed_runs_unhooked(self):
        out = self.run_engine("""
w = WorkerWrapperBase(config(), 0)
del w.vllm_config.parallel_config
w.init_device()
print(w.execute_model(scheduled(5)), w.sample_tokens(None), w.execute_dummy_batch())
""")
        self.assertEqual((out, self.verbs), (["None sampled None"], []))
        self.assertEqual(self.stderr.count("stepscope:"), 1, self.stderr)

    def test_rays_compiled_graph_is_named_and_is_no_rank(self):
        self.run_engine("""
class RayWorkerWrapper(WorkerWrapperBase):
    def execute_model_ray(self): pass
RayWorkerWrapper(config(), 0).init_device()
""")
        self.assertEqual(self.joins, [])
        self.assertIn("compiled graph", self.stderr)

    def test_a_second_worker_waits_until_the_first_is_gone(self):
        self.run_engine("""
first, second = rank(), rank()
second.execute_model(scheduled(5)); second.sample_tokens(None)
first.execute_model(scheduled(6)); first.sample_tokens(None)
first.shutdown()
third = rank()
third.execute_model(scheduled(7)); third.sample_tokens(None)
""")
        self.assertEqual(self.batches, ["1 6 0 0 0", "1 7 0 0 0"])

    def identity(self, arguments):
        self.run_engine(f"rank({arguments})")
        return self.joins[0]

    def test_who_steps_with_whom(self):
        for arguments, expected in (
            ("0", "rank=0 world=1 job=vllm-77 group=dp0 engine=vllm 0.32.0 label=tp0 pp0 dp0 flags=0"),
            (
                "5, world_size=8, tensor_parallel_size=4, pipeline_parallel_size=2",
                "rank=5 world=8 job=vllm-77 group=dp0 engine=vllm 0.32.0 label=tp1 pp1 dp0 flags=0",
            ),
            (  # independent replicas: each its own group
                "1, world_size=2, tensor_parallel_size=2, data_parallel_index=3",
                "rank=1 world=2 job=vllm-77 group=dp3 engine=vllm 0.32.0 label=tp1 pp0 dp3 flags=0",
            ),
            (  # a mixture of experts: all replicas one group
                "1, world_size=2, tensor_parallel_size=2, data_parallel_size=4, data_parallel_rank=3, data_parallel_index=3",
                "rank=7 world=8 job=vllm-77 group=dp* engine=vllm 0.32.0 label=tp1 pp0 dp3 flags=0",
            ),
            (  # the same under Ray, which gives each replica an instance id of its own
                "0, instance_id='77_dp2', data_parallel_size=4, data_parallel_rank=2, data_parallel_index=2",
                "rank=2 world=4 job=vllm-77 group=dp* engine=vllm 0.32.0 label=tp0 pp0 dp2 flags=0",
            ),
            (  # torchrun numbers all replicas through
                "3, world_size=4, tensor_parallel_size=2, data_parallel_size=2, data_parallel_rank=1, "
                "data_parallel_index=1, distributed_executor_backend='external_launcher'",
                "rank=3 world=4 job=vllm-77 group=dp* engine=vllm 0.32.0 label=tp1 pp0 dp1 flags=0",
            ),
            (  # a server per replica: they meet at one address
                "0, data_parallel_size=2, data_parallel_rank=1, data_parallel_index=1, data_parallel_external_lb=True",
                "rank=1 world=2 job=vllm-dp-10.0.0.1-29550 group=dp* engine=vllm 0.32.0 label=tp0 pp0 dp1 flags=0",
            ),
        ):
            with self.subTest(arguments):
                self.assertEqual(self.identity(arguments), "role=1 " + expected)


if __name__ == "__main__":
    unittest.main()
