"""Documents: small records that what surrounds a queue keeps in its store: who may log in, say, or figures of a minute.

A store does not look into them. All times are instants of the store's clock.
"""

from __future__ import annotations

import msgspec

from windlass.core.clock import Instant, Span

MAX_BODY = 65_536
"""Bytes of a body."""
MAX_KEY = 800
"""Bytes of a key, in UTF-8: whatever is a name in Windlass is one (`windlass.core.names.MAX_NAME`)."""
PAST_ALL_KEYS = "\U0010ffff" * (MAX_KEY // 4 + 1)
"""Text behind every key."""


class NewDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What `put_documents` stores."""

    kind: str
    """Which sort of document: 1 to 40 of ``a-z``, ``0-9``, ``_`` and ``-``, beginning with a letter."""
    key: str
    """Its name among those of its kind: 1 to `MAX_KEY` bytes, without NUL."""
    body: bytes
    """At most `MAX_BODY` bytes."""
    expected: int | None = None
    """The version that this replaces; 0: there must be none; ``None``: it replaces whatever is there."""
    keep: Span | None = None
    """How long it is kept; ``None``: until it is replaced or deleted."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A stored document."""

    kind: str
    key: str
    body: bytes
    version: int
    """1 for the first, and one more with each put. One that is put where none was any more begins at 1 again."""
    expires_at: Instant | None = None
    """From when on it is there no more."""
