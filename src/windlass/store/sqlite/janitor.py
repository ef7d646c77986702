"""What time brings: due jobs, expiries, the end of retention."""

from __future__ import annotations

from windlass.core.model import Progress
from windlass.core.records import Reason
from windlass.store.sqlite.documents import forget_expired
from windlass.store.sqlite.edges import Cascade, Target
from windlass.store.sqlite.limits import drop_full_buckets
from windlass.store.sqlite.schedules import forget_deleted
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_BELONGINGS = ("delete_errors", "delete_note")


def promote(tx: Transaction, limit: int) -> Progress:
    """See `JobStore.promote`."""
    # Expiry first: what expired while it was scheduled does not become ready.
    expired, more_expired = _expire(tx, limit)
    due = tx.execute(_SQL["due_jobs"], (tx.now, limit + 1)).fetchall()
    some = due[:limit]
    if some:
        first = tx.sequences(len(some))
        tx.db.executemany(_SQL["make_ready"], [(seq, n) for seq, (n, _) in enumerate(some, first)])
        tx.hints.ready.update(tx.names.lane_name(lane)[0] for lane in {lane for _, lane in some})
    return Progress(
        done=expired + len(some),
        more=more_expired or len(due) > limit,
        next_at=tx.execute(_SQL["next_due"]).fetchone()[0],
        now=tx.now,
    )


def _expire(tx: Transaction, limit: int) -> tuple[int, bool]:
    jobs = tx.execute(_SQL["expired_jobs"], (tx.now, limit + 1)).fetchall()
    cascade = Cascade(tx)
    for job in jobs[:limit]:
        cascade.cancel(Target(*job), Reason.EXPIRED)
    cascade.run()
    if jobs:
        tx.hints.everybody = True  # claims may have met nothing but these
    more = len(jobs) > limit and tx.execute(_SQL["expired_jobs"], (tx.now, 1)).fetchone() is not None
    return min(len(jobs), limit), more


def purge(tx: Transaction, limit: int) -> Progress:
    """See `JobStore.purge`."""
    jobs = tx.execute(_SQL["purgeable_jobs"], (tx.now, limit + 1)).fetchall()
    for n, _, linked in jobs[:limit]:
        delete_job(tx, n, linked)
    drop_full_buckets(tx)
    more = forget_deleted(tx, limit) | forget_expired(tx, limit)
    return Progress(done=min(len(jobs), limit), more=more or len(jobs) > limit)


def delete_job(tx: Transaction, n: int, linked: int) -> None:
    """Delete a finished job with all that belongs to it. Its edges to dependants stay until those are deleted."""
    for statement in _BELONGINGS:
        tx.execute(_SQL[statement], (n,))
    if linked:
        tx.execute(_SQL["delete_edges"], (n,))
    tx.execute(_SQL["delete_job"], (n,))
