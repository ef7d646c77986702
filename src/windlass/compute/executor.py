"""The executor of ``concurrent.futures``, over the workers."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - its end must be registered before ours, to come after it
import functools
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Executor as FuturesExecutor
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar, cast, overload

import msgspec

from windlass import blocking
from windlass.call import Recipe
from windlass.client import Client
from windlass.compute.functions import Function
from windlass.compute.mapping import Mapping, Source, mapped_sync
from windlass.compute.tracker import Tracker
from windlass.core.errors import InvalidOption, UsageError
from windlass.core.ids import Family, new_id
from windlass.core.lifecycle import State
from windlass.core.limit_keys import key_of
from windlass.core.model import MAX_BATCH, NewJob, Parent
from windlass.core.records import CancelAnswer, JobResult
from windlass.core.steps import Input, Path, StepInfo
from windlass.job import Job
from windlass.task import Task

P = ParamSpec("P")
R = TypeVar("R")


class JobFuture(Future[R]):
    """The future of a job. It is never `running`: a store says when a job has ended, not when it begins."""

    def __init__(self, executor: Executor, number: int, job_id: bytes, recipe: Recipe | Function) -> None:
        super().__init__()
        self._executor = executor
        self.spec = recipe.spec
        """The task, as the engine sees it."""
        self.function = recipe if isinstance(recipe, Function) else None
        """What the job calls, if that is no task."""
        self.number = number
        """Within its executor."""
        self.job_id = job_id

    @property
    def job(self) -> Job[R]:
        """The job itself. Of a function that is no task it gives no readable result: that is for the future."""
        return cast("Job[R]", self._executor.job_of(self))

    def cancel(self) -> bool:
        """Cancel the job, if it has not started. Returns whether it is cancelled."""
        return self._executor.cancel(self)

    def decode(self, result: bytes) -> R:
        """What the job's result means. Raises `InvalidSignature`, among others."""
        if self.function is not None:
            return cast("R", self.function.value(self.job_id, result))
        return cast("R", self.spec.signature.decode_result(result))

    def give_up(self) -> bool:
        """Be cancelled, whatever becomes of the job."""
        return super().cancel()


