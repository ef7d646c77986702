"""What a worker and its child processes say to each other: frames of four bytes of length, then MessagePack.

To the child go one `Setup`, then jobs as they were claimed, one at a time. It answers with `Ready` or `Refused`, then
for each job with any number of notes and one `Ended`. Nothing is ever built but the types named here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from windlass.core.model import ClaimedJob, Note, Settlement
from windlass.engine.process_pool.place import Place

HEADER = 4
SLACK = 256 * 1024
"""Bytes that a frame may have beyond the result in it: errors and notes are bounded by less."""


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is told first."""

    parent: int
    """The worker's process id."""
    path: tuple[bytes, ...]
    """The worker's ``sys.path``."""
    place: Place
    memory_limit: int | None
    """Bytes of address space; ``None``: as the system says."""
    max_memory: int | None
    """Resident bytes beyond which it will be replaced: to be told after each attempt; ``None``: nobody asks."""
    log_level: str | None
    """Configure the logs, from this level on; ``None``: that is the app's own affair."""


class Ready(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The app is imported."""


class Refused(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The app could not be imported."""

    why: str


class Noted(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Progress, or lines for the log."""

    note: Note


class Ended(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """How the attempt ended, or why there was none."""

    settlement: Settlement
    memory: int
    """Resident bytes, if they are to be reported."""


Answer: TypeAlias = Ready | Refused | Noted | Ended

_encode = msgspec.msgpack.Encoder().encode
decode_setup = msgspec.msgpack.Decoder(Setup).decode
decode_job = msgspec.msgpack.Decoder(ClaimedJob).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode


class BrokenFrame(Exception):
    """What came can be no frame."""


def frame(message: Setup | ClaimedJob | Answer) -> bytes:
    """Encode a message with its length before it."""
    body = _encode(message)
    return len(body).to_bytes(HEADER, "big") + body


class Cutter:
    """Cuts what arrives into messages."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._buffer = bytearray()
        self._wanted = HEADER

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what arrived, and give each message that is complete. Raises `BrokenFrame` for one that is too long."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= self._wanted:
            length = int.from_bytes(buffer[:HEADER], "big")
            if length > self._longest:
                raise BrokenFrame(f"a message of {length} bytes")
            end = HEADER + length
            if len(buffer) < end:
                self._wanted = end
                return
            body = bytes(memoryview(buffer)[HEADER:end])
            del buffer[:end]
            self._wanted = HEADER
            yield body
