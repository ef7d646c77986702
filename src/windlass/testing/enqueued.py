"""What was enqueued, beside what a test expects."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pprint import pformat
from typing import Any

import msgspec

from windlass.app import App
from windlass.choices import Choices
from windlass.core.clock import Instant, Span, to_datetime
from windlass.core.errors import UsageError, WindlassError
from windlass.core.model import NewJob, UniqueUntil
from windlass.core.options import decode_options
from windlass.core.task import TaskSpec
from windlass.job import Job
from windlass.task import Task

_SHOWN = 10
"""Jobs that a message shows."""
_LINE = 60
"""Characters of a value beyond which a difference is shown line by line."""


@dataclass(frozen=True, slots=True, repr=False)
class EnqueuedJob:
    """A job as it was enqueued. What was not said is as the task says, or ``None``."""

    job: Job[Any]
    task: str
    """The task's name."""
    arguments: Mapping[str, Any]
    """By parameter, as the task gets them; defaults included."""
    queue: str
    priority: int
    delay: timedelta | None
    at: datetime | None
    expires: timedelta | datetime | None
    unique: str | None
    limit_by: str | None
    headers: Mapping[str, str]
    new: NewJob = field(compare=False)
    """All of it, as the store got it."""

    @classmethod
    def of(cls, app: App, new: NewJob) -> EnqueuedJob:
        """Read what the store got."""
        spec = app._client.tasks.get(new.task)
        expires = _timedelta(new.expires_in) if new.expires_at is None else to_datetime(new.expires_at)
        return cls(
            job=Job(app._client, new.id, spec),
            task=new.task,
            arguments=_arguments_of(new, spec),
            queue=new.queue,
            priority=new.priority,
            delay=_timedelta(new.delay or None),
            at=_datetime(new.at),
            expires=expires,
            unique=None if new.unique is None else new.unique.key,
            limit_by=new.limit_key,
            headers=decode_options(new.options).headers or {},
            new=new,
        )

    def __repr__(self) -> str:
        return f"{self.task}({_listed(self.arguments)})"