class Executor(FuturesExecutor):
    """Runs tasks on the workers: `submit`, `map`, `shutdown` and futures are those of ``concurrent.futures``.

    What is submitted is a task of the app, or any function, if the app and its workers have the same signing key. A
    future may be an argument of what is submitted later, also inside lists, tuples and dicts: the job waits in the
    store until the other one has succeeded, and gets its result (not where one of the two is a function that is no
    task). A unique key of the task does not hold: each future has a job of its own.
    """

    def __init__(self, client: Client, recipe_of: Callable[[Any], Recipe | Function]) -> None:
        self._client = client
        self._recipe_of = recipe_of
        self._lock = threading.Lock()
        self._is_shut_down = False
        self._root = new_id()
        """The jobs are numbered under it, as the steps of a run are."""
        self._family = Family(self._root)
        self._count = 0
        self._futures: dict[bytes, JobFuture[Any]] = {}
        """Those that have not ended."""
        self._idle = threading.Condition(self._lock)
        self._new: list[tuple[NewJob, JobFuture[Any]]] = []
        """Submitted, and not yet seen by the loop."""
        self._tracker: Tracker | None = None
        self._pid = os.getpid()
        _executors.add(self)

    # --------------------------------------------------------------------------------------- submitting

    @overload
    def submit(self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> JobFuture[R]: ...
    @overload
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> JobFuture[R]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> JobFuture[Any]:
        """Enqueue a job that runs a task with these arguments. Returns at once; what goes wrong while it is stored
        is the future's exception.

        Raises:
            RuntimeError: the executor was shut down.
            InvalidArguments: the arguments do not fit the task; or the function or they cannot be pickled.
            PayloadTooLarge: they exceed the limit.
            UsageError: ``fn`` is no task of the app, which has no signing key; an argument is the future of another
                executor, or one that cannot be one.
        """
        recipe, args_given, kwargs_given = self._bound(fn, args, kwargs)
        if not blocking.loop_thread().is_this:  # callbacks of futures are called there, and may submit more
            blocking.check_may_block()
        if isinstance(recipe, Function):
            make = self._call_maker(recipe, args_given, kwargs_given)
        else:
            make = self._job_maker(recipe, args_given, kwargs_given)
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            number = self._count
            self._count += 1
            job = make(number)
            future: JobFuture[Any] = JobFuture(self, number, job.id, recipe)
            self._futures[job.id] = future
            self._new.append((job, future))
            is_first = len(self._new) == 1
        if is_first:
            blocking.loop_thread().loop.call_soon_threadsafe(self._send)
        return future

    def _bound(
        self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Recipe | Function, tuple[Any, ...], dict[str, Any]]:
        while isinstance(fn, functools.partial):
            args, kwargs, fn = (*fn.args, *args), {**fn.keywords, **kwargs}, fn.func
        return self._recipe_of(fn), args, kwargs

    def _call_maker(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[int], NewJob]:
        if any(map(_has_future, (args, kwargs))):
            raise UsageError(f"{function.name} is no task, and takes no futures as arguments; pass their results")
        work = function.work([args], kwargs)
        return lambda number: function.job(self._family.id(number), work)

    def _job_maker(self, recipe: Recipe, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[int], NewJob]:
        takes: list[tuple[Path, JobFuture[Any]]] = []
        signature = recipe.spec.signature
        payload = signature.encode_around(args, kwargs, lambda name, value: self._emptied(value, (name,), takes))
        key = None if recipe.limit_by is None else key_of(signature, payload, recipe.limit_by)
        return lambda number: self._job(recipe, number, payload, key, takes)

    def _emptied(self, value: Any, path: Path, takes: list[tuple[Path, JobFuture[Any]]]) -> Any:
        if isinstance(value, JobFuture):
            if value._executor is not self:
                raise UsageError("a future of another executor cannot be an argument; pass its result")
            if value.function is not None:
                raise UsageError(f"{value.function.name} is no task, and its future no argument; pass its result")
            takes.append((path, value))
            return None
        if isinstance(value, Future):
            raise UsageError("only futures of this executor can be arguments; pass the other's result")
        if type(value) in (list, tuple) and any(map(_has_future, value)):
            return [self._emptied(one, (*path, at), takes) for at, one in enumerate(value)]
        if type(value) is dict and any(map(_has_future, value.values())):
            return {key: self._emptied(one, (*path, key), takes) for key, one in value.items()}
        return value

    def _job(
        self, recipe: Recipe, number: int, payload: bytes, key: str | None, takes: list[tuple[Path, JobFuture[Any]]]
    ) -> NewJob:
        if not takes:
            return msgspec.structs.replace(recipe.new_job(payload, key, self._family.id(number)), unique=None)
        inputs = tuple(Input(path, ((future.number, future.number),)) for path, future in takes)
        info = StepInfo(run=self._root, number=number, name=recipe.spec.function.__name__, inputs=inputs)
        parents = tuple(Parent(job_id) for job_id in dict.fromkeys(future.job_id for _, future in takes))
        return recipe.step_job(self._family.id(number), payload, key, parents, info)

    def _send(self) -> None:
        """On the loop of the blocking façade: hand over what was submitted."""
        with self._lock:
            new, self._new = self._new, []
            if self._tracker is None:
                self._tracker = Tracker(self._client)
            tracker = self._tracker
        for job, future in new:
            tracker.send(job, functools.partial(self._ended, future))

    @overload
    def map(
        self,
        fn: Callable[..., Coroutine[Any, Any, R]],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> Iterator[R]: ...
    @overload
    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> Iterator[R]: ...
    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> Iterator[Any]:
        """As `App.map`: in batches whose size follows from how long items take, unless ``chunksize`` says it."""
        recipe, args, kwargs = self._bound(fn, (), {})
        if args:
            raise InvalidOption("map: a partial with arguments by position; give them by name")
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
        options = {"chunksize": chunksize, "window": window, "ordered": True}
        make = functools.partial(_mapping, recipe, kwargs, options)
        return mapped_sync(self._client, iterables, make, timeout)

    # ------------------------------------------------------------------------------------------- ending

    def _ended(self, future: JobFuture[Any], outcome: JobResult | Exception) -> None:
        """On the loop."""
        if isinstance(outcome, JobResult) and outcome.state is not State.SUCCEEDED:
            task = asyncio.get_running_loop().create_task(self._fail(future))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)
            return
        if isinstance(outcome, Exception):
            self._settle(future, error=outcome)
            return
        try:
            data = b"null" if outcome.result is None else outcome.result
            value = future.decode(data)
        except Exception as error:  # noqa: BLE001 - it is raised where the result is wanted
            self._settle(future, error=error)
        else:
            self._settle(future, value)

    async def _fail(self, future: JobFuture[Any]) -> None:
        try:
            await self.job_of(future).result(0)
        except Exception as error:  # noqa: BLE001 - as above
            self._settle(future, error=error)

    def _settle(self, future: JobFuture[Any], value: Any = None, error: BaseException | None = None) -> None:
        if future.job_id in self._futures and future.set_running_or_notify_cancel():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)
        self._forget(future)

    def _forget(self, future: JobFuture[Any]) -> None:
        """It has ended: only now may who waits for all of them go on."""
        with self._lock:
            self._futures.pop(future.job_id, None)
            if not self._futures:
                self._idle.notify_all()

    def job_of(self, future: JobFuture[Any]) -> Job[Any]:
        """The job of a future."""
        return Job(self._client, future.job_id, future.spec)

    def cancel(self, future: JobFuture[Any]) -> bool:
        """See `JobFuture.cancel`."""
        if future.done():
            return future.cancelled()
        return blocking.run(lambda: self._cancel([future]))[0]

    async def _cancel(self, futures: list[JobFuture[Any]]) -> list[bool]:
        """Cancel jobs that have not started; what runs goes on, as ``concurrent.futures`` has it."""
        await self.send_rest()
        store = (await self._client.opened()).store
        answers: list[bool] = []
        for start in range(0, len(futures), MAX_BATCH):
            part = futures[start : start + MAX_BATCH]
            jobs = await store.get_jobs([future.job_id for future in part])
            unstarted = [
                future for future, job in zip(part, jobs, strict=True) if job is not None and job.state < State.RUNNING
            ]
            cancelled: set[bytes] = set()
            if unstarted:
                ids = [future.job_id for future in unstarted]
                said = await store.cancel(ids)
                cancelled = {one for one, answer in zip(ids, said, strict=True) if answer is CancelAnswer.CANCELLED}
            for future in part:
                if future.job_id in cancelled:
                    self._give_up(future)
                answers.append(future.job_id in cancelled)
        return answers

    def _give_up(self, future: JobFuture[Any]) -> None:
        if self._tracker is not None:
            self._tracker.forget(future.job_id)
        future.give_up()
        future.set_running_or_notify_cancel()
        self._forget(future)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more. Jobs that were submitted run, unless ``cancel_futures``: then those that have not started
        are cancelled. ``wait``: until every future has ended; otherwise a process that ends waits only until all jobs
        are stored. Idempotent."""
        with self._lock:
            self._is_shut_down = True
            left = list(self._futures.values())
        if cancel_futures and left:
            blocking.run(lambda: self._cancel(left))
        if not wait:
            return
        with self._idle:
            while self._futures:
                self._idle.wait()
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            blocking.run(tracker.aclose)

    async def send_rest(self) -> None:
        """Wait until everything that was submitted is stored."""
        self._send()
        if self._tracker is not None:
            await self._tracker.sent()

    @property
    def is_own(self) -> bool:
        """Whether this process made it: what a fork inherits is the parent's to send."""
        return self._pid == os.getpid()


