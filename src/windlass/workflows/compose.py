"""Ways to put steps together that have a name in this field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from windlass.core.errors import InvalidOption, UsageError
from windlass.workflows.step import Step

R = TypeVar("R")


def chain(first: Step[Any], *rest: Any) -> Step[Any]:
    """Pass a result on from one to the next: ``chain(fetch.step(url), parse, lambda page: save.step(page, "html"))``.

    Args:
        first: a step.
        rest: tasks, each of which takes the result before it as its first argument, or functions that get the step
            before and return the next one. A workflow is such a function.

    Returns the last step. Raises `InvalidOption` for anything else.
    """
    if not isinstance(first, Step):
        raise InvalidOption(f"chain: expected a step first, got {first!r}; write task.step(...)")
    last = first
    for one in rest:
        make = getattr(one, "step", one)
        if not callable(make):
            raise InvalidOption(f"chain: expected a task, or a function of the step before, got {one!r}")
        made = make(last)
        if not isinstance(made, Step):
            raise InvalidOption(f"chain: {one!r} returned {made!r}, which is no step")
        last = made
    return last


def group(*steps: Step[R] | Iterable[Step[R]]) -> list[Step[R]]:
    """Several steps that do not depend on each other, as a list: to pass on as one argument, to name in ``after=``, or
    to return. Steps run side by side in any case, unless one takes the other's result."""
    found: list[Step[R]] = []
    for one in steps:
        if isinstance(one, Step):
            found.append(one)
        else:
            found.extend(one)
    return found


def chord(steps: Iterable[Step[Any]], callback: Any) -> Step[Any]:
    """Run a task on the list of the results of steps: ``callback.step([...])``, under the name that others give it.
    ``callback`` may also be a function that gets the list of steps and returns a step."""
    if isinstance(steps, Step):
        raise UsageError(f"chord: {steps.name!r} is one step, and no list of steps; write callback.step(...) of it")
    make = cast("Callable[[list[Step[Any]]], Step[Any]]", getattr(callback, "step", callback))
    return make(list(steps))
