"""Tasks for child processes: some that behave, and some that do their worst. The store is ``WINDLASS_URL``."""

import asyncio
import ctypes
import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from windlass import App, Current, Middleware, current

app = App(lease=1, max_payload=32 * 2**20, max_result=32 * 2**20)


class Hooks(Middleware):
    """Remembers where it was called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def before(self, attempt: Current, headers: dict[str, str]) -> None:
        self.calls.append(f"before {attempt.task} {headers.get('colour')} {os.getpid()}")

    def failed(self, attempt: Current, error: BaseException, *, dead: bool) -> None:
        self.calls.append(f"failed {attempt.task} {type(error).__name__} {dead} {os.getpid()}")

    def after(self, attempt: Current, error: BaseException | None) -> None:
        self.calls.append(f"after {attempt.task} {type(error).__name__} {os.getpid()}")


hooks = Hooks()
app.middleware(hooks)


# -------------------------------------------------------------------------------------------- those that behave


@app.task(name="add", queue="processes", executor="process", aliases=["plus"])
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="pid", queue="processes", executor="process")
def pid(seconds: float = 0.0) -> int:
    time.sleep(seconds)
    return os.getpid()


@app.task(name="meet", queue="processes", executor="process")
def meet(folder: str, count: int) -> int:
    """Wait until so many are here at the same time."""
    (Path(folder) / str(os.getpid())).touch()
    until = time.monotonic() + 20
    while len(list(Path(folder).iterdir())) < count:
        assert time.monotonic() < until
        time.sleep(0.005)
    return os.getpid()


@app.task(name="pid_of_coroutine", queue="processes", executor="process")
async def pid_of_coroutine() -> int:
    await asyncio.sleep(0)
    return os.getpid()


@app.task(name="whose", queue="processes", executor="process")
async def whose() -> str:
    await asyncio.sleep(0)
    return current().job_id


@app.task(name="pid_here", queue="processes")
def pid_here() -> int:
    return os.getpid()


@app.task(name="echo", queue="processes", executor="process")
def echo(text: str) -> str:
    return text


@app.task(name="told", queue="processes", executor="process")
def told() -> dict[str, str | int]:
    """What the context says; with progress and a line for the log."""
    attempt = current()
    attempt.progress(0.5, "half")
    attempt.log("a line of its own")
    return {"job": attempt.job_id, "attempt": attempt.attempt, "queue": attempt.queue, "task": attempt.task}


@app.task(name="hooked", queue="processes", executor="process")
def hooked() -> list[str]:
    return hooks.calls


@app.task(name="inherited", queue="processes", executor="process")
def inherited() -> list[str]:
    return descriptors()


def descriptors() -> list[str]:
    """What the descriptors of this process are."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except OSError:
            continue
    return found


@app.task(name="speak", queue="processes", executor="process")
def speak() -> int:
    """Say something in every way there is."""
    print("by print")  # noqa: T201
    print("to stderr", file=sys.stderr)  # noqa: T201
    logging.getLogger("shop").warning("by logging")
    os.write(1, b"by write \xff\x00\n")
    ctypes.CDLL(None).puts(b"by C")
    subprocess.run(["echo", "by a program"], check=True)
    return os.getpid()


# ------------------------------------------------------------------------------- those that end their process


@app.task(name="segfault", queue="processes", executor="process")
def segfault() -> None:
    ctypes.string_at(0)


@app.task(name="exit_now", queue="processes", executor="process")
def exit_now(code: int) -> None:
    os._exit(code)


@app.task(name="die_by", queue="processes", executor="process")
def die_by(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


@app.task(name="gorge", queue="processes", executor="process")
def gorge(megabytes: int, keep: bool = False) -> int:
    """Take memory at once, and perhaps not give it back."""
    taken = bytearray(megabytes * 2**20)
    if keep:
        kept.append(taken)
    return len(taken)


kept: list[bytearray] = []


@app.task(name="nibble", queue="processes", executor="process")
def nibble() -> None:
    """Take memory piece by piece, until there is no room even for an error."""
    eaten: list[object] = []
    while True:
        eaten.append([None] * 10_000)


@app.task(name="close_all", queue="processes", executor="process")
def close_all() -> None:
    os.closerange(0, 1000)


@app.task(name="babble", queue="processes", executor="process")
def babble() -> None:
    """Write to every descriptor there is, the line to the worker among them."""
    for descriptor in range(3, 1000):
        try:
            os.write(descriptor, b"\xff" * 64)
        except OSError:
            continue
    time.sleep(60)


# ------------------------------------------------------------------------------------- those that will not end


@app.task(name="spin", queue="processes", executor="process")
def spin() -> None:
    """Be in C code that holds no lock, and hears no signal."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)


@app.task(name="hold", queue="processes", executor="process")
def hold() -> None:
    """Be in C code that holds the interpreter's lock."""
    while True:
        ctypes.PyDLL(None).usleep(500_000)


@app.task(name="nap", queue="processes", executor="process")
def nap(mark: str, seconds: float = 60) -> str:
    """Sleep, and clean up when interrupted."""
    try:
        Path(mark).touch()
        time.sleep(seconds)
    finally:
        Path(mark).write_text("cleaned up")
    return "slept"


@app.task(name="nap_awaiting", queue="processes", executor="process")
async def nap_awaiting(mark: str) -> None:
    try:
        await asyncio.to_thread(Path(mark).touch)
        await asyncio.sleep(60)
    finally:
        Path(mark).write_text("cleaned up")  # noqa: ASYNC240 - a task that was cancelled


@app.task(name="stubborn", queue="processes", executor="process")
def stubborn(mark: str) -> None:
    """Ignore signals, and swallow every interruption; and have started a program that would go on."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    sleeper = subprocess.Popen(["sleep", "60"])
    Path(mark).write_text(f"{os.getpid()} {sleeper.pid}")
    while True:
        try:
            time.sleep(60)
        except asyncio.CancelledError:
            pass


# ------------------------------------------------------------------------------------- those that misbehave


@app.task(name="fork_and_return", queue="processes", executor="process")
def fork_and_return() -> int:
    """Return twice."""
    return -1 if os.fork() == 0 else os.getpid()


@app.task(name="fork_and_stay", queue="processes", executor="process")
def fork_and_stay() -> tuple[int, int]:
    """Leave a process behind that holds everything this one has."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return os.getpid(), child


@app.task(name="close_standard", queue="processes", executor="process")
def close_standard() -> int:
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    sys.stdout.close()
    return os.getpid()


@app.task(name="print_much", queue="processes", executor="process")
def print_much(megabytes: int) -> int:
    line = b"x" * (2**20 - 1) + b"\n"
    for _ in range(megabytes):
        os.write(1, line)
    print("the end")  # noqa: T201
    return os.getpid()


@app.task(name="report_much", queue="processes", executor="process")
def report_much(times: int) -> int:
    for n in range(times):
        current().progress(n / times, f"step {n}")
    current().progress(1, "done")
    return times


@app.task(name="spoil", queue="processes", executor="process")
def spoil() -> int:
    """Leave behind what the next attempt should not find."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - it stays so
    return os.getpid()
