"""Job ids as people write them."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.ids import from_text


def parse_ids(texts: Sequence[str]) -> list[bytes]:
    """Turn ids into bytes, each once, in the order given. Raises `UsageError`."""
    return list(dict.fromkeys(from_text(text) for text in texts))
