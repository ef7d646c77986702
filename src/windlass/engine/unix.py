"""What the supervisor needs of the system: signals that can be waited for, lines on standard error."""

from __future__ import annotations

import os
import signal
import time


def watch_signals() -> int:
    """Have the numbers of signals that arrive written to a pipe; answers its end to read."""
    wake, wake_end = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_end, False)
    signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        # What nohup, or a shell that starts a background job, has switched off stays so.
        if number in (signal.SIGTERM, signal.SIGCHLD) or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    return wake


def pending_signals(wake: int) -> bytes:
    """The signals that have arrived since the last call: each byte is a number."""
    try:
        return os.read(wake, 4096)
    except BlockingIOError:
        return b""


DEBUG, INFO, WARNING, ERROR = "DEBUG", "INFO", "WARNING", "ERROR"
_LEVELS = (DEBUG, INFO, WARNING, ERROR)
_written: set[str] = {INFO, WARNING, ERROR}


def set_log_level(least: str) -> None:
    """Write no lines that matter less than this. (The supervisor does without `logging`, which would be most of it.)"""
    _written.clear()
    _written.update(_LEVELS[_LEVELS.index(least) :])


def log(pid: int, text: str, level: str = INFO) -> None:
    """Write one line to standard error; a reader who is gone must not stop the supervisor."""
    if level not in _written:
        return
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
    whom = f"worker {pid} " if pid else ""
    try:
        os.write(2, f"{stamp} {level} [{os.getpid()}] windlass.supervisor: {whom}{text}\n".encode())
    except OSError:
        pass


def occupy_standard_descriptors() -> None:
    """Where 0, 1 or 2 is closed, open it: else a pipe to a child would get that number, and be written to as a log."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
