"""What every part of the site works with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Any, ForwardRef, get_args, get_type_hints

import msgspec

from windlass.app import App
from windlass.compute.batches import BATCH
from windlass.core.steps import MAP
from windlass.store.port import Store
from windlass.web.access.attempts import Attempts
from windlass.web.access.vault import Vault
from windlass.web.live import Live
from windlass.web.shared import Shared

_CARRIERS = {MAP, *BATCH.values()}
"""Tasks of our own whose arguments are those of others."""


class Console:
    """An app, who may steer it, and what all visitors share.

    Args:
        app: whose store is shown.
        redact: patterns such as ``"*password*"``; an argument is not shown if its name, or the name of a type in its
            hint, fits one, upper or lower case; nor is a field within an argument whose name fits.
        trace_url: where traces are shown, with ``{trace_id}`` in it.
    """

    def __init__(self, app: App, *, redact: Sequence[str] = (), trace_url: str | None = None) -> None:
        self.app = app
        self.vault = Vault(self.store)
        self.attempts = Attempts()
        self.shared = Shared()
        self.live = Live(self.store, self.shared)
        self.trace_url = trace_url
        self._redact = [pattern.lower() for pattern in redact]
        self._words: dict[str, dict[str, set[str]]] = {}
        """The names of the types in the hints of each task and workflow, by parameter, and by field within them."""

    async def store(self) -> Store:
        """The app's store, opened on the running loop."""
        return await self.app.store()

    def hide(self, task: str, payload: bytes | None = None) -> Callable[[str], bool] | None:
        """Says of each argument of a task, by name, whether it is not to be shown. ``payload``: of the job, since one
        that carries the arguments of others shows none if one of theirs is to be hidden."""
        if not self._redact:
            return None
        if task in _CARRIERS and payload is not None and self._hides_any(payload):
            return lambda _: True
        hints = self._hints(task)
        return lambda name: self._fits(name, *hints.get(name, ()))

    def _hides_any(self, payload: bytes) -> bool:
        """Whether an argument of the task is to be hidden whose items, or batches, a job carries."""
        try:
            carried = msgspec.json.decode(payload, type=_Carrier)
        except msgspec.MsgspecError:
            return True
        inner = carried.items or carried.batch
        if inner is None:
            return True
        hints = self._hints(inner.task)
        return any(self._fits(name, *hints.get(name, ())) for name in {*hints, *inner.names, *inner.constants})

    def _fits(self, *words: str) -> bool:
        return any(fnmatchcase(word.lower(), pattern) for word in words for pattern in self._redact)

    def _hints(self, task: str) -> Mapping[str, AbstractSet[str]]:
        function = self._function(task)
        if function is None:
            return {}
        if task not in self._words:
            found: dict[str, set[str]] = {}
            self._words[task] = found
            parameters = inspect.signature(function).parameters.values()
            for name, hint in (_resolved(function) or {one.name: one.annotation for one in parameters}).items():
                _collect(name, hint, found)
        return self._words[task]

    def _function(self, task: str) -> Callable[..., Any] | None:
        workflow = self.app.workflows.get(task)
        if workflow is not None:
            function: Callable[..., Any] = inspect.unwrap(workflow)
            return function
        known = self.app.tasks.get(task)
        return None if known is None else known.spec.function


class _Carried(msgspec.Struct):
    """Of a map, or a batch, what tells whose arguments it carries."""

    task: str
    names: tuple[str, ...] = ()
    constants: dict[str, msgspec.Raw] = {}


class _Carrier(msgspec.Struct):
    items: _Carried | None = None
    batch: _Carried | None = None


def _resolved(holder: Any) -> dict[str, Any]:
    """The hints of a function or class, without strings; empty if a name in one of them is not known here."""
    try:
        return get_type_hints(holder, include_extras=True)
    except Exception:  # noqa: BLE001 - whatever is in there; then the words of the strings have to do
        return {}


def _collect(name: str, hint: Any, found: dict[str, set[str]], inside: frozenset[Any] = frozenset()) -> None:
    """Note the words of a hint for a name, and those of the fields of all classes in it for theirs."""
    found.setdefault(name, set()).update(_words(hint))
    for one in _classes(hint):
        if one not in inside:
            for field, of_field in _resolved(one).items():
                _collect(field, of_field, found, inside | {one})


def _classes(hint: Any) -> list[type]:
    value = getattr(hint, "__value__", None) or getattr(hint, "__supertype__", None)
    parts = [*get_args(hint), *([] if value is None else [value])]
    own = [hint] if isinstance(hint, type) and getattr(hint, "__annotations__", None) else []
    return [*own, *(one for part in parts for one in _classes(part))]


def _words(hint: Any) -> list[str]:
    """The names of all types in a hint, wherever in it they are."""
    if isinstance(hint, str):
        return re.findall(r"\w+", hint)
    if isinstance(hint, ForwardRef):
        return _words(hint.__forward_arg__)
    own = getattr(hint, "__name__", None) or type(hint).__name__
    value = getattr(hint, "__value__", None) or getattr(hint, "__supertype__", None)
    marks = getattr(hint, "__metadata__", ())
    inside = [*get_args(hint), *marks, *([] if value is None else [value])]
    return [own, *(word for one in inside for word in _words(one))]
