"""The app of the crash tests: tasks that say in a log when they start and end, and tasks that do their worst.

Configured by the environment: ``CRASH_URL``, ``CRASH_LOG`` (each start and end appends one line to it), ``CRASH_LEASE``
(seconds) and ``CRASH_MAX_LOST``. ``python -m tests.system.crash_app COUNT FILE`` is a producer: it enqueues jobs with
`App.enqueue_many` and appends the id of each to the file as soon as it is acknowledged.
"""

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from windlass import App, current

app = App(
    os.environ.get("CRASH_URL", "memory://"),
    lease=float(os.environ.get("CRASH_LEASE", "1")),
    max_lost=int(os.environ.get("CRASH_MAX_LOST", "2")),
)

_log: dict[int, int] = {}
"""Process id to a descriptor of its own: a forked child must not write through its parent's."""


def mark(what: str) -> None:
    """Append a line to the log, whole or not at all: a write to an O_APPEND file is not interrupted half-way."""
    pid = os.getpid()
    if pid not in _log:
        _log[pid] = os.open(os.environ["CRASH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    attempt = current()
    os.write(_log[pid], f"{what} {attempt.job_id} {attempt.attempt} {pid}\n".encode())


# -------------------------------------------------------------------------------------------- those that behave


# Each returns the number of its attempt, so that the record shows whose result it has.


@app.task(name="work")
async def work(n: int, seconds: float = 0.0, again: float | None = None) -> int:
    """Sleep, and for as long as ``again`` says when this is not the first attempt."""
    mark("start")
    await asyncio.sleep(_span(seconds, again))
    mark("end")
    return current().attempt


@app.task(name="wait_for_file")
async def wait_for_file(path: str) -> int:
    """Run until the test makes a file."""
    mark("start")
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240 - nobody announces it, and the look is short
        await asyncio.sleep(0.02)
    mark("end")
    return current().attempt


@app.task(name="keep")
def keep(megabytes: int) -> int:
    """Occupy memory, and never let go of it."""
    mark("start")
    _kept.append(bytes(range(256)) * (megabytes * 4096))
    mark("end")
    return current().attempt


_kept: list[bytes] = []


@app.task(name="work_in_thread")
def work_in_thread(n: int, seconds: float = 0.0, again: float | None = None) -> int:
    mark("start")
    time.sleep(_span(seconds, again))
    mark("end")
    return current().attempt


@app.task(name="work_for", limit_by="customer")
async def work_for(customer: str, seconds: float) -> int:
    """Sleep for a customer. The log has its end, too, where the attempt is cancelled."""
    mark("start")
    try:
        await asyncio.sleep(seconds)
    finally:
        mark("end")
    return current().attempt


def _span(seconds: float, again: float | None) -> float:
    return seconds if again is None or current().attempt == 1 else again


# ------------------------------------------------------------------------------------------ those that kill


@app.task(name="segfault")
def segfault() -> None:
    mark("start")
    ctypes.string_at(0)


@app.task(name="exit_at_once")
def exit_at_once() -> None:
    mark("start")
    os._exit(1)


# ------------------------------------------------------------------------------------- those that misbehave


@app.task(name="close_standard")
def close_standard() -> int:
    """Close what everybody takes for granted."""
    mark("start")
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    mark("end")
    return current().attempt


@app.task(name="fork_in_thread")
def fork_in_thread() -> int:
    """Fork, and let the child return from the task as well."""
    mark("start")
    if os.fork() == 0:
        return -1
    mark("end")
    return current().attempt


@app.task(name="fork_on_loop")
async def fork_on_loop() -> int:
    mark("start")
    if os.fork() == 0:
        return -1
    mark("end")
    return current().attempt


@app.task(name="fork_and_await")
async def fork_and_await() -> int:
    """Fork, and let the child go back to the loop: it would be a second worker, with its parent's session."""
    mark("start")
    if os.fork() == 0:
        for _ in range(1_000_000):
            await asyncio.sleep(0)
    mark("end")
    return current().attempt


@app.task(name="never_end")
async def never_end() -> None:
    """Ignore SIGTERM, and swallow every cancellation."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mark("start")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass


@app.task(name="never_end_in_thread")
def never_end_in_thread() -> None:
    mark("start")
    while True:
        time.sleep(3600)


@app.task(name="gorge")
def gorge(megabytes: int) -> int:
    """Eat memory, and print as much."""
    mark("start")
    eaten = b"x" * (megabytes * 1024 * 1024)
    for _ in range(megabytes):
        print("x" * 1024 * 1024)  # noqa: T201 - that is what it is for
    del eaten
    mark("end")
    return current().attempt


# ----------------------------------------------------------------------------------------------- a producer


async def produce(count: int, path: str) -> None:
    acknowledged = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def calls() -> Iterator[object]:
        for n in range(count):
            yield work.bind(n)

    async with app:
        async for job in app.enqueue_many(calls()):
            os.write(acknowledged, job.id.encode() + b"\n")


if __name__ == "__main__":
    asyncio.run(produce(int(sys.argv[1]), sys.argv[2]))
