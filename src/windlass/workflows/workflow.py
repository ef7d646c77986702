"""What ``@app.workflow`` makes: a graph that can be started."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import GenericAlias, NoneType, UnionType
from typing import Any, Generic, Optional, ParamSpec, Self, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from windlass import blocking
from windlass.call import Call, Recipe, send
from windlass.choices import Choices, Seconds, choose
from windlass.client import Client
from windlass.core.errors import InvalidOption
from windlass.core.ids import new_run_id
from windlass.core.steps import FINISH_RUN
from windlass.core.task import TaskSpec
from windlass.workflows.plan import Plan
from windlass.workflows.run import Run
from windlass.workflows.step import MappedStep, Step
from windlass.workflows.trace import MOST_STEPS, Trace, inside

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Workflow(Generic[P, R_co]):
    """A declared workflow. Made by ``@app.workflow``; calling it inside another workflow makes its steps there."""

    __slots__ = ("__dict__", "_recipe")

    def __init__(self, client: Client, spec: TaskSpec, function: Callable[..., Any], choices: Choices) -> None:
        self._recipe = Recipe(client, spec, choices)
        self._function = function
        functools.update_wrapper(cast("Any", self), function)

    @property
    def name(self) -> str:
        """The name that runs carry."""
        return self._recipe.spec.name

    def __repr__(self) -> str:
        return f"<Workflow {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Make the steps of this workflow as steps of the one that is being traced, and return what the function does.

        Raises `UsageError` outside of a workflow.
        """
        inside(f"workflow {self.name}(...)", "to run it by itself write workflow.start(...)")
        return self._function(*args, **kwargs)

    # ------------------------------------------------------------------------------------------- starting

    async def start(self, *args: P.args, **kwargs: P.kwargs) -> Run[R_co]:
        """Start a run with these arguments. When it returns, the run is stored, and goes on whoever dies.

        Before anything is stored the function is traced here, so that mistakes in it are errors of this call.

        Raises:
            InvalidArguments: the arguments do not fit the function's parameters, or those of a step its task.
            UsageError: the graph is impossible: steps that wait for each other, or that belong to another run.
            StoreError: the store could not store it.
        """
        return await self.start_checked(self.check(args, kwargs))

    async def start_checked(self, payload: bytes) -> Run[R_co]:
        """Start a run with arguments that `check` has encoded. Raises `StoreError`."""
        job = self._recipe.new_job(payload, id=new_run_id())
        client = self._recipe.client
        self._recipe.job(job, (await send(client, (job,), len(payload)))[0])
        if client.inline is not None:
            await client.inline.run()
        return self._run(job.id)

    def start_sync(self, *args: P.args, **kwargs: P.kwargs) -> Run[R_co]:
        """As `start`, blocking."""
        payload = self.check(args, kwargs)
        job = self._recipe.new_job(payload, id=new_run_id())
        client = self._recipe.client
        self._recipe.job(job, blocking.run(lambda: send(client, (job,), len(payload)))[0])
        if client.inline is not None:
            client.inline.run_sync()
        return self._run(job.id)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Call[Any]:
        """Bind and check arguments without starting a run: for schedules, and `App.enqueue_many`.

        A job of this call starts a run, and lasts as long as that does: it succeeds with the run's id and its number of
        steps (``{"steps": 3, "run": "81a2..."}``), is dead if the run fails, and retries it if it is replayed.
        Cancelling the job does not cancel the run. Raises as `start`.
        """
        return Call(self._recipe, self.check(args, kwargs))

    def options(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        delay: Seconds | None = None,
        at: datetime | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """The same workflow, whose runs start differently: ``await report.options(delay=60).start(...)``.

        Args:
            queue: where the jobs that start and end a run wait; steps wait in the queues of their tasks.
            priority: of these two jobs.
            delay: start not before this span from now.
            at: start not before this time (aware).
            headers: text that travels along, for middleware.

        Raises `InvalidOption`.
        """
        chosen = choose(queue=queue, priority=priority, delay=delay, at=at, headers=headers)
        recipe = self._recipe
        return type(self)(recipe.client, recipe.spec, self._function, recipe.choices.merged(chosen))

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> Plan:
        """Trace the graph that a run with these arguments has, and start nothing. Raises as `start`."""
        return self._traced(self._recipe.spec.signature.encode(args, kwargs))

    def plan_within(self, steps: int, args: Sequence[Any], kwargs: dict[str, Any]) -> Plan:
        """The same, for arguments that come from outside: a graph of more steps than that is refused."""
        return self._traced(self._recipe.spec.signature.encode(tuple(args), kwargs), steps)

    def check(self, args: Sequence[Any], kwargs: dict[str, Any]) -> bytes:
        """Trace the graph that a run with these arguments has, and encode them for `start_checked`. Raises as
        `start`."""
        args = tuple(args)
        payload = self._recipe.spec.signature.encode(args, kwargs)
        self._traced(payload)
        return payload

    def _traced(self, payload: bytes, most: int = MOST_STEPS) -> Plan:
        args, kwargs = self._recipe.spec.signature.decode(payload)
        return trace(self._recipe.client, self.name, self._function, args, kwargs, most=most)

    def _run(self, run: bytes) -> Run[R_co]:
        return Run(self._recipe.client, run, self.name, result_hint(self._function))


def trace(
    client: Client,
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    most: int = MOST_STEPS,
) -> Plan:
    """Call a workflow function once, and put what it makes in order. Raises what the function raises, and
    `UsageError` for an impossible graph, and for one of more than ``most`` steps."""
    found = Trace(client, name, most)
    returned = found.run(function, args, kwargs)
    if inspect.iscoroutine(returned):
        returned.close()
        raise InvalidOption(f"workflow {name!r} returned a coroutine; a workflow function is a plain `def`")
    found.result = found.encode(client.builtins[FINISH_RUN], (returned,), {})
    return Plan(found)


def result_hint(function: Callable[..., Any]) -> Any:
    """What a run's result is, by the workflow's own return hint: steps in it stand for their results."""
    try:
        hint = get_type_hints(function).get("return", Any)
    except (NameError, TypeError):
        return Any  # names that exist for type checkers only
    return _without_steps(hint)


def _without_steps(hint: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint in (Step, MappedStep):
        return Any
    if origin in (Step, MappedStep):
        found = _without_steps(args[0])
        return Optional[GenericAlias(list, (found,)) if origin is MappedStep else found]  # noqa: UP045 - of a variable
    if origin in (Union, UnionType):
        return Union[tuple(_without_steps(one) for one in args)]  # noqa: UP007 - of variables
    if origin in (list, tuple, dict, Sequence, Mapping):
        return GenericAlias(origin, tuple(one if one is Ellipsis else _without_steps(one) for one in args))
    return None if hint is NoneType else hint
