"""What every part of the site works with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from windlass.app import App
from windlass.store.port import Store
from windlass.web.access.attempts import Attempts
from windlass.web.access.vault import Vault
from windlass.web.live import Live
from windlass.web.shared import Shared


class Console:
    """An app, who may steer it, and what all visitors share.

    Args:
        app: whose store is shown.
        redact: patterns such as ``"*password*"``; an argument is not shown if its name, or the name of its type hint,
            fits one, upper or lower case.
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

    async def store(self) -> Store:
        """The app's store, opened on the running loop."""
        return await self.app.store()

    def hide(self, task: str) -> Callable[[str], bool] | None:
        """Says of each argument of a task, by name, whether it is not to be shown."""
        if not self._redact:
            return None
        hints = self._hints(task)
        return lambda name: any(
            fnmatchcase(word.lower(), pattern) for word in (name, hints.get(name, "")) for pattern in self._redact
        )

    def _hints(self, task: str) -> dict[str, str]:
        found: Any = self.app.tasks.get(task)
        if found is None:
            return {}
        parameters = inspect.signature(found.spec.function).parameters.values()
        return {one.name: _type_name(one.annotation) for one in parameters}


def _type_name(hint: Any) -> str:
    return hint if isinstance(hint, str) else str(getattr(hint, "__name__", hint))
