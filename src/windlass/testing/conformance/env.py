"""What a check works with: an empty store, its clock, workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import count
from typing import Any, TypeAlias

import msgspec

from windlass.core.clock import MINUTE, Instant, Span
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import (
    MAX_BATCH,
    STORED,
    ClaimAnswer,
    ClaimedJob,
    ClaimRequest,
    Edge,
    EnqueueAnswer,
    Lane,
    NewJob,
    Parent,
    Progress,
    Renewal,
    Session,
    Settings,
    Settled,
    Settlement,
    SettleResult,
)
from windlass.core.records import JobRecord
from windlass.store.port import Store
from windlass.testing.conformance.expect import holds, same

MoveClock: TypeAlias = Callable[[Span], Awaitable[None]]
"""Moves the store's clock by a span, in either direction."""

EVERYWHERE = (Lane("default"),)


class Worker:
    """A session, and what a worker knows of itself."""

    def __init__(self, store: Store, session: Session) -> None:
        self.store = store
        self.session = session
        self.id = session.id
        self.number = 0
        """Of its last claim."""

    def request(
        self, limit: int = MAX_BATCH, *, lanes: Sequence[Lane] | None = None, alone: bool = False, **more: Any
    ) -> ClaimRequest:
        """Make the next claim request: of ``lanes`` as they are, or else of at most ``limit`` jobs from "default"."""
        self.number += 1
        wanted = (Lane("default", "", limit),) if lanes is None else tuple(lanes)
        return ClaimRequest(self.number, wanted, alone, **more)

    async def ask(self, limit: int = MAX_BATCH, **how: Any) -> ClaimAnswer:
        """Claim, and give the whole answer. See `request`."""
        return await self.store.claim(self.id, self.request(limit, **how))

    async def claim(self, limit: int = MAX_BATCH, **how: Any) -> list[ClaimedJob]:
        """Claim, and give the jobs; a refusal is a failure of the check."""
        answer = await self.ask(limit, **how)
        same(answer.refused, None, "a claim that nothing speaks against was refused")
        return answer.jobs

    async def claim_all(self, most: int = 10 * MAX_BATCH) -> list[ClaimedJob]:
        """Claim until nothing comes, or so many jobs have come: a store may bound what one claim brings."""
        jobs: list[ClaimedJob] = []
        while len(jobs) < most and (found := await self.claim(min(most - len(jobs), MAX_BATCH))):
            jobs += found
        return jobs

    async def claim_one(self, *, lanes: Sequence[Lane] = EVERYWHERE, **how: Any) -> ClaimedJob:
        """Claim one job that must be there."""
        jobs = await self.claim(lanes=[Lane(lane.queue, lane.requires, 1) for lane in lanes], **how)
        same(len(jobs), 1, "jobs claimed, one being ready")
        return jobs[0]

    async def settle_all(self, *settlements: Settlement, claim: ClaimRequest | None = None) -> SettleResult:
        """Settle several attempts in one call."""
        return await self.store.settle(self.id, settlements, claim)

    async def settle(self, job: ClaimedJob, outcome: Outcome, **how: Any) -> Settled:
        """Settle one attempt, and give the answer."""
        result = await self.settle_all(ended(job, outcome, **how))
        return result.answers[0]

    async def end(self, job: ClaimedJob, outcome: Outcome = Outcome.SUCCEEDED, **how: Any) -> None:
        """Settle one attempt, which must be accepted."""
        same(await self.settle(job, outcome, **how), Settled.APPLIED, f"settling the running job as {outcome.name}")

    async def renew(self, held: Iterable[ClaimedJob] = (), answered: int | None = None) -> Renewal:
        """Renew, naming what is held; all requests so far are taken as answered."""
        proofs = [(job.id, job.token) for job in held]
        return await self.store.renew(self.id, proofs, self.number if answered is None else answered)


def ended(job: ClaimedJob, outcome: Outcome = Outcome.SUCCEEDED, **how: Any) -> Settlement:
    """Make a settlement of an attempt."""
    return Settlement(job.id, job.token, outcome, **how)


