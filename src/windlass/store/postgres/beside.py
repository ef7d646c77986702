"""Settling and claiming at the same time, on two connections: two of the server's processes work for one worker then,
and a settlement waits for the disk while the next jobs are on their way.

A claim that comes beside settlements does not see what they free. Where that could matter, because there are limits or
jobs with limit keys, the server does nothing and says so, and for a while claims come after settlements again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimRequest, Settlement

A = TypeVar("A")
B = TypeVar("B")

FEWEST = 50
"""Settlements for which it is worth a second commit."""
_PAUSE = 1.0
"""Seconds for which claims come after settlements once one had to."""
_SUCCEEDED = Outcome.SUCCEEDED


class Order:
    """Whether the claims of a store object have to wait for its settlements."""

    def __init__(self) -> None:
        self._until = float("-inf")

    def matters(self, settlements: Sequence[Settlement], claim: ClaimRequest) -> bool:
        """Whether this claim has to come after these settlements, as far as is known here."""
        return (
            len(settlements) < FEWEST
            or claim.alone
            or time.monotonic() < self._until
            or any(one.outcome is not _SUCCEEDED for one in settlements)
        )

    def mattered(self) -> None:
        """Take note that the server said so."""
        self._until = time.monotonic() + _PAUSE


async def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Run two to their ends, and raise what one of them raised only then."""
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(other, BaseException):
        raise other
    return one, other
