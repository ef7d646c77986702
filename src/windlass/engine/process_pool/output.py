"""What a child prints, as lines for the log of the job that it runs: bounded, and never in its way."""

from __future__ import annotations

import asyncio
import codecs
import fcntl
import os
from collections.abc import Callable

from windlass.core.model import MAX_LOG

_CHUNK = 256 * 1024
_LONGEST = MAX_LOG - 100
_GATHER = 0.1
"""Seconds for which output gathers before it goes to the log."""
_AT_ONCE = 4 * 1024 * 1024
"""Bytes that are read at the end of an attempt: a thread that it left behind may print for ever."""


class Output:
    """The reading end of the pipe that is a child's standard output and standard error.

    It is always read at once, so that nobody who prints has to wait. Of what was printed within a tenth of a second the
    last `MAX_LOG` bytes go to ``log``, the rest is counted.
    """

    def __init__(self, pipe: int, log: Callable[[str], None]) -> None:
        self._pipe = pipe
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._gathered = bytearray()
        self._dropped = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._timer: asyncio.TimerHandle | None = None
        os.set_blocking(pipe, False)
        _widen(pipe)
        self._loop.add_reader(pipe, self._readable)

    def _readable(self) -> None:
        if self._read() and self._timer is None:
            self._timer = self._loop.call_later(_GATHER, self._ripen)

    def _ripen(self) -> None:
        self._timer = None
        self._pass_on(final=False)

    def _read(self) -> int:
        """Take what is in the pipe, up to a chunk; answers how much."""
        try:
            data = os.read(self._pipe, _CHUNK)
        except BlockingIOError:
            return 0
        if not data:
            self._loop.remove_reader(self._pipe)
            return 0
        gathered = self._gathered
        gathered += data
        surplus = len(gathered) - MAX_LOG
        if surplus > MAX_LOG:
            del gathered[:surplus]
            self._dropped += surplus
        return len(data)

    def flush(self) -> None:
        """Read what has been printed so far, and pass on all of it: an attempt has ended."""
        left = _AT_ONCE
        while left > 0 and (size := self._read()):
            left -= size
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pass_on(final=True)

    def _pass_on(self, *, final: bool) -> None:
        if not self._gathered and not final:
            return
        text = self._decoder.decode(bytes(self._gathered), final=final)
        self._gathered.clear()
        if not text:
            return
        text = text.replace("\0", "\\x00")
        surplus = len(text) - _LONGEST
        if surplus > 0 or self._dropped:
            text = f"[{self._dropped + max(0, surplus):,} bytes of output are left out here]\n{text[-_LONGEST:]}"
            self._dropped = 0
        self._log(text)

    def close(self) -> None:
        """Read no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._pipe)
        os.close(self._pipe)


def _widen(pipe: int) -> None:
    """Have room for more in the pipe, so that whoever prints much need not wait for us so often."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1024 * 1024)
    except (AttributeError, OSError):
        pass  # not every system can, and this user may have too many
