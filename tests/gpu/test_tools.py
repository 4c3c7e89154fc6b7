"""What the rows are judged by, where no GPU is needed to see it: reports of nsys, shapes of kernels, nvidia-smi's values."""

import os
import signal
import sqlite3
import subprocess
import tempfile
import unittest

import rows
import tools
from lab import Short

PROCESS = 4711
GLOBAL = PROCESS << 24


class Nsys(unittest.TestCase):
    def test_a_report_is_read_with_its_kernels_and_its_ranges_by_domain(self):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "report.sqlite")
            with sqlite3.connect(file) as data:
                data.executescript(f"""
                    CREATE TABLE StringIds (id INTEGER, value TEXT);
                    INSERT INTO StringIds VALUES (1, 'stepscope_spin'), (2, 'stepscope'), (3, 'capture');
                    CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start, end, streamId, globalPid, shortName, gridX, blockX);
                    INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (10, 20, 7, {GLOBAL}, 1, 2, 43);
                    CREATE TABLE NVTX_EVENTS (start, end, eventType, globalTid, domainId, text, textId, uint64Value);
                    INSERT INTO NVTX_EVENTS VALUES
                        (1, NULL, 75, {GLOBAL}, 5, NULL, 2, NULL),
                        (2, 9, 60, {GLOBAL + 8}, 5, NULL, 3, NULL),
                        (3, 4, 59, {GLOBAL + 8}, 5, 'execute', NULL, 42),
                        (3, 4, 59, {GLOBAL + 8}, 0, 'own', NULL, NULL);
                """)
            report = tools.Report()
            tools.Nsys._read(report, file)
        self.assertEqual(report.by_iteration(40), {42: report.kernels})
        self.assertEqual(report.calls, [PROCESS])
        self.assertEqual(report.ranges, [(PROCESS, "execute", "stepscope", 42), (PROCESS, "own", "default", 0)])
        self.assertEqual(report.captures, [(PROCESS, "capture", "stepscope", 0)])
        self.assertEqual(report.steps(), [42])


    def test_the_agent_of_one_that_failed_is_ended_and_no_other(self):
        def agent(process):
            words = ["--start-agent", f"--session-name=profile-engine-{process}"]
            return subprocess.Popen(["sh", "-c", "echo; read line", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        ours, others = agent(PROCESS), agent(PROCESS + 10)
        try:
            for one in (ours, others):
                one.stdout.readline()
            tools.Nsys("nsys").end(PROCESS)
            self.assertEqual(ours.wait(30), -signal.SIGTERM)
            self.assertIsNone(others.poll())
        finally:
            others.communicate(b"\n")
            ours.communicate()


class Kernels(unittest.TestCase):
    def test_a_block_names_the_iteration_that_is_next(self):
        report = tools.Report()
        for iteration in (998, 999, 1000, 1001, 2499):
            report.kernels.append({"name": tools.KERNEL, "block": 1 + iteration % tools.SHAPES, "process": PROCESS})
        self.assertEqual(sorted(report.by_iteration(999)), [499, 998, 999, 1000, 1001])
        self.assertIn(2499, report.by_iteration(2400))

    def test_one_too_few_and_one_too_many_fall_short(self):
        for iterations, right in (([5, 6], True), ([5], False), ([5, 6, 7], False), ([5, 6, 6], False)):
            report = tools.Report()
            report.kernels = [{"name": tools.KERNEL, "block": 1 + i, "process": PROCESS} for i in iterations]
            if right:
                self.assertIn("iterations 5 to 6", rows.exactly(report, 5, 6, launches=1))
            else:
                with self.assertRaises(Short):
                    rows.exactly(report, 5, 6, launches=1)


class Counters(unittest.TestCase):
    def test_values_are_held_against_nvidia_smis_of_the_same_gpu(self):
        ours = [{"index": 1, "mig": None, "values": {"memory_used_bytes": 600 << 20, "power_watts": 110}}]
        near = {1: {"memory.used": "610", "power.draw": "121.5", "temperature.gpu": "[N/A]"}}
        self.assertIn("memory_used_bytes 600, nvidia-smi 610", rows.beside(ours, near))
        for theirs in ({1: {**near[1], "memory.used": "700"}}, {1: {**near[1], "power.draw": "200"}}, {0: near[1]}):
            with self.assertRaises(Short):
                rows.beside(ours, theirs)


if __name__ == "__main__":
    unittest.main()
