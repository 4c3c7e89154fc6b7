"""The PEP 517 backend of ``pip install ./python``: builds the agent and the command with cargo, then lets maturin build
the module and the wheel.

``STEPSCOPE_BUILD_PROFILE`` names one cargo profile for all three (``dev`` for quick test builds); by default the agent is
built with ``agent``, the rest with ``release``. ``CARGO_TARGET_DIR`` and ``MATURIN_PEP517_ARGS`` are honoured. The wheel
serves every Python from 3.10 on the system it was built on (tag ``linux_*``).
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import maturin

HERE = Path(__file__).resolve().parent.parent
WORKSPACE = HERE.parent
SONAME = "libstepscope.so.1"

get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
get_requires_for_build_editable = maturin.get_requires_for_build_editable


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    _prepare()
    return maturin.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    _prepare()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    return maturin.prepare_metadata_for_build_wheel(metadata_directory, config_settings)


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_sdist(sdist_directory, config_settings=None):
    raise SystemExit("stepscope has no sdist: it could not hold the agent. Run `pip wheel ./python` in the repository.")


def _prepare():
    """Puts the agent and the command where maturin takes them from, and tells maturin the profile."""
    if not (WORKSPACE / "Cargo.toml").is_file():
        raise SystemExit(f"{WORKSPACE} holds no Cargo.toml: build the package inside Stepscope's repository")
    chosen = os.environ.get("STEPSCOPE_BUILD_PROFILE")
    agent, rest = chosen or "agent", chosen or "release"
    links = ["-Clink-arg=-Wl,-soname," + SONAME, "-Clink-arg=-Wl,-z,nodelete"]
    features = ["--no-default-features", "--features", "agent"]
    built = _cargo("rustc", agent, "--lib", "--crate-type", "cdylib", *features, after=["--", *links], kind="cdylib")
    _put(built, HERE / "stepscope" / "_lib" / SONAME)
    _put(_cargo("build", rest, "--bin", "stepscope", kind="bin"), HERE / "data" / "scripts" / "stepscope")
    arguments = os.environ.get("MATURIN_PEP517_ARGS", "")
    if "--profile" not in arguments:
        arguments += f" --profile {rest}"
    if "--compatibility" not in arguments and "--manylinux" not in arguments:
        arguments += " --compatibility linux"
    os.environ["MATURIN_PEP517_ARGS"] = arguments.strip()


def _cargo(verb, profile, *what, kind, after=()):
    """Runs cargo and gives the path of the one file of that kind that it made."""
    command = ["cargo", verb, "--package", "stepscope", "--profile", profile, *what]
    command += ["--message-format", "json-render-diagnostics", *after]
    print("+", " ".join(command), flush=True)
    done = subprocess.run(command, cwd=WORKSPACE, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"cargo {verb} failed: the lines above say why")
    for line in reversed(done.stdout.splitlines()):
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["name"] == "stepscope":
            if kind == "bin" and message.get("executable"):
                return Path(message["executable"])
            if kind == "cdylib" and "cdylib" in message["target"]["crate_types"]:
                return Path(next(name for name in message["filenames"] if name.endswith(".so")))
    raise SystemExit(f"cargo {verb} made no {kind}")


def _put(built, place):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    shutil.copy2(built, place)
    place.chmod(0o755)
