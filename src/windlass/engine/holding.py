"""What a session holds, as its worker knows it. Written on the loop, read by the heartbeat's thread."""

from __future__ import annotations

from windlass.core.ids import new_id


class Holding:
    """One session and its claims.

    The order of the writes is what keeps the heartbeat right without a lock: jobs enter `held` *before* their request
    counts as answered, and leave only *after* their settlement was answered; so a snapshot that reads `answered` first
    names every job of the answered requests that the store may still count as ours.
    """

    def __init__(self) -> None:
        self.session = new_id()
        self.held: dict[bytes, int] = {}
        """Job id to token: running, buffered, or being settled."""
        self.answered = 0
        """The highest request number whose answer is here."""
        self.sent = 0
        """The highest request number given out."""
        self.unanswered: int | None = None
        """A request whose answer never came; it must be unclaimed before the next claim."""

    def next_number(self) -> int:
        """Number the next claim."""
        self.sent += 1
        return self.sent

    def snapshot(self) -> tuple[int, list[tuple[bytes, int]]]:
        """Return `answered` and what is held, for a renewal. Callable from any thread."""
        answered = self.answered
        while True:
            try:
                return answered, list(self.held.items())
            except RuntimeError:  # the loop changed it meanwhile
                continue
