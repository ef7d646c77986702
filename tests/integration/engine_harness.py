"""A worker on a store, by hand: what the engine's tests share."""

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from windlass.core.clock import SECOND, Span
from windlass.core.codec import Signature
from windlass.core.errors import StoreUnavailable
from windlass.core.ids import new_id
from windlass.core.lifecycle import State
from windlass.core.model import NewJob, Session
from windlass.core.records import JobRecord
from windlass.core.task import TaskSpec
from windlass.engine.config import WorkerConfig
from windlass.engine.worker import Worker
from windlass.store.port import Store
from windlass.testing.signals import RecordingSignals

LEASE: Span = SECOND


def spec(function: Callable[..., Any], **options: Any) -> TaskSpec:
    """Make a task of a function, named as the function is."""
    name = options.pop("name", function.__name__)
    executor = "async" if inspect.iscoroutinefunction(function) else "thread"
    return TaskSpec(name=name, function=function, signature=Signature(name, function), executor=executor, **options)


def new_job(task: str, payload: object = None, **fields: Any) -> NewJob:
    """Make a job with this payload (an object of parameters)."""
    encoded = payload if isinstance(payload, bytes) else msgspec.json.encode(payload or {})
    return NewJob(id=new_id(), task=task, payload=encoded, **fields)


async def enqueue(store: Store, *jobs: NewJob) -> list[bytes]:
    """Store these and return their ids."""
    for start in range(0, len(jobs), 1000):
        await store.enqueue(jobs[start : start + 1000], first_sent=await store.now())
    return [job.id for job in jobs]


def new_session() -> Session:
    """A session that belongs to nobody who renews."""
    return Session(id=uuid.uuid4().bytes, node="test", pid=1)


async def record(store: Store, job_id: bytes) -> JobRecord:
    """Everything about a job that must exist."""
    (found,) = await store.get_jobs([job_id])
    assert found is not None
    return found


async def eventually(check: Callable[[], Awaitable[bool]], timeout: float = 10.0) -> None:
    """Ask until the answer is yes: for what only a store can tell."""
    async with asyncio.timeout(timeout):
        while not await check():  # noqa: ASYNC110 - there is no event: the store is asked
            await asyncio.sleep(0.01)


async def all_in(store: Store, ids: Sequence[bytes], *states: State) -> bool:
    """Whether every one of these jobs is in one of these states."""
    return all(job is not None and job.state in states for job in await store.get_jobs(ids))


class Running:
    """A worker and what it tells."""

    def __init__(self, worker: Worker, signals: RecordingSignals) -> None:
        self.worker = worker
        self.signals = signals

    async def settled(self, count: int, timeout: float = 15.0) -> None:
        await self.signals.wait_for("settled", count, timeout=timeout)


@asynccontextmanager
async def running(store: Store, *tasks: TaskSpec, stop_grace: float = 5.0, **config: Any) -> AsyncIterator[Running]:
    """Run a worker for the length of the block, then stop it."""
    signals = RecordingSignals()
    middleware = config.pop("middleware", ())
    worker = Worker(store, {task.name: task for task in tasks}, WorkerConfig(**config), middleware, signals)
    await worker.start()
    try:
        yield Running(worker, signals)
    finally:
        await worker.stop(stop_grace)


class Switch:
    """A store behind a switch: while `away` is set every verb raises, and `lose` names verbs whose next answer is lost
    after they were carried out; the answers to claims that brought jobs wait for `hold`, if it is there. Counts the
    calls of each verb. Twins share the switch."""

    def __init__(self, store: Any, shared: "Switch | None" = None) -> None:
        self._store = store
        self._shared = shared or self
        if shared is None:
            self.away = False
            self.lose: list[str] = []
            self.hold: asyncio.Event | None = None
            self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def twin(self) -> "Switch":
        return Switch(self._store.twin(), self._shared)

    def named(self, verb: str) -> list[tuple[Any, ...]]:
        return [args for name, args in self._shared.calls if name == verb]

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not inspect.iscoroutinefunction(found) or name in ("connect", "aclose"):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            shared = self._shared
            shared.calls.append((name, args))
            if shared.away:
                raise StoreUnavailable("switched off by the test")
            answer = await found(*args, **kwargs)
            if name == "claim" and answer.jobs and shared.hold is not None:
                await shared.hold.wait()
            if name in shared.lose:
                shared.lose.remove(name)
                raise StoreUnavailable("the answer was lost by the test")
            return answer

        return call
