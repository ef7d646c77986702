"""When is a session dead? The patient half of reaping: what has to be *seen* before a lease may be called over.

The store compares a lease with its own clock. That clock may step, and the store may have been away so that nobody
could renew; therefore a reaper must also have seen the session's renewal counter stand still, on its own monotonic
clock, and only time between successful looks that lie close together counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from windlass.core.clock import SECOND, Span
from windlass.core.model import SessionSign


@dataclass(slots=True)
class _Seen:
    renewals: int
    at: float
    still_for: float = 0.0


class Watch:
    """What one reaper has seen. Times are seconds of a monotonic clock that the caller reads."""

    def __init__(self, lease: Span) -> None:
        self._lease = lease
        """The reaper's own: it decides how often it looks."""
        self._longest_gap = lease / SECOND / 3
        """3 s of a lease of 9."""
        self._seen: dict[bytes, _Seen] = {}

    def look(self, signs: Sequence[SessionSign], now: float) -> list[SessionSign]:
        """Note a successful look at the store, begun at ``now``, and say which sessions may be reaped."""
        seen: dict[bytes, _Seen] = {}
        for sign in signs:
            before = self._seen.get(sign.id)
            entry = seen[sign.id] = _Seen(sign.renewals, now)
            if before is not None and before.renewals == sign.renewals and now - before.at <= self._longest_gap:
                entry.still_for = before.still_for + (now - before.at)
        self._seen = seen
        return [
            sign
            for sign in signs
            if sign.revoked or (sign.lease_left < 0 and seen[sign.id].still_for >= self._patience(sign))
        ]

    def _patience(self, sign: SessionSign) -> float:
        """Seconds for which the counter must have stood still: 6 s of a lease of 9. Of two leases the longer counts:
        the session's, since it renews so seldom, and the reaper's, since it looks so seldom."""
        return max(sign.lease, self._lease) / SECOND * 2 / 3
