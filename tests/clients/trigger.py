"""The trigger of MLCommons' `inference-endpoint`, out of its own file, around a load that somebody else makes: starts, says so,
waits for a line, stops, prints what it would write into its report. Run by clients.py, in the clients' environment.
usage: trigger.py SOURCE ENDPOINT [PROFILE_URL]     SOURCE: its repository; "" where it could not be had: then what it does is
done by hand: urllib, an empty body, two seconds, 200 and nothing else
"""

import importlib.util
import io
import os
import sys
import urllib.request


class ByHand:
    """The same calls, and the same demands on the answers."""

    def __init__(self, endpoint, profile_url):
        self.base = (profile_url or endpoint).rstrip("/").removesuffix("/v1")

    def start(self):
        self.call("start")

    def stop(self, _completed_normally):
        self.call("stop")

    def call(self, verb):
        request = urllib.request.Request(f"{self.base}/{verb}_profile", method="POST", data=b"")
        with urllib.request.urlopen(request, timeout=2) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{verb}: {answer.status}")
        print(f"POST {request.full_url} → 200 OK")

    def report(self):
        return ""


class Its:
    """Its own class. The package around it wants Python 3.12; the file and what it imports do not."""

    def __init__(self, source, endpoint, profile_url):
        package = os.path.join(source, "src")
        path = os.path.join(package, "inference_endpoint", "commands", "benchmark", "profiling.py")
        sys.path.insert(0, package)
        spec = importlib.util.spec_from_file_location("profiling", path)
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        engine = self.module.ProfilerEngine.VLLM
        self.controller = self.module.ProfileController(engine, [endpoint], [profile_url] if profile_url else None)
        self.start, self.stop = self.controller.start, self.controller.stop

    def report(self):
        text = io.StringIO()
        self.module.write_profiling_section(text, self.controller.payload())
        return text.getvalue()


def main():
    source, endpoint, *profile_url = sys.argv[1:]
    more = profile_url[0] if profile_url else None
    trigger = Its(source, endpoint, more) if source else ByHand(endpoint, more)
    trigger.start()
    print("started", flush=True)
    sys.stdin.readline()
    trigger.stop(True)
    print(trigger.report())


if __name__ == "__main__":
    main()
