"""What the engine must know of a task in order to run it: decided once, at registration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from windlass.core.clock import Instant, Span
from windlass.core.codec import Signature
from windlass.core.model import DEFAULT_PRIORITY, KEEP, KEEP_DEAD
from windlass.core.retry import NEVER, Retry, RetryPolicy
from windlass.core.steps import StepInfo

ExecutorName: TypeAlias = Literal["async", "thread", "process"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A registered task: a function with its name and defaults."""

    name: str
    function: Callable[..., Any]
    signature: Signature
    executor: ExecutorName
    """``async``: on the worker's event loop; ``thread``: in a thread of the worker; ``process``: in a child process."""
    aliases: tuple[str, ...] = ()
    queue: str = "default"
    requires: str = ""
    """The requirement signature: see `windlass.core.requirements`."""
    priority: int = DEFAULT_PRIORITY
    retry: RetryPolicy = NEVER
    timeout: Span | None = None
    """Longest run of one attempt."""
    keep: Span = KEEP
    """Retention of the finished job and its result."""
    keep_dead: Span = KEEP_DEAD
    max_snoozes: int = 1000
    """Snoozes after which the job is dead."""
    errors: tuple[type[BaseException], ...] = ()
    """Exception classes that results may raise again by name."""
    limit_by: str | None = None
    """The parameter whose argument makes the limit key of each job."""
    secret: tuple[str, ...] = ()
    """Parameters whose arguments nobody is shown."""

    starts_runs: bool = False
    """It is a workflow: its jobs start runs."""

    @property
    def is_coroutine(self) -> bool:
        """Whether the function has to be awaited."""
        return inspect.iscoroutinefunction(self.function)


class JobOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one job says differently from its task; travels as `NewJob.options`. Unknown fields are ignored, so that an
    older worker runs the jobs of a newer producer."""

    retry: Retry | None = None
    timeout: Span | None = None
    keep: Span | None = None
    headers: dict[str, str] | None = None
    """What middleware and tracing carry along."""
    secret: tuple[str, ...] = ()
    """Parameters whose arguments nobody is shown."""
    schedule: str | None = None
    """The schedule that enqueued it."""
    fire_time: Instant | None = None
    """The instant at which it was due there."""
    step: StepInfo | None = None
    """Where it stands in the run that it is part of."""
