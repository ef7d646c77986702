"""The jobs of our own in a run: one that starts it, one for each map that makes its items, one that ends it.

Each may be run again after a crash, at any point: ids are made of the run's, what is stored already stays as it is, and
nothing that was stored by halves begins before the job that stores it has succeeded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from windlass.call import Recipe
from windlass.choices import NONE, Choices
from windlass.client import Client
from windlass.context import current
from windlass.core.clock import Instant
from windlass.core.codec import Signature
from windlass.core.errors import Dead, InvalidArguments, Snooze, StoreError, UsageError
from windlass.core.ids import Family
from windlass.core.lifecycle import State
from windlass.core.limit_keys import key_of
from windlass.core.model import MAX_BATCH, MAX_CALL_BYTES, Edge, EdgeAnswer, Enqueued, NewJob
from windlass.core.records import JobRecord, JobResult
from windlass.core.remote import decode_error
from windlass.core.retry import Retry, RetryPolicy
from windlass.core.steps import FINISH_RUN, MAP, MapPlan, MapResult, StepInfo, each, item_ids, put
from windlass.core.task import TaskSpec
from windlass.engine.attempt import Attempt
from windlass.store.port import Store
from windlass.workflows.plan import Plan, Planned
from windlass.workflows.states import StepState, find_cause, is_undecided, read_steps

if TYPE_CHECKING:
    from windlass.registry import TaskDefaults

PATIENT: RetryPolicy = {StoreError: Retry(attempts=1000, max_delay=60)}
"""Nothing but the store can keep these from being done."""
UNDECIDED = 0.2
"""Seconds after which a run is looked at again of which it cannot be said yet whether it has failed."""
AT_ONCE = 200
"""Jobs that one call stores; more would hold up others."""
EDGES_AT_ONCE = 500
"""Edges that one call adds to jobs that are stored."""
FRESH = 30.0
"""Seconds for which the store's clock is not asked again. (What was first sent minutes ago is refused.)"""
TURNS = 3
"""Of the event loop, in which a call gets on its way to the store."""


class StepFailed(Dead):
    """A step of a run died or was cancelled, and so the run failed."""


def register(client: Client, defaults: TaskDefaults) -> None:
    """Make the tasks that every run needs known to an app. Idempotent."""
    if FINISH_RUN in client.builtins:
        return

    async def finish(value: Any) -> Any:
        attempt = cast("Attempt", current())
        await _check_steps((await client.opened()).store, _info(attempt))
        return value

    async def make_items(lists: list[list[msgspec.Raw]], items: MapPlan) -> MapResult:
        attempt = cast("Attempt", current())
        return await _make_items(client, attempt.job.id, _info(attempt), lists, items)

    for name, function in ((FINISH_RUN, finish), (MAP, make_items)):
        signature = Signature(name, function, max_payload=defaults.max_payload, max_result=defaults.max_result)
        spec = TaskSpec(
            name=name,
            function=function,
            signature=signature,
            executor="async",
            retry=PATIENT,
            keep=defaults.keep,
            keep_dead=defaults.keep_dead,
            max_snoozes=1_000_000,
        )
        client.tasks[name] = spec
        client.builtins[name] = Recipe(client, spec, NONE)


def _info(attempt: Attempt) -> StepInfo:
    if attempt.options.step is None:
        raise UsageError(f"task {attempt.task!r} is a part of workflows, and cannot be enqueued by itself")
    return attempt.options.step


# ------------------------------------------------------------------------------------------------------ starting


async def store_run(client: Client, run: bytes, plan: Plan, like: Choices, *, again: bool) -> None:
    """Store the jobs of a run.

    Args:
        client: of the app.
        run: its id.
        plan: its steps.
        like: queue, priority and retention of the job that ends it.
        again: an attempt before this one may have stored some.
    """
    store = (await client.opened()).store
    finish = Recipe(client, client.builtins[FINISH_RUN].spec, like)
    await _store_all(store, _batches(plan.jobs(run, finish)), again=again)


