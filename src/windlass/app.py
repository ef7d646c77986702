"""The app: where tasks are registered, and what connects them with a store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

from windlass import blocking
from windlass.app_compute import AppCompute
from windlass.app_limits import AppLimits
from windlass.app_workflows import AppWorkflows
from windlass.bulk import JobSelection
from windlass.call import Call
from windlass.choices import NONE, OnConflict, Seconds, Until, check_keep, choose
from windlass.client import Client
from windlass.connect import connect, redact, settled_url
from windlass.context import Middleware
from windlass.core.clock import SECOND, instant, span
from windlass.core.errors import InvalidName, InvalidOption, MissingExtra, UsageError
from windlass.core.ids import from_text
from windlass.core.model import DEFAULT_PRIORITY, KEEP, KEEP_DEAD, MAX_PAYLOAD, MAX_RESULT, Settings
from windlass.core.names import check_queue, check_schedule, check_task
from windlass.core.records import JobFilter
from windlass.core.remote import type_name
from windlass.core.requirements import Resources
from windlass.core.retry import RetryPolicy
from windlass.core.signing import SigningKey
from windlass.core.task import ExecutorName, TaskSpec
from windlass.engine.config import DEFAULT_CONCURRENCY, DEFAULT_GRACE, DEFAULT_LAG_WARNING, WorkerConfig
from windlass.engine.process_pool import place
from windlass.engine.process_pool.config import ChildProcesses
from windlass.job import Job, Status, to_states
from windlass.many import Calls, EnqueueMany, enqueue_many_sync
from windlass.place import find_place
from windlass.registry import TaskDefaults, check_between, check_new, check_task_options, task_spec, unknown
from windlass.store.port import Store
from windlass.task import CoroutineTask, FunctionTask, Task, name_of

if TYPE_CHECKING:
    # Producers need neither; importing them at first use makes the app cheap to import.
    from opentelemetry.trace import TracerProvider

    from windlass.background import WorkerThread
    from windlass.core.definition import Coalesce, Definition, Overlap
    from windlass.core.triggers import Trigger
    from windlass.declared import PolicyOptions
    from windlass.engine.tally import Tally
    from windlass.engine.worker import Worker
    from windlass.schedules import Schedules
    from windlass.telemetry import Tracing
    from windlass.workflows.workflow import Workflow

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_URL = "sqlite:///windlass.db"

Queues = Sequence[str] | Mapping[str, int]


class TaskDecorator(Protocol):
    """What ``@app.task(...)`` is applied as."""

    # A function that returns a coroutine fits both overloads; the first is meant, and comes first.

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> FunctionTask[P, R]: ...


class ScheduledDecorator(Protocol):
    """What ``@app.scheduled(...)`` is applied as."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: CoroutineTask[[], R], /
    ) -> CoroutineTask[[], R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: FunctionTask[[], R], /
    ) -> FunctionTask[[], R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[[], Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[[], R]: ...
    @overload
    def __call__(self, function: Callable[[], R], /) -> FunctionTask[[], R]: ...


class App(AppWorkflows, AppCompute, AppLimits):
    """A set of tasks over one store.

    The store is opened at first use, for each event loop anew; an app may be made at import time, and used from
    several loops and threads, and after a fork.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        middleware: Iterable[Middleware] = (),
        tracing: bool | TracerProvider = False,
        version: str = "",
        timezone: str = "UTC",
        result_ttl: Seconds = KEEP / SECOND,
        dead_ttl: Seconds = KEEP_DEAD / SECOND,
        lease: Seconds = 9.0,
        max_lost: int = 2,
        max_payload: int = MAX_PAYLOAD,
        max_result: int = MAX_RESULT,
        signing_key: str | bytes | None = None,
    ) -> None:
        """Make an app. Nothing is opened yet.

        Args:
            url: the store, such as ``sqlite:///windlass.db`` (a file in the present working directory); ``None``: what
                ``WINDLASS_URL`` says at first use, or else the file ``windlass.db`` in the working directory then.
            middleware: hooks around enqueueing and attempts.
            tracing: make spans of OpenTelemetry for jobs, attempts and what they ask of the store, by the global tracer
                provider or by the one given here; needs ``pip install windlass[otel]``.
            version: of your application, shown beside its workers.
            timezone: of triggers that say none, an IANA name such as ``"Europe/Berlin"``.
            result_ttl: how long finished jobs and their results are kept, unless the task says otherwise (1 day); less
                than 5 minutes counts as 5.
            dead_ttl: the same for dead jobs (7 days).
            lease: how long a worker may go without a sign of life before its jobs are taken back (9 s).
            max_lost: how many workers a job may take down while running alone before it is dead.
            max_payload: bytes of encoded arguments of one job (256 KiB).
            max_result: bytes of one encoded result (1 MiB).
            signing_key: lets functions that are no tasks run on workers that have the same key, 32 bytes or more;
                ``None``: what ``WINDLASS_SIGNING_KEY`` says at first use, or else there are no such functions. Who
                holds it can run code of his own on every worker that has it.

        Raises:
            InvalidURL: the URL is not understood.
            InvalidOption: an option is impossible.
            MissingExtra: tracing needs a package that is not installed.
        """
        self._url = None if url is None else settled_url(url)
        self._defaults = TaskDefaults(
            keep=check_keep(result_ttl, "result_ttl"),
            keep_dead=check_keep(dead_ttl, "dead_ttl"),
            max_payload=check_between("max_payload", max_payload, 1024, 64 * 1024 * 1024),
            max_result=check_between("max_result", max_result, 1024, 64 * 1024 * 1024),
        )
        self._settings = Settings(
            lease=check_between("lease", span(lease, "lease"), SECOND, 600 * SECOND),
            keep=self._defaults.keep,
            keep_dead=self._defaults.keep_dead,
            max_lost=check_between("max_lost", max_lost, 1, 1000),
        )
        self.version = version
        self._timezone = _check_timezone(timezone)
        self._declared: dict[str, Definition] = {}
        self._notes_deaths = False
        self._signing_key = None if signing_key is None else SigningKey(signing_key, "signing_key")
        self._client = Client(self._connect, signing_key=self._find_signing_key)
        self._tasks: dict[str, Task[..., Any]] = {}
        self._workflows: dict[str, Workflow[..., Any]] = {}
        if tracing:
            self._client.tracing = _new_tracing(None if tracing is True else tracing)
            self.middleware(self._client.tracing)
        for one in middleware:
            self.middleware(one)

    def _connect(self) -> Store:
        url = self._resolved_url()
        if place.is_child and url.startswith("memory:"):
            raise UsageError(f"{url} exists only in the worker's own process, and this is a child; use sqlite:///path")
        return connect(url, self._settings)

    def _resolved_url(self) -> str:
        return self._url or os.environ.get("WINDLASS_URL") or DEFAULT_URL

    def _find_signing_key(self) -> SigningKey | None:
        said = os.environ.get("WINDLASS_SIGNING_KEY")
        if self._signing_key is None and said:
            self._signing_key = SigningKey(said, "WINDLASS_SIGNING_KEY")
        return self._signing_key

    @property
    def settings(self) -> Settings:
        """What stores are opened with."""
        return self._settings

    @property
    def url(self) -> str:
        """The store's URL, without its password."""
        return redact(self._resolved_url())

    def __repr__(self) -> str:
        return f"<App {self.url}, {len(self._tasks)} tasks>"

    # --------------------------------------------------------------------------------------------- tasks

    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> FunctionTask[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        aliases: Iterable[str] = (),
        executor: ExecutorName | None = None,
        queue: str = "default",
        priority: int = DEFAULT_PRIORITY,
        retry: RetryPolicy | None = None,
        timeout: Seconds | None = None,
        result_ttl: Seconds | None = None,
        dead_ttl: Seconds | None = None,
        max_snoozes: int = 1000,
        errors: Iterable[type[BaseException]] = (),
        unique: str | bool | None = None,
        unique_until: Until | None = None,
        on_conflict: OnConflict | None = None,
        limit_by: str | None = None,
        secret: Iterable[str] = (),
        resources: Resources | None = None,
        labels: Iterable[str] | None = None,
    ) -> TaskDecorator: ...

    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Register a function as a task: ``@app.task`` or ``@app.task(queue="mail", timeout=30)``.

        An ``async def`` runs on the worker's event loop, a plain ``def`` in a thread, unless ``executor`` says more.

        Args:
            function: the function; generators and methods cannot be tasks.
            name: what jobs carry; default ``module.qualname``.
            aliases: further names under which jobs may be stored, for example after a renaming.
            executor: what runs an attempt: ``"async"`` (an ``async def``, by default), ``"thread"`` (a ``def``, by
                default), or ``"process"`` (either): a child process, which a timeout or a cancellation ends whatever it
                does, and whose crash is a failed attempt and nothing else.
            queue: where its jobs wait.
            priority: 9 is first, 0 last, within the queue.
            retry: the policy when an attempt fails, or one for each type of exception; default: no retry.
            timeout: longest run of one attempt, seconds; default: none.
            result_ttl: how long finished jobs are kept; less than 5 minutes counts as 5. Default: as the app says.
            dead_ttl: the same for dead jobs.
            max_snoozes: after so many snoozes the job is dead.
            errors: exception classes that `Job.result` may raise again as what they are, beyond common built-ins.
            unique: at most one unfinished job with this key; ``True``: with the same arguments.
            unique_until: see `Task.options`.
            on_conflict: see `Task.options`.
            limit_by: the name of a parameter: jobs with the same argument share the limits of the key
                ``parameter:argument``, which `set_limit` sets. The argument must be text or a whole number in JSON, or
                ``None``: no key.
            secret: names of parameters whose arguments nobody is shown: the command line and what else shows jobs have
                ``***`` in their place. They are stored as they are.
            resources: amounts of what a worker must have free to run it, such as ``{"gpu": 1, "memory": "4GiB"}``.
                Workers say what they have (`worker`; ``windlass worker --resource gpu=1``), and count it.
            labels: words that the worker must have been given, such as ``["ssd", "zone=eu"]``.

        Raises:
            InvalidName: the name is not allowed, or taken.
            InvalidOption: an option is impossible, or the function cannot be a task.
        """
        if function is None:
            return lambda function: self._register(function, **options)
        if not callable(function):
            raise InvalidOption(f"@app.task({function!r}): options are keywords, such as @app.task(name={function!r})")
        return self._register(function, **options)

    def _register(
        self,
        function: Callable[..., Any],
        *,
        unique: str | bool | None = None,
        unique_until: Until | None = None,
        on_conflict: OnConflict | None = None,
        **options: Any,
    ) -> Task[..., Any]:
        try:
            spec = task_spec(function, self._defaults, **options)
        except TypeError:
            check_task_options(options)
            raise
        choices = choose(unique=unique, unique_until=unique_until, on_conflict=on_conflict)
        check_new(self._client.tasks, spec)
        kind: type[Task[..., Any]] = CoroutineTask if spec.is_coroutine else FunctionTask
        task = kind(self._client, spec, NONE.merged(choices))
        for known_as in (spec.name, *spec.aliases):
            self._client.tasks[known_as] = spec
        self._tasks[spec.name] = task
        return task

    @property
    def timezone(self) -> str:
        """The time zone of triggers that say none."""
        return self._timezone

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """The registered tasks by name."""
        return dict(self._tasks)

    def find_task(self, name: str) -> Task[..., Any]:
        """The task with this name or alias. Raises `UnknownTask`, with the nearest name."""
        spec = self._client.tasks.get(name)
        if spec is None or spec.name not in self._tasks:
            raise unknown(name, self._tasks)
        return self._tasks[spec.name]

    def middleware(self, one: Middleware) -> Middleware:
        """Add hooks, called after those added before (``after`` hooks: before those). Returns ``one``."""
        if not isinstance(one, Middleware):
            raise InvalidOption(f"middleware: expected an instance of Middleware, got {one!r}")
        self._client.middleware.append(one)
        if type(one).enqueue is not Middleware.enqueue:
            self._client.enqueue_hooks.append(one)
        return one

    # ---------------------------------------------------------------------------------------------- jobs

    def enqueue_many(self, calls: Calls[R]) -> EnqueueMany[R]:
        """Store a job for each call: ``jobs = await app.enqueue_many(send.bind(to, "hi") for to in addresses)``.

        ``calls`` may be any iterable or async iterable, as long as you like, of calls of any tasks of this app. It is
        read in chunks of at most 1,000 jobs and about 4 MiB, two of them in memory at once. Awaited it gives the list
        of jobs; to hold only a few jobs at a time, iterate: ``async for job in app.enqueue_many(...)``.

        If it raises, what was stored before stays stored. Raises as `Task.enqueue`.
        """
        return EnqueueMany(self._client, calls)

    def enqueue_many_sync(self, calls: Iterable[Call[R]]) -> list[Job[R]]:
        """As `enqueue_many`, blocking; the source is read in the caller's own thread."""
        return list(enqueue_many_sync(self._client, calls))

    def job(self, id: str) -> Job[Any]:
        """The job with this id; the store is not asked yet. Raises `UsageError` if it is no id."""
        return Job(self._client, from_text(id))

    def jobs(
        self,
        *,
        task: Task[..., Any] | str | None = None,
        queue: str | None = None,
        status: Status | Iterable[Status] | None = None,
        error: str | type[BaseException] | None = None,
        before: datetime | None = None,
        after: datetime | None = None,
        everything: bool = False,
    ) -> JobSelection:
        """Choose stored jobs by what they have in common, to cancel, replay, purge or count them:
        ``await app.jobs(task="shop.send", error=TimeoutError).replay()``. All that is named must hold.

        Args:
            task: a task, or the name under which they are stored (an alias means those that were stored under it).
            queue: where they wait.
            status: one, or several.
            error: the last error is of this class or of a subclass; a name in full or without its module.
            before: enqueued before then.
            after: enqueued then or later.
            everything: allow it to name nothing, and so to mean all jobs.

        Raises:
            InvalidName, InvalidOption: an argument is impossible.
        """
        wanted = JobFilter(
            states=None if status is None else to_states(status),
            queue=None if queue is None else check_queue(queue),
            task=None if (name := name_of(task)) is None else check_task(name),
            error=type_name(error) if isinstance(error, type) else error,
            enqueued_before=None if before is None else instant(before, "before"),
            enqueued_from=None if after is None else instant(after, "after"),
        )
        return JobSelection(self._client, wanted, everything=everything)

    # ----------------------------------------------------------------------------------------- schedules

    def schedule(
        self,
        name: str,
        call: Call[Any],
        trigger: Trigger,
        *,
        overlap: Overlap = "allow",
        coalesce: Coalesce = "latest",
        misfire_grace: Seconds | None = None,
        catch_up: int = 100,
        max_jobs: int | None = None,
        jitter: Seconds = 0,
    ) -> None:
        """Declare a schedule: ``app.schedule("noon", send.bind("ops@example.org"), Daily("12:00"))``.

        A declaration belongs beside the tasks, where modules are imported. Workers make the declared schedules that are
        not there when they start; `windlass deploy` makes the others say what the code says. What is changed at run
        time, by `schedules` or the command line, stays.

        Args:
            name: of the schedule; (schedule, fire time) names one job.
            call: what its jobs run; its options (queue, priority, retry, ...) are those of its jobs.
            trigger: when it fires.
            overlap: what happens at a fire time while the job of the one before is unfinished: ``"allow"`` both,
                ``"skip"`` the new one, ``"queue"`` one behind it, ``"cancel"`` the one before.
            coalesce: what becomes of several fire times that were missed, since no worker was there: a job for the
                ``"latest"``, ``"one"`` job that says it is for the first, or a job for ``"all"``.
            misfire_grace: a fire time that is met later than this has no job; default: however late.
            catch_up: with ``coalesce="all"``: the latest so many of those that were missed, at most.
            max_jobs: after so many jobs the schedule ends.
            jitter: each job is due up to so much later, always the same part of it for the same fire time.

        Raises:
            InvalidName: the name is not allowed, or declared twice.
            InvalidOption: an argument is impossible.
        """
        from windlass.declared import declared, definition, policies

        check_schedule(name)
        if name in self._declared:
            raise InvalidName(f"schedule {name!r} is declared twice; give one of the two another name")
        policy = policies(
            overlap=overlap,
            coalesce=coalesce,
            misfire_grace=misfire_grace,
            catch_up=catch_up,
            max_jobs=max_jobs,
            jitter=jitter,
        )
        self._declared[name] = declared(definition(call, trigger, self._timezone, policy))

    def scheduled(
        self, trigger: Trigger, *, name: str | None = None, **policy: Unpack[PolicyOptions]
    ) -> ScheduledDecorator:
        """Declare a schedule of the function below, which takes no arguments: ``@app.scheduled(Every(minutes=5))``.

        A plain function becomes a task; a task stays what it is. ``name`` is that of the schedule, by default that of
        the task; policies are as in `schedule`.
        """

        def decorate(function: Any) -> Any:
            task = function if isinstance(function, Task) else self.task(function)
            self.schedule(task.name if name is None else name, task.bind(), trigger, **policy)
            return task

        return decorate

    @property
    def schedules(self) -> Schedules:
        """The schedules that the store has, to look at and to change at run time."""
        from windlass.schedules import Schedules

        return Schedules(self._client, self._timezone)

    @property
    def declared(self) -> Mapping[str, Definition]:
        """What the code declares as schedules, by name."""
        return dict(self._declared)

    # ------------------------------------------------------------------------------------------- workers

    @asynccontextmanager
    async def worker(
        self,
        queues: Queues | None = None,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        strict: bool = False,
        grace: float = DEFAULT_GRACE,
        lag_warning: float = DEFAULT_LAG_WARNING,
        children: ChildProcesses | None = None,
        resources: Resources | None = None,
        labels: Iterable[str] = (),
        tally: Tally | None = None,
    ) -> AsyncIterator[Worker]:
        """Run a worker on this event loop, as long as the block runs: ``async with app.worker(): ...``.

        If the block raises, running attempts are given back at once.

        Args:
            queues: names, or names with weights (how often a queue is asked first, relative to the others); ``None``:
                all that the tasks of this app name.
            concurrency: attempts that run at once.
            strict: ask the queues always in the given order.
            grace: seconds for which running attempts may go on at the end of the block.
            lag_warning: seconds for which the event loop may be blocked before a warning in the log names the task that
                blocks it; 0: never.
            children: how tasks with ``executor="process"`` run.
            resources: what this worker has for tasks that ask for resources, such as ``{"gpu": 1, "memory": "4GiB"}``;
                ``cpu`` and ``memory`` are found out where they are not given.
            labels: what it is, for tasks that ask for labels.
            tally: where it counts what it does, for `windlass.metrics.workers.WorkerCollector`; ``None``: nowhere.
        """
        config = self.worker_config(
            queues,
            concurrency=concurrency,
            strict=strict,
            grace=grace,
            lag_warning=lag_warning,
            children=children,
            resources=resources,
            labels=labels,
            tally=tally,
        )
        worker = self.new_worker(config)
        await worker.start()
        with self._working():
            try:
                yield worker
            except BaseException:
                await worker.stop(0.0)
                raise
            await worker.stop()

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Remember that this loop must not be blocked by a wait for a result."""
        loops, loop = self._client.working_loops, asyncio.get_running_loop()
        outermost = loop not in loops
        loops.add(loop)
        try:
            yield
        finally:
            if outermost:
                loops.discard(loop)

    def start_worker_thread(
        self,
        queues: Queues | None = None,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        strict: bool = False,
        grace: float = DEFAULT_GRACE,
        lag_warning: float = DEFAULT_LAG_WARNING,
        children: ChildProcesses | None = None,
        resources: Resources | None = None,
        labels: Iterable[str] = (),
        tally: Tally | None = None,
    ) -> WorkerThread:
        """Run a worker in a thread of this process, with an event loop of its own; returns when it has started.

        Stop it with ``stop()`` or as a context manager; it also stops when the process ends. Arguments as `worker`.
        """
        from windlass.background import WorkerThread

        self.runnable()
        config = self.worker_config(
            queues,
            concurrency=concurrency,
            strict=strict,
            grace=grace,
            lag_warning=lag_warning,
            children=children,
            resources=resources,
            labels=labels,
            tally=tally,
        )
        return WorkerThread(self._client, config)

    def new_worker(self, config: WorkerConfig) -> Worker:
        """Make a worker on this event loop, not started yet: for who has to start and stop it by hand."""
        from windlass.engine.worker import Worker

        if not config.version:
            config = replace(config, version=self.version)
        tasks, middleware = self.runnable()
        return Worker(self._client.origin, tasks, config, middleware)

    def worker_config(
        self,
        queues: Queues | None = None,
        *,
        children: ChildProcesses | None = None,
        known_as: str | None = None,
        resources: Resources | None = None,
        labels: Iterable[str] = (),
        share: int = 1,
        **options: Any,
    ) -> WorkerConfig:
        """What a worker of this app is told. ``known_as``: ``module:attribute``, where that is known; ``share``: how
        many such workers share the machine; other ``options`` are those of `WorkerConfig`. Raises `InvalidOption`, and
        `UsageError` if a task wants a process, and no other process could import it."""
        from windlass.engine.machine import offer

        if isinstance(queues, str):
            raise InvalidOption(f"queues={queues!r}: expected a list of names, such as [{queues!r}]")
        if queues is None:
            queues = sorted({"default", *(spec.queue for spec in self._client.tasks.values())})
        weights = dict(queues) if isinstance(queues, Mapping) else dict.fromkeys(queues, 1)
        return WorkerConfig(
            queues=weights,
            version=self.version,
            children=children or ChildProcesses(),
            schedules=self.declared,
            traced=self._client.tracing is not None,
            note_deaths=self._notes_deaths,
            place=find_place(self, self._client.tasks.values(), known_as),
            offer=offer(resources, labels, share),
            **options,
        )

    def note_deaths(self) -> None:
        """Have workers of this app write down which jobs are about to die, for who tells others: see
        `windlass.webhooks`."""
        self._notes_deaths = True

    def runnable(self) -> tuple[Mapping[str, TaskSpec], Sequence[Middleware]]:
        """The tasks by name and alias, their hints resolved, and the middleware: what it takes to run them. Raises
        `InvalidOption` if a hint cannot be resolved."""
        for spec in self._computing().tasks.values():
            spec.signature.resolve()
        return self._client.tasks, self._client.middleware

    # --------------------------------------------------------------------------------------------- store

    def new_store(self) -> Store:
        """Make a store that is not opened yet, for the caller to close: to migrate it before anybody else opens it."""
        return self._client.connect()

    async def store(self) -> Store:
        """The opened store of the running event loop, to look into or to operate on directly."""
        return (await self._client.opened()).store

    async def aclose(self) -> None:
        """Let go of the store on the running event loop. Idempotent; a later use opens it anew."""
        await self._client.aclose()

    def close_sync(self) -> None:
        """Let go of the store that the ``*_sync`` calls use. Idempotent; a later use opens it anew."""
        blocking.run(self._client.aclose)

    async def __aenter__(self) -> Self:
        await self._client.opened()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _check_timezone(timezone: str) -> str:
    if timezone != "UTC":  # who has no zone need not import them
        from windlass.core.walltime import find_zone

        find_zone(timezone)
    return timezone


def _new_tracing(provider: TracerProvider | None) -> Tracing:
    try:
        from windlass.telemetry import Tracing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise MissingExtra("tracing needs the package opentelemetry-api: pip install windlass[otel]") from error
    return Tracing(provider)
