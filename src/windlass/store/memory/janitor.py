"""What time brings: due jobs, expiries, edges left behind, the end of retention."""

from __future__ import annotations

from itertools import islice

from windlass.core.lifecycle import Event, after
from windlass.core.model import Progress
from windlass.core.records import Reason
from windlass.store.memory.cascade import Cascade, remove_job
from windlass.store.memory.data import Step
from windlass.store.memory.documents import forget_expired
from windlass.store.memory.limits import drop_full_buckets
from windlass.store.memory.schedules import forget_deleted


def promote(step: Step, limit: int) -> Progress:
    """See `JobStore.promote`."""
    # Expiry first: what expired while it was scheduled does not become ready.
    done = _expire(step, limit)
    scheduled = step.data.scheduled
    promoted = 0
    while promoted < limit and (job := scheduled.first_up_to(step.now)) is not None:
        after(job.state, Event.DUE)
        step.make_ready(job)
        promoted += 1
    first = scheduled.first()
    return Progress(
        done=done + promoted,
        more=scheduled.first_up_to(step.now) is not None or step.data.expiring.first_up_to(step.now) is not None,
        next_at=None if first is None else first[0][0],
        now=step.now,
    )


def _expire(step: Step, limit: int) -> int:
    cascade = Cascade(step)
    expired = 0
    while expired < limit and (job := step.data.expiring.first_up_to(step.now)) is not None:
        cascade.cancel(job, Event.EXPIRE, Reason.EXPIRED)
        expired += 1
    cascade.run()
    return expired


def release_edges(step: Step, limit: int) -> Progress:
    """See `JobStore.release_edges`."""
    cascade = Cascade(step, limit)
    for job in list(islice(step.data.behind.values(), limit)):
        cascade.follow(job)
    cascade.run()
    return Progress(done=cascade.moved, more=bool(step.data.behind))


def purge(step: Step, limit: int) -> Progress:
    """See `JobStore.purge`."""
    purged = 0
    while purged < limit and (job := step.data.purgeable.first_up_to(step.now)) is not None:
        remove_job(step, job)
        purged += 1
    drop_full_buckets(step.data, step.now)
    more = forget_deleted(step, limit) | forget_expired(step, limit)
    return Progress(done=purged, more=more or step.data.purgeable.first_up_to(step.now) is not None)
