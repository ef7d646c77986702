"""A Django project as the how-to describes it: plain and asynchronous views enqueue, real workers use the ORM."""

import os
import signal
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent / "django_project"


def test_views_enqueue_and_workers_use_the_orm(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "SHOP_DB": str(tmp_path / "shop.db"),
        "WINDLASS_URL": f"sqlite:///{tmp_path}/windlass.db",
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "windlass", "worker", "--app", "shop.tasks:app"],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        visit = [sys.executable, "-W", "error::ResourceWarning", str(PROJECT / "visit.py")]
        done = subprocess.run(visit, env=environment, check=False, capture_output=True, text=True, timeout=50)
    finally:
        worker.send_signal(signal.SIGTERM)
        log = worker.communicate(timeout=40)[1]
    assert done.returncode == 0, done.stderr + log
    names = [f"{kind}{n}" for kind in ("plain", "async") for n in range(5)]
    assert done.stdout == f"{names}\n{[1] * 10}\n", done.stderr + log
    assert worker.returncode == 0, log
