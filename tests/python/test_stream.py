"""Which stream an iteration works on is told from PyTorch, and never at the engine's cost."""

import json
import os
import unittest

import served
import support

FAKE = os.path.join(support.HERE, "fake_torch")
TORCH = f"import sys; sys.path.insert(0, {FAKE!r}); import torch\n"
ENGINE = "import toy_engine; engine = toy_engine.Engine()\n"


class Told(support.Case):
    def steps(self, code, **environment):
        self.said = self.python(code, STEPSCOPE_STEP="toy_engine:Engine.step", **environment)
        return [line for line in self.calls() if line.split()[0] in ("begin", "batch", "stream", "end")]

    def test_the_current_stream_is_told_once_pytorch_runs_on_cuda(self):
        steps = self.steps(
            TORCH
            + ENGINE
            + "engine.step(1); torch.cuda.init(); engine.step(2); torch.cuda.stream = 0x6000; engine.step(3)"
        )
        self.assertEqual(
            steps,
            ["begin 1", "end", "begin 2", "stream 0x5000", "end", "begin 3", "stream 0x6000", "end"],
        )

    def test_the_default_stream_is_told_as_null(self):
        steps = self.steps(TORCH + ENGINE + "torch.cuda.init(); torch.cuda.stream = 0; engine.step(1)")
        self.assertEqual(steps, ["begin 1", "stream 0", "end"])

    def test_pytorch_is_neither_imported_nor_initialised_by_us(self):
        steps = self.steps(ENGINE + "import sys; engine.step(1); print('torch' in sys.modules)")
        self.assertEqual((steps, self.said), (["begin 1", "end"], ["False"]))
        steps = self.steps(TORCH + ENGINE + "engine.step(1); print(torch.cuda.is_initialized())")
        self.assertEqual((steps, self.said), (["begin 1", "end"], ["False"]))

    def test_nothing_is_told_while_the_stream_is_captured_into_a_graph(self):
        steps = self.steps(TORCH + ENGINE + "torch.cuda.init(); torch.cuda.capturing = True; engine.step(1)")
        self.assertEqual(steps, ["begin 1", "end"])

    def test_a_pytorch_that_fails_or_is_none_costs_the_times_alone(self):
        for change in (
            "torch.cuda.init(); torch.cuda.failure = RuntimeError('mine')",
            "torch.cuda = object()",
            "sys.modules['torch'] = None",
        ):
            with self.subTest(change):
                steps = self.steps(TORCH + ENGINE + change + "; print(engine.step(4))")
                self.assertEqual((steps, self.said), (["begin 1", "end"], ["8"]))

    def test_what_failed_is_said_when_asked(self):
        code = "torch.cuda.init(); torch.cuda.failure = RuntimeError('mine'); engine.step(1)\n"
        self.steps(TORCH + ENGINE + code + "import stepscope; print(stepscope.describe()['hooks'])")
        self.assertIn("without times on the device: RuntimeError('mine')", self.said[0])

    def test_steps_told_by_the_engine_itself_and_async_ones_have_it_too(self):
        self.python(
            TORCH
            + """
import asyncio, stepscope
torch.cuda.init()
with stepscope.step: stepscope.batch(1, 2, 3, 4)
@stepscope.step
async def later(): return 1
@stepscope.step
def variadic(*args): return args
asyncio.run(later()); variadic()
"""
        )
        told = [line for line in self.calls() if line.split()[0] in ("begin", "batch", "stream", "end")]
        self.assertEqual(
            told,
            ["begin 1", "stream 0x5000", "batch 1 2 3 4 0", "end"]
            + ["begin 2", "stream 0x5000", "end", "begin 3", "stream 0x5000", "end"],
        )

    def test_an_agent_of_an_older_version_is_not_called_for_what_it_does_not_have(self):
        steps = self.steps(TORCH + ENGINE + "torch.cuda.init(); engine.step(1)", STEPSCOPE_RECORDER_FIRST_TABLE="1")
        self.assertEqual(steps, ["begin 1", "end"])

    def test_what_is_no_address_is_left_out(self):
        self.python("""
            from stepscope._agent import native
            for stream in (None, "x", -1, 2**70, 1.5, 7): native.step_stream(stream)
        """)
        self.assertEqual(self.calls(), ["stream 0x7"])


class Measured(served.Case):
    """The whole way, with a driver that stands in: agent, sidecar, ledger."""

    def capture(self, profiler):
        started = json.loads(self.ask("/start_profile", {"profiler": profiler, "max_iterations": 4}))
        path = "/stepscope/v1/captures/" + started["capture_id"]
        capture = served.eventually(
            "the capture", lambda: (lambda c: c if c["state"] == "done" else None)(json.loads(self.ask(path)))
        )
        rows = [json.loads(line) for line in self.ask(path + "/iterations").splitlines()]
        return capture, rows

    def test_a_window_of_cuda_has_times_on_the_device_and_one_of_steps_has_none(self):
        driver = {
            "LD_LIBRARY_PATH": os.path.dirname(os.environ["STEPSCOPE_TEST_DRIVER"]),
            "STEPSCOPE_TEST_CUDA_CONTEXT": "1",
            "STEPSCOPE_STEP": "toy_engine:Engine.step",
        }
        code = "import time\n" + TORCH + ENGINE + "torch.cuda.init()\n"
        code += "while True: engine.step(1); time.sleep(0.001)"
        with self.sidecar():
            self.engine(code, **driver)
            served.eventually("the rank", lambda: json.loads(self.ask("/stepscope/v1/status"))["ranks"])
            self.measured()

    def measured(self):
        capture, rows = self.capture("cuda")
        self.assertEqual((capture["profiler"], len(rows)), ("cuda", 4), capture)
        self.assertEqual(capture["ranks"][0]["profiler"]["device_times_missed"], 0, capture)
        self.assertTrue(all(row["device_ns"] > 0 for row in rows), rows)
        _, rows = self.capture("steps")
        self.assertEqual([row["device_ns"] for row in rows], [None] * 4)


if __name__ == "__main__":
    unittest.main()