def _batches(planned: Iterable[Planned]) -> Iterator[tuple[list[NewJob], list[Edge]]]:
    jobs: list[NewJob] = []
    edges: list[Edge] = []
    size = 0
    for job, later in planned:
        jobs.append(job)
        edges.extend(later)
        size += len(job.payload) + len(job.options or b"") + 16 * len(job.parents)
        while len(edges) > EDGES_AT_ONCE:
            yield jobs, edges[:EDGES_AT_ONCE]
            jobs, edges, size = [], edges[EDGES_AT_ONCE:], 0
        if len(jobs) >= AT_ONCE or size >= MAX_CALL_BYTES // 4:
            yield jobs, edges
            jobs, edges, size = [], [], 0
    if jobs or edges:
        yield jobs, edges


async def _store_all(store: Store, batches: Iterable[tuple[list[NewJob], list[Edge]]], *, again: bool = False) -> None:
    """Store one batch behind the other. While the store has one, the next is made."""
    sending: asyncio.Task[None] | None = None
    first_sent, asked_at = 0, -FRESH
    try:
        for jobs, edges in batches:
            if sending is not None:
                await sending
            if time.monotonic() - asked_at > FRESH:
                first_sent, asked_at = await store.now(), time.monotonic()
            sending = asyncio.create_task(_store(store, jobs, edges, first_sent, again=again))
            for _ in range(TURNS):
                await asyncio.sleep(0)
        if sending is not None:
            await sending
    finally:
        if sending is not None:
            sending.cancel()


async def _store(store: Store, jobs: list[NewJob], edges: list[Edge], first_sent: Instant, *, again: bool) -> None:
    if again:
        await _check_same(store, jobs)
    result = await store.enqueue(jobs, edges, first_sent=first_sent)
    refused = next((answer for answer in result.jobs if answer.status is not Enqueued.STORED), None)
    if refused is not None or EdgeAnswer.UNKNOWN_PARENT in result.edges:
        raise Dead("a job of the run was refused by the store, since one that it waits for is not there any more")


async def _check_same(store: Store, jobs: list[NewJob]) -> None:
    """Refuse to go on with a run that an earlier attempt began with other steps. Raises `Dead`."""
    for job, there in zip(jobs, await store.get_jobs([job.id for job in jobs]), strict=True):
        if there is not None and (there.task, there.payload) != (job.task, job.payload):
            raise Dead(
                f"the workflow was traced a second time, after a crash, and differed: {there.task} with other "
                f"arguments, or {job.task} in its place; a workflow function must make the same steps whenever it is "
                "called with the same arguments (take times, random numbers and what else changes from a task)"
            )


# ---------------------------------------------------------------------------------------------------- maps


async def _make_items(
    client: Client, job_id: bytes, info: StepInfo, lists: list[list[msgspec.Raw]], plan: MapPlan
) -> MapResult:
    counts = {len(one) for one in lists}
    if len(counts) > 1:
        raise Dead(
            f"map of task {plan.task!r}: its lists are of different lengths: {', '.join(map(str, map(len, lists)))}"
        )
    run, own = Family(info.run), Family(job_id)
    dependants = [(run.id(number), policy) for number, policy in plan.dependants]
    limit_by = _limit_by(client, plan)
    spec = client.tasks.get(plan.task)
    known = None if spec is None else spec.signature.names
    options = bytes(plan.options)
    constants = bytes(plan.constants)

    def planned() -> Iterator[Planned]:
        for number, values in enumerate(zip(*lists, strict=True)):
            payload = put(constants, [((name,), bytes(value)) for name, value in _named(plan, values, known)])
            job = NewJob(
                id=own.id(number),
                task=plan.task,
                payload=payload,
                queue=plan.queue,
                requires=plan.requires,
                priority=plan.priority,
                options=options,
                limit_key=plan.limit_key or limit_by(payload),
            )
            yield Planned(job, [Edge(job.id, one, policy) for one, policy in dependants])

    store = (await client.opened()).store
    await _store_all(store, _batches(planned()))
    return MapResult(counts.pop())


