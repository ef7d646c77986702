"""One sample in a process of its own: ``python -m bench.sample package.module:function '{"argument": 1}'``.

The function gets an empty folder and the arguments, and returns metric name to number, printed as JSON.
"""

from __future__ import annotations

import compileall
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.figure import Probe

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 600.0
"""Seconds after which a probe is stuck."""


class ProbeFailed(Exception):
    """A probe ended without numbers."""


def environment(root: Path = ROOT) -> dict[str, str]:
    """The environment of probes and of the processes that they start: this checkout (or another) first on the path, and
    modules from their byte code, as installed ones are."""
    path = os.pathsep.join([str(root / "src"), str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": path}


def compile_modules(root: Path = ROOT) -> None:
    """Write the byte code now, so that no probe has to."""
    for folder in ("src/windlass", "bench"):
        compileall.compile_dir(root / folder, quiet=1)


def take(probe: Probe, arguments: dict[str, object], root: Path = ROOT) -> dict[str, float]:
    """Run a probe in a process of its own, from this checkout or another. Raises `ProbeFailed`."""
    command = [sys.executable, "-m", "bench.sample", probe.function, json.dumps({**arguments, **probe.arguments})]
    done = subprocess.run(
        command, env=environment(root), cwd=root, capture_output=True, text=True, timeout=LONGEST, check=False
    )
    if done.returncode != 0:
        raise ProbeFailed(f"{probe.function}: exit code {done.returncode}\n{done.stderr[-4000:]}")
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def main(probe: str, arguments: str) -> None:
    """Run it and print what it measured."""
    module, _, function = probe.partition(":")
    folder = Path(tempfile.mkdtemp(prefix="windlass-bench-"))
    try:
        print(json.dumps(getattr(importlib.import_module(module), function)(folder, **json.loads(arguments))))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
