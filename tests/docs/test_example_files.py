"""The programs in examples/ run as they stand. (The demo is in tests/system: it starts and kills processes.)"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(code: list[str], folder: Path, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{EXAMPLES}", **variables}
    ended = subprocess.run(
        [sys.executable, "-W", "error", *code],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, timeout=50,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_hello(tmp_path: Path) -> None:
    said = run([str(EXAMPLES / "hello.py")], tmp_path)
    assert "Hello, world!" in said
    assert str([n * n for n in range(10)]) in said


def test_progress_and_cancel(tmp_path: Path) -> None:
    said = run([str(EXAMPLES / "progress_and_cancel.py")], tmp_path)
    assert said.count("cancelled: job") == 2
    assert "running: " in said
    assert "3 chunks, this time to the end" in said


FLASK_SESSION = """
import time
from flask_app import app, web
client = web.test_client()
job = client.post("/words", data="to be or not to be").get_json()["job"]
assert client.get(f"/words/{job}").get_json() == {"status": "ready"}
with app.start_worker_thread():
    app.job(job).result_sync(timeout=20)
print(client.get(f"/words/{job}").get_json())
assert client.get("/words/00000000-0000-7000-8000-000000000000").status_code == 404
"""


def test_flask_app(tmp_path: Path) -> None:
    pytest.importorskip("flask")
    said = run(["-c", FLASK_SESSION], tmp_path, WINDLASS_URL=f"sqlite:///{tmp_path / 'flask.db'}")
    assert "{'status': 'succeeded', 'words': 6}" in said
