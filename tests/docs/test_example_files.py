"""The programs in examples/ run as they stand. (Those that start processes are in tests/system: demo and web apps.)"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(program: str, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / program],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, timeout=50,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_hello(tmp_path: Path) -> None:
    said = run("hello.py", tmp_path)
    assert "Hello, world!" in said
    assert str([n * n for n in range(10)]) in said


def test_progress_and_cancel(tmp_path: Path) -> None:
    said = run("progress_and_cancel.py", tmp_path)
    assert said.count("cancelled: job") == 2
    assert "running: " in said
    assert "3 chunks, this time to the end" in said
