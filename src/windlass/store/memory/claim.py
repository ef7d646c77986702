"""Taking ready jobs."""

from __future__ import annotations

from windlass.core.lifecycle import Event, after
from windlass.core.model import MAX_BATCH, ClaimAnswer, ClaimedJob, ClaimRequest, Lane, Refusal, UniqueUntil
from windlass.store.memory.data import Step
from windlass.store.memory.lanes import Walk
from windlass.store.memory.limits import Allowances
from windlass.store.memory.records import Job


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

    def carry_out(self) -> ClaimAnswer:
        """Try the lanes in their order."""
        for lane in self._request.lanes:
            self._take_from(lane)
        return ClaimAnswer(self._jobs, retry_in=self._allowances.retry_in)

    def _take_from(self, lane: Lane) -> None:
        lanes = self._step.data.lanes(suspects=self._request.alone)
        found = lanes.get((lane.queue, lane.requires))
        if found is None:
            return
        most = 1 if self._request.alone else min(lane.until, MAX_BATCH)
        walk = Walk(found)
        while not self._full and len(self._jobs) < most and (job := walk.first()) is not None:
            self._consider(job, walk)
        walk.close()
        if found:  # with all others taken, it was dropped; what was passed over is still in it
            lanes[lane.queue, lane.requires] = found

    def _consider(self, job: Job, walk: Walk) -> None:
        """Take the next job, or pass over it, or say that this is all."""
        if job.is_expired(self._step.now):
            walk.pass_over(job)
        elif not self._allowances.allow(job):
            walk.pass_over_track(job)
        elif self._jobs and len(job.payload) > self._bytes:
            self._full = True
        else:
            self._bytes -= len(job.payload)
            self._allowances.spend(job)
            self._start(job)
            self._jobs.append(_claimed(job, self._step))

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
