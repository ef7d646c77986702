"""Points in the life of a service that tests can wait for, in place of sleeping and hoping."""

from __future__ import annotations


class Signals:
    """Told when something happened; does nothing. `windlass.testing` has one that can be awaited."""

    __slots__ = ()

    def emit(self, name: str, count: int = 1) -> None:
        """``count`` things called ``name`` have happened."""


SILENT = Signals()
