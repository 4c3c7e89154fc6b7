"""Kills either side in the middle of captures and checks what is left. See tests/kills.sh."""

import json
import random
import signal
import time

from harness import FINAL, SECONDS, SEED, Engine, Hang, Place, Sidecar, Tally, binary, check_capture, kill

RANKS = 3
ARGUMENTS = ("--lease-ms", "1000")


def start(sidecar, body):
    """Starts a capture; an engine that is just coming up, or a capture that is just being finished, is waited for."""

    def look():
        status, answer = sidecar.json("POST", "/start_profile", body)
        if status == 200:
            return answer["capture_id"]
        if status not in (409, 503):
            raise RuntimeError(f"start: {status} {answer}")
        return None

    return sidecar.until("a start to be accepted", look)


def main():
    print(f"seed {SEED}, {SECONDS:.0f} s")
    dice, tally, place, program = random.Random(SEED), Tally(), Place("kills"), binary()
    sidecar = engine = None
    counts = {}
    deadline = time.monotonic() + SECONDS
    try:
        while time.monotonic() < deadline:
            if engine is None or len(engine.ranks()) < 2:
                if engine is not None:
                    engine.end()
                engine = Engine(program, place, "--requests", "--ranks", str(RANKS), "--step-us", "500", "--job", "kills")
            if sidecar is None:
                sidecar = Sidecar(program, place, *ARGUMENTS)
            body = {"delay_iterations": dice.choice([0, 0, 1, 50]), "max_iterations": dice.choice([0, 0, 1, 7, 300])}
            capture = start(sidecar, body)
            time.sleep(dice.random() * 0.15)
            act = dice.choice(["rank", "rank", "sidecar", "sidecar", "both", "stop", "still", "twice", "engine"])
            counts[act] = counts.get(act, 0) + 1
            ranks = engine.ranks()
            if act in ("rank", "both") and ranks:
                kill(dice.choice(ranks), signal.SIGKILL)
            if act == "engine":
                for rank in ranks:
                    kill(rank, signal.SIGKILL)
            if act == "still":
                kill(sidecar.process.pid, signal.SIGSTOP)
                time.sleep(dice.choice([0.05, 1.5]))
                kill(sidecar.process.pid, signal.SIGCONT)
            if act in ("sidecar", "both", "twice"):
                sidecar.end()
                sidecar = Sidecar(program, place, *ARGUMENTS)
            if act == "twice":
                # In the middle of its recovery, more or less.
                time.sleep(dice.random() * 0.05)
                sidecar.end()
                sidecar = Sidecar(program, place, *ARGUMENTS)
            status, answer = sidecar.json("POST", "/stop_profile")
            tally.check(status == 200, f"stop after {act}: {status} {answer}")
            manifest = sidecar.finished(capture)
            tally.check(manifest["state"] in FINAL, f"after {act}: {manifest['state']}")
        status = sidecar.end(signal.SIGTERM)
        tally.check(status == 0, f"the sidecar ended with {status}")
        engine.end()
        engine = None
        # What is on disk, read by nobody of ours, and then by a sidecar that has only the disk.
        manifests = []
        for folder in sorted((place.data / "captures").iterdir()):
            try:
                manifests.append(json.loads((folder / "manifest.json").read_text()))
            except (OSError, ValueError) as error:
                tally.check(False, f"{folder.name}: {error}")
        sidecar = Sidecar(program, place, *ARGUMENTS)
        for manifest in manifests:
            check_capture(tally, sidecar, manifest)

        def gone():
            return True if not list(place.segments.glob("*.seg")) else None

        sidecar.until("the dead engines' segments to go", gone)
        tally.check(sidecar.end(signal.SIGTERM) == 0, "the last sidecar did not end in order")
        sidecar = None
        states = {state: sum(m["state"] == state for m in manifests) for state in FINAL}
        print(f"{len(manifests)} captures ({states}) through {counts}")
    except Hang as hang:
        tally.check(False, f"hung: {hang}")
    finally:
        for process in (engine, sidecar):
            if process is not None:
                process.end()
        place.end(keep=tally.failed > 0)
    tally.end()


if __name__ == "__main__":
    main()
