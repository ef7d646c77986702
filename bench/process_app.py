"""The tasks of `bench.executors`: an app of its own, so that no other figure pays for what it does not use."""

from __future__ import annotations

import time

from windlass import App

app = App()


@app.task
def add_in_thread(a: int, b: int) -> int:
    """Do next to nothing, in a thread."""
    return a + b


@app.task(executor="process")
def add_in_process(a: int, b: int) -> int:
    """Do next to nothing, in a child process."""
    return a + b


@app.task(executor="process")
def rest(seconds: float) -> None:
    """Wait, in a child process."""
    time.sleep(seconds)
