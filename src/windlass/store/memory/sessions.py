"""The lives of workers: leases, and what becomes of the jobs of those who lost theirs."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.lifecycle import Event, State, after
from windlass.core.model import MAX_BATCH, Progress, Renewal, Session, SessionSign
from windlass.core.records import Reason
from windlass.store.memory.cascade import Cascade
from windlass.store.memory.data import Step
from windlass.store.memory.records import Job, Life
from windlass.store.memory.settle import give_back

_SUSPECT_FROM = 2
"""From this loss on a job runs alone."""


def open_session(step: Step, session: Session) -> None:
    """See `JobStore.open`."""
    life = step.data.sessions.get(session.id)
    if life is not None:
        life.session = session
        return
    lease = step.settings.lease
    step.data.sessions[session.id] = Life(session, step.now, lease, step.now + lease)


def close_session(step: Step, session: bytes) -> None:
    """See `JobStore.close`."""
    cascade = Cascade(step)
    held = list(step.data.held.get(session, {}).values())
    for job in held[:MAX_BATCH]:
        give_back(step, job, cascade)
    cascade.run()
    life = step.data.sessions.get(session)
    if len(held) <= MAX_BATCH:
        _forget(step, session)
    elif life is not None:
        life.revoked = True


def _forget(step: Step, session: bytes) -> None:
    step.data.sessions.pop(session, None)
    if step.data.duty[0] == session:
        step.data.duty = (b"", 0)


def renew(step: Step, session: bytes, held: Sequence[tuple[bytes, int]], answered: int) -> Renewal:
    """See `JobStore.renew`."""
    life = step.data.sessions.get(session)
    if life is None or life.revoked:
        return Renewal(revoked=True)
    life.lease_until = step.now + life.lease
    life.renewals += 1
    jobs = step.data.held.get(session, {})
    still = {proof for proof in held if proof[0] in jobs and jobs[proof[0]].token == proof[1]}
    cancel = [proof[0] for proof in held if proof in still and jobs[proof[0]].cancel_requested]
    cascade = Cascade(step)
    for job in list(jobs.values()):
        if (job.id, job.token) not in still and job.request <= answered:
            give_back(step, job, cascade)
    cascade.run()
    return Renewal(
        lost=[proof[0] for proof in held if proof not in still],
        cancel=cancel,
        commands=sorted(life.commands),
        duty=_take_duty(step, session),
        suspects=any(step.data.suspects.get((lane.queue, lane.requires)) for lane in life.session.lanes),
    )


def _take_duty(step: Step, session: bytes) -> bool:
    """Whether the janitor's work is this session's: it has it, or nobody has it any more."""
    holder, until = step.data.duty
    if holder != session and until > step.now:
        life = step.data.sessions.get(holder)
        if life is not None and life.is_alive(step.now):
            return False
    step.data.duty = session, step.now + step.settings.lease
    return True


def observe(step: Step) -> list[SessionSign]:
    """See `JobStore.observe`."""
    signs = []
    for key, life in step.data.sessions.items():
        life.lease_until = min(life.lease_until, step.now + life.lease)
        left = life.lease_until - step.now
        if life.revoked or left < life.lease * 5 // 9:
            signs.append(SessionSign(key, life.renewals, left, life.revoked, life.lease))
    strangers = [key for key in step.data.held if key not in step.data.sessions]
    return signs + [SessionSign(key, 0, 0, True) for key in strangers]


def reap(step: Step, signs: Sequence[SessionSign], limit: int) -> Progress:
    """See `JobStore.reap`."""
    cascade = Cascade(step)
    moved = 0
    more = False
    for sign in signs:
        if not _is_dead(step, sign):
            continue
        jobs = list(step.data.held.get(sign.id, {}).values())
        left = limit - moved
        for job in jobs[:left]:
            _take_back(step, job, cascade)
        moved += min(left, len(jobs))
        if len(jobs) > left:
            more = True
        else:
            _forget(step, sign.id)
    cascade.run()
    return Progress(done=moved, more=more)


def _is_dead(step: Step, sign: SessionSign) -> bool:
    """Whether the session may be reaped; if so, it is revoked from here on."""
    life = step.data.sessions.get(sign.id)
    if life is None or life.revoked:
        return True
    if life.lease_until > step.now or life.renewals != sign.renewals:
        return False
    life.revoked = True
    return True


def _take_back(step: Step, job: Job, cascade: Cascade) -> None:
    """Take a job back from a dead session."""
    ran_alone = job.suspect
    job.losses += 1
    spent = ran_alone and job.losses - _SUSPECT_FROM >= step.settings.max_lost
    state = after(job.state, Event.LOSE if spent else Event.REAP, cancel_requested=job.cancel_requested)
    if state is State.READY:
        job.suspect = job.losses >= _SUSPECT_FROM
        job.undeliverable_since = None
        step.make_ready(job, old_position=True)
    elif state is State.DEAD:
        cascade.finish(job, state, step.settings.keep_dead, Reason.LOST)
    else:
        cascade.finish(job, state, step.settings.keep, Reason.CANCELLED)


def command(step: Step, session: bytes, command: str) -> bool:
    """See `JobStore.command`."""
    life = step.data.sessions.get(session)
    if life is None or not life.is_alive(step.now):
        return False
    life.commands.add(command)
    step.hints.add(f"session/{session.hex()}")
    return True
