"""Opens a trace in chrome://tracing of a headless Chromium, asserts what the viewer made of it, makes a screenshot.

usage: viewer_check.py TRACE.json SCREENSHOT.png

The viewer is Catapult's, as Chromium ships it; nothing of it is ours. It is driven over the DevTools protocol.
"""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

MODEL = """(() => {
    const model = profilingView.timelineView_ && profilingView.timelineView_.model;
    if (!model) { return null; }
    const processes = Object.values(model.processes).map(process => ({
        name: process.name, labels: process.labels,
        counters: Object.values(process.counters).map(c => [c.name, c.numSamples]),
        tracks: Object.values(process.threads).map(t => [t.name, t.sliceGroup.length,
            Math.max(0, ...t.sliceGroup.slices.map(s => s.subSlices ? s.subSlices.length : 0))]),
    }));
    return JSON.stringify({processes, warnings: model.importWarnings.map(w => [w.type, w.message])});
})()"""


class Browser:
    """A Chromium and one page of it."""

    def __init__(self, chromium, folder):
        # chrome://tracing is an internal page: a switch of the profile's own, which chrome://chrome-urls would set.
        (pathlib.Path(folder) / "Local State").write_text('{"internal_only_uis_enabled": true}')
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
        flags += ["--remote-allow-origins=*", "--window-size=1600,1000", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen([chromium, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = pathlib.Path(folder) / "DevToolsActivePort"
        eventually("Chromium opens its DevTools port", lambda: port_file.exists() and port_file.read_text().count("\n"))
        port = port_file.read_text().split()[0]

        def pages():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as reply:
                return [page for page in json.load(reply) if page["type"] == "page"]

        page = eventually("Chromium has a page", pages)[0]
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=120)
        self.number = 0

    def call(self, method, **params):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            reply = json.loads(self.socket.recv())
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return reply["result"]

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return None if "exceptionDetails" in result else result["result"].get("value")

    def close(self):
        self.process.terminate()
        self.process.wait()


def eventually(what, look, patience_s=120):
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"gave up waiting: {what}")


def check(trace, model):
    """The viewer's model holds what the file holds."""
    assert not model["warnings"], model["warnings"]
    processes = {process["name"]: process for process in model["processes"] if process["name"]}
    ranks = [name for name in processes if re.match(r"rank \d+", name)]
    in_file = [e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"]
    assert sorted(processes) == sorted(in_file), (sorted(processes), in_file)
    assert ranks, "no process begins with rank N"
    for name in ranks:
        tracks = {track: (slices, nested) for track, slices, nested in processes[name]["tracks"]}
        pid = next(e["pid"] for e in trace["traceEvents"] if e["name"] == "process_name" and e["args"]["name"] == name)
        for track, category in [("iterations", "iteration"), ("steps", "user_annotation"), ("gaps", "gap")]:
            count = sum(1 for e in trace["traceEvents"] if e["pid"] == pid and e.get("cat") == category)
            assert tracks.get(track, (0, 0)) == (count, 0), (name, track, tracks.get(track), count)
        counters = {counter for counter, samples in processes[name]["counters"] if samples}
        assert {"batch size", "tokens"} <= {c.split(".")[-1] for c in counters}, counters
        print(f"{name}: {tracks['iterations'][0]} iterations, {tracks['gaps'][0]} gaps, counters {sorted(counters)}")


def main(path, screenshot):
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    text = pathlib.Path(path).read_text()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(chromium, folder)
        try:
            browser.call("Page.enable")
            browser.call("Page.navigate", url="chrome://tracing")
            ready = "typeof profilingView === 'object' && typeof profilingView.setActiveTrace === 'function'"
            eventually("chrome://tracing is there", lambda: browser.evaluate(ready))
            browser.evaluate(f"void profilingView.setActiveTrace('trace.json', {json.dumps(text)})")
            model = json.loads(eventually("the viewer has loaded the trace", lambda: browser.evaluate(MODEL)))
            check(json.loads(text), model)
            # Two frames later everything is painted.
            browser.call("Runtime.evaluate", awaitPromise=True, expression="new Promise(done => "
                         "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 500))))")
            picture = browser.call("Page.captureScreenshot", format="png")["data"]
            pathlib.Path(screenshot).write_bytes(base64.b64decode(picture))
            print(f"chrome://tracing: no warnings; screenshot in {screenshot}")
        finally:
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
