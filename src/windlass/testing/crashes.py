"""Simulated deaths of workers: where, and how a task meets its own.

What dies is an attempt: it is never settled, its session falls silent, and the job runs again once the lease is
over. It dies of an exception, the only thing that ends a function from inside; so unlike after a real ``kill -9``,
``finally`` and ``with`` blocks still run on its way out.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, NoReturn

from windlass.core.errors import InvalidOption, UsageError
from windlass.task import Task


class SimulatedCrash(BaseException):
    """The worker dies here. No task should catch it, and one that does is dead all the same."""


class Mortal:
    """An attempt that can die."""

    crashed = False
    task = ""
    """The name of the task."""


_mortal: ContextVar[Mortal] = ContextVar("windlass_testing_mortal")


def enter(mortal: Mortal) -> None:
    """Say that this context belongs to the attempt from here on."""
    _mortal.set(mortal)


def in_attempt() -> bool:
    """Whether this is the context of an attempt that a harness runs."""
    return _mortal.get(None) is not None


def crash() -> NoReturn:
    """Let the worker die here: to be called by whatever a test puts in place of something that a task calls.

    Raises `UsageError` outside of a job that a `Harness` runs.
    """
    mortal = _mortal.get(None)
    if mortal is None:
        raise UsageError("crash() was called outside of a job that a harness runs: there is no worker to die")
    mortal.crashed = True
    raise SimulatedCrash("simulated: the worker died here")


@dataclass(slots=True)
class CrashPoint:
    """Where, and at which call."""

    target: str
    before: bool
    call: int | None
    calls: int = 0
    fired: bool = False

    def passed(self, *, before: bool) -> None:
        """Die, if this is the place and the call. ``before``: the call begins; else it has returned."""
        if not in_attempt():
            return
        if before:
            self.calls += 1
        if before is self.before and self.call in (None, self.calls):
            self.fired = True
            crash()

    def check_fired(self) -> None:
        """Raise ``AssertionError`` if nobody died: a test that proves nothing."""
        if not self.fired:
            called = f"the jobs that ran in this block called {self.target} {self.calls} times"
            wanted = "" if self.call in (None, 1) else f", and call {self.call} was to crash"
            raise AssertionError(f"nothing crashed: {called}{wanted}")


class CrashPoints:
    """The points that are set, by the name of the task whose function they enclose."""

    def __init__(self) -> None:
        self._of_task: dict[str, list[CrashPoint]] = {}

    def passed(self, task: str, *, before: bool) -> None:
        """Die, if the worker is to die before, or else after, it runs this task's function."""
        for point in self._of_task.get(task, ()):
            point.passed(before=before)

    @contextmanager
    def at(self, target: Task[..., Any] | str, *, before: bool, call: int | None) -> Iterator[None]:
        """Set a point for as long as the block runs; it must fire in it."""
        if call is not None and (isinstance(call, bool) or not isinstance(call, int) or call < 1):
            raise InvalidOption(f"call={call!r}: expected 1 for the first call, 2, ..., or None for every call")
        if isinstance(target, Task):
            point = CrashPoint(f"task {target.name!r}", before, call)
            setting = self._set(target.name, point)
        elif isinstance(target, str):
            point = CrashPoint(target, before, call)
            setting = _patched(target, point)
        else:
            raise InvalidOption(f"{target!r}: expected a task, or a place such as 'shop.billing.charge'")
        with setting:
            yield
        point.check_fired()

    @contextmanager
    def _set(self, task: str, point: CrashPoint) -> Iterator[None]:
        points = self._of_task.setdefault(task, [])
        points.append(point)
        try:
            yield
        finally:
            points.remove(point)


@contextmanager
def _patched(target: str, point: CrashPoint) -> Iterator[None]:
    """Put a function that may die in place of the one that ``target`` names."""
    owner_name, _, name = target.rpartition(".")
    try:
        owner = pkgutil.resolve_name(owner_name)
        getattr(owner, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidOption(
            f"{target!r}: {error}; expected where the task finds what it calls, such as 'shop.billing.charge'"
        ) from None
    own = name in getattr(owner, "__dict__", ())
    found = inspect.getattr_static(owner, name) if inspect.isclass(owner) else getattr(owner, name)
    setattr(owner, name, _mortal_version(found, target, point))
    try:
        yield
    finally:
        if own:
            setattr(owner, name, found)
        else:
            delattr(owner, name)


def _mortal_version(found: Any, target: str, point: CrashPoint) -> Any:
    if isinstance(found, (staticmethod, classmethod)):
        return type(found)(_mortal_version(found.__func__, target, point))
    if not callable(found):
        raise InvalidOption(f"{target!r} is of type {type(found).__name__}: expected something that the task calls")
    return _coroutine_version(found, point) if inspect.iscoroutinefunction(found) else _function_version(found, point)


def _function_version(found: Callable[..., Any], point: CrashPoint) -> Callable[..., Any]:
    @wraps(found)
    def may_crash(*args: Any, **kwargs: Any) -> Any:
        point.passed(before=True)
        answer = found(*args, **kwargs)
        point.passed(before=False)
        return answer

    return may_crash


def _coroutine_version(found: Callable[..., Any], point: CrashPoint) -> Callable[..., Any]:
    @wraps(found)
    async def may_crash(*args: Any, **kwargs: Any) -> Any:
        point.passed(before=True)
        answer = await found(*args, **kwargs)
        point.passed(before=False)
        return answer

    return may_crash
