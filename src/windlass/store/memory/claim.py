"""Taking ready jobs."""

from __future__ import annotations

from windlass.core.clock import Span
from windlass.core.lifecycle import Event, after
from windlass.core.model import MAX_BATCH, ClaimAnswer, ClaimedJob, ClaimRequest, Lane, Refusal, UniqueUntil
from windlass.core.records import LimitScope
from windlass.store.memory.data import Step, counted_under
from windlass.store.memory.lanes import Bar
from windlass.store.memory.limits import Allowances
from windlass.store.memory.line import Line
from windlass.store.memory.records import Job
from windlass.store.memory.walk import Walk


def claim(step: Step, session: bytes, request: ClaimRequest) -> ClaimAnswer:
    """See `JobStore.claim`."""
    refused = _judge(step, session, request)
    if refused is not None:
        return ClaimAnswer(refused=refused)
    step.data.sessions[session].request = request.number
    return _Claim(step, session, request).carry_out()


def _judge(step: Step, session: bytes, request: ClaimRequest) -> Refusal | None:
    life = step.data.sessions.get(session)
    if life is None:
        return Refusal.UNKNOWN_SESSION
    if life.revoked:
        return Refusal.REVOKED
    if request.number <= life.request:
        return Refusal.STALE_REQUEST
    held = step.data.held.get(session, {})
    # Beside a suspect nothing else is held, so that the first job says it for all.
    holds_suspect = next((job.suspect for job in held.values()), False)
    return Refusal.NOT_ALONE if holds_suspect or (request.alone and held) else None


class _Claim:
    """One claim that was not refused."""

    def __init__(self, step: Step, session: bytes, request: ClaimRequest) -> None:
        self._step = step
        self._session = session
        self._request = request
        self._allowances = Allowances(step)
        self._bytes = request.max_bytes
        self._full = False
        self._jobs: list[ClaimedJob] = []
        self._retry_in: Span | None = None
        self._more = False

    def carry_out(self) -> ClaimAnswer:
        """Try the lanes in their order."""
        for lane in self._request.lanes:
            waits = self._take_suspect(lane) if self._request.alone else self._take_from(lane)
            self._retry_in = min((*waits, *_known(self._retry_in)), default=None)
        return ClaimAnswer(self._jobs, more=self._more, retry_in=self._retry_in)

    def _take_from(self, lane: Lane) -> list[Span]:
        """Take from a lane; answer, if it ran out of jobs, the waits that held others back."""
        found = self._step.data.ready.get((lane.queue, lane.requires))
        if found is None:
            return []
        found.reopen_due(self._step.now)
        plain_next, name = self._step.data.plain_next, (lane.queue, lane.requires)
        walk = Walk(found, self._step.now, keys_next=name not in plain_next)
        waits = self._go(walk, min(lane.until, MAX_BATCH))
        if walk.keys_next:
            plain_next.discard(name)
        else:
            plain_next.add(name)
        if waits is not None:
            waits += _known(found.first_wait(self._step.now))
        walk.close()
        self._more |= walk.more
        if walk.passed:
            self._step.hints.add("scheduled")  # what is expired is the janitors' to cancel
        if found:  # with all others taken, it was dropped; what was passed over is still in it
            self._step.data.ready[name] = found
        return waits or []

    def _go(self, walk: Walk, most: int) -> list[Span] | None:
        """Take what may start; answer the waits of the limits that held something back, ``None`` if that is all we want
        of this lane."""
        waits: list[Span] = []
        while not self._full and len(self._jobs) < most:
            job = walk.first()
            held_back = None if job is None else self._held_back(job)
            if job is None:
                return waits
            if held_back is None:
                self._take(job, walk)
                continue
            scope, wait = held_back
            waits += _known(wait)
            if scope is LimitScope.QUEUE:
                return waits
            if scope is LimitScope.TASK:
                walk.leave_out(job.task)
            else:
                self._bar_line(job, wait, walk)
        return None

    def _held_back(self, job: Job) -> tuple[LimitScope, Span | None] | None:
        """Say which limit keeps a job from starting, and for how long: its queue's, else its task's, else its key's."""
        for scope, name in counted_under(job):
            wait = self._allowances.wait(scope, name)
            if wait != 0:
                return scope, wait
        return None

    def _take(self, job: Job, walk: Walk) -> None:
        """Take a job, or say that this is all."""
        if self._jobs and len(job.payload) > self._bytes:
            self._full = True
            return
        self._bytes -= len(job.payload)
        self._allowances.spend(job)
        line = walk.took(job)
        self._start(job)
        if line is not None:
            self._step.data.sequence += 1
            line.lane.to_the_end(line, self._step.data.sequence)
        self._jobs.append(_claimed(job, self._step))

    def _bar_line(self, job: Job, wait: Span | None, walk: Walk) -> None:
        """Leave the line of a key that is at its limit until it may go on."""
        assert job.limit_key is not None
        line = walk.shut(job, Bar(self._step.now, None if wait is None else self._step.now + wait))
        if wait is None:
            self._step.data.at_limit[job.limit_key].add(line)

    def _take_suspect(self, lane: Lane) -> list[Span]:
        """Take the first suspect that may start."""
        waits: list[Span] = []
        for job in self._step.data.suspects.get((lane.queue, lane.requires), Line[Job]()).in_order():
            if self._jobs:
                return []
            if job.is_expired(self._step.now):
                continue
            held_back = self._held_back(job)
            if held_back is None:
                self._allowances.spend(job)
                self._start(job)
                self._jobs.append(_claimed(job, self._step))
                return []
            waits += _known(held_back[1])
        return waits

    def _start(self, job: Job) -> None:
        state = after(job.state, Event.CLAIM)
        job.token += 1
        job.session, job.request, job.settled = self._session, self._request.number, None
        job.started_at = self._step.now
        self._step.move(job, state)
        job.attempt += 1
        if job.unique is not None and job.unique.until is UniqueUntil.STARTED and not job.gave_up_key:
            job.gave_up_key = True
            del self._step.data.keys[job.task, job.unique.key]


def _known(wait: Span | None) -> tuple[Span, ...]:
    return () if wait is None else (wait,)


def _claimed(job: Job, step: Step) -> ClaimedJob:
    since = job.undeliverable_since
    return ClaimedJob(
        id=job.id,
        token=job.token,
        task=job.task,
        payload=job.payload,
        options=job.options,
        queue=job.queue,
        requires=job.requires,
        priority=job.priority,
        attempt=job.attempt,
        failures=job.failures,
        snoozes=job.snoozes,
        enqueued_at=job.enqueued_at,
        undeliverable_for=0 if since is None else max(0, step.now - since),
        limit_key=job.limit_key,
    )
