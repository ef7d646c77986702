"""The programs in examples/ run as they stand. (Those that start processes are in tests/system: demo and web apps.)"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(program: str, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / program, *arguments],
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


def test_word_count(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one/a.py").write_text("spam spam eggs")
    (tmp_path / "two/b.py").write_text("spam and eggs")
    said = run("word_count.py", tmp_path, str(tmp_path))
    assert "       3 spam\n       2 eggs\n" in said
    assert "5 of 5 steps" in said


def test_etl(tmp_path: Path) -> None:
    said = run("etl.py", tmp_path, str(tmp_path))
    assert "it failed: ValueError: invalid literal for int()" in said
    assert "5 jobs go on" in said
    assert "a large delivery: 6 orders" in said
    assert "transform  succeeded  {'succeeded': 3}" in said
    assert len(list((tmp_path / "done").glob("*.csv"))) == 3


def test_squares(tmp_path: Path) -> None:
    said = run("squares.py", tmp_path, "20000")
    assert f"the squares below 20000 sum to {sum(n * n for n in range(20000))}" in said


def test_shards(tmp_path: Path) -> None:
    assert "30 customers billed; of each shard: [10, 10, 10]" in run("shards.py", tmp_path)
    assert len(list(tmp_path.glob("shard-*.db"))) == 3


def test_operations(tmp_path: Path) -> None:
    said = run("operations.py", tmp_path, str(tmp_path))
    assert "operations.refresh_cache: Every 1 minute; 2880 jobs" in said
    assert "noon-report: Every day at 12:00, Asia/Seoul; 2 jobs" in said
    assert "operations.back_up: Every day at 03:00, Europe/Berlin; 2 jobs" in said
    for kind, number in (("backup-*.db", 2), ("service-*.log.gz", 1), ("report-*.txt", 2)):
        assert len(list(tmp_path.glob(kind))) == number, kind
    assert all("3 orders" in report.read_text() for report in tmp_path.glob("report-*.txt"))
    assert not list(tmp_path.glob("*.part"))
