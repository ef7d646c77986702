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
_as_json = False


def set_log_level(least: str) -> None:
    """Write no lines that matter less than this. (The supervisor does without `logging`, which would be most of it.)"""
    _written.clear()
    _written.update(_LEVELS[_LEVELS.index(least) :])


def set_log_form(form: str) -> None:
    """``json``: write an object on each line."""
    global _as_json  # noqa: PLW0603 - one process, one log
    _as_json = form == "json"


def _quoted(text: str) -> str:
    """Text as JSON has it. (`json` is more than all of the supervisor's own needs.)"""
    signs = (sign if " " <= sign <= "~" and sign not in '"\\' else _escaped(sign) for sign in text)
    return f'"{"".join(signs)}"'


def _escaped(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def log(pid: int, text: str, level: str = INFO) -> None:
    """Write one line to standard error; a reader who is gone must not stop the supervisor."""
    if level not in _written:
        return
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03}Z"
    whom = f"worker {pid} " if pid else ""
    line = f"{stamp} {level} [{os.getpid()}] windlass.supervisor: {whom}{text}"
    if _as_json:
        said = {"time": stamp, "level": level, "logger": "windlass.supervisor", "message": f"{whom}{text}"}
        pairs = [f"{_quoted(name)}: {_quoted(value)}" for name, value in said.items()]
        line = "{" + ", ".join([*pairs, f'"pid": {os.getpid()}']) + "}"
    try:
        os.write(2, f"{line}\n".encode())
    except OSError:
        pass


def occupy_standard_descriptors() -> None:
    """Where 0, 1 or 2 is closed, open it: else a pipe to a child would get that number, and be written to as a log."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
