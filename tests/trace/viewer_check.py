"""Opens a trace in a headless Chromium with Catapult's trace viewer, asserts what the viewer made of it, and makes a
screenshot.

usage: viewer_check.py TRACE.json SCREENSHOT.png VIEWER_DIR

The viewer is the one of chrome://tracing, as torch-tb-profiler ships it (trace_viewer_full.html, with the polyfill
webcomponents.min.js that it needs, from npm): nothing of it is ours. Debian's Chromium has no chrome://tracing any
more. It is driven over the DevTools protocol.
"""

import base64
import collections
import functools
import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import websocket

PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8">
<script src="webcomponents.min.js"></script>
<link rel="import" href="trace_viewer_full.html">
<style>html, body { margin: 0; height: 100%; overflow: hidden } #viewer { width: 100%; height: 100% }</style>
</head><body><script>
window.__hideTraceViewerPolyfillWarning = true;
document.addEventListener('WebComponentsReady', async () => {
    try {
        const container = document.createElement('track-view-container');
        container.id = 'track_view_container';
        const viewer = document.createElement('tr-ui-timeline-view');
        viewer.track_view_container = container;
        Polymer.dom(viewer).appendChild(container);
        viewer.id = 'viewer';
        viewer.globalMode = true;
        Polymer.dom(document.body).appendChild(viewer);
        const model = new tr.Model();
        const text = await (await fetch('trace.json')).text();
        await new tr.importer.Import(model).importTraces([text]);
        viewer.model = model;
        viewer.viewTitle = 'stepscope';
        window.loaded = model;
    } catch (error) { window.failed = String(error.stack || error); }
});
</script></body></html>"""

MODEL = """(() => {
    if (window.failed) { return JSON.stringify({failed: window.failed}); }
    const model = window.loaded;
    if (!model) { return null; }
    const nested = slices => Math.max(0, ...slices.map(s => s.subSlices.length));
    const processes = Object.values(model.processes).map(process => ({
        name: process.name,
        counters: Object.values(process.counters).map(c => [c.name, c.numSamples]),
        tracks: Object.values(process.threads).map(t => [t.name, t.sliceGroup.length, nested(t.sliceGroup.slices)]),
        asynchronous: Object.values(process.threads).reduce((sum, t) => sum + t.asyncSliceGroup.length, 0),
    }));
    return JSON.stringify({processes, warnings: model.importWarnings.map(w => [w.type, w.message])});
})()"""


class Viewer(http.server.SimpleHTTPRequestHandler):
    """Hands out the viewer, the page and the trace, on loopback."""

    trace = b""

    def do_GET(self):
        own = {"/": (PAGE.encode(), "text/html"), "/trace.json": (self.trace, "application/json")}.get(self.path)
        if own is None:
            return super().do_GET()
        self.send_response(200)
        self.send_header("content-type", own[1])
        self.send_header("content-length", str(len(own[0])))
        self.end_headers()
        self.wfile.write(own[0])

    def log_message(self, *_):
        pass


class Browser:
    """A Chromium and one page of it."""

    def __init__(self, chromium, folder):
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
    assert "failed" not in model, model["failed"]
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
        spans(trace["traceEvents"], pid, tracks, processes[name]["asynchronous"])
        counters = {counter for counter, samples in processes[name]["counters"] if samples}
        assert {"batch size", "tokens"} <= {c.split(".")[-1] for c in counters}, counters
        print(f"{name}: {tracks['iterations'][0]} iterations, {tracks['gaps'][0]} gaps, counters {sorted(counters)}")
    for name in [name for name in processes if name.startswith("GPU ")]:
        pid = next(e["pid"] for e in trace["traceEvents"] if e["name"] == "process_name" and e["args"]["name"] == name)
        expected = collections.Counter(e["name"] for e in trace["traceEvents"] if e["pid"] == pid and e["ph"] == "C")
        counters = {counter.split(".", 1)[-1]: samples for counter, samples in processes[name]["counters"]}
        # The viewer leaves a sample out that has the time of the one before.
        assert counters.keys() == expected.keys(), (name, counters, expected)
        assert all(0 < counters[c] <= expected[c] for c in expected), (name, counters, expected)
        print(f"{name}: {len(counters)} counters, {sum(counters.values())} values")


def spans(events, pid, tracks, asynchronous):
    """The engine's own ranges, where there are any: every track has its slices, and some lie in others."""
    own = [e for e in events if e["pid"] == pid and e.get("cat") == "nvtx"]
    named = {e["tid"]: e["args"]["name"] for e in events if e["pid"] == pid and e["name"] == "thread_name"}
    counts = collections.Counter(named[e["tid"]] for e in own if e["ph"] == "X")
    for track, count in counts.items():
        assert tracks.get(track, (0, 0))[0] == count, (track, tracks.get(track), count)
    assert asynchronous == sum(e["ph"] == "b" for e in own), asynchronous
    if counts:
        assert any(tracks[track][1] for track in counts), "nothing is nested"
        print(f"  spans: {dict(counts)}, {asynchronous} asynchronous")


def main(path, screenshot, viewer):
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    Viewer.trace = pathlib.Path(path).read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Viewer, directory=viewer))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(chromium, folder)
        try:
            browser.call("Page.enable")
            browser.call("Page.navigate", url=f"http://127.0.0.1:{server.server_port}/")
            model = json.loads(eventually("the viewer has loaded the trace", lambda: browser.evaluate(MODEL)))
            check(json.loads(Viewer.trace), model)
            # Some frames later everything is painted.
            browser.call("Runtime.evaluate", awaitPromise=True, expression="new Promise(done => "
                         "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 1000))))")
            picture = browser.call("Page.captureScreenshot", format="png")["data"]
            pathlib.Path(screenshot).write_bytes(base64.b64decode(picture))
            print(f"viewer: no import warnings; screenshot in {screenshot}")
        finally:
            browser.close()
            server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
