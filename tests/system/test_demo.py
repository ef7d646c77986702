"""The demo, on a part of the standard library: real processes, one of them killed, and its own audit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples/stdlib_index/demo.py"


def run_demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        env=environment, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, timeout=170,
    )  # fmt: skip


@pytest.mark.timeout(180)  # three processes compute for some seconds, and a lease has to run out
def test_a_killed_worker_leaves_no_gap_and_no_double_count(tmp_path: Path) -> None:
    ended = run_demo(tmp_path, "--limit", "300")
    assert ended.returncode == 0, ended.stdout
    found = re.search(r"audit ok: 300 files, 300 jobs, .*; (\d+) attempts, (\d+) jobs run again", ended.stdout)
    assert found, ended.stdout
    attempts, again = map(int, found.groups())
    assert again >= 1, "the killed process held nothing: the kill proved nothing"
    assert attempts == 300 + again
    assert "SIGKILL" in ended.stdout
    assert list(tmp_path.iterdir()) == [], "the demo cleans up its folder"
