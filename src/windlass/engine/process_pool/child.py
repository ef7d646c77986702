"""One child of a worker: its line, its output, its end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from contextlib import suppress
from typing import Protocol

from windlass.context import NoteSink
from windlass.core.model import Settlement
from windlass.core.remote import MAX_TRACEBACK
from windlass.core.text import indented
from windlass.engine.attempt import Attempt, EndReason
from windlass.engine.process_pool.death import describe
from windlass.engine.process_pool.line import Line
from windlass.engine.process_pool.output import Output
from windlass.engine.process_pool.process import Process
from windlass.engine.process_pool.wire import SLACK, Answer, Ended, Noted, Ready, Refused, Setup

log = logging.getLogger("windlass.engine")

HEED = 1.0
"""Seconds that a task has to end once it was interrupted; then its process is killed."""
START_LIMIT = 120.0
"""Seconds in which a child must have imported the app."""
LINGER = 0.5
"""Seconds for which a line is listened to after its child's end."""
FAREWELL = 5.0
"""Seconds that a child has for its exit handlers."""
_AT_ONCE = (EndReason.LOST, EndReason.LEASE)
"""The job may be running elsewhere by now: nothing is waited for."""


class Owner(Protocol):
    """Who hears from a child."""

    def ready(self, child: Child) -> None:
        """It can run attempts now."""

    def leaves(self, child: Child) -> None:
        """It will end, though nobody asked for that: a successor is wanted."""

    def ended(self, child: Child, attempt: Attempt, settlement: Settlement) -> None:
        """It has run an attempt to its end, and can run another."""

    def gone(self, child: Child, how: str, where: str) -> None:
        """It is dead. ``how`` says of what, as in "exited with code 1", ``where`` what it wrote about that."""


