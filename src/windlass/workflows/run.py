"""A run, as its starter sees it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast
from uuid import UUID

import msgspec

from windlass import blocking
from windlass.call import Recipe, send
from windlass.choices import NONE
from windlass.client import Client
from windlass.core.clock import to_datetime
from windlass.core.errors import (
    InvalidOption,
    InvalidResult,
    JobCancelled,
    JobFailed,
    JobNotFound,
    ResultTimeout,
    UsageError,
)
from windlass.core.foreign import dec_hook
from windlass.core.ids import Family, is_run_id, new_run_id, to_text
from windlass.core.lifecycle import State
from windlass.core.records import JobRecord, Reason, SkipAnswer
from windlass.core.remote import decode_error, rebuild_error
from windlass.core.steps import FINISH, put
from windlass.job import Job
from windlass.store.port import Store
from windlass.workflows.pausing import pause, paused_runs, resume
from windlass.workflows.running import describe_failure
from windlass.workflows.states import StepState, count_steps, find_cause, not_needed, read_family, read_steps

if TYPE_CHECKING:
    from windlass.doctor import Finding

R_co = TypeVar("R_co", covariant=True)

RunStatus: TypeAlias = Literal["starting", "running", "paused", "succeeded", "failed", "cancelled"]
UNFINISHED = ("starting", "running", "paused")
"""Of a run that has not ended."""
BATCH = 200
"""Jobs that one call cancels or replays."""
CANCEL_POLL = 0.1
"""Seconds between looks at jobs that are making others while their run is cancelled."""

JUDGED = 30.0
"""Seconds for which a retry waits for the judgement of a run that is under way."""


class StepStatus(NamedTuple):
    """How a step stands."""

    name: str
    task: str
    """The task that it runs; of a map, that it runs for each item."""
    status: str
    """As of a job; ``"omitted"``: its condition did not hold. A map is ``"running"`` as long as an item is not
    finished, and ``"dead"`` or ``"cancelled"`` if one is."""
    job_id: str
    items: dict[str, int] | None
    """Of a map: how many of its items are ``"ready"``, ``"running"``, ``"succeeded"``, ..."""
    error: str | None
    """The last error: type and message."""
    started_at: datetime | None
    finished_at: datetime | None
    """Of a map: when its last item did."""
    parents: tuple[str, ...]
    """The names of the steps that it depends on."""


class RunProgress(NamedTuple):
    """How far a run is."""

    done: int
    """Steps that have finished, however; items of maps count as steps."""
    total: int
    """Steps known so far: those of maps are known when their items are."""


class Run(Generic[R_co]):
    """One execution of a workflow. Its methods ask the store; each has a blocking twin whose name ends in ``_sync``."""

    __slots__ = ("_client", "_hint", "_id", "workflow")

    def __init__(self, client: Client, id: bytes, workflow: str | None = None, hint: Any = Any) -> None:
        if not is_run_id(id):
            raise UsageError(f"{UUID(bytes=id)} is the id of a job, not of a run")
        self._client = client
        self._id = id
        self._hint = hint
        self.workflow = workflow
        """The workflow's name; ``None`` if the run was made from an id alone."""

    @property
    def id(self) -> str:
        """The run's id, as text."""
        return str(UUID(bytes=self._id))

    def __repr__(self) -> str:
        return f"<Run {self.id}{'' if self.workflow is None else f' of {self.workflow}'}>"

    def __eq__(self, other: object) -> bool:
        return self._id == other._id if isinstance(other, Run) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._id)

    async def _store(self) -> Store:
        return (await self._client.opened()).store

    @property
    def _finish(self) -> bytes:
        return Family(self._id).id(FINISH)

    # ------------------------------------------------------------------------------------------ the end

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait until the run has ended, and return what its workflow returned, with results in place of steps. Of a
        step that was omitted, or that failed and need not have succeeded, that is ``None``.

        Args:
            timeout: seconds; ``None``: for as long as it takes.

        Raises:
            ResultTimeout: it had not ended by then; it goes on.
            RemoteError: a step died of this error; it says which. It is also an instance of what was raised, as of
                `Job.result`.
            JobFailed: a step died of no error of its own.
            JobCancelled: the run, or a step, was cancelled.
            JobNotFound: the store does not have the run (any more).
            InvalidResult: the result does not fit the workflow's return hint.
        """
        if timeout is not None and not timeout >= 0:
            raise InvalidOption(f"result(timeout={timeout!r}): expected seconds, 0 or more, or None")
        began = time.monotonic()
        opened = await self._client.opened()
        try:
            start = await opened.results.wait(self._id, timeout)
            if start.state is not State.SUCCEEDED:
                await Job(self._client, self._id, self._client.tasks.get(self.workflow or "")).result(0)
            left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
            end = await opened.results.wait(self._finish, left)
        except ResultTimeout:
            raise ResultTimeout(f"run {self.id} did not end within {timeout:g} s") from None
        if end.state is not State.SUCCEEDED:
            await self._raise(opened.store, end.state)
        data = b"null" if end.result is None else end.result
        try:
            return cast("R_co", msgspec.json.decode(data, type=self._hint, dec_hook=dec_hook))
        except Exception as error:  # noqa: BLE001 - a type's own __post_init__ or hook may raise anything
            raise InvalidResult(f"run {self.id}: its result does not fit the workflow's return hint: {error}") from None

    def result_sync(self, timeout: float | None = None) -> R_co:
        """As `result`, blocking."""
        self._client.check_may_wait()
        return blocking.run(lambda: self.result(timeout))

    async def _raise(self, store: Store, state: State) -> None:
        cause = find_cause(await read_steps(store, self._id))
        if cause is None:
            if state is State.CANCELLED:
                raise JobCancelled(f"run {self.id} was cancelled", reason="cancelled")
            await Job(self._client, self._finish, None).result(0)
            return
        job: JobRecord | None = cause.job
        if cause.bad_items:
            job = (await store.get_jobs(cause.bad_items[:1]))[0]
        said = f"run {self.id}: {await describe_failure(store, cause)}"
        if job is None or job.state is State.CANCELLED:
            raise JobCancelled(said, reason="cancelled" if job is None else job.reason.name.lower())
        if not job.errors:
            raise JobFailed(said)
        spec = self._client.tasks.get(job.task)
        error = rebuild_error(decode_error(job.errors[-1]), () if spec is None else spec.errors)
        BaseException.add_note(error, said)
        raise error

    # ------------------------------------------------------------------------------------------ looking

    async def status(self) -> RunStatus:
        """Where the run is in its life. Raises `JobNotFound`."""
        store = await self._store()
        start, end = await store.get_jobs([self._id, self._finish])
        if start is None:
            raise JobNotFound(f"the store has no run {self.id}: it never had it, or it was purged after its retention")
        return run_status(start, end, paused=self._id in await paused_runs(store))

    def status_sync(self) -> RunStatus:
        """As `status`, blocking."""
        return blocking.run(self.status)

    async def _states(self) -> list[StepState]:
        found = await read_steps(await self._store(), self._id)
        if not found:
            await self.status()  # raises if there is no such run
        return found

    async def steps(self) -> list[StepStatus]:
        """How each step stands, in an order in which none comes before one that it depends on. Empty until the run has
        been started; without those that were purged. Costs in proportion to the steps.

        Raises `JobNotFound`.
        """
        states = await self._states()
        names = {state.info.number: state.info.name for state in states}
        return [_step_status(state, names) for state in states]

    def steps_sync(self) -> list[StepStatus]:
        """As `steps`, blocking."""
        return blocking.run(self.steps)

    async def step(self, name: str) -> Job[Any]:
        """The job of a step, for its result, status or log: ``await (await run.step("split")).result()``. Of a map,
        that is the job that makes the items.

        Raises `UsageError` if there is no such step, with the nearest one.
        """
        state = _named(await self._states(), name)
        return Job(self._client, state.job.id, self._client.tasks.get(state.job.task))

    def step_sync(self, name: str) -> Job[Any]:
        """As `step`, blocking."""
        return blocking.run(lambda: self.step(name))

    async def item(self, name: str, number: int) -> Job[Any]:
        """The job of an item of a map, from 0. Raises `UsageError` if there is no such step, or item."""
        state = _named(await self._states(), name)
        if state.info.maps is None:
            raise UsageError(f"step {name!r} is no map, and has no items")
        count = sum(state.items.values())
        if not 0 <= number < count:
            raise UsageError(f"step {name!r} has no item {number!r}: it has {count}, from 0")
        return Job(self._client, Family(state.job.id).id(number), self._client.tasks.get(state.info.maps))

    def item_sync(self, name: str, number: int) -> Job[Any]:
        """As `item`, blocking."""
        return blocking.run(lambda: self.item(name, number))

    async def progress(self) -> RunProgress:
        """How far the run is. Raises `JobNotFound`."""
        states = await self._states()
        counts: Counter[bool] = Counter()
        for state in states:
            counts[state.job.state.is_finished] += 1
            for item_state, count in state.items.items():
                counts[item_state.is_finished] += count
        return RunProgress(counts[True], counts.total())

    def progress_sync(self) -> RunProgress:
        """As `progress`, blocking."""
        return blocking.run(self.progress)

    async def watch(self, every: float = 0.5) -> AsyncIterator[RunProgress]:
        """Yield how far the run is, whenever that has changed, until it has ended: ``async for progress in
        run.watch(): ...``. ``every``: seconds between looks."""
        last = None
        while True:
            ended = (await self.status()) not in UNFINISHED
            now = await self.progress()
            if now != last:
                yield now
                last = now
            if ended:
                return
            await asyncio.sleep(every)

    # ------------------------------------------------------------------------------------------- acting

    async def cancel(self, timeout: float = 60) -> None:
        """Cancel all that has not finished; what runs is asked to end. Idempotent.

        Jobs that are just storing others are waited for, so that nothing is forgotten: for ``timeout`` seconds at most.

        Raises `JobNotFound`, and `ResultTimeout` if one of them had not ended by then: call it again once a worker is
        there.
        """
        deadline = time.monotonic() + timeout
        await self.status()  # raises if there is no such run
        store = await self._store()
        await store.cancel([self._id])
        await self._until_finished(store, self._id, deadline)
        await store.cancel([self._finish])
        count = await count_steps(store, self._id) or 0
        await self._cancel_family(store, self._id, range(count + 1))
        for state in await read_steps(store, self._id):
            if state.info.maps is not None:
                await self._until_finished(store, state.job.id, deadline)
        for state in await read_steps(store, self._id):
            if state.items:
                await self._cancel_family(store, state.job.id, range(state.items.total()))
        if self._id in await paused_runs(store):
            await resume(store, self._id)

    async def pause(self) -> None:
        """Let nothing more of the run start until `resume`; steps that run go on. Idempotent.

        A worker that is about to start a step when this returns may still do so. Raises `UsageError` if the run has
        ended, and `JobNotFound`.
        """
        status = await self.status()
        if status not in UNFINISHED:
            raise UsageError(f"run {self.id} cannot be paused: it has ended ({status})")
        await pause(await self._store(), self._id)

    def pause_sync(self) -> None:
        """As `pause`, blocking."""
        blocking.run(self.pause)

    async def resume(self) -> None:
        """Let the run go on that was paused. Idempotent. Costs in proportion to its steps."""
        await resume(await self._store(), self._id)

    def resume_sync(self) -> None:
        """As `resume`, blocking."""
        blocking.run(self.resume)

    async def audit(self, *, mend: bool = False) -> list[Finding]:
        """Say what keeps the run from going on and will not pass by itself: steps that no live worker can run, or that
        wait for what is gone. Empty: nothing does.

        Args:
            mend: carry on what a worker left behind, and cancel what can never run, so that the run ends. What no
                worker can run stays: it waits for one.

        Raises `JobNotFound`.
        """
        from windlass.workflows.auditing import audit

        await self.status()
        return await audit(await self._store(), self._id, mend=mend)

    def audit_sync(self, *, mend: bool = False) -> list[Finding]:
        """As `audit`, blocking."""
        return blocking.run(lambda: self.audit(mend=mend))

    def cancel_sync(self, timeout: float = 60) -> None:
        """As `cancel`, blocking."""
        blocking.run(lambda: self.cancel(timeout))

    async def _cancel_family(self, store: Store, parent: bytes, numbers: range) -> None:
        unfinished = [job.id async for job in read_family(store, parent, numbers) if not job.state.is_finished]
        for start in range(0, len(unfinished), BATCH):
            await store.cancel(unfinished[start : start + BATCH])

    @staticmethod
    async def _until_finished(store: Store, job_id: bytes, deadline: float) -> None:
        """Wait for a job that is storing others, and was asked to end."""
        while True:
            job = (await store.get_jobs([job_id]))[0]
            if job is None or job.state.is_finished:
                return
            if time.monotonic() > deadline:
                raise ResultTimeout(
                    f"job {to_text(job_id)}, which stores others of the run, was asked to end and did not"
                )
            await asyncio.sleep(CANCEL_POLL)

    async def retry(self, step: str | None = None, item: int | None = None) -> int:
        """Run again what failed or was cancelled, and what was cancelled behind it; what has succeeded stays. Returns
        how many jobs go on.

        Args:
            step: only this one, all its items if it is a map, and what was cancelled because of it alone. Steps that
                wait for others that failed stay as they are.
            item: of this step only one item, from 0.

        Raises `UsageError` if nothing of that has failed, and `JobNotFound`.
        """
        only = None if step is None else await self._of_step(step, item)
        if item is not None and step is None:
            raise UsageError(f"item {item}: of which step? Name it too")
        return await self._replay(only)

    def retry_sync(self, step: str | None = None, item: int | None = None) -> int:
        """As `retry`, blocking."""
        return blocking.run(lambda: self.retry(step, item))

    async def _of_step(self, name: str, item: int | None) -> frozenset[bytes]:
        """The jobs of a step, or of an item of it, that are to run again."""
        if item is not None:
            return frozenset([(await self.item(name, item))._id])
        job = await self.step(name)
        state = next(one for one in await self._states() if one.job.id == job._id)
        if not state.failed:
            raise UsageError(f"run {self.id}: step {name!r} has not failed, so that there is nothing to run again")
        return state.bad_jobs

    async def _replay(self, only: frozenset[bytes] | None) -> int:
        store = await self._store()
        start = (await store.get_jobs([self._id]))[0]
        if start is None:
            raise JobNotFound(f"the store has no run {self.id}: it never had it, or it was purged after its retention")
        ids: list[bytes] = []
        if start.state in (State.DEAD, State.CANCELLED):
            ids.append(self._id)
        states = await read_steps(store, self._id)
        again = _to_replay(states, only)
        for state in states:
            if state.info.number in again:
                # Items first: a map that makes the others finds none of them cancelled.
                ids += [one for one in state.bad_items if only is None or one in only]
                if state.job.state in (State.DEAD, State.CANCELLED):
                    ids.append(state.job.id)
        end = (await store.get_jobs([self._finish]))[0]
        if not ids and (end is None or end.state not in (State.DEAD, State.CANCELLED)):
            raise UsageError(f"run {self.id}: nothing in it has failed, so that there is nothing to run again")
        ids.append(self._finish)  # last: once its steps are open again it waits for them
        for first in range(0, len(ids), BATCH):
            await store.replay(ids[first : first + BATCH])
        await self._judge_again(store)
        if self._client.inline is not None:
            await self._client.inline.run()
        return len(ids) - 1

    async def _judge_again(self, store: Store) -> None:
        """What ends the run may be failing it just now, by what it had read before: let it end, then replay it."""
        deadline = time.monotonic() + JUDGED
        while time.monotonic() < deadline:
            end = (await store.get_jobs([self._finish]))[0]
            if end is None or end.state is not State.RUNNING:
                break
            await asyncio.sleep(CANCEL_POLL)
        await store.replay([self._finish])

    async def rerun(self, **changes: Any) -> Run[R_co]:
        """Start another run of the same workflow with the same arguments, but for those that are given here, by name.

        Raises `JobNotFound`, `InvalidArguments`, and `UsageError` if this app has no such workflow.
        """
        store = await self._store()
        start = (await store.get_jobs([self._id]))[0]
        if start is None:
            raise JobNotFound(f"the store has no run {self.id}: it never had it, or it was purged after its retention")
        spec = self._client.tasks.get(start.task)
        if spec is None:
            raise UsageError(f"run {self.id} is of workflow {start.task!r}, which this app does not have")
        encoded = [((name,), spec.signature.encode_one(name, value)) for name, value in changes.items()]
        payload = put(start.payload, encoded)
        spec.signature.decode(payload)  # as another version may have stored it
        job = Recipe(self._client, spec, NONE).new_job(payload, id=new_run_id())
        await send(self._client, (job,), len(payload))
        if self._client.inline is not None:
            await self._client.inline.run()
        return Run(self._client, job.id, start.task, self._hint)

    def rerun_sync(self, **changes: Any) -> Run[R_co]:
        """As `rerun`, blocking."""
        return blocking.run(lambda: self.rerun(**changes))

    async def skip(self, name: str, result: object = None) -> None:
        """Declare a step succeeded that has not started, with this result.

        Raises `JobNotFound`, `UsageError` if there is no such step, or it has started, and `InvalidResult` if the
        result does not fit its task.
        """
        store = await self._store()
        state = _named(await self._states(), name)
        if state.info.maps is not None:
            raise UsageError(f"step {name!r} is a map: skip its items, or the step that takes its result")
        spec = self._client.tasks.get(state.job.task)
        data = msgspec.json.encode(result) if spec is None else spec.signature.encode_result(result)
        if await store.skip(state.job.id, data) is not SkipAnswer.SKIPPED:
            raise UsageError(f"step {name!r} of run {self.id} has started already; retry the run, or let it go on")

    def skip_sync(self, name: str, result: object = None) -> None:
        """As `skip`, blocking."""
        blocking.run(lambda: self.skip(name, result))


def run_status(start: JobRecord, end: JobRecord | None, *, paused: bool = False) -> RunStatus:
    """Where a run is, by the jobs that start and end it, and whether it is paused."""
    if start.state is State.SUCCEEDED and end is None:
        return "succeeded"  # what ended it was purged a moment before what started it
    job = end if end is not None and start.state is State.SUCCEEDED else start
    if job.state is State.CANCELLED:
        return "cancelled" if job.reason is not Reason.PARENT else "failed"
    if job.state is State.DEAD:
        return "failed"
    if job is end:
        return "succeeded" if job.state is State.SUCCEEDED else "paused" if paused else "running"
    return "paused" if paused else "starting"


def _named(states: Sequence[StepState], name: str) -> StepState:
    import difflib

    for state in states:
        if state.info.name == name:
            return state
    close = difflib.get_close_matches(name, [state.info.name for state in states], n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it has {len(states)} steps"
    raise UsageError(f"the run has no step {name!r}; {hint}")


def _step_status(state: StepState, names: dict[int, str]) -> StepStatus:
    job = state.job
    error = decode_error(job.errors[-1]) if job.errors else None
    return StepStatus(
        name=state.info.name,
        task=state.info.maps or job.task,
        status=_word(state),
        job_id=str(UUID(bytes=job.id)),
        items=None if state.info.maps is None else {one.word: count for one, count in sorted(state.items.items())},
        error=None if error is None else f"{error.type}: {error.message}",
        started_at=None if job.started_at is None else to_datetime(job.started_at),
        finished_at=None if state.finished_at is None else to_datetime(state.finished_at),
        parents=tuple(names[number] for number in state.parents if number in names),
    )


def _word(state: StepState) -> str:
    if state.omitted:
        return "omitted"
    if any(not one.is_finished for one in state.items):
        return "running"
    worst = max(state.items, default=state.job.state)
    return max(worst, state.job.state).word if state.bad_items else state.job.state.word


def _to_replay(states: Sequence[StepState], only: frozenset[bytes] | None) -> set[int]:
    """The numbers of the steps of which something is to run again."""
    idle = not_needed(states)
    if only is None:
        return {state.info.number for state in states if state.info.number not in idle}
    again = {state.info.number for state in states if state.bad_jobs & only}
    left = {state.info.number for state in states if state.failed and state.bad_jobs - only}
    for state in states:
        if state.job.state is State.CANCELLED and state.job.reason is Reason.PARENT:
            parents = set(state.parents)
            if parents & again and not parents & left:
                again.add(state.info.number)
            elif state.info.number not in idle:
                left.add(state.info.number)
    return again
