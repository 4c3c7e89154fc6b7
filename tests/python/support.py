"""Runs Python in a child process with the package as it is installed, and reads back what the recorder wrote."""

import glob
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
#: The library of recorder.c, built by run.sh.
RECORDER = os.environ["STEPSCOPE_TEST_RECORDER"]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="stepscope-test-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def python(self, code, recorder=True, **environment):
        """Runs ``code``; fails with its stderr if it does. Gives its stdout's lines; ``self.stderr`` has the rest."""
        variables = {name: value for name, value in os.environ.items() if not name.startswith("STEPSCOPE_")}
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
            variables.pop(name, None)
        variables.update(STEPSCOPE_DIR=self.folder, PYTHONPATH=HERE)
        if recorder:
            variables.update(STEPSCOPE_LIBRARY=RECORDER, STEPSCOPE_RECORDER=os.path.join(self.folder, "calls"))
        variables.update(environment)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=variables,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.stderr = done.stderr
        return done.stdout.splitlines()

    def calls(self):
        """What all processes called since the last look, in order; ``leave`` aside."""
        lines = []
        for path in sorted(glob.glob(os.path.join(self.folder, "calls.*"))):
            with open(path, encoding="utf-8") as file:
                lines += [line for line in file.read().splitlines() if line != "leave"]
            os.unlink(path)
        return lines