class Child:
    """A child process, from its start to its end. Belongs to the event loop on which it is made."""

    def __init__(self, setup: Setup, longest: int, owner: Owner, sink: NoteSink) -> None:
        self._setup = setup
        self._longest = longest + SLACK
        self._owner = owner
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self.attempt: Attempt | None = None
        """What it runs."""
        self.is_ready = False
        self.leaving = False
        """It gets no more work."""
        self.retired = False
        """It was told to end."""
        self.done = 0
        """Attempts that it has run."""
        self.memory = 0
        """Resident bytes after the last one, if it was told to report them."""
        self.began_at = time.monotonic()
        self.ready_at = self.began_at
        self.died_before = False
        """It was dead before its attempt began."""
        self._code: int | None = None
        self._fault = ""
        """What was wrong with it before it died."""
        self._idle_output = ""
        self._timer: asyncio.TimerHandle | None = None
        self._open()

    @property
    def pid(self) -> int:
        """Its process id; 0 as long as it has none."""
        return self._process.pid

    @property
    def idle(self) -> bool:
        """Whether it could run an attempt now."""
        return self.is_ready and self.attempt is None and not self.leaving

    # --------------------------------------------------------------------------------------------- start

    def _open(self) -> None:
        """Start it. Raises `OSError` where the system has no room for another process."""
        descriptors: list[int] = []

        def pipe() -> tuple[int, int]:
            ends = os.pipe()
            descriptors.extend(ends)
            return ends

        try:
            output, output_end = pipe()
            control_end, self._control = pipe()
            self._crash, crash_end = pipe()
            ours, theirs = socket.socketpair()
        except OSError:
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        for descriptor in (self._control, self._crash, crash_end):
            os.set_blocking(descriptor, False)
        ours.setblocking(False)
        self._output = Output(output, self._printed)
        self._line = Line(self._longest, self._hear, self._line_lost)
        self._process = Process((theirs.detach(), control_end, crash_end), output_end, self._started, self._died)
        self._timer = self._loop.call_later(START_LIMIT, self._too_slow)
        self._connecting = self._loop.create_task(self._line.connect(ours, self._setup))

    def _started(self, error: OSError | None) -> None:
        if error is not None:
            self._close()
            self._owner.gone(self, f"could not be started: {error}", "")

    def _too_slow(self) -> None:
        self._fault = f"did not import the app within {START_LIMIT:g} s"
        self.kill()

    # ---------------------------------------------------------------------------------------------- work

    def run(self, attempt: Attempt) -> None:
        """Have it run an attempt. Its owner hears of the end."""
        assert self.idle
        self._flush_idle_output()
        self.attempt = attempt
        attempt.on_end_asked = self._interrupt
        self._line.send(attempt.job)

    def _hear(self, answer: Answer) -> None:
        if isinstance(answer, Ended):
            self._ended(answer)
        elif isinstance(answer, Noted):
            note = answer.note
            attempt = self.attempt
            if attempt is not None and (note.id, note.token) == (attempt.job.id, attempt.job.token):
                self._sink.note(attempt.job, progress=note.progress, message=note.message, log=note.log)
        elif isinstance(answer, Ready):
            self._stop_timer()
            self.is_ready = True
            self.ready_at = time.monotonic()
            self._output.flush()
            self._owner.ready(self)
        elif isinstance(answer, Refused):
            self._fault = answer.why

    def _ended(self, answer: Ended) -> None:
        attempt, settlement = self.attempt, answer.settlement
        if attempt is None or (settlement.id, settlement.token) != (attempt.job.id, attempt.job.token):
            return  # task code that speaks in our place
        self._output.flush()
        self.attempt = attempt.on_end_asked = None
        self.done += 1
        self.memory = answer.memory
        if self.leaving:
            self.retire()
        self._owner.ended(self, attempt, settlement)

    def _printed(self, text: str) -> None:
        if self.attempt is not None:
            self._sink.note(self.attempt.job, progress=None, message=None, log=text)
        else:
            self._idle_output = (self._idle_output + text)[-MAX_TRACEBACK:]

    def _flush_idle_output(self) -> None:
        """Put what was printed while there was no job to the worker's own log."""
        self._output.flush()
        text, self._idle_output = self._idle_output, ""
        if text.strip():
            log.info("process %d, outside of any job:%s", self.pid, indented(text))

    # ----------------------------------------------------------------------------------------------- end

    def _interrupt(self, reason: EndReason) -> None:
        """Have the attempt end: ask first, where there is time, and kill then. The child is not used again: what was
        interrupted may have left anything half done."""
        self.leaving = True
        if reason is not EndReason.SHUTDOWN:
            self._owner.leaves(self)
        if reason in _AT_ONCE:
            self._kill_for("was killed")
        elif self._timer is None:
            self._process.signal(signal.SIGQUIT)  # has it write where it stands
            with suppress(OSError):
                os.write(self._control, bytes([reason.value]))
            self._process.signal(signal.SIGTERM)
            self._timer = self._loop.call_later(HEED, self._kill_for, "did not end when asked to, and was killed")

    def retire(self) -> None:
        """Have it end when it has nothing to do, which is now or after its attempt."""
        self.leaving = self.retired = True
        if self.attempt is None:
            self._stop_timer()
            self._line.hang_up()
            self._timer = self._loop.call_later(FAREWELL, self.kill)

    def kill(self) -> None:
        """End it now, and what it started."""
        self.leaving = True
        self._process.kill()

    def _line_lost(self, fault: str) -> None:
        """Kill what cannot speak any more; most often it is dying already."""
        self.leaving = True
        self._owner.leaves(self)
        self._stop_timer()
        if self._code is not None:
            self._bury()
        else:
            self._timer = self._loop.call_later(HEED, self._kill_for, fault)

    def _kill_for(self, fault: str) -> None:
        self._fault = fault
        self.kill()

    def _died(self, code: int) -> None:
        """Hear out what it said before, as long as the line is open. A process that it left behind may keep it so."""
        self._code = code
        self._stop_timer()
        if self._line.is_open:
            self._timer = self._loop.call_later(LINGER, self._bury)
        else:
            self._bury()

    def _bury(self) -> None:
        assert self._code is not None
        how, where = self._fault or describe(self._code), self._last_words()
        self.died_before = self._line.unread
        if self.is_ready:
            self._flush_idle_output()
        else:
            self._output.flush()
            where = "\n".join(filter(None, [self._idle_output.strip(), where]))
        self._close()
        self._owner.gone(self, how, where)

    def _last_words(self) -> str:
        """What the interpreter wrote about its end, or about where it stood when it was asked to end."""
        try:
            data = os.read(self._crash, 8 * MAX_TRACEBACK)
        except OSError:
            return ""
        return data.decode("utf-8", "backslashreplace")[-MAX_TRACEBACK:]

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._stop_timer()
        self._connecting.cancel()
        self._line.hang_up()
        self._output.close()
        os.close(self._control)
        os.close(self._crash)
