"""Map and reduce: a task over many items, in batches whose size follows from how long items take."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from itertools import islice
from math import inf
from typing import Any, NamedTuple, Protocol, cast

from windlass import blocking
from windlass.call import Recipe
from windlass.client import Client
from windlass.compute.batches import BatchMaker, names_of
from windlass.compute.functions import Function, FunctionBatches
from windlass.compute.tracker import Tracker
from windlass.core.errors import InvalidOption, PayloadTooLarge
from windlass.core.lifecycle import State
from windlass.core.model import NewJob
from windlass.core.records import JobResult
from windlass.job import Job
from windlass.progress_bar import Bar, reporting

AIM = 0.1
"""Seconds that a batch should take: long against what a job costs, short against what people wait for."""
FIRST_CHUNK = 16
GROWTH = 8
"""By how much batches grow at most, from one that has been measured to the next."""
LARGEST_CHUNK = 10_000
GOODBYE = 5.0
"""Seconds for which a caller who stops iterating waits until what is on its way is cancelled."""
AHEAD = 0.005
"""Seconds for which an iterable is read ahead at a time."""
_END: Any = object()
FEW = 32
MANY = 2_000


class Sizes:
    """How many items the next batch has.

    Args:
        fixed: as many as the caller says; ``None``: as many as take about `AIM`.
        least: so many at least.
    """

    def __init__(self, fixed: int | None, least: int = 1) -> None:
        if fixed is not None and (isinstance(fixed, bool) or not isinstance(fixed, int) or not 1 <= fixed <= 1_000_000):
            raise InvalidOption(f"chunksize={fixed!r}: expected a whole number from 1 to 1,000,000, or None")
        self._fixed = fixed is not None
        self._least = least
        self.next = max(least, fixed or FIRST_CHUNK)

    def measured(self, items: int, seconds: float) -> None:
        """Hear how long a batch took."""
        if not self._fixed:
            fits = AIM / max(seconds / items, 1e-9)
            self.next = int(max(self._least, min(fits, self.next * GROWTH, LARGEST_CHUNK)))

    def too_large(self, items: int) -> int | None:
        """So many have arguments that exceed the limit: how many to try instead; ``None``: no fewer."""
        fits = max(self._least, items // 4)
        if self._fixed or fits >= items:
            return None
        self.next = fits
        return fits


class Source(Protocol):
    """Where items come from."""

    width: int
    """How many each row has: as many as there are iterables."""

    async def take(self, count: int, most: int) -> list[tuple[Any, ...]]:
        """The next rows; fewer than ``count`` if there are no more. As many as ``most`` will be wanted before long."""


class Items:
    """Iterables, some of which may be asynchronous, at the same pace: the shortest ends it. Raises `InvalidOption`."""

    def __init__(self, iterables: tuple[Any, ...]) -> None:
        check_iterables(iterables)
        self.width = len(iterables)
        is_async = any(isinstance(one, AsyncIterable) for one in iterables)
        self._rows: Any = _zipped(iterables) if is_async else zip(*iterables, strict=False)

    async def take(self, count: int, most: int) -> list[tuple[Any, ...]]:  # noqa: ARG002 - asking again costs nothing
        """See `Source`."""
        if not isinstance(self._rows, AsyncIterator):
            return list(islice(self._rows, count))
        rows: list[tuple[Any, ...]] = []
        async for row in self._rows:
            rows.append(row)
            if len(rows) == count:
                break
        return rows


class AskedFor:
    """Iterables that another thread iterates over, when it is asked to: see `mapped_sync`.

    To ask it costs more than many tasks do, so that it reads ahead. What it has read is there for the taking, even
    while it waits for what comes next.
    """

    def __init__(self, width: int, events: queue.SimpleQueue[Any]) -> None:
        self.width = width
        self._events = events
        self._rows: deque[tuple[Any, ...]] = deque()
        self._wanted: float = inf
        """How many somebody waits for."""

    async def take(self, count: int, most: int) -> list[tuple[Any, ...]]:
        """See `Source`."""
        rows = self._rows
        if len(rows) < count:
            self._loop = asyncio.get_running_loop()
            self._enough = self._loop.create_future()
            self._wanted = count
            self._events.put(_Wanted(self, most))
            await self._enough
        return [rows.popleft() for _ in range(min(count, len(rows)))]

    def answer(self, source: Iterator[tuple[Any, ...]], most: int) -> None:
        """Take so many rows here, or as many as come within `AHEAD`, but no fewer than are waited for. Raises what the
        source raises."""
        if self._wanted is inf:
            return  # what is asked for had been read meanwhile
        rows = self._rows
        until = time.perf_counter() + AHEAD
        for _ in range(most):
            row = next(source, _END)
            if row is _END:
                self._tell()  # of fewer than are waited for: there are no more
                return
            rows.append(row)
            if len(rows) >= self._wanted:
                self._tell()
            if self._wanted is inf and time.perf_counter() > until:
                return
        # Whoever has come to wait meanwhile, for more than that, has asked for it: the next event.

    def _tell(self) -> None:
        if self._wanted is not inf:
            self._wanted = inf
            self._loop.call_soon_threadsafe(_end, self._enough)


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Wanted(NamedTuple):
    """Rows that are wanted: by whom, and how many at most."""

    by: AskedFor
    most: int

    def answer(self, source: Iterator[tuple[Any, ...]]) -> None:
        """Take them here."""
        self.by.answer(source, self.most)


def check_iterables(iterables: tuple[Any, ...]) -> None:
    """Raise `InvalidOption` for what cannot be iterated over."""
    if not iterables:
        raise InvalidOption("map: expected something to iterate over, got nothing")
    for one in iterables:
        if isinstance(one, (str, bytes)) or not isinstance(one, (Iterable, AsyncIterable)):
            raise InvalidOption(f"map: {type(one).__name__} is nothing to iterate over; expected an iterable of items")


class _Batch:
    """A batch on its way."""

    __slots__ = ("items", "job_id", "outcome")

    def __init__(self, job_id: bytes, items: int) -> None:
        self.job_id = job_id
        self.items = items
        self.outcome: JobResult | Exception | None = None


class Mapping:
    """One map. Iterate over it once.

    Args:
        recipe: the task with its options, or a function that is none.
        source: the items.
        constants: arguments that all items share.
        chunksize: items of a batch; ``None``: as many as take about a tenth of a second.
        window: batches on their way at once; ``None``: `FEW`, or, if they are small, as many as hold `MANY` items.
        ordered: whether results come in the order of the items.
        fold: see `windlass.compute.batches.Batch`.
        progress: called with the number of items that are done, after each batch; or a bar to show.
    """

    def __init__(
        self,
        recipe: Recipe | Function,
        source: Source,
        constants: dict[str, Any],
        *,
        chunksize: int | None,
        window: int | None,
        ordered: bool,
        fold: bool = False,
        progress: Callable[[int], object] | Bar | None = None,
    ) -> None:
        is_number = isinstance(window, int) and not isinstance(window, bool)
        if window is not None and not (is_number and 1 <= window <= 100_000):
            raise InvalidOption(f"window={window!r}: expected a whole number from 1 to 100,000, or None")
        self._client = recipe.client
        self._maker = (
            FunctionBatches(recipe, constants, fold=fold)
            if isinstance(recipe, Function)
            else BatchMaker(recipe, names_of(recipe, source.width, constants), constants, fold=fold)
        )
        self._source = source
        self._sizes = Sizes(chunksize, 2 if fold else 1)
        self._window = window
        self._ordered = ordered
        self._progress = progress
        self._on_their_way: deque[_Batch] = deque()
        self._ended: deque[_Batch] = deque()
        """Those that have ended, where results come in any order."""
        self._news = asyncio.Event()
        self._left: list[tuple[Any, ...]] = []
        """Rows that were taken from the source, and found no place in a batch."""
        self._exhausted = False

    async def batches(self) -> AsyncIterator[list[Any]]:
        """The results, a batch of them at a time."""
        with reporting(self._progress) as report:
            async with aclosing(self._counted()) as counted:
                async for values, done in counted:
                    report(done)
                    yield values

    async def _counted(self) -> AsyncGenerator[tuple[list[Any], int], None]:
        """The same, with how many items are done."""
        tracker = Tracker(self._client)
        done = 0
        try:
            while True:
                if self._is_worth_filling():
                    while len(self._on_their_way) < self._room and (batch := await self._send(tracker)):
                        self._on_their_way.append(batch)
                if not self._on_their_way:
                    return
                batch = await self._next()
                values, seconds = self._maker.values(batch.job_id, await self._result(batch))
                self._sizes.measured(batch.items, seconds)
                done += batch.items
                yield values, done
        finally:
            await tracker.aclose()
            await self._cancel_rest()

    def _is_worth_filling(self) -> bool:
        """Whether to send more now: results that are there already go first, as long as workers have enough to do, so
        that much is sent together."""
        is_there = bool(self._ended) or (self._on_their_way and self._on_their_way[0].outcome is not None)
        free = self._room - len(self._on_their_way)
        return not is_there or 4 * free >= self._room

    @property
    def _room(self) -> int:
        """How many batches may be on their way."""
        return self._window or max(FEW, MANY // self._sizes.next)

    async def _next(self) -> _Batch:
        """The batch whose results come next, once they are there."""
        while True:
            if self._ordered and self._on_their_way[0].outcome is not None:
                return self._on_their_way.popleft()
            if not self._ordered and self._ended:
                batch = self._ended.popleft()
                self._on_their_way.remove(batch)
                return batch
            self._news.clear()
            await self._news.wait()

    async def _result(self, batch: _Batch) -> bytes:
        outcome = batch.outcome
        if isinstance(outcome, Exception):
            raise outcome
        assert outcome is not None
        if outcome.state is not State.SUCCEEDED or outcome.result is None:
            await Job(self._client, batch.job_id, self._maker.spec).result(0)  # raises what it died of
        return cast("bytes", outcome.result)

    async def _send(self, tracker: Tracker) -> _Batch | None:
        job, items = await self._make()
        if job is None:
            return None
        batch = _Batch(job.id, items)

        def end(outcome: JobResult | Exception) -> None:
            batch.outcome = outcome
            if not self._ordered:
                self._ended.append(batch)
            self._news.set()

        tracker.send(job, end)
        return batch

    async def _make(self) -> tuple[NewJob | None, int]:
        """The job of the next batch, and how many items it has; no job, if there are none."""
        rows = await self._take(self._sizes.next)
        while rows:
            try:
                return self._maker.job(list(zip(*rows, strict=True))), len(rows)
            except PayloadTooLarge:
                fits = self._sizes.too_large(len(rows))
                if fits is None:
                    raise
                self._left = rows[fits:] + self._left
                rows = rows[:fits]
        return None, 0

    async def _take(self, count: int) -> list[tuple[Any, ...]]:
        rows, self._left = self._left[:count], self._left[count:]
        if len(rows) < count and not self._exhausted:
            free = max(1, self._room - len(self._on_their_way))  # batches that may be sent now
            taken = await self._source.take(count - len(rows), count * free - len(rows))
            self._exhausted = len(rows) + len(taken) < count
            rows += taken
        return rows

    async def _cancel_rest(self) -> None:
        """Nobody wants the rest: the source raised, or the caller went away."""
        ids = [batch.job_id for batch in self._on_their_way if batch.outcome is None]
        self._on_their_way.clear()
        store = (await self._client.opened()).store
        for start in range(0, len(ids), 200):
            await store.cancel(ids[start : start + 200])


async def _zipped(iterables: tuple[Any, ...]) -> AsyncIterator[tuple[Any, ...]]:
    iterators = [aiter(one) if isinstance(one, AsyncIterable) else iter(one) for one in iterables]
    while True:
        row: list[Any] = []
        for one in iterators:
            item = await anext(one, _END) if isinstance(one, AsyncIterator) else next(one, _END)
            if item is _END:
                return
            row.append(item)
        yield tuple(row)


def _next_event(events: queue.SimpleQueue[Any], deadline: float | None, timeout: float | None) -> Any:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        return events.get(timeout=left)
    except queue.Empty:
        raise TimeoutError(f"map: no result within {timeout:g} s") from None


async def mapped(mapping: Mapping) -> AsyncIterator[Any]:
    """The results, one at a time."""
    async for values in mapping.batches():
        for value in values:
            yield value


def mapped_sync(
    client: Client, iterables: tuple[Any, ...], make: Callable[[Source], Mapping], timeout: float | None
) -> Iterator[Any]:
    """As `mapped`, blocking. The iterables are iterated in the caller's own thread, whenever it waits for results."""
    client.check_may_wait()
    check_iterables(iterables)
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    mapping = make(AskedFor(len(iterables), events))
    return _results(mapping, zip(*iterables, strict=False), events, timeout)


