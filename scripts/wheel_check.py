"""Build the wheel, install it into an empty environment, and run one job from there on SQLite.

Finds what an editable checkout hides: SQL or Lua files that are not packaged, a dependency that is only in the
development lock, an entry point that does not resolve.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TASKS = """\
from windlass import App

app = App("sqlite:///wheel_check.db")


@app.task
def add(a: int, b: int) -> int:
    return a + b
"""

CHECK = """\
import subprocess
import sys

import windlass
from tasks import add

assert "site-packages" in windlass.__file__, windlass.__file__
job = add.enqueue_sync(2, 3)
worker = subprocess.Popen([sys.argv[1], "worker", "--app", "tasks:app"])
try:
    result = job.result_sync(timeout=30)
finally:
    worker.terminate()
    code = worker.wait(40)
assert result == 5, result
assert code == 0, f"the worker ended with {code}"
"""


def run(*command: str | Path, cwd: Path, **env: str) -> None:
    """Run a command to its end, away from this process's own environment; a failure ends the check."""
    # What would make the checkout importable, or mean another store, must not leak in.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "WINDLASS"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | env,
        stdin=subprocess.DEVNULL,
        timeout=300,
        check=False,
    )
    if done.returncode:
        sys.exit(f"wheel-check: {Path(command[0]).name} failed with {done.returncode}")


def build(into: Path) -> Path:
    """Build the wheel with the locked build back end."""
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", into, ROOT, cwd=ROOT)
    (wheel,) = into.glob("*.whl")
    return wheel


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="windlass-wheel-") as name:
        folder = Path(name)
        wheel = build(folder / "dist")
        environment = folder / "venv"
        venv.create(environment, with_pip=True)
        python, windlass = environment / "bin/python", environment / "bin/windlass"
        pip = (python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input")
        run(*pip, "-c", ROOT / "requirements-dev.lock", wheel, cwd=folder)

        outside = folder / "outside"
        outside.mkdir()
        (outside / "tasks.py").write_text(TASKS)
        (outside / "check.py").write_text(CHECK)
        run(windlass, "--help", cwd=outside)
        run(python, "check.py", windlass, cwd=outside, PYTHONPATH=str(outside))
        print(f"wheel-check: {wheel.name} installs and runs a job")


if __name__ == "__main__":
    main()
