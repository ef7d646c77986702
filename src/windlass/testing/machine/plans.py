"""What the state machine draws: small plans in terms of positions, so that failures shrink and read well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from hypothesis import strategies as st

from windlass.core.clock import DAY, HOUR, MILLISECOND, MINUTE, SECOND, Instant, Span
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome
from windlass.core.model import KEEP, MAX_CALL_BYTES, Lane, NewJob, Parent, Settlement, Unique, UniqueUntil
from windlass.core.records import Limit, LimitScope, Rate
from windlass.testing.faulty import Fault

Mishap: TypeAlias = Fault | int
"""A fault, or the number of steps after which the store dies inside the verb."""


def mishaps(*also: Fault) -> st.SearchStrategy[Mishap]:
    """Mostly nothing; else a fault that any verb may meet, or one of ``also``."""
    faults: list[Mishap] = [Fault.CRASH, Fault.LOST, Fault.LOST, *also, *also, 1, 3, 6, 12]
    return st.sampled_from([*[Fault.NONE] * 14, *faults])


@dataclass(frozen=True, slots=True)
class JobPlan:
    """A job to enqueue; parents are positions among the jobs enqueued so far, latest first."""

    task: str
    queue: str
    requires: str
    priority: int
    delay: Span
    at_in: Span | None
    expires_in: Span | None
    unique: Unique | None
    limit_key: str | None
    parents: tuple[tuple[int, EdgePolicy], ...]
    payload: bytes = b"{}"

    def job(self, id: bytes, known: list[bytes], now: Instant) -> NewJob:
        """Make the job; ``known`` are the ids that its parents may have, latest last."""
        parents = {known[-1 - position % len(known)]: policy for position, policy in self.parents if known}
        if self.unique is not None and self.unique.replace:
            parents = {}  # a job that replaces its own parent is released in an order that no contract fixes
        return NewJob(
            id=id,
            task=self.task,
            payload=self.payload,
            queue=self.queue,
            requires=self.requires,
            priority=self.priority,
            delay=self.delay if self.at_in is None else 0,
            at=None if self.at_in is None else now + self.at_in,
            expires_in=self.expires_in,
            unique=self.unique,
            limit_key=self.limit_key,
            parents=tuple(Parent(parent, policy) for parent, policy in parents.items()),
        )


TASKS = ("t", "u")
QUEUES = ("q", "r")
REQUIRES = ("", "", "gpu=1")
KEYS = ("a", "b")

_policies = st.sampled_from([EdgePolicy.SUCCEEDED, EdgePolicy.SUCCEEDED, EdgePolicy.DONE, EdgePolicy.FAILED])
_parents = st.lists(st.tuples(st.integers(0, 5), _policies), max_size=3).map(tuple)
_unique = st.builds(Unique, key=st.sampled_from(KEYS), until=st.sampled_from(list(UniqueUntil)), replace=st.booleans())

jobs = st.builds(
    JobPlan,
    task=st.sampled_from(TASKS),
    queue=st.sampled_from(["q", "q", "r"]),
    requires=st.sampled_from(REQUIRES),
    priority=st.sampled_from([5, 5, 9, 0]),
    delay=st.sampled_from([0, 0, 0, SECOND, 20 * SECOND]),
    at_in=st.sampled_from([None, None, None, None, -SECOND, 5 * SECOND]),
    expires_in=st.sampled_from([None, None, None, SECOND, 30 * SECOND]),
    unique=st.one_of(st.none(), st.none(), _unique),
    limit_key=st.sampled_from([None, None, "g:1", "g:2", "h"]),
    parents=st.one_of(st.just(()), _parents),
    payload=st.sampled_from([b"{}", b'{"a":1}']),
)

plain_jobs = st.builds(
    JobPlan,
    task=st.sampled_from(TASKS),
    queue=st.sampled_from(QUEUES),
    requires=st.just(""),
    priority=st.sampled_from([5, 5, 9]),
    delay=st.just(0),
    at_in=st.none(),
    expires_in=st.none(),
    unique=st.none(),
    limit_key=st.none(),
    parents=st.one_of(st.just(()), _parents),
)


@dataclass(frozen=True, slots=True)
class ClaimPlan:
    """A claim; ``stale`` uses a request number again."""

    lanes: tuple[Lane, ...]
    alone: bool = False
    stale: bool = False
    max_bytes: int = MAX_CALL_BYTES


_lanes = st.lists(
    st.builds(
        Lane, queue=st.sampled_from(QUEUES), requires=st.sampled_from(REQUIRES), until=st.sampled_from([4, 1, 2, 1000])
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda lane: (lane.queue, lane.requires),
).map(tuple)


def everywhere(until: int) -> tuple[Lane, ...]:
    """All lanes that there are."""
    return tuple(Lane(queue, requires, until) for queue in QUEUES for requires in ("", "gpu=1"))


EVERYWHERE = everywhere(1000)

claims = st.builds(
    ClaimPlan,
    lanes=st.one_of(st.just(EVERYWHERE), _lanes),
    alone=st.sampled_from([False, False, False, True]),
    stale=st.sampled_from([False] * 9 + [True]),
    max_bytes=st.sampled_from([MAX_CALL_BYTES, MAX_CALL_BYTES, 1, 10]),
)


@dataclass(frozen=True, slots=True)
class SettlePlan:
    """How to end the attempt at this position among those held."""

    position: int
    outcome: Outcome
    delay: Span = 0
    keep: Span = KEEP
    started: bool = True

    def settlement(self, id: bytes, token: int) -> Settlement:
        failed = self.outcome in {Outcome.RETRY, Outcome.DEAD, Outcome.UNDELIVERABLE}
        return Settlement(
            id=id,
            token=token,
            outcome=self.outcome,
            result=b"1" if self.outcome is Outcome.SUCCEEDED else None,
            error=b'{"type":"E"}' if failed else None,
            delay=self.delay if self.outcome in _DELAYABLE else 0,
            keep=self.keep,
            started=self.started,
        )


_DELAYABLE = {Outcome.RETRY, Outcome.SNOOZED, Outcome.UNDELIVERABLE}

settles = st.builds(
    SettlePlan,
    position=st.integers(0, 5),
    outcome=st.sampled_from([Outcome.SUCCEEDED, Outcome.SUCCEEDED, *Outcome]),
    delay=st.sampled_from([0, SECOND, 30 * SECOND]),
    keep=st.sampled_from([KEEP, 0, MINUTE, 10 * MINUTE]),
    started=st.booleans(),
)

RATES = {
    (LimitScope.QUEUE, "q"): Rate(2, 10 * SECOND, 2),
    (LimitScope.TASK, "t"): Rate(1),
    (LimitScope.KEY, "h"): Rate(3, MINUTE),
}
"""A record that has a rate keeps it: what a bucket owes after its rate was taken away and given back is nobody's
promise."""
_named = [
    *((LimitScope.QUEUE, name) for name in QUEUES),
    *((LimitScope.TASK, name) for name in TASKS),
    *((LimitScope.KEY, name) for name in ("g", "g:1", "h")),
]

limits = st.builds(
    lambda named, concurrency: Limit(scope=named[0], name=named[1], concurrency=concurrency, rate=RATES.get(named)),
    st.sampled_from(_named),
    concurrency=st.sampled_from([None, 1, 2]),
)

pausable = st.sampled_from([named for named in _named if named[0] is not LimitScope.KEY])

positions = st.integers(0, 9)
some_positions = st.lists(positions, min_size=1, max_size=3)
forward = st.sampled_from([SECOND, MILLISECOND, 3 * SECOND, 10 * SECOND, MINUTE, 6 * MINUTE, DAY + HOUR])
back = st.sampled_from([-SECOND, -20 * SECOND, -HOUR])
