"""The child's end of the line, and what attempts report on it."""

from __future__ import annotations

import os
import socket
import threading
import time

from windlass.core.model import MAX_LOG, ClaimedJob, Note
from windlass.engine.process_pool.death import LINE_LOST
from windlass.engine.process_pool.wire import HEADER, Answer, Noted, Setup, decode_job, decode_setup, frame

PAUSE = 0.05
"""Seconds between two notes of a task that reports without end; what comes between goes with the next."""


class ChildLine:
    """The socket to the worker. Callable from any thread; a process without it ends at once."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._incoming = self._socket.makefile("rb")
        self._lock = threading.Lock()
        self._process = os.getpid()

    def fileno(self) -> int:
        """Its descriptor."""
        return self._socket.fileno()

    def read_setup(self) -> Setup:
        """Read the first message."""
        return decode_setup(self._read() or b"")

    def next_job(self) -> ClaimedJob | None:
        """Wait for a job; ``None``: there will be none."""
        body = self._read()
        return None if body is None else decode_job(body)

    def _read(self) -> bytes | None:
        try:
            header = self._incoming.read(HEADER)
            if len(header) < HEADER:
                return None
            length = int.from_bytes(header, "big")
            body = self._incoming.read(length)
        except OSError:
            os._exit(LINE_LOST)
        return body if len(body) == length else None

    def send(self, answer: Answer) -> None:
        """Send a message. A process that a task forked has no say."""
        if os.getpid() != self._process:
            return
        data = frame(answer)
        try:
            with self._lock:
                self._socket.sendall(data)
        except OSError:
            os._exit(LINE_LOST)


class Notebook:
    """Gathers what attempts report: the first at once, what follows too quickly with the next."""

    def __init__(self, line: ChildLine) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._waiting: Note | None = None
        self._next_at = 0.0
        self._timer: threading.Timer | None = None

    def note(self, job: ClaimedJob, *, progress: float | None, message: str | None, log: str) -> None:
        """See `windlass.context.NoteSink`."""
        with self._lock:
            old = self._waiting
            if old is not None and old.id != job.id:
                self._send(old)
                old = None
            old = old or Note(job.id, job.token)
            self._waiting = Note(
                job.id,
                job.token,
                old.progress if progress is None else progress,
                old.message if message is None else message,
                (old.log + log)[-MAX_LOG:],
            )
            if time.monotonic() >= self._next_at:
                self._flush()
            elif self._timer is None:
                self._timer = threading.Timer(PAUSE, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            self._send(waiting)
            self._next_at = time.monotonic() + PAUSE

    def _send(self, note: Note) -> None:
        self._line.send(Noted(note))
