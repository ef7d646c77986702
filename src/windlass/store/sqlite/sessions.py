"""The lives of workers: leases, and what becomes of the jobs of those who lost theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from windlass.core.lifecycle import Event, State, after
from windlass.core.model import MAX_BATCH, Progress, Renewal, Session, SessionSign
from windlass.core.records import Reason
from windlass.store.sqlite.edges import Cascade, Target
from windlass.store.sqlite.limits import announce_free_places
from windlass.store.sqlite.settle import give_back
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_ENCODER = msgspec.json.Encoder()
SESSION_DECODER = msgspec.json.Decoder(Session)


def open_session(tx: Transaction, session: Session) -> None:
    """See `JobStore.open`."""
    lease = tx.settings.lease
    row = (session.id, lease, tx.now + lease, tx.now, _ENCODER.encode(session))
    tx.execute(_SQL["open_session"], row)


class _Held(NamedTuple):
    """The row of ``some_held_by``."""

    n: int
    id: bytes
    linked: int
    lane: int
    cancelled: int
    losses: int
    suspect: int

    @property
    def target(self) -> Target:
        return Target(self.n, self.id, self.linked)


def close_session(tx: Transaction, session: bytes) -> None:
    """See `JobStore.close`."""
    jobs = tx.execute(_SQL["some_held_by"], (session, MAX_BATCH + 1)).fetchall()
    cascade = Cascade(tx)
    for job in map(_Held._make, jobs[:MAX_BATCH]):
        give_back(tx, cascade, job.target, job.lane, cancelled=bool(job.cancelled))
    cascade.run()
    if len(jobs) > MAX_BATCH:
        tx.execute(_SQL["revoke_session"], (session,))
    else:
        _forget(tx, session)


def _forget(tx: Transaction, session: bytes) -> None:
    for statement in ("forget_session", "forget_commands", "lay_down_duty"):
        tx.execute(_SQL[statement], (session,))


def renew(tx: Transaction, session: bytes, held: Sequence[tuple[bytes, int]], answered: int) -> Renewal:
    """See `JobStore.renew`."""
    row = tx.execute(_SQL["renew_session"], (tx.now, session)).fetchone()
    if row is None:
        return Renewal(revoked=True)
    known = set(held)
    still: set[tuple[bytes, int]] = set()
    cancel = []
    cascade = Cascade(tx)
    for n, job_id, token, request, cancelled, linked, lane in tx.execute(_SQL["held_by"], (session,)).fetchall():
        if (job_id, token) in known:
            still.add((job_id, token))
            if cancelled:
                cancel.append(job_id)
        elif request <= answered:
            give_back(tx, cascade, Target(n, job_id, linked), lane, cancelled=bool(cancelled))
    cascade.run()
    return Renewal(
        lost=[proof[0] for proof in held if proof not in still],
        cancel=cancel,
        commands=[command for (command,) in tx.execute(_SQL["session_commands"], (session,))],
        duty=_take_duty(tx, session),
        suspects=_has_suspects(tx, SESSION_DECODER.decode(row[0])),
    )


def _take_duty(tx: Transaction, session: bytes) -> bool:
    """Whether the janitor's work is this session's: it has it, or nobody has it any more."""
    holder, until = tx.execute(_SQL["read_duty"]).fetchone()
    if holder != session and until > tx.now and _is_alive(tx, holder):
        return False
    tx.execute(_SQL["take_duty"], (session, tx.now + tx.settings.lease))
    return True


def _is_alive(tx: Transaction, session: bytes) -> bool:
    row = tx.execute(_SQL["read_session"], (session,)).fetchone()
    return row is not None and not row[0] and row[1] > tx.now


def _has_suspects(tx: Transaction, session: Session) -> bool:
    if tx.execute(_SQL["any_suspect"]).fetchone() is None:
        return False
    numbers = (tx.names.find_lane(lane.queue, lane.requires) for lane in session.lanes)
    return any(n is not None and tx.execute(_SQL["suspect_in_lane"], (n,)).fetchone() for n in numbers)


def observe(tx: Transaction) -> list[SessionSign]:
    """See `JobStore.observe`."""
    if tx.execute(_SQL["any_lease_ahead"], (tx.now,)).fetchone() is not None:
        tx.execute(_SQL["clamp_leases"], (tx.now,))
    signs = [
        SessionSign(key, renewals, until - tx.now, bool(revoked), lease)
        for key, renewals, until, revoked, lease in tx.execute(_SQL["watched_sessions"], (tx.now,)).fetchall()
    ]
    strangers = [key for key in _holders(tx) if tx.execute(_SQL["read_session"], (key,)).fetchone() is None]
    return signs + [SessionSign(key, 0, 0, True) for key in strangers]


def _holders(tx: Transaction) -> list[bytes]:
    """All sessions for which a job runs, known or not."""
    found: list[bytes] = []
    session = b""
    while (session := tx.execute(_SQL["next_holder"], (session,)).fetchone()[0]) is not None:
        found.append(session)
    return found


def reap(tx: Transaction, signs: Sequence[SessionSign], limit: int) -> Progress:
    """See `JobStore.reap`."""
    cascade = Cascade(tx)
    moved = 0
    more = False
    for sign in signs:
        if not _is_dead(tx, sign):
            continue
        jobs = tx.execute(_SQL["some_held_by"], (sign.id, limit - moved + 1)).fetchall()
        for job in map(_Held._make, jobs[: limit - moved]):
            _take_back(tx, cascade, job)
        if len(jobs) > limit - moved:
            moved, more = limit, True
        else:
            moved += len(jobs)
            _forget(tx, sign.id)
    cascade.run()
    return Progress(done=moved, more=more)


def _is_dead(tx: Transaction, sign: SessionSign) -> bool:
    """Whether the session may be reaped; if so, it is revoked from here on."""
    row = tx.execute(_SQL["read_session"], (sign.id,)).fetchone()
    if row is None:
        return True
    revoked, until, renewals = row
    if revoked:
        return True
    if until > tx.now or renewals != sign.renewals:
        return False
    tx.execute(_SQL["revoke_session"], (sign.id,))
    return True


def _take_back(tx: Transaction, cascade: Cascade, job: _Held) -> None:
    """Take a job back from a dead session."""
    losses = job.losses + 1
    announce_free_places(tx)
    tx.held.pop(job.id, None)
    # A suspect runs alone from its second loss on, so that the losses beyond two are those that happened alone.
    spent = job.suspect and losses - 2 >= tx.settings.max_lost
    state = after(State.RUNNING, Event.LOSE if spent else Event.REAP, cancel_requested=bool(job.cancelled))
    if state is State.READY:
        tx.execute(_SQL["lose_to_lane"], (losses >= 2, job.n))
        tx.hints.ready.add(tx.names.lane_name(job.lane)[0])
        return
    tx.execute(_SQL["count_loss"], (job.n,))
    if state is State.DEAD:
        cascade.finish(job.target, state, tx.settings.keep_dead, Reason.LOST)
    else:
        cascade.cancel(job.target, Reason.CANCELLED)


def command(tx: Transaction, session: bytes, command: str) -> bool:
    """See `JobStore.command`."""
    if not _is_alive(tx, session):
        return False
    tx.execute(_SQL["add_command"], (session, command))
    tx.hints.sessions.add(session)
    return True
