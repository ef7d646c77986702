"""Tracing: a workflow function runs once, its steps are drafts, and what comes out is a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec

from windlass.call import Recipe
from windlass.client import Client
from windlass.core.errors import InvalidOption, UsageError
from windlass.core.graph import EdgePolicy
from windlass.core.ids import MAX_FAMILY
from windlass.core.limit_keys import key_of
from windlass.core.steps import MAP, Path
from windlass.workflows.step import Draft, Items, MappedStep, Step, StepChoices, Taken, Takes, check_known, drafts

MOST_STEPS = MAX_FAMILY - 1
_here: ContextVar[Trace] = ContextVar("windlass_trace")
_ITEM = object()
"""Stands for an item of a map while arguments are bound."""
_NO_CHOICES = StepChoices()


class Trace:
    """The steps of one run, as they are made."""

    def __init__(self, client: Client, workflow: str, most: int) -> None:
        self._most = most
        self.client = client
        self.workflow = workflow
        self.drafts: list[Draft] = []
        self.result: tuple[bytes, Takes] | None = None
        """What the function returned, as the arguments of the job that ends the run, and what these take."""
        self._names: dict[str, int] = {}

    def run(self, function: Callable[..., Any], args: Iterable[Any], kwargs: dict[str, Any]) -> Any:
        """Call the workflow function, and return what it returns."""
        token = _here.set(self)
        try:
            return function(*args, **kwargs)
        finally:
            _here.reset(token)

    def add(self, recipe: Recipe, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Draft:
        """Add a step that runs a task with these arguments."""
        _check(recipe, self)
        spec = recipe.spec
        if any(map(_has_steps, args)) or any(map(_has_steps, kwargs.values())):
            payload, takes = self.encode(recipe, args, kwargs)
        else:
            payload, takes = spec.signature.encode(args, kwargs), ()
        limit_key = None
        if recipe.limit_by is not None:
            if any(path[0] == recipe.limit_by for path, _ in takes):
                raise _unknown_key(spec.name, recipe.limit_by)
            limit_key = key_of(spec.signature, payload, recipe.limit_by)
        return self._keep(recipe, payload, takes, limit_key)

    def add_map(
        self, mapper: Recipe, recipe: Recipe, lists: tuple[Any, ...], kwargs: dict[str, Any], *, star: bool
    ) -> Draft:
        """Add a step that runs a task for each item: of several lists for the items at the same position.

        Args:
            mapper: the task that makes the items.
            recipe: the task that is mapped.
            lists: what is iterated over: lists, or steps that return lists.
            kwargs: arguments that all items share.
            star: an item is a list of arguments, or an object of them.
        """
        _check(recipe, self)
        if not lists:
            raise InvalidOption(f"map of task {recipe.spec.name!r}: expected something to iterate over, got nothing")
        names, constants, takes = self._split(recipe, 1 if star else len(lists), kwargs, star=star)
        items = Items(recipe, names, constants, takes, star)
        given = [
            one if isinstance(one, Step) else _encoded(recipe, names if star else (name,), one, star=star)
            for name, one in zip(names if not star else ("",), lists, strict=True)
        ]
        payload, wanted = self.encode(mapper, (given, _ITEM), {})
        draft = self._keep(mapper, payload, wanted, None, of=recipe)
        draft.items = items
        return draft

    def _split(
        self, recipe: Recipe, count: int, kwargs: dict[str, Any], *, star: bool
    ) -> tuple[tuple[str, ...], bytes, Takes]:
        """Find the parameters that items fill, and encode what they share."""
        signature = recipe.spec.signature
        if star:
            names = tuple(name for name in signature.positional if name not in kwargs)
            holes = dict.fromkeys(names, _ITEM)
            payload, takes = self.encode(recipe, (), {**holes, **kwargs})
            shared: dict[str, msgspec.Raw] = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
            # What an item leaves out has its default, and is not null.
            return names, msgspec.json.encode({name: shared[name] for name in shared if name not in holes}), takes
        found: list[str] = []
        payload, takes = self.encode(recipe, (_ITEM,) * count, kwargs, found)
        return tuple(found), payload, takes

    def encode(
        self, recipe: Recipe, args: tuple[Any, ...], kwargs: dict[str, Any], items: list[str] | None = None
    ) -> tuple[bytes, Takes]:
        """Encode arguments with steps in them: ``null`` in their places, and what goes there."""
        takes: list[Taken] = []

        def punch(name: str, value: Any) -> Any:
            if value is _ITEM:
                if items is not None:
                    items.append(name)
                return None
            if type(value) is list and any(one is _ITEM for one in value):
                raise InvalidOption(f"map of task {recipe.spec.name!r}: items cannot go to `*{name}`")
            return self._emptied(value, (name,), takes) if _has_steps(value) else value

        payload = recipe.spec.signature.encode_around(args, kwargs, punch)
        return payload, takes or ()

    def _emptied(self, value: Any, path: Path, takes: list[Taken]) -> Any:
        if isinstance(value, Step):
            check_known(value.draft, self)
            takes.append((path, value.draft))
            return None
        if type(value) in (list, tuple):
            if all(type(one) is Step and one.draft.items is None for one in value):
                for one in value:
                    check_known(one.draft, self)
                takes.append((path, tuple(one.draft for one in value)))
                return None
            return [self._emptied(one, (*path, at), takes) if _has_steps(one) else one for at, one in enumerate(value)]
        return {key: self._emptied(one, (*path, key), takes) if _has_steps(one) else one for key, one in value.items()}

    def _keep(
        self,
        recipe: Recipe,
        payload: bytes,
        takes: Takes,
        limit_key: str | None,
        of: Recipe | None = None,
    ) -> Draft:
        """Keep a step. ``of``: the task that it is shown as, and whose options it has, if that is another."""
        if len(self.drafts) >= self._most:
            raise UsageError(f"workflow {self.workflow!r}: more than {self._most:_} steps; use task.map(...)")
        shown = of or recipe
        chosen: StepChoices = shown.choices.step or _NO_CHOICES
        draft = Draft(
            trace=self,
            name=self._name(chosen.name or shown.spec.function.__name__),
            recipe=recipe,
            payload=payload,
            takes=takes,
            limit_key=limit_key,
            needs=chosen.needs or EdgePolicy.SUCCEEDED,
        )
        if chosen.after:
            draft.after = drafts("after", chosen.after, self)
        if chosen.when is not None:
            check_known(chosen.when.draft, self)
            draft.when = chosen.when
        self.drafts.append(draft)
        return draft

    def _name(self, wanted: str) -> str:
        names = self._names
        name = wanted
        while (count := names.get(name, 0) + 1) > 1:
            names[name] = count
            name = f"{name}-{count}"
        names[name] = 1
        return name


def inside(what: str, instead: str) -> Trace:
    """The trace that runs here. Raises `UsageError` outside of a workflow function."""
    found = _here.get(None)
    if found is None:
        raise UsageError(
            f"{what} was called outside of a workflow: steps are made in a function decorated with @app.workflow, "
            f"while it is traced; {instead}"
        )
    return found


def step(recipe: Recipe, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step[Any]:
    """See `windlass.Task.step`."""
    here = inside(f"{recipe.spec.function.__name__}.step(...)", "to run a task by itself write task.enqueue(...)")
    return Step(here.add(recipe, args, kwargs))


def mapped(recipe: Recipe, lists: tuple[Any, ...], kwargs: dict[str, Any], *, star: bool = False) -> MappedStep[Any]:
    """See `windlass.Task.map` and `windlass.Task.starmap`."""
    what = f"{recipe.spec.function.__name__}.{'starmap' if star else 'map'}(...)"
    here = inside(what, "to enqueue many jobs write app.enqueue_many(...)")
    return MappedStep(here.add_map(here.client.builtins[MAP], recipe, lists, kwargs, star=star))


def _check(recipe: Recipe, trace: Trace) -> None:
    """Raise `UsageError` or `InvalidOption` for a task that cannot be a step here."""
    if recipe.client is not trace.client:
        raise UsageError(f"task {recipe.spec.name!r} belongs to another App than workflow {trace.workflow!r}")
    if recipe.choices.connection is not None:
        raise InvalidOption(f"task {recipe.spec.name!r}: connection= is not for steps: a run stores them, on a worker")


def _has_steps(value: Any) -> bool:
    if isinstance(value, Step):
        return True
    if type(value) in (list, tuple):
        return any(map(_has_steps, value))
    return type(value) is dict and any(map(_has_steps, value.values()))


def _encoded(recipe: Recipe, names: tuple[str, ...], given: Any, *, star: bool) -> list[msgspec.Raw | Step[Any]]:
    """Encode the items of a list that is known already, and hold each to the hints of the parameters that it fills. One
    that is a step stays: its result will be the item."""
    task = recipe.spec.name
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise InvalidOption(
            f"map of task {task!r}: {type(given).__name__} is nothing to iterate over; expected a list, or a step that "
            "returns one"
        )
    encode = recipe.spec.signature.encode_one
    if not star:
        return [item if isinstance(item, Step) else msgspec.Raw(encode(names[0], item)) for item in given]
    return [item if isinstance(item, Step) else msgspec.Raw(_encoded_star(encode, task, names, item)) for item in given]


def _encoded_star(encode: Callable[[str, Any], bytes], task: str, names: tuple[str, ...], item: Any) -> bytes:
    if isinstance(item, Mapping):
        return msgspec.json.encode({name: msgspec.Raw(encode(name, value)) for name, value in item.items()})
    if not isinstance(item, (list, tuple)) or len(item) > len(names):
        raise InvalidOption(
            f"starmap of task {task!r}: {item!r}: expected lists of at most {len(names)} arguments, or dicts of them"
        )
    return msgspec.json.encode([msgspec.Raw(encode(*pair)) for pair in zip(names, item, strict=False)])


def _unknown_key(task: str, parameter: str) -> InvalidOption:
    return InvalidOption(
        f"task {task!r} is limited by its argument `{parameter}`, which a step's result cannot be: the limit key is "
        "needed when the job is stored; give one with options(limit_by='group:value')"
    )
