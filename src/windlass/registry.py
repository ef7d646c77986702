"""What becomes a task when a function is registered, and that each name means one function only."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from windlass.choices import Seconds, check_keep, check_priority, check_timeout
from windlass.core.clock import Span
from windlass.core.codec import Signature
from windlass.core.errors import InvalidName, InvalidOption, UnknownTask
from windlass.core.limit_keys import check_limit_by
from windlass.core.model import DEFAULT_PRIORITY
from windlass.core.names import check_queue, check_task
from windlass.core.requirements import Resources
from windlass.core.requirements import signature as requirement
from windlass.core.retry import NEVER, Retry, RetryPolicy
from windlass.core.task import ExecutorName, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefaults:
    """What an app says for all its tasks."""

    keep: Span
    keep_dead: Span
    max_payload: int
    """Bytes of the encoded arguments of one job."""
    max_result: int
    """Bytes of one encoded result."""


def task_spec(
    function: Callable[..., Any],
    defaults: TaskDefaults,
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
    limit_by: str | None = None,
    secret: Iterable[str] = (),
    resources: Resources | None = None,
    labels: Iterable[str] | None = None,
) -> TaskSpec:
    """Check what ``@app.task(...)`` was told. Raises `InvalidName` and `InvalidOption`."""
    name = _task_name(function) if name is None else check_task(name)
    signature = Signature(name, function, max_payload=defaults.max_payload, max_result=defaults.max_result)
    runs_in = _check_executor(name, function, executor)
    return TaskSpec(
        name=name,
        function=function,
        signature=signature,
        executor=runs_in,
        requires=requirement(resources, labels, process=runs_in == "process"),
        aliases=_check_aliases(aliases),
        queue=check_queue(queue),
        priority=check_priority(priority),
        retry=_check_policy(retry),
        timeout=None if timeout is None else check_timeout(timeout),
        keep=defaults.keep if result_ttl is None else check_keep(result_ttl, "result_ttl"),
        keep_dead=defaults.keep_dead if dead_ttl is None else check_keep(dead_ttl, "dead_ttl"),
        max_snoozes=check_between("max_snoozes", max_snoozes, 0, 1_000_000),
        errors=_check_errors(errors),
        limit_by=check_limit_by(signature, function, limit_by),
        secret=_check_secret(name, function, secret, limit_by),
    )


def _task_name(function: Callable[..., Any]) -> str:
    """The default name of a task: ``module.qualname``, with the real name of a module that runs as ``__main__``."""
    qualname = getattr(function, "__qualname__", None)
    if qualname is None:
        return "?"  # no function at all: the signature says so, and better
    return check_task(f"{real_module(function.__module__)}.{qualname}")


def real_module(module: str) -> str:
    """The name under which a module can be imported; ``__main__`` where there is none."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return os.path.splitext(os.path.basename(file))[0] if file else module  # noqa: PTH119, PTH122 - pathlib is slow to import


def check_new(tasks: Mapping[str, TaskSpec], spec: TaskSpec) -> None:
    """Raise `InvalidName` if the name or an alias means another function already."""
    for name in (spec.name, *spec.aliases):
        known = tasks.get(name)
        if known is not None and not _is_new_cell(known.function, spec.function):
            function = known.function
            raise InvalidName(
                f"task name {name!r} is taken by {function.__module__}.{function.__qualname__}; "
                "give one of the two another with @app.task(name=...)"
            )


def _is_new_cell(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    """Whether a notebook cell was simply run again."""
    interactive = new.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    return interactive and (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)


def _check_executor(task: str, function: Callable[..., Any], executor: ExecutorName | None) -> ExecutorName:
    """What is to run a function: as ``executor`` says, if it can. Raises `InvalidOption`."""
    native: ExecutorName = "async" if inspect.iscoroutinefunction(function) else "thread"
    if executor is None or executor in (native, "process"):
        return executor or native
    if executor == "async":
        raise InvalidOption(f"task {task!r}: executor='async' needs an `async def`; a `def` would stop the event loop")
    if executor == "thread":
        raise InvalidOption(f"task {task!r}: executor='thread' needs a `def`; an `async def` needs an event loop")
    raise InvalidOption(f"task {task!r}: executor={executor!r}: expected 'async', 'thread' or 'process'")


def _check_aliases(aliases: Iterable[str]) -> tuple[str, ...]:
    """Check other names of a task."""
    if isinstance(aliases, str):
        raise InvalidName(f"aliases={aliases!r}: expected a list of names, such as [{aliases!r}]")
    return tuple(check_task(alias) for alias in aliases)


def _check_secret(
    task: str, function: Callable[..., Any], secret: Iterable[str], limit_by: str | None
) -> tuple[str, ...]:
    """Check the names of parameters whose arguments nobody is shown."""
    if isinstance(secret, str):
        raise InvalidOption(f"task {task!r}: secret={secret!r}: expected a list of names, such as [{secret!r}]")
    there, found = inspect.signature(function).parameters, tuple(secret)
    for name in found:
        if name not in there:
            raise InvalidOption(f"task {task!r}: secret: it has no parameter {name!r}; there are: {', '.join(there)}")
    if limit_by in found:
        raise InvalidOption(f"task {task!r}: limit_by={limit_by!r} is secret, and a limit key is shown to everybody")
    return found


def check_between(what: str, value: int | Span, low: int, high: int) -> int:
    """Check an option that is a whole number within bounds. Raises `InvalidOption`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidOption(f"{what}={value!r}: expected an integer between {low} and {high}")
    return value


def _check_policy(retry: object) -> RetryPolicy:
    if retry is None:
        return NEVER
    if isinstance(retry, Retry):
        return retry
    if isinstance(retry, Mapping) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) and isinstance(policy, Retry)
        for kind, policy in retry.items()
    ):
        return dict(retry)
    raise InvalidOption(f"retry={retry!r}: expected Retry(attempts=5), or a mapping such as {{OSError: Retry()}}")


def _check_errors(errors: Iterable[type[BaseException]]) -> tuple[type[BaseException], ...]:
    listed = tuple(errors) if isinstance(errors, Iterable) else (errors,)
    for kind in listed:
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            raise InvalidOption(f"errors: expected exception classes, such as [ValueError], got {kind!r}")
    return listed


def check_task_options(options: Iterable[str]) -> None:
    """Refuse what ``@app.task`` does not know. Raises `InvalidOption`, with the nearest option."""
    import difflib
    import inspect

    parameters = inspect.signature(task_spec).parameters
    known = [name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    known += ["unique", "unique_until", "on_conflict"]
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known))}"
            raise InvalidOption(f"@app.task has no option {option!r}; {hint}")


def unknown(name: str, known: Collection[str]) -> UnknownTask:
    """The error for a name that nobody registered, with the nearest one that somebody did."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"registered are {_listed(known)}"
    return UnknownTask(f"no task {ascii(name)[:200]} is registered; {hint}")


def _listed(known: Collection[str]) -> str:
    names = sorted(known)
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "none"
