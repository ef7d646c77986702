"""Enqueueing many calls: in chunks, so that memory is bounded whatever the source yields."""

from __future__ import annotations

import asyncio
import warnings
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar, cast

from windlass import blocking
from windlass.call import Call, Recipe, send
from windlass.client import Client
from windlass.core.errors import UsageError
from windlass.core.model import MAX_BATCH, MAX_CALL_BYTES, EnqueueAnswer, NewJob
from windlass.job import Job

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Calls: TypeAlias = Iterable[Call[R_co]] | AsyncIterable[Call[R_co]]

IN_FLIGHT = 2
"""Chunks on their way to the store at once: while one is written, the next is made."""


@dataclass(slots=True, eq=False)
class _Chunk:
    """Jobs that travel together."""

    jobs: list[NewJob] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)
    size: int = 0

    @property
    def is_full(self) -> bool:
        return len(self.jobs) >= MAX_BATCH or self.size >= MAX_CALL_BYTES

    def add(self, client: Client, call: Call[Any]) -> None:
        if not isinstance(call, Call):
            raise UsageError(
                f"enqueue_many: expected calls such as task.bind(...), got {type(call).__name__}"
                + ("; write task.bind(...), not task.enqueue(...)" if asyncio.iscoroutine(call) else "")
            )
        recipe = call.recipe
        if recipe.client is not client:
            raise UsageError(f"enqueue_many: task {recipe.spec.name!r} belongs to another App")
        if recipe.choices.connection is not None:
            raise UsageError("enqueue_many: calls with connection= are enqueued one by one: await call.enqueue()")
        payload = call.payload
        self.jobs.append(recipe.new_job(payload, call.limit_key))
        self.recipes.append(recipe)
        self.size += len(payload)

    def answered(self, answers: list[EnqueueAnswer]) -> list[Job[Any]]:
        return [recipe.job(job, answer) for recipe, job, answer in zip(self.recipes, self.jobs, answers, strict=True)]


class EnqueueMany(Generic[R_co]):
    """Await it for the list of jobs, or iterate over it (``async for``) to hold a few at a time only.

    Nothing happens before. If the source raises, or the store does, what was stored before stays stored.
    """

    __slots__ = ("_calls", "_client", "_used")

    def __init__(self, client: Client, calls: Calls[R_co]) -> None:
        self._used = True  # nobody need be warned of one that cannot be
        check_calls(calls)
        self._client = client
        self._calls = calls
        self._used = False

    def _use(self) -> None:
        if self._used:
            raise UsageError("enqueue_many(...) was awaited or iterated before: keep the jobs that it gave then")
        self._used = True

    def __await__(self) -> Generator[Any, None, list[Job[R_co]]]:
        self._use()
        return self._collect().__await__()

    async def _collect(self) -> list[Job[R_co]]:
        return [job async for chunk in self._chunks() for job in chunk]

    def __aiter__(self) -> AsyncIterator[Job[R_co]]:
        self._use()
        return self._one_by_one()

    async def _one_by_one(self) -> AsyncIterator[Job[R_co]]:
        async for chunk in self._chunks():
            for job in chunk:
                yield job

    async def _chunks(self) -> AsyncIterator[list[Job[R_co]]]:
        """Send chunks while the next ones are made; yields their jobs in the order of the calls."""
        enqueuer = (await self._client.opened()).enqueuer
        on_the_way: deque[tuple[_Chunk, asyncio.Future[list[EnqueueAnswer]]]] = deque()
        try:
            async for chunk in _chunked(self._client, self._calls):
                on_the_way.append((chunk, enqueuer.submit(chunk.jobs, chunk.size)))
                # It leaves now, not when the next chunk is full.
                await asyncio.sleep(0)
                if len(on_the_way) >= IN_FLIGHT:
                    oldest, answers = on_the_way.popleft()
                    yield cast("list[Job[R_co]]", oldest.answered(await answers))
            while on_the_way:
                oldest, answers = on_the_way.popleft()
                yield cast("list[Job[R_co]]", oldest.answered(await answers))
            if self._client.inline is not None:
                await self._client.inline.run()
        finally:
            # After an error: what is on its way arrives, but nobody asks for the answers.
            for _, answers in on_the_way:
                if not answers.cancel() and not answers.cancelled():
                    answers.exception()

    def __del__(self) -> None:
        if not self._used:
            warnings.warn("enqueue_many(...) was neither awaited nor iterated: nothing was enqueued", stacklevel=2)


def check_calls(calls: object) -> None:
    """Raise `UsageError` for what cannot be iterated."""
    if isinstance(calls, Call):
        raise UsageError("enqueue_many: expected several calls, got one: write enqueue_many([call]), or call.enqueue()")
    if not isinstance(calls, (Iterable, AsyncIterable)):
        raise UsageError(f"enqueue_many: expected an iterable of task.bind(...), got {type(calls).__name__}")


async def _chunked(client: Client, calls: Calls[Any]) -> AsyncIterator[_Chunk]:
    chunk = _Chunk()
    if isinstance(calls, AsyncIterable):
        async for call in calls:
            chunk.add(client, call)
            if chunk.is_full:
                yield chunk
                chunk = _Chunk()
        if chunk.jobs:
            yield chunk
    else:
        for full in _chunked_sync(client, calls):
            yield full


def _chunked_sync(client: Client, calls: Iterable[Call[Any]]) -> Iterator[_Chunk]:
    chunk = _Chunk()
    for call in calls:
        chunk.add(client, call)
        if chunk.is_full:
            yield chunk
            chunk = _Chunk()
    if chunk.jobs:
        yield chunk


def enqueue_many_sync(client: Client, calls: Iterable[Call[R]]) -> Iterator[Job[R]]:
    """As `EnqueueMany`, blocking; the source is iterated in the caller's own thread."""
    check_calls(calls)
    on_the_way: deque[tuple[_Chunk, Future[list[EnqueueAnswer]]]] = deque()
    for chunk in _chunked_sync(client, calls):
        on_the_way.append((chunk, _submit(client, chunk)))
        if len(on_the_way) >= IN_FLIGHT:
            oldest, answers = on_the_way.popleft()
            yield from cast("list[Job[R]]", oldest.answered(blocking.wait_for(answers)))
    for oldest, answers in on_the_way:
        yield from cast("list[Job[R]]", oldest.answered(blocking.wait_for(answers)))
    if client.inline is not None:
        client.inline.run_sync()


def _submit(client: Client, chunk: _Chunk) -> Future[list[EnqueueAnswer]]:
    return blocking.submit(lambda: send(client, chunk.jobs, chunk.size))