def _limit_by(client: Client, plan: MapPlan) -> Any:
    spec = client.tasks.get(plan.task)
    parameter = None if spec is None else spec.limit_by
    if spec is None or parameter is None:
        return lambda _: None
    return lambda payload: key_of(spec.signature, payload, parameter)


def _named(
    plan: MapPlan, values: tuple[msgspec.Raw, ...], known: Sequence[str] | None
) -> Iterable[tuple[str, msgspec.Raw]]:
    """Give an item's values to the parameters that they fill. ``known``: the task's, if this worker has it."""
    if not plan.star:
        return zip(plan.names, values, strict=True)
    (item,) = values
    try:
        given = msgspec.json.decode(item, type=dict[str, msgspec.Raw] | list[msgspec.Raw])
    except msgspec.ValidationError:
        raise InvalidArguments(
            f"starmap of task {plan.task!r}: {bytes(item)[:200]!r} is no list of arguments"
        ) from None
    if isinstance(given, dict):
        unknown = set() if known is None else given.keys() - set(known)
        if unknown:
            raise InvalidArguments(f"starmap of task {plan.task!r}: the task has no parameter {min(unknown)!r}")
        return given.items()
    if len(given) > len(plan.names):
        raise InvalidArguments(
            f"starmap of task {plan.task!r}: {len(given)} arguments for {len(plan.names)} parameters"
        )
    return zip(plan.names, given, strict=False)


# ----------------------------------------------------------------------------------------------------- ending


async def _check_steps(store: Store, info: StepInfo) -> None:
    """Raise `StepFailed` if the run has failed: if a step on which no other depends has, or one behind which it was
    cancelled."""
    family = Family(info.run)
    sinks = {number: family.id(number) for number in each(info.parents)}
    ended = await _results(store, list(sinks.values()))
    for number in each(info.mapped):
        job_id = sinks[number]
        found = ended[job_id]
        if found is not None and found.state is State.SUCCEEDED:
            ended.update(await _results(store, item_ids(job_id, found.result)))
    doubtful = [job_id for job_id, job in ended.items() if job is None]
    for start in range(0, len(doubtful), MAX_BATCH):
        if any(await store.get_jobs(doubtful[start : start + MAX_BATCH])):
            raise Snooze(UNDECIDED)  # edges to what had been cancelled are not stored: it was let go too early
    if any(job is not None and job.state is not State.SUCCEEDED for job in ended.values()):
        steps = await read_steps(store, info.run)
        cause = find_cause(steps)
        if cause is not None:
            raise StepFailed(await describe_failure(store, cause))
        if is_undecided(steps):
            raise Snooze(UNDECIDED)


async def describe_failure(store: Store, step: StepState) -> str:
    """Say what happened to a step that failed, or to the first such item of it."""
    job: JobRecord | None = step.job
    name = f"step {step.info.name!r}"
    if step.bad_items:
        job = (await store.get_jobs(step.bad_items[:1]))[0]
        name += f", item {Family(step.job.id).number(step.bad_items[0])}"
    if job is None:
        return f"{name} failed, and was purged since"
    if job.state is State.CANCELLED:
        return f"{name} was cancelled ({job.reason.name.lower()})"
    if not job.errors:
        return f"{name} is dead ({job.reason.name.lower()})"
    error = decode_error(job.errors[-1])
    return f"{name} died of {error.type}: {error.message}"


async def _results(store: Store, ids: list[bytes]) -> dict[bytes, JobResult | None]:
    found: dict[bytes, JobResult | None] = {}
    for start in range(0, len(ids), MAX_BATCH):
        part = ids[start : start + MAX_BATCH]
        found.update(zip(part, await store.results(part), strict=True))
    return found