def _results(
    mapping: Mapping, rows: Iterator[tuple[Any, ...]], events: queue.SimpleQueue[Any], timeout: float | None
) -> Iterator[Any]:
    async def run() -> None:
        try:
            async for values in mapping.batches():
                events.put(values)
            events.put(None)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised where the results are wanted
            events.put(error)
        finally:
            over.set()

    over = threading.Event()
    future = blocking.submit(run)
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while True:
            event = _next_event(events, deadline, timeout)
            if isinstance(event, _Wanted):
                event.answer(rows)
            elif isinstance(event, BaseException):
                raise event
            elif event is None:
                return
            else:
                yield from event
    finally:
        future.cancel()
        if not blocking.loop_thread().is_this:  # a generator may be closed by whoever collects garbage
            over.wait(GOODBYE)


class Reduction:
    """Reduces in a tree: batches of neighbours on the workers, then batches of what came of them, until one is left."""

    def __init__(self, recipe: Recipe | Function, *, chunksize: int | None, window: int | None) -> None:
        self._recipe = recipe
        self._chunksize = chunksize
        self._window = window

    def level(self, source: Source) -> Mapping:
        """One level of the tree."""
        return Mapping(
            self._recipe, source, {}, chunksize=self._chunksize, window=self._window, ordered=True, fold=True
        )

    def check(self, found: list[Any]) -> Any:
        """The one that is left. Raises ``TypeError`` if there never was one."""
        if not found:
            raise TypeError("reduce: there is nothing to reduce, and no first value")
        return found[0]

    async def run(self, items: Any) -> Any:
        """Reduce on the running event loop."""
        found = [value async for value in mapped(self.level(Items((items,))))]
        while len(found) > 1:
            found = [value async for value in mapped(self.level(Items((found,))))]
        return self.check(found)

    def run_sync(self, client: Client, items: Any) -> Any:
        """As `run`, blocking."""
        found = list(mapped_sync(client, (items,), self.level, None))
        while len(found) > 1:
            found = list(mapped_sync(client, (found,), self.level, None))
        return self.check(found)