class Expected:
    """A job that a test expects: of a task, with arguments if there are any, and with what ``task.options`` said."""

    def __init__(self, app: App, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not isinstance(task, Task):
            raise UsageError(f"expected a task, got {type(task).__name__}: assert_enqueued(send, 'a@example.org')")
        if task._recipe.client is not app._client:
            raise UsageError(f"task {task.name!r} belongs to another App than the harness")
        self.task = task.name
        self._recipe = task._recipe
        self._said = _said(task, app.find_task(task.name))
        self.arguments: dict[str, Any] | None = None
        """``None``: any."""
        if args or kwargs:
            self.arguments = _arguments(task.spec, args, kwargs)
            self._normal = _round_trip(task.spec, args, kwargs)

    def __str__(self) -> str:
        parts = [] if self.arguments is None else [_listed(self.arguments)]
        parts += [f"{name}={_shown(value)}" for name, value in self._said.items()]
        return f"{self.task!r} was enqueued" + (f" with {', '.join(parts)}" if any(parts) else "")

    def differences(self, job: EnqueuedJob) -> dict[str, tuple[object, object]]:
        """What differs: name to what was expected and what there is."""
        found: dict[str, tuple[object, object]] = {}
        for name, value in (self.arguments or {}).items():
            actual = job.arguments[name]
            if not _equal(value, actual) and not (self._normal and _equal(self._normal[name], actual)):
                found[name] = value, actual
        for name, said in self._said.items():
            value, actual = self._compared(name, said, job.new)
            if value != actual:
                found[f"option {name}" if name in job.arguments else name] = value, actual
        return found

    def _compared(self, name: str, said: Any, new: NewJob) -> tuple[object, object]:
        """An option, as expected and as it is, both as people write them."""
        if name == "unique" and said is True:
            said = self._recipe._key_of(new.payload)
        if name == "headers":
            there = decode_options(new.options).headers or {}
            return said, {key: value for key, value in there.items() if key in said}
        return _written(name, said), _written(name, _ACTUAL[name](new))


_ACTUAL: dict[str, Callable[[NewJob], Any]] = {
    "queue": lambda new: new.queue,
    "priority": lambda new: new.priority,
    "delay": lambda new: new.delay or None,
    "at": lambda new: new.at,
    "expires_in": lambda new: new.expires_in,
    "expires_at": lambda new: new.expires_at,
    "unique": lambda new: None if new.unique is None else new.unique.key,
    "unique_until": lambda new: None if new.unique is None else UniqueUntil(new.unique.until).name.lower(),
    "limit_by": lambda new: new.limit_key,
    "retry": lambda new: decode_options(new.options).retry,
    "timeout": lambda new: decode_options(new.options).timeout,
    "keep": lambda new: decode_options(new.options).keep,
    "headers": lambda new: decode_options(new.options).headers,
}
"""How to find what an option of `Choices` has become. What to do about a conflict is the producer's own affair."""


def _said(task: Task[..., Any], registered: Task[..., Any]) -> dict[str, Any]:
    """The options that differ from those of the task as it was registered."""
    choices, usual = task._recipe.choices, registered._recipe.choices
    return {
        name: getattr(choices, name)
        for name in Choices.__struct_fields__
        if name in _ACTUAL and getattr(choices, name) not in (None, getattr(usual, name))
    }


def _written(name: str, value: Any) -> object:
    if value is None or not isinstance(value, int):
        return value
    if name in ("delay", "expires_in", "timeout", "keep"):
        return _timedelta(value)
    return to_datetime(value) if name in ("at", "expires_at") else value


def _arguments(spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        bound = inspect.signature(spec.function).bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(
            f"task {spec.name!r}: {error}; the task is {spec.signature.describe()}. Give all arguments, or none; "
            "for one that does not matter, unittest.mock.ANY"
        ) from None
    bound.apply_defaults()
    return dict(bound.arguments)


def _arguments_of(new: NewJob, spec: TaskSpec | None) -> dict[str, Any]:
    if spec is None:
        return msgspec.json.decode(new.payload, type=dict[str, Any])
    return _arguments(spec, *spec.signature.decode(new.payload))


def _round_trip(spec: TaskSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments as a task gets them; ``None`` if they could not be enqueued, such as ``ANY``."""
    try:
        return _arguments(spec, *spec.signature.decode(spec.signature.encode(args, kwargs)))
    except WindlassError:
        return None


def _timedelta(value: Span | None) -> timedelta | None:
    return None if value is None else timedelta(microseconds=value)


def _datetime(value: Instant | None) -> datetime | None:
    return None if value is None else to_datetime(value)


def _equal(expected: object, actual: object) -> bool:
    try:
        return bool(expected == actual)
    except Exception:  # noqa: BLE001 - arrays, and whatever else has an __eq__ of its own
        return False


# ------------------------------------------------------------------------------------------------ messages


def why_none(expected: Expected, jobs: Sequence[EnqueuedJob], others: Sequence[str]) -> str:
    """Say what was enqueued instead, the nearest first."""
    lines = [f"no job of {expected}"]
    if jobs:
        lines.append(f"{len(jobs)} of the task {'was' if len(jobs) == 1 else 'were'} enqueued, the nearest first:")
        by_distance = sorted(((expected.differences(job), job) for job in jobs), key=lambda pair: len(pair[0]))
        for differing, job in by_distance[:_SHOWN]:
            lines.append(f"  {job!r}")
            for name, (value, actual) in differing.items():
                lines += _difference(name, value, actual)
        if len(jobs) > _SHOWN:
            lines.append(f"  ... and {len(jobs) - _SHOWN} more")
    counts = Counter(others)
    if counts:
        lines.append("jobs of other tasks: " + ", ".join(f"{count} of {task}" for task, count in counts.items()))
    elif not jobs:
        lines.append("nothing was enqueued at all")
    return "\n".join(lines)


def why_some(jobs: Sequence[EnqueuedJob]) -> str:
    """Say what was enqueued."""
    lines = [f"{len(jobs)} {'job was' if len(jobs) == 1 else 'jobs were'} enqueued, where none should be:"]
    lines += [f"  {job!r}" for job in jobs[:_SHOWN]]
    return "\n".join(lines + ([f"  ... and {len(jobs) - _SHOWN} more"] if len(jobs) > _SHOWN else []))


def _difference(name: str, expected: object, actual: object) -> list[str]:
    one, other = pformat(expected, width=100), pformat(actual, width=100)
    if len(one) <= _LINE and len(other) <= _LINE:
        return [f"    {name}: expected {one}, got {other}"]
    lines = difflib.ndiff(one.splitlines(), other.splitlines())
    return [f"    {name}: - expected, + got"] + [f"      {line.rstrip()}" for line in lines]


def _listed(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_shown(value)}" for name, value in arguments.items())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
