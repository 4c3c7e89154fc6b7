"""The whole way: engines of ours, `stepscope serve` beside them, and what it says over HTTP."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.request

import support


def eventually(what, look):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come about")


class Case(support.Case):
    @contextlib.contextmanager
    def sidecar(self):
        """A sidecar, and what is started within; all of it ends with the block."""
        self.segments = os.path.join(self.folder, "segments")
        with contextlib.ExitStack() as self.stack:
            log = self.stack.enter_context(open(os.path.join(self.folder, "log"), "w+", encoding="utf-8"))
            os.makedirs(self.segments, mode=0o700)
            command = os.path.join(os.path.dirname(sys.executable), "stepscope")
            self.start([command, "serve", "--listen", "127.0.0.1:0", "--data", os.path.join(self.folder, "data")], stderr=log)

            def address():
                with open(log.name, encoding="utf-8") as lines:
                    return re.search(r"listening on (http://127\.0\.0\.1:\d+)\n", lines.read())

            self.url = eventually("the sidecar", address).group(1)
            yield

    def start(self, command, stderr=None, stdout=None, stdin=None, **environment):
        variables = {name: value for name, value in os.environ.items() if not name.startswith("STEPSCOPE_")}
        variables.update(STEPSCOPE_DIR=self.segments, PYTHONPATH=support.HERE, **environment)
        process = subprocess.Popen(  # with pipes that are read line by line
            command, env=variables, cwd=self.folder, stderr=stderr, stdout=stdout, stdin=stdin, text=True
        )
        self.stack.enter_context(process)  # waits, and closes its pipes
        self.stack.callback(process.kill)
        return process

    def engine(self, code, **environment):
        return self.start([sys.executable, "-c", code], stdout=subprocess.PIPE, **environment)

    def ask(self, path, body=None):
        request = urllib.request.Request(self.url + path, data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.read().decode()
