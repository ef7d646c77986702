"""What the doctor says."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from windlass.core.clock import DAY, HOUR, MINUTE, SECOND, Span


class Kind(StrEnum):
    """What is the matter."""

    # Something keeps them, and will not pass by itself.
    PAUSED = "paused"
    NO_WORKER = "no-worker"
    NO_LANE = "no-lane"
    """No live worker serves the queue with the requirement."""
    UNKNOWN_TASK = "unknown-task"
    UNDELIVERABLE = "undeliverable"
    STALLED = "stalled"
    """Workers that have room claim nothing."""
    SUSPECT = "suspect"
    OVERDUE = "overdue"
    SCHEDULE_LATE = "schedule-late"
    """It is due, and nobody fires it."""
    PARENT_MISSING = "parent-missing"
    PARENT_FAILED = "parent-failed"
    CIRCLE = "circle"
    """It waits for itself, by way of others."""
    EDGES_LEFT = "edges-left"
    """Its parents have finished, and nobody has carried that on."""
    LOST_WORKER = "lost-worker"
    """Its worker is silent, and nobody has taken it back."""
    LOCKED = "locked"
    """Nobody can write."""
    OLD_LAYOUT = "old-layout"
    UNREACHABLE = "unreachable"

    # What it waits for comes by itself, or it waits for nothing.
    LIMIT = "limit"
    RATE = "rate"
    FAR = "far"
    """It is due, but not soon."""
    PARENTS = "parents"
    LATER = "later"
    BUSY = "busy"
    QUEUED = "queued"
    NEXT = "next"
    RUNNING = "running"
    FINISHED = "finished"


SPAN = "\0"
"""Where a cause's text says for how long."""


class Cause(NamedTuple):
    """Why one job is where it is. Jobs with the same kind and text belong together."""

    kind: Kind
    text: str
    """With `SPAN` where it says for how long, if it does."""
    advice: str = ""
    """What a person may do about it."""
    since: Span | None = None
    """For how long, as far as that is known."""
    stuck: bool = True
    """It will not pass by itself."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that keeps jobs from running, or one job's place in its life."""

    kind: Kind
    stuck: bool
    """It will not pass by itself."""
    sentence: str
    jobs: int = 0
    """How many it keeps, at least."""
    examples: list[str] = []
    """Ids of some of them."""


def in_words(span: Span) -> str:
    """Write a span in its largest unit: ``12 s``, ``3 min``, ``5 h``, ``2 days``."""
    for size, unit in ((2 * DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if span >= size:
            return f"{span // (DAY if unit == 'days' else size)} {unit}"
    seconds = max(0, span) / SECOND
    return f"{seconds:.1f} s" if seconds < 1 else f"{int(seconds)} s"
