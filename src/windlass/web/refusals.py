"""What the site says no to, beside what the rest of Windlass does."""

from __future__ import annotations

from windlass.core.errors import UsageError


class NotThere(UsageError):
    """There is nothing of this name."""


class AlreadyThere(UsageError):
    """There is one of this name already."""
