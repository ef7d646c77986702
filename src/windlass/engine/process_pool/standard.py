"""Standard input, output and error of a child: the same ones for each attempt, whatever the one before did to them."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

from windlass.engine.process_pool.confine import flush_c_streams


class StandardStreams:
    """Remembers the descriptors 0, 1 and 2 as they are now, and puts them back."""

    def __init__(self) -> None:
        self._kept = [os.dup(descriptor) for descriptor in (0, 1, 2)]
        self._known = [_identity(descriptor) for descriptor in self._kept]
        self._out, self._error = _own(sys.stdout), _own(sys.stderr)
        sys.stdout, sys.stderr = self._out, self._error

    def restore(self) -> None:
        """Undo what an attempt did, and have everything go out that was printed."""
        for descriptor, kept in enumerate(self._kept):
            if _identity(descriptor) != self._known[descriptor]:
                with suppress(OSError):  # it closed ours as well: then nothing can be printed
                    os.dup2(kept, descriptor)
        if sys.stdout is not self._out or self._out.closed:
            sys.stdout = self._out = _reopened(self._out, 1)
        if sys.stderr is not self._error or self._error.closed:
            sys.stderr = self._error = _reopened(self._error, 2)
        for stream in (self._out, self._error):
            with suppress(OSError, ValueError):
                stream.flush()
        flush_c_streams()


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _own(stream: TextIO | None) -> TextIO:
    """Write each line when it ends, so that the log grows while the task runs."""
    assert stream is not None
    stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[attr-defined]
    return stream


def _reopened(stream: TextIO, descriptor: int) -> TextIO:
    if not stream.closed:
        return stream
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
