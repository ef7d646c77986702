"""Many jobs at once, chosen by what they have in common: a walk through the store, one page after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any

import msgspec

from windlass import blocking
from windlass.client import Client
from windlass.core.errors import InvalidOption
from windlass.core.lifecycle import State
from windlass.core.records import CancelAnswer, JobFilter, ReplayAnswer
from windlass.store.port import JobStore, Store

PAGE = 500
"""Jobs to which something is done in one call of the store."""
_DONE = (CancelAnswer.CANCELLED, CancelAnswer.REQUESTED)


class BulkProgress(msgspec.Struct, frozen=True):
    """How far a walk has come."""

    matched: int = 0
    """Jobs met so far that are meant."""
    done: int = 0
    """Those of them to which it was done."""

    @property
    def refused(self) -> int:
        """Those to which it could not be done: they have gone on meanwhile, or there is something against it."""
        return self.matched - self.done


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can be done to many jobs."""

    name: str
    states: tuple[State, ...]
    """In which it can be done."""
    unless_said: tuple[State, ...]
    """In which it is done if nobody names states."""
    oldest_first: bool
    apply: Callable[[JobStore, list[bytes]], Awaitable[int]]
    """Does it to a batch; answers to how many it was done."""

    def narrow(self, wanted: JobFilter) -> JobFilter:
        """Restrict a filter to the states in which this can be done. Raises `InvalidOption` if it names others."""
        if wanted.states is None:
            return msgspec.structs.replace(wanted, states=self.unless_said)
        wrong = [state.word for state in wanted.states if state not in self.states]
        if wrong:
            possible = ", ".join(state.word for state in self.states)
            raise InvalidOption(f"{self.name}: not possible for jobs that are {', '.join(wrong)}; only for {possible}")
        return wanted


async def _cancel(store: JobStore, ids: list[bytes]) -> int:
    return sum(answer in _DONE for answer in await store.cancel(ids))


async def _replay(store: JobStore, ids: list[bytes]) -> int:
    return (await store.replay(ids)).count(ReplayAnswer.REPLAYED)


async def _purge(store: JobStore, ids: list[bytes]) -> int:
    return await store.delete(ids)


_UNFINISHED = tuple(state for state in State if not state.is_finished)
_FINISHED = tuple(state for state in State if state.is_finished)

# Newest first, so as not to run after what workers take from the other end.
CANCEL = Act("cancel", _UNFINISHED, _UNFINISHED, oldest_first=False, apply=_cancel)
# In the order in which they came; and nobody wants what was cancelled on purpose unless it is named.
REPLAY = Act("replay", (State.DEAD, State.CANCELLED), (State.DEAD,), oldest_first=True, apply=_replay)
PURGE = Act("purge", _FINISHED, _FINISHED, oldest_first=True, apply=_purge)


async def walk(store: Store, wanted: JobFilter, act: Act | None) -> AsyncIterator[BulkProgress]:
    """Do something to all jobs that a filter means, or (``None``) only count them; says after each step how far it has
    come.

    May be left at any step, and begun anew: what is done is done, and is not met again in a state in which it can be
    done. A job that is enqueued meanwhile may be met or not.
    """
    oldest_first = act is not None and act.oldest_first
    matched = done = 0
    cursor = None
    while True:
        page = await store.list_jobs(wanted, limit=PAGE, cursor=cursor, oldest_first=oldest_first)
        ids = [job.id for job in page.jobs]
        matched += len(ids)
        if ids and act is not None:
            done += await act.apply(store, ids)
        yield BulkProgress(matched, done)
        cursor = page.cursor
        if cursor is None:
            return


class Bulk:
    """Something that is done to many jobs. Await it for the total, or iterate over it (``async for``) to hear how far
    it has come; nothing happens before. Left halfway, or after an error, the same call goes on where it ended."""

    __slots__ = ("_act", "_client", "_wanted")

    def __init__(self, client: Client, wanted: JobFilter, act: Act | None) -> None:
        self._client = client
        self._wanted = wanted
        self._act = act

    async def __aiter__(self) -> AsyncIterator[BulkProgress]:
        store = (await self._client.opened()).store
        async for progress in walk(store, self._wanted, self._act):
            yield progress

    def __await__(self) -> Generator[Any, None, BulkProgress]:
        return self.total().__await__()

    async def total(self) -> BulkProgress:
        """Go through to the end."""
        total = BulkProgress()
        async for progress in self:
            total = progress
        return total


class JobSelection:
    """Jobs with something in common; made by `App.jobs`. The store is not asked before something is done.

    Each method walks through the store in steps of 500 jobs, so that nobody else waits for it, and has a blocking twin
    whose name ends in ``_sync``.
    """

    __slots__ = ("_client", "_everything", "_wanted")

    def __init__(self, client: Client, wanted: JobFilter, *, everything: bool) -> None:
        self._client = client
        self._wanted = wanted
        self._everything = everything

    def cancel(self) -> Bulk:
        """Cancel those that are unfinished, or of these those in the statuses that were named; of those that run, the
        workers are told."""
        return self._bulk(CANCEL)

    def cancel_sync(self) -> BulkProgress:
        """As `cancel`, blocking."""
        return blocking.run(self.cancel().total)

    def replay(self) -> Bulk:
        """Make those that are dead ready again, oldest first; cancelled ones only if ``status`` names them. Refused
        are those whose unique key another job holds."""
        return self._bulk(REPLAY)

    def replay_sync(self) -> BulkProgress:
        """As `replay`, blocking."""
        return blocking.run(self.replay().total)

    def purge(self) -> Bulk:
        """Delete those that are finished. Refused are those that finished within the last five minutes, and those on
        which unfinished jobs depend."""
        return self._bulk(PURGE)

    def purge_sync(self) -> BulkProgress:
        """As `purge`, blocking."""
        return blocking.run(self.purge().total)

    async def count(self) -> int:
        """How many there are."""
        return (await Bulk(self._client, self._wanted, None)).matched

    def count_sync(self) -> int:
        """As `count`, blocking."""
        return blocking.run(self.count)

    def _bulk(self, act: Act) -> Bulk:
        if self._wanted == JobFilter() and not self._everything:
            raise InvalidOption(
                f"app.jobs().{act.name}(): names no jobs; say which, as in app.jobs(task=...), or everything=True"
            )
        return Bulk(self._client, act.narrow(self._wanted), act)
