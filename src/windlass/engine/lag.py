"""Sees from another thread when an event loop is blocked, and says by which task.

Nothing is noted when a task starts or ends: who has the loop is looked up at the moment when it stands still.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from types import FrameType
from typing import Any

from windlass.context import attempt_in

log = logging.getLogger("windlass.engine")

LONGEST_PAUSE = 1.0
"""Seconds between looks, at the most: others go by when the loop last turned."""
FRAMES = 4
LONGEST_LINE = 120
_BELOW_TASKS = (str(Path(asyncio.__file__).parent), str(Path(__file__).parent))
"""Frames of code in these folders are what runs tasks, and say nothing about one."""


class LoopWatch:
    """Watches the loop on which it is made. `look` is to be called each `pause` seconds by another thread."""

    def __init__(
        self,
        patience: float,
        on_look: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        on_turn: Callable[[float], None] = lambda _: None,
    ) -> None:
        """``patience``: seconds that the loop may stand still before it is reported; 0: for ever. ``on_turn`` is called
        on the loop, when it turns after a look, with the seconds that this took."""
        self._clock = clock
        self._patience = patience or float("inf")
        self._on_look = on_look
        self._on_turn = on_turn
        self.pause = min(self._patience / 2, LONGEST_PAUSE)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.ticked_at = self._sent_at = self._looked_at = clock()
        """When the loop last turned: seconds of the monotonic clock."""
        self._answered = True
        self._culprit: str | None = None
        """Who was reported for this standstill."""

    def look(self) -> None:
        """See whether the loop has turned since the last look; report it when it has not for too long, once, and again
        when that is over."""
        now = self._clock()
        asleep = now - self._looked_at - self.pause
        self._looked_at = now
        if asleep >= self._patience:
            self._report_sleep(asleep)
            if self._culprit is None:
                self._sent_at = now  # what comes on top of it counts
        if self._answered:
            self._report_end()
            self._send(now)
        elif self._culprit is None and now - self._sent_at >= self._patience:
            self._report(now - self._sent_at)
        self._on_look()

    def _send(self, now: float) -> None:
        self._answered = False
        self._sent_at = now
        try:
            self._loop.call_soon_threadsafe(self._tick)
        except RuntimeError:
            pass  # the loop is closed

    def _tick(self) -> None:
        self.ticked_at = self._clock()
        self._answered = True
        self._on_turn(self.ticked_at - self._sent_at)

    def _report(self, seconds: float) -> None:
        self._culprit = who_has(self._loop)
        place = where_is(self._thread)
        log.warning("the event loop has been blocked for %.1f s by %s, at %s", seconds, self._culprit, place)

    def _report_end(self) -> None:
        if self._culprit is not None:
            seconds = self.ticked_at - self._sent_at
            log.warning("the event loop goes on: it was blocked for %.1f s by %s", seconds, self._culprit)
        self._culprit = None

    def _report_sleep(self, seconds: float) -> None:
        """Nor did we look in time: say what the loop does at the first moment when we can."""
        log.warning(
            "the whole process stood still for %.1f s (C code that keeps the GIL? a stopped process?); "
            "now its event loop is in %s, at %s",
            seconds,
            who_has(self._loop),
            where_is(self._thread),
        )


def who_has(loop: asyncio.AbstractEventLoop) -> str:
    """Name what the loop executes at this moment. Callable from any thread."""
    task = asyncio.current_task(loop)
    if task is None:
        return "code that is not in a task"
    attempt = attempt_in(_context_of(task))
    if attempt is None:
        return f"code that is not in a task of the app, but in asyncio's {task.get_name()!r}"
    return f"task {attempt.task} (job {attempt.job_id}, attempt {attempt.attempt})"


def _context_of(task: asyncio.Task[Any]) -> Context:
    """The context of a coroutine, which whatever an attempt starts inherits from it."""
    if sys.version_info >= (3, 12):
        return task.get_context()
    return next((found for found in gc.get_referents(task) if isinstance(found, Context)), Context())


def where_is(thread: int) -> str:
    """Say what a thread executes: the innermost frames of its stack, those that only run tasks left out."""
    frame = sys._current_frames().get(thread)
    frames = traceback.StackSummary.extract(_frames_of_tasks(frame), limit=FRAMES)
    places = [f"{one.filename}:{one.lineno} in {one.name}: {(one.line or '')[:LONGEST_LINE]}" for one in frames]
    return ", called from ".join(places) or "no line of Python"


def _frames_of_tasks(frame: FrameType | None) -> Iterator[tuple[FrameType, int]]:
    innermost = True
    while frame is not None and (innermost or not frame.f_code.co_filename.startswith(_BELOW_TASKS)):
        yield frame, frame.f_lineno
        frame, innermost = frame.f_back, False
