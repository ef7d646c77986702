"""A real ``windlass worker`` on a store in a folder, and the same folder's app for the producer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windlass.store.port import Store


def use(folder: Path) -> str:
    """Have `bench.app` use a new SQLite file in this folder, or the store of $BENCH_URL; before it is imported. Answers
    the URL."""
    os.environ["WINDLASS_URL"] = url = os.environ.get("BENCH_URL", f"sqlite:///{folder / 'bench.db'}")
    return url


def store(url: str) -> Store:
    """The store itself, for what the app does not tell."""
    from windlass.connect import connect
    from windlass.core.model import Settings

    return connect(url, Settings())


@contextmanager
def worker(folder: Path, *options: str, app: str = "bench.app:app") -> Iterator[subprocess.Popen[bytes]]:
    """Run ``windlass worker`` for the length of the block. Its log is in the folder."""
    command = [sys.executable, "-m", "windlass", "worker", "--app", app, *options]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if process.returncode != 0:
        log_text = (folder / "worker.log").read_text()
        raise RuntimeError(f"the worker ended with {process.returncode}:\n{log_text[-3000:]}")
