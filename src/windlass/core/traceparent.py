"""The trace that a job belongs to, as its headers say: the W3C's ``traceparent``."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def trace_id_of(headers: Mapping[str, str] | None) -> str | None:
    """The trace id, 32 hexadecimal digits; ``None`` where there is none that could be one."""
    found = _TRACEPARENT.fullmatch((headers or {}).get("traceparent", ""))
    return found[1] if found is not None and found[1].strip("0") else None
