"""Ending attempts, and giving them back."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.graph import EDGES_PER_SETTLEMENT, MAX_EDGES_PER_CALL
from windlass.core.lifecycle import EVENT_OF, Event, Outcome, State, after
from windlass.core.model import MAX_ERRORS, MAX_LOG, ClaimRequest, Note, Settled, Settlement, SettleResult
from windlass.core.records import Reason
from windlass.store.memory.cascade import Cascade
from windlass.store.memory.claim import claim
from windlass.store.memory.data import Step
from windlass.store.memory.records import Job

_FINAL = (Outcome.SUCCEEDED, Outcome.DEAD, Outcome.CANCELLED)


def settle(step: Step, session: bytes, settlements: Sequence[Settlement], request: ClaimRequest | None) -> SettleResult:
    """See `JobStore.settle`."""
    cascade = Cascade(step, MAX_EDGES_PER_CALL + EDGES_PER_SETTLEMENT * len(settlements))
    answers = [_settle_one(step, session, settlement, cascade) for settlement in settlements]
    more_edges = cascade.run()
    return SettleResult(answers, None if request is None else claim(step, session, request), more_edges)


def _settle_one(step: Step, session: bytes, settlement: Settlement, cascade: Cascade) -> Settled:
    job = step.data.jobs.get(settlement.id)
    if job is None or (job.session, job.token) != (session, settlement.token):
        return Settled.LOST
    if job.state is not State.RUNNING:
        return Settled.ALREADY if job.settled is settlement.outcome else Settled.LOST
    _apply(step, job, settlement, cascade)
    return Settled.APPLIED


def _apply(step: Step, job: Job, settlement: Settlement, cascade: Cascade) -> None:
    outcome = settlement.outcome
    later = settlement.delay > 0
    state = after(job.state, EVENT_OF[outcome], cancel_requested=job.cancel_requested, later=later)
    job.settled = outcome
    _count(step, job, settlement)
    if settlement.error is not None:
        job.errors = [*job.errors, settlement.error][-MAX_ERRORS:]
    unstarted = outcome is Outcome.UNDELIVERABLE or (outcome is Outcome.RELEASED and not settlement.started)
    if not state.is_finished and not unstarted:
        job.undeliverable_since = None
    if state.is_finished:
        # What was not meant to be final says nothing of its retention.
        keep = settlement.keep if outcome in _FINAL else step.settings.keep
        reason = Reason.CANCELLED if state is State.CANCELLED else Reason.NONE
        cascade.finish(job, state, keep, reason, settlement.result if state is State.SUCCEEDED else None)
    elif outcome is Outcome.RELEASED:
        step.make_ready(job, old_position=True)
    else:
        if state is State.SCHEDULED:
            job.due_at = step.now + settlement.delay
        step.make_later_or_ready(job, state)


def _count(step: Step, job: Job, settlement: Settlement) -> None:
    """Count what the end of an attempt counts, even where it ends the job."""
    match settlement.outcome:
        case Outcome.RETRY | Outcome.DEAD:
            job.failures += 1
        case Outcome.SNOOZED:
            job.snoozes += 1
        case Outcome.UNDELIVERABLE:
            job.attempt -= 1
            job.undeliverable_since = step.now if job.undeliverable_since is None else job.undeliverable_since
        case Outcome.RELEASED if not settlement.started:
            job.attempt -= 1


def unclaim(step: Step, session: bytes, request: int) -> None:
    """See `JobStore.unclaim`."""
    life = step.data.sessions.get(session)
    if life is None:
        return
    life.request = max(life.request, request)
    cascade = Cascade(step)
    for job in list(step.data.held.get(session, {}).values()):
        if job.request == request:
            give_back(step, job, cascade)
    cascade.run()


def give_back(step: Step, job: Job, cascade: Cascade) -> None:
    """Put a job that nobody started back to its old position, or cancel it if somebody asked."""
    state = after(job.state, Event.RELEASE, cancel_requested=job.cancel_requested)
    job.attempt -= 1
    if state is State.CANCELLED:
        cascade.finish(job, state, step.settings.keep, Reason.CANCELLED)
    else:
        step.make_ready(job, old_position=True)


def annotate(step: Step, session: bytes, notes: Sequence[Note]) -> None:
    """See `JobStore.annotate`."""
    for note in notes:
        job = step.data.jobs.get(note.id)
        if job is None or job.state is not State.RUNNING or (job.session, job.token) != (session, note.token):
            continue
        job.progress = job.progress if note.progress is None else note.progress
        job.message = job.message if note.message is None else note.message
        job.log = _last_of(job.log + note.log)


def _last_of(log: str) -> str:
    """The last `MAX_LOG` bytes, without a character cut in two."""
    if len(log) * 4 <= MAX_LOG:
        return log
    return log.encode("utf-8", "surrogatepass")[-MAX_LOG:].decode("utf-8", "ignore")
