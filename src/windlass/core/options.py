"""What a job says differently from its task, as bytes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from windlass.core.clock import MAX_SPAN, Span
from windlass.core.retry import Retry
from windlass.core.task import JobOptions

NO_OPTIONS = JobOptions()

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobOptions).decode
_decode_parts = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_RETRY_FIELDS = frozenset(Retry.__struct_fields__)


def encode_options(options: JobOptions) -> bytes | None:
    """Encode options; ``None`` where they say nothing."""
    return None if options == NO_OPTIONS else _encode(options)


def decode_options(data: bytes | None) -> JobOptions:
    """Decode options, which are not to be changed. Never raises: what this version does not understand is left out, and
    the rest holds."""
    return NO_OPTIONS if data is None else _decoded(data)


@lru_cache(maxsize=1024)  # a job's are looked at several times in its life, and many jobs have the same
def _decoded(data: bytes) -> JobOptions:
    try:
        options = _decode(data)
    except (ValueError, RecursionError, MemoryError):
        options = _decode_what_can_be(data)
    if _is_possible(options.timeout, 1) and _is_possible(options.keep, 0):
        return options
    return msgspec.structs.replace(
        options,
        timeout=options.timeout if _is_possible(options.timeout, 1) else None,
        keep=options.keep if _is_possible(options.keep, 0) else None,
    )


def _is_possible(span: Span | None, least: Span) -> bool:
    return span is None or least <= span <= MAX_SPAN


def _decode_what_can_be(data: bytes) -> JobOptions:
    try:
        parts = _decode_parts(data)
    except (ValueError, RecursionError, MemoryError):
        return NO_OPTIONS
    known: dict[str, Any] = {}
    for name in JobOptions.__struct_fields__:
        if name in parts:
            part = _without_news(parts[name]) if name == "retry" else bytes(parts[name])
            try:
                known[name] = getattr(_decode(b'{"%s":%s}' % (name.encode(), part)), name)
            except (ValueError, RecursionError, MemoryError):
                continue
    return JobOptions(**known)


def _without_news(retry: msgspec.Raw) -> bytes:
    """Drop what a newer Retry may have and this one has not."""
    try:
        fields = _decode_parts(retry)
    except (ValueError, RecursionError, MemoryError):
        return bytes(retry)
    return _encode({name: value for name, value in fields.items() if name in _RETRY_FIELDS})
