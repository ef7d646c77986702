"""The lives of workers: leases, and what becomes of the jobs of those who lost theirs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from windlass.core.lifecycle import Event, State, after
from windlass.core.model import MAX_BATCH, Progress, Reason, Renewal, Session, SessionSign
from windlass.store.sqlite.edges import Cascade
from windlass.store.sqlite.settle import give_back
from windlass.store.sqlite.transaction import Transaction
from windlass.store.statements import statements

_SQL = statements("sqlite")
_ENCODER = msgspec.json.Encoder()
SESSION_DECODER = msgspec.json.Decoder(Session)


def open_session(tx: Transaction, session: Session) -> None:
    """See `JobStore.open`."""
    row = (session.id, tx.now + tx.settings.lease, tx.now, _ENCODER.encode(session))
    tx.execute(_SQL["open_session"], row)


def close_session(tx: Transaction, session: bytes) -> None:
    """See `JobStore.close`."""
    jobs = tx.execute(_SQL["some_held_by"], (session, MAX_BATCH + 1)).fetchall()
    cascade = Cascade(tx)
    for n, id, linked, lane, cancelled, *_ in jobs[:MAX_BATCH]:
        give_back(tx, cascade, n, id, linked, lane, cancelled=bool(cancelled))
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
    row = tx.execute(_SQL["renew_session"], (tx.now + tx.settings.lease, session)).fetchone()
    if row is None:
        return Renewal(revoked=True)
    known = set(held)
    still: set[tuple[bytes, int]] = set()
    cancel = []
    cascade = Cascade(tx)
    for n, id, token, request, cancelled, linked, lane in tx.execute(_SQL["held_by"], (session,)).fetchall():
        if (id, token) in known:
            still.add((id, token))
            if cancelled:
                cancel.append(id)
        elif request <= answered:
            give_back(tx, cascade, n, id, linked, lane, cancelled=bool(cancelled))
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
    lease = tx.settings.lease
    latest = tx.now + lease
    if tx.execute(_SQL["any_lease_ahead"], (latest,)).fetchone() is not None:
        tx.execute(_SQL["clamp_leases"], (latest,))
    soon = tx.now + lease * 5 // 9
    signs = [
        SessionSign(id, renewals, until - tx.now, bool(revoked))
        for id, renewals, until, revoked in tx.execute(_SQL["watched_sessions"], (soon,)).fetchall()
    ]
    strangers = [id for id in _holders(tx) if tx.execute(_SQL["read_session"], (id,)).fetchone() is None]
    return signs + [SessionSign(id, 0, 0, True) for id in strangers]


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
        for n, id, linked, lane, cancelled, losses, suspect in jobs[: limit - moved]:
            _take_back(tx, cascade, n, id, linked, lane, losses, alone=bool(suspect), cancelled=bool(cancelled))
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


def _take_back(
    tx: Transaction,
    cascade: Cascade,
    n: int,
    id: bytes,
    linked: int,
    lane: int,
    losses: int,
    *,
    alone: bool,
    cancelled: bool,
) -> None:
    """Take a job back from a dead session."""
    losses += 1
    tx.held.pop(id, None)
    # A suspect runs alone from its second loss on, so that the losses beyond two are those that happened alone.
    spent = alone and losses - 2 >= tx.settings.max_lost
    state = after(State.RUNNING, Event.LOSE if spent else Event.REAP, cancel_requested=cancelled)
    if state is State.READY:
        tx.execute(_SQL["lose_to_lane"], (losses >= 2, n))
        tx.hints.ready.add(tx.names.lane_name(lane)[0])
        return
    tx.execute(_SQL["count_loss"], (n,))
    if state is State.DEAD:
        cascade.finish(n, id, linked, state, tx.settings.keep_dead, Reason.LOST)
    else:
        cascade.cancel(n, id, linked, Reason.CANCELLED)


def command(tx: Transaction, session: bytes, command: str) -> bool:
    """See `JobStore.command`."""
    if not _is_alive(tx, session):
        return False
    tx.execute(_SQL["add_command"], (session, command))
    tx.hints.sessions.add(session)
    return True
