"""The children of one worker: as many as are needed, and no more than there are slots for."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable

from windlass.context import NoteSink
from windlass.core.model import Settlement
from windlass.engine.attempt import Attempt, released
from windlass.engine.process_pool.child import FAREWELL, Child
from windlass.engine.process_pool.config import ChildProcesses
from windlass.engine.process_pool.death import died
from windlass.engine.process_pool.place import Place
from windlass.engine.process_pool.wear import Wear
from windlass.engine.process_pool.wire import Setup

log = logging.getLogger("windlass.engine")

FIRST_BACK_OFF = 0.2
LONGEST_BACK_OFF = 30.0
_LAST_LOOK = 2.0
"""Seconds in which the system collects a process that was killed."""


class ProcessPool:
    """Runs attempts in children. They are started when there is work for them, and stay.

    Args:
        config: see there.
        place: where they find the app.
        longest: bytes of the largest result that a task may have.
        sink: where progress and log lines go.
        ended: called with each attempt's end.
        free: called when a child can run an attempt that could not a moment ago.
        failed: called when children cannot be started, with the reason.
    """

    def __init__(
        self,
        config: ChildProcesses,
        place: Place,
        *,
        longest: int,
        sink: NoteSink,
        ended: Callable[[Attempt, Settlement], None],
        free: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        self._config = config
        self._place = place
        self._longest = longest
        self._sink = sink
        self._on_end = ended
        self._on_free = free
        self._on_failure = failed
        self._loop = asyncio.get_running_loop()
        self._wear = Wear(config.max_jobs, config.max_memory)
        self._children: list[Child] = []
        self._size = 0
        """How many children there should be: as many as were ever needed at once."""
        self._failures = 0
        """Starts that failed one after the other."""
        self._last_failure = ""
        self._retry: asyncio.TimerHandle | None = None
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()
        self.busy = 0
        """Attempts that run, those included that nobody waits for any more."""

    @property
    def failing(self) -> bool:
        """Whether there is no child, and none can be started."""
        return bool(self._failures) and not any(child.is_ready for child in self._children)

    @property
    def starting(self) -> int:
        """Children on their way."""
        return sum(not child.is_ready and not child.leaving for child in self._children)

    @property
    def processes(self) -> list[int]:
        """Their process ids."""
        return [child.pid for child in self._children if child.pid]

    def take(self) -> Child | None:
        """A child that has nothing to do, if another attempt may run now: the one that has run the most, so that one
        that is to be replaced soon is replaced before others begin to wear."""
        if self.busy >= self._config.slots:
            return None
        return max((child for child in self._children if child.idle), key=lambda child: child.done, default=None)

    def run(self, child: Child, attempt: Attempt) -> None:
        """Have a child run an attempt."""
        self.busy += 1
        child.run(attempt)

    def need(self, waiting: int) -> None:
        """Have as many children as it takes to run what waits beside what runs."""
        self._size = max(self._size, min(self._config.slots, self.busy + waiting))
        self._grow()

    # ------------------------------------------------------------------------------------------ children

    def _grow(self) -> None:
        """Start what is missing; beside those that will be replaced soon, their successors."""
        if self._closing or self._retry is not None:
            return
        staying = [child for child in self._children if not child.leaving]
        wanted = self._size + sum(self._wear.nears_end(child) for child in staying)
        for _ in range(min(wanted, 2 * self._size) - len(staying)):
            try:
                self._start()
            except OSError as error:
                self._start_failed(f"could not be started: {error}", "")
                return

    def _start(self) -> None:
        config = self._config
        setup = Setup(
            parent=os.getpid(),
            path=tuple(map(os.fsencode, sys.path)),
            place=self._place,
            memory_limit=config.memory_limit,
            max_memory=config.max_memory,
            log_level=config.log_level,
        )
        self._children.append(Child(setup, self._longest, self, self._sink))
        self._empty.clear()

    def ready(self, child: Child) -> None:
        """See `Owner`."""
        self._failures = 0
        self._wear.started(child)
        log.debug("process %d is ready", child.pid)
        self._on_free()

    def leaves(self, child: Child) -> None:
        """See `Owner`. Until it has gone, it is given time to end: time to start another."""
        log.debug("process %d is to end", child.pid)
        self._grow()

    def ended(self, child: Child, attempt: Attempt, settlement: Settlement) -> None:
        """See `Owner`."""
        self.busy -= 1
        if not child.leaving and self._wear.is_worn(child):
            child.retire()
        if child.leaving or self._wear.nears_end(child):
            self._grow()
        self._on_end(attempt, settlement)

    def gone(self, child: Child, how: str, where: str) -> None:
        """See `Owner`."""
        self._children.remove(child)
        if not self._children:
            self._empty.set()
        attempt, child.attempt = child.attempt, None
        if not child.is_ready and not self._closing:
            self._start_failed(how, where)
        elif attempt is not None:
            log.warning("process %d, which ran job %s, %s", child.pid, attempt.job_id, how)
            self.busy -= 1
            self._on_end(attempt, _judge(attempt, how, where, begun=not child.died_before))
        elif not (child.retired or self._closing):
            log.warning("process %d, which ran nothing, %s", child.pid, how)
        self._grow()

    def _start_failed(self, how: str, where: str) -> None:
        pause = min(FIRST_BACK_OFF * 2**self._failures, LONGEST_BACK_OFF)
        self._failures += 1
        if where and where == self._last_failure:
            log.error("a child process %s, as before; again in %g s", how, pause)
        else:
            log.error("a child process %s; again in %g s%s", how, pause, f"\n{where}" if where else "")
        self._last_failure = where
        if self._retry is None:
            self._retry = self._loop.call_later(pause, self._try_again)
        if self.failing:
            self._on_failure(f"a child process {how}")

    def _try_again(self) -> None:
        self._retry = None
        self._grow()

    # ----------------------------------------------------------------------------------------------- end

    async def aclose(self) -> None:
        """End all children: those that run something at once, the others when their exit handlers have run."""
        self._closing = True
        if self._retry is not None:
            self._retry.cancel()
        for child in list(self._children):
            if child.attempt is not None or not child.is_ready:
                child.kill()
            else:
                child.retire()
        try:
            async with asyncio.timeout(FAREWELL + _LAST_LOOK):
                await self._empty.wait()
        except TimeoutError:
            log.warning("processes %s do not end, though they were killed", self.processes)


def _judge(attempt: Attempt, how: str, where: str, *, begun: bool) -> Settlement:
    """What the death of its process means for an attempt: what was asked of it, or else a failure; nothing, if it had
    not begun."""
    if attempt.end_reason is not None:
        return attempt.interrupted(where=where)
    if not begun:
        return released(attempt.job, started=False)
    return attempt.failed(died(how, where))
