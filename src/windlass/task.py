"""Tasks: registered functions, with a way to enqueue them that has their own parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, cast

import msgspec

from windlass.call import Call, Recipe
from windlass.choices import Choices, OnConflict, Seconds, Until, choose
from windlass.client import Client
from windlass.core.errors import InvalidOption
from windlass.core.requirements import Resources
from windlass.core.retry import Retry
from windlass.core.task import TaskSpec
from windlass.job import Job

if TYPE_CHECKING:
    from windlass.workflows.step import MappedStep, Needs, Step, When

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Task(Generic[P, R_co]):
    """A registered task. Made by ``@app.task``; calling it just calls the function."""

    __slots__ = ("__dict__", "_recipe")

    def __init__(self, client: Client, spec: TaskSpec, choices: Choices) -> None:
        self._recipe = Recipe(client, spec, choices)
        functools.update_wrapper(cast("Any", self), spec.function)

    @property
    def name(self) -> str:
        """The name that jobs carry."""
        return self._recipe.spec.name

    @property
    def spec(self) -> TaskSpec:
        """The function and its defaults, as the engine sees them."""
        return self._recipe.spec

    @property
    def recipe(self) -> Recipe:
        """How its jobs are made, for the engine."""
        return self._recipe

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    # ----------------------------------------------------------------------------------------- enqueueing

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """Bind and check arguments without enqueueing: for `App.enqueue_many`, schedules and workflows.

        Raises `InvalidArguments` and `PayloadTooLarge`.
        """
        recipe = self._recipe
        if recipe.choices.step is not None:
            raise InvalidOption(
                f"task {self.name!r}: after, when, unless, needs and step_name are for steps of workflows: "
                "task.options(...).step(...)"
            )
        return Call(recipe, recipe.spec.signature.encode(args, kwargs))

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R_co]:
        """Store a job that runs the task with these arguments. When it returns, the job is stored.

        Raises:
            InvalidArguments: they do not fit the task's parameters and type hints, or JSON cannot say them.
            PayloadTooLarge: encoded they are larger than the limit.
            DuplicateJob: with ``on_conflict="raise"``, an unfinished job holds the unique key.
            EnqueueUnknown: the store stopped answering for 30 s; the job may be stored.
            StoreError: the store could not store it.
        """
        return await self.bind(*args, **kwargs).enqueue()

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Job[R_co]:
        """As `enqueue`, blocking: for code without an event loop."""
        return self.bind(*args, **kwargs).enqueue_sync()

    # ---------------------------------------------------------------------------------------------- steps

    def step(self, *args: Any, **kwargs: Any) -> Step[R_co]:
        """Make a step of the workflow that is being traced: ``total = add.step(one, other_step)``.

        Arguments are those of the task, or steps (also inside lists, tuples and dicts), whose results they will be.
        What is known is checked here, the results when the step runs. A unique key of the task does not hold for steps.

        Raises:
            UsageError: no workflow is being traced here, or an argument is a step of another run.
            InvalidArguments: they do not fit the task's parameters and type hints.
            InvalidOption: an option has no meaning for a step.
        """
        from windlass.workflows.trace import step

        return step(self._recipe, args, kwargs)

    def map(self, *iterables: Any, **kwargs: Any) -> MappedStep[R_co]:
        """Make a step for each item of something, which may be known at run time only: ``resize.map(found)``.

        With several iterables, of the same length, the task gets an item of each. Arguments by name are the same for
        all items. The result is the list of results, in the order of the items. Raises as `step`.
        """
        from windlass.workflows.trace import mapped

        return mapped(self._recipe, iterables, kwargs)

    def starmap(self, iterable: Any, **kwargs: Any) -> MappedStep[R_co]:
        """As `map`, where each item is a list of the task's arguments, or a dict of them by name."""
        from windlass.workflows.trace import mapped

        return mapped(self._recipe, (iterable,), kwargs, star=True)

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        at: datetime | None = None,
        expires: Seconds | datetime | None = None,
        unique: str | bool | None = None,
        unique_until: Until | None = None,
        on_conflict: OnConflict | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        result_ttl: Seconds | None = None,
        limit_by: str | None = None,
        headers: Mapping[str, str] | None = None,
        connection: object = None,
        resources: Resources | None = None,
        labels: Iterable[str] | None = None,
        after: Step[Any] | Iterable[Step[Any]] | None = None,
        when: Step[Any] | When | None = None,
        unless: Step[Any] | When | None = None,
        needs: Needs | None = None,
        step_name: str | None = None,
    ) -> Self:
        """The same task, whose jobs differ in these: ``await send.options(priority=9).enqueue(...)``.

        Spans are seconds or a ``timedelta``; what is left out, or ``None``, stays as it is.

        Args:
            queue: the queue to wait in.
            priority: 9 is first, 0 last, within the queue.
            delay: not before this span from now.
            at: not before this time (aware).
            expires: cancelled if not started within this span, or by this time.
            unique: at most one unfinished job of the task with this key; ``True``: with these arguments.
            unique_until: the key is held until the job has ``"finished"`` (default) or ``"started"``.
            on_conflict: when the key is held, ``"return"`` that job (default; see `Job.duplicate`), ``"raise"``
                `DuplicateJob`, or ``"replace"`` that job if it has not started.
            retry: the policy when an attempt fails.
            timeout: longest run of one attempt.
            result_ttl: how long the finished job and its result are kept; less than 5 minutes counts as 5.
            limit_by: a limit key, ``group`` or ``group:value``, whose limits apply; in place of the one that the task's
                own ``limit_by`` makes.
            headers: text that travels along, for middleware.
            resources: amounts of what the worker must have free, in place of those of the task; ``{}``: nothing.
            labels: words that the worker must have been given, in place of those of the task; ``[]``: none.
            connection: your own connection to the database of the store, with a transaction open: the job is stored
                if and when that is committed. Of asyncpg, psycopg 3 or SQLAlchemy; PostgreSQL only, else `enqueue`
                raises `CapabilityMissing`.
            after: of a step: run it after these, whose results it does not take.
            when: of a step: run it only if the result of that step is something (as Python's ``bool`` has it), or is
                what ``step.equals(value)`` says. A step that is not run is omitted, and so is what takes its result,
                unless that says ``needs="done"``: then it gets ``None``.
            unless: the opposite of ``when``.
            needs: of a step: it runs when all steps before it have ``"succeeded"`` (default), when they are all
                ``"done"``, however they ended, or when one of them has ``"failed"``. But for the first, results that
                there are not are ``None``.
            step_name: of a step: its name within the run; default: that of the function.

        Raises:
            InvalidOption: a value is impossible, or two contradict each other.
        """
        chosen = choose(
            queue=queue,
            priority=priority,
            delay=delay,
            at=at,
            expires=expires,
            unique=unique,
            unique_until=unique_until,
            on_conflict=on_conflict,
            retry=retry,
            timeout=timeout,
            result_ttl=result_ttl,
            limit_by=limit_by,
            headers=headers,
            connection=connection,
            resources=resources,
            labels=labels,
        )
        if any(one is not None for one in (after, when, unless, needs, step_name)):
            from windlass.workflows.step import step_choices

            of_step = step_choices(after, when, unless, needs, step_name)
            chosen = msgspec.structs.replace(chosen, step=of_step)
        return type(self)(self._recipe.client, self._recipe.spec, self._recipe.choices.merged(chosen))


class CoroutineTask(Task[P, R_co]):
    """A task that is an ``async def``; it runs on the worker's event loop, or in a child process."""

    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        """Call the function itself, here and now; nothing is enqueued."""
        return cast("Callable[P, Coroutine[Any, Any, R_co]]", self.spec.function)(*args, **kwargs)


class FunctionTask(Task[P, R_co]):
    """A task that is a plain ``def``; it runs in a thread of the worker, or in a child process."""

    __slots__ = ()

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself, here and now; nothing is enqueued."""
        return cast("Callable[P, R_co]", self.spec.function)(*args, **kwargs)


def name_of(task: Task[..., Any] | str | None) -> str | None:
    """The name of a task, which may be given as such."""
    return task.name if isinstance(task, Task) else task