class Env:
    """An empty store for one check, and helpers.

    Args:
        store: not yet opened, or opened on the running loop; closed by `close`.
        move_clock: moves the store's clock. A store that lives on a server may shift what it takes for the server's
            time. Checks that set the clock back are marked (`Check.sets_clock_back`); for all others it moves forward.
    """

    def __init__(self, store: Store, move_clock: MoveClock) -> None:
        self.store = store
        self._move_clock = move_clock
        self._opened: list[Store] = [store]
        self._serial = count(1)
        self._sessions = count(1)

    async def close(self) -> None:
        """Close every store object that the check used."""
        for store in self._opened:
            await store.aclose()

    @property
    def settings(self) -> Settings:
        """What the store was opened with."""
        return self.store.settings

    # ------------------------------------------------------------------------------------------------ time

    async def advance(self, by: Span) -> None:
        """Let time pass."""
        holds(by >= 0, "time passes forward")
        await self._move_clock(by)

    async def step(self, by: Span) -> None:
        """Set the clock, in either direction, as an administrator or a time server would."""
        await self._move_clock(by)

    # ------------------------------------------------------------------------------------------------ stores

    def twin(self) -> Store:
        """Make another store object on the same data, to be closed with the others."""
        twin = self.store.twin()
        self._opened.append(twin)
        return twin

    # ------------------------------------------------------------------------------------------------ jobs

    def id(self) -> bytes:
        """Make a job id. Time-ordered, but the later of two that are made at the same time may be the smaller: a store
        that orders by id, and not by arrival, is found out."""
        number = next(self._serial) ^ 1
        return (1_800_000_000_000).to_bytes(6, "big") + b"\x70\x00\x80" + number.to_bytes(7, "big")

    def job(self, **fields: Any) -> NewJob:
        """Make a job to enqueue: of task "t", unless the fields say otherwise. ``parents`` may be bare ids."""
        parents = tuple(
            parent if isinstance(parent, Parent) else Parent(parent) for parent in fields.pop("parents", ())
        )
        return msgspec.structs.replace(NewJob(id=self.id(), task="t", payload=b"{}", parents=parents), **fields)

    def jobs(self, number: int, **fields: Any) -> list[NewJob]:
        """Make several alike."""
        return [self.job(**fields) for _ in range(number)]

    async def enqueue(self, jobs: Sequence[NewJob] = (), edges: Sequence[Edge] = ()) -> list[EnqueueAnswer]:
        """Enqueue, sent first just now."""
        return (await self.store.enqueue(jobs, edges, first_sent=await self.store.now())).jobs

    async def put_all(self, jobs: Sequence[NewJob]) -> list[bytes]:
        """Enqueue jobs, in batches, which must all be stored; give their ids."""
        for start in range(0, len(jobs), MAX_BATCH):
            batch = jobs[start : start + MAX_BATCH]
            same(await self.enqueue(batch), [STORED] * len(batch), "answers to an enqueue that nothing speaks against")
        return [job.id for job in jobs]

    async def put(self, **fields: Any) -> bytes:
        """Enqueue one job, which must be stored; give its id."""
        return (await self.put_all([self.job(**fields)]))[0]

    async def read(self, job_id: bytes) -> JobRecord:
        """Read a job that must be there."""
        record = (await self.store.get_jobs([job_id]))[0]
        if record is None:
            raise AssertionError(f"the store does not know job {job_id.hex()}")
        return record

    async def state(self, job_id: bytes) -> State:
        """Read the state of a job that must be there."""
        return (await self.read(job_id)).state

    async def states(self, ids: Sequence[bytes]) -> list[State]:
        """Read the states of jobs that must be there."""
        return [await self.state(job_id) for job_id in ids]

    async def expect(self, job_id: bytes, state: State, what: str) -> JobRecord:
        """Read a job that must be in this state."""
        record = await self.read(job_id)
        same(record.state.word, state.word, f"state: {what}")
        return record

    async def put_in(self, state: State, **fields: Any) -> bytes:
        """Enqueue a job and bring it into a state, by other jobs and a worker of its own if need be."""
        if state is State.WAITING:
            return await self.put(**{"parents": [await self.put(queue="elsewhere")], **fields})
        if state is State.SCHEDULED:
            return await self.put(delay=MINUTE, **fields)
        job_id = await self.put(**fields)
        if state is State.READY:
            return job_id
        if state is State.CANCELLED:
            await self.store.cancel([job_id])
            return job_id
        worker = await self.worker()
        record = await self.read(job_id)
        jobs = await worker.claim(lanes=[Lane(record.queue, record.requires)])
        for job in jobs:
            if job.id != job_id:
                await worker.end(job, Outcome.RELEASED, started=False)
            elif state.is_finished:
                await worker.end(job, Outcome.SUCCEEDED if state is State.SUCCEEDED else Outcome.DEAD)
        return job_id

    # ------------------------------------------------------------------------------------------------ workers

    def session(self, **fields: Any) -> Session:
        """Make a session, not yet known to the store."""
        job_id = b"session!" + next(self._sessions).to_bytes(8, "big")
        return msgspec.structs.replace(
            Session(id=job_id, node="node", pid=7, lanes=EVERYWHERE, tasks=("t",), version="1", slots=4), **fields
        )

    async def worker(self, store: Store | None = None, **fields: Any) -> Worker:
        """Open a session."""
        worker = Worker(store or self.store, self.session(**fields))
        await worker.store.open(worker.session)
        return worker

    async def reap(self, *dead: Worker, limit: int = 200) -> Progress:
        """Let the leases of these workers run out, and reap them as an honest reaper would."""
        await self.advance(self.settings.lease)
        ids = {worker.id for worker in dead}
        signs = [sign for sign in await self.store.observe() if sign.id in ids]
        same({sign.id for sign in signs}, ids, "sessions to watch, after a lease without a renewal")
        return await self.store.reap(signs, limit)

    async def lose(self, job_id: bytes, times: int = 1) -> None:
        """Have a job lost with its worker, so many times; from the third on as a suspect, running alone."""
        for _ in range(times):
            record = await self.read(job_id)
            worker = await self.worker()
            jobs = await worker.claim(lanes=[Lane(record.queue, record.requires)], alone=record.suspect)
            holds(job_id in {job.id for job in jobs}, "the job to be lost was not claimable")
            await self.reap(worker)

    async def claim_ids(self, limit: int = MAX_BATCH, **how: Any) -> list[bytes]:
        """Claim with a session of its own, and give the ids in the order of the answer."""
        worker = await self.worker()
        return [job.id for job in await worker.claim(limit, **how)]

    async def now(self) -> Instant:
        """The store's clock."""
        return await self.store.now()
