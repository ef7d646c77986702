"""What the doctor knows of a store, at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from windlass.core.clock import Instant, Span
from windlass.core.records import Backlog, JobRecord, Limit, LimitScope, ParentRecord, SessionRecord
from windlass.core.requirements import PROCESS, Needs, parse, room

Counted: TypeAlias = tuple[LimitScope, str]
"""What a limit counts under: a queue, a task or a limit key, and its name."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Records, and nothing that is concluded from them."""

    now: Instant
    """The store's clock."""
    lease: Span
    """How long a worker of this app may go without a sign of life."""
    sessions: Sequence[SessionRecord]
    strangers: Sequence[bytes] = ()
    """Sessions for which jobs run, and which the store does not know."""
    limits: Mapping[Counted, Limit] = {}
    running: Mapping[Counted, int] = {}
    waits: Mapping[Counted, Span] = {}
    """How long a rate makes the next job wait, where it does."""
    backlog: Backlog
    unclaimed: Mapping[bytes, Span] = {}
    """Ready jobs that were first in line all the time while somebody looked, and for how long that was."""
    jobs: Mapping[bytes, JobRecord] = {}
    """Whole records: of who was asked about, of what is undeliverable, and of parents."""
    parents: Mapping[bytes, Sequence[ParentRecord]] = {}
    """Open parents of waiting jobs."""

    def live(self) -> list[SessionRecord]:
        """The sessions whose leases are good."""
        return [record for record in self.sessions if self.is_live(record)]

    def is_live(self, record: SessionRecord) -> bool:
        """Whether a session's lease is good."""
        return not record.revoked and record.lease_until > self.now

    def serving(self, queue: str, requires: str) -> list[SessionRecord]:
        """The live sessions that claim from a lane, and were not told to stop."""
        return [record for record in self.live() if not record.commands and serves(record, queue, requires)]

    def governing(self, job: JobRecord) -> Iterator[tuple[Counted, Limit]]:
        """The records that govern a job, and what each counts it under."""
        counted = [(LimitScope.QUEUE, job.queue), (LimitScope.TASK, job.task)]
        counted += [] if job.limit_key is None else [(LimitScope.KEY, job.limit_key)]
        for scope, name in counted:
            found = self.limits.get((scope, name))
            if found is None and scope is LimitScope.KEY:
                found = self.limits.get((scope, name.partition(":")[0]))
            if found is not None:
                yield (scope, name), found


def serves(record: SessionRecord, queue: str, requires: str) -> bool:
    """Whether a session claims ordinary jobs of a lane, or will once it has found it."""
    return not record.session.alone and slots_for(record, queue, requires) > 0


def slots_for(record: SessionRecord, queue: str, requires: str) -> int:
    """How many jobs of a lane a session runs at once: those that run in processes have slots of their own, and others
    what they need."""
    of_queue = {lane.requires: lane.until for lane in record.session.lanes if lane.queue == queue}
    needs = parse(requires)
    if not of_queue or requires in ("", PROCESS) or needs is None:
        return min(record.session.slots, of_queue.get(requires, 0))
    offer = parse(record.session.offer) or Needs()
    fit = room(needs, dict(offer.amounts)) if needs.labels <= offer.labels else 0
    place = of_queue.get(PROCESS if needs.process else "", 0)
    return min(record.session.slots, place if fit is None else fit, place)
