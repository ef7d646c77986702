"""What becomes a workflow when a function is declared one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import FunctionType
from typing import Any, cast

from windlass.choices import NONE, Choices, Seconds
from windlass.client import Client
from windlass.context import current
from windlass.core.errors import InvalidOption
from windlass.core.ids import is_run_id
from windlass.core.model import DEFAULT_PRIORITY
from windlass.engine.attempt import Attempt
from windlass.registry import TaskDefaults, check_new, task_spec
from windlass.workflows.following import follow
from windlass.workflows.running import PATIENT, register, store_run
from windlass.workflows.states import RunResult
from windlass.workflows.workflow import Workflow, trace


def declare(
    client: Client,
    defaults: TaskDefaults,
    function: Callable[..., Any],
    *,
    name: str | None = None,
    queue: str = "default",
    priority: int = DEFAULT_PRIORITY,
    result_ttl: Seconds | None = None,
    secret: Iterable[str] = (),
) -> Workflow[..., Any]:
    """Make a workflow, and the task that starts its runs; `windlass.App.workflow` says what each option means. Raises
    `InvalidName` and `InvalidOption`."""
    spec = task_spec(
        _starting(function),
        defaults,
        name=name,
        queue=queue,
        priority=priority,
        retry=PATIENT,
        result_ttl=result_ttl,
        max_snoozes=1_000_000,
        secret=secret,
    )
    check_new(client.tasks, spec)
    register(client, defaults)

    async def start(*args: Any, **kwargs: Any) -> RunResult:
        job = cast("Attempt", current()).job
        if not is_run_id(job.id):
            return await follow(client, job, client.tasks[spec.name])
        plan = trace(client, spec.name, function, args, kwargs)
        like = Choices(queue=job.queue, priority=job.priority, keep=spec.keep)
        await store_run(client, job.id, plan, like, again=job.token > 1)
        return RunResult(len(plan.order))

    client.tasks[spec.name] = replace(spec, function=start, executor="async", starts_runs=True)
    return Workflow(client, client.tasks[spec.name], function, NONE)


def _starting(function: Callable[..., Any]) -> FunctionType:
    """A function with the workflow's parameters that returns what the job that starts a run returns: so a workflow's
    arguments are checked like a task's."""
    if not isinstance(function, FunctionType) or inspect.iscoroutinefunction(function):
        raise InvalidOption(
            f"@app.workflow: {function!r}: expected a plain `def`, which composes steps and awaits nothing"
        )
    code, scope, named = function.__code__, function.__globals__, function.__name__
    copy = FunctionType(code, scope, named, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    copy.__annotations__ = {**function.__annotations__, "return": RunResult}
    return copy
