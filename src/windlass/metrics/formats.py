"""In which format figures are written: the one that the visitor asks for."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


def encoder_for(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """What writes the figures, and the type of that. ``accept`` comes from outside: prometheus-client raises for some
    of what is no version, and those visitors get the plain format."""
    try:
        return choose_encoder(accept)
    except Exception:  # noqa: BLE001 - whatever it is, it was in the header
        return choose_encoder("")