_executors: weakref.WeakSet[Executor] = weakref.WeakSet()


def _send_all() -> None:
    """Before the process ends, store what was submitted: the jobs need no more of it, but would be lost otherwise."""
    for executor in list(_executors):
        if executor.is_own:
            blocking.run(executor.send_rest)


# As concurrent.futures does, and before it: from then on no loop looks up a host, and `atexit` comes later still.
getattr(threading, "_register_atexit", atexit.register)(_send_all)


def _mapping(recipe: Recipe | Function, constants: dict[str, Any], options: dict[str, Any], source: Source) -> Mapping:
    return Mapping(recipe, source, constants, **options)


_tasks: set[asyncio.Task[None]] = set()


def _has_future(value: Any) -> bool:
    if isinstance(value, Future):
        return True
    if type(value) in (list, tuple):
        return any(map(_has_future, value))
    return type(value) is dict and any(map(_has_future, value.values()))


def recipe_of(client: Client, fn: Any) -> Recipe | Function:
    """The recipe of a task, or a function that is ready to travel. Raises `UsageError` for anything else."""
    if isinstance(fn, Task):
        recipe = fn.recipe
        if recipe.client is not client:
            raise UsageError(f"task {fn.name!r} belongs to another App")
        return recipe
    if not callable(fn):
        raise UsageError(f"{type(fn).__name__} is no function, and no task of this app")
    return Function(client, fn)
