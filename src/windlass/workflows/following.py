"""A plain job of a workflow, such as a schedule enqueues: it starts a run, and lasts as long as that does."""

from __future__ import annotations

from windlass.call import Recipe, send
from windlass.choices import Choices
from windlass.client import Client
from windlass.core.errors import Dead, Snooze
from windlass.core.ids import Family, run_id_of, to_text
from windlass.core.model import ClaimedJob
from windlass.core.options import decode_options
from windlass.core.steps import FINISH
from windlass.core.task import TaskSpec
from windlass.workflows.run import UNFINISHED, Run, run_status
from windlass.workflows.states import RunResult, count_steps

FIRST_LOOK = 0.5
"""Seconds after which the job looks at its run for the first time; twice as long each time."""
LAST_LOOK = 10.0


async def follow(client: Client, job: ClaimedJob, spec: TaskSpec) -> RunResult:
    """Start the run of a job, or look how it stands; return once it has succeeded. The run's id is made of the job's:
    there is one, however often the job is run.

    Raises `Snooze` while it goes on, and `Dead` if it has failed. A job that is replayed retries its run.
    """
    run = run_id_of(job.id)
    store = (await client.opened()).store
    start, end = await store.get_jobs([run, Family(run).id(FINISH)])
    if start is None:
        headers = decode_options(job.options).headers
        recipe = Recipe(client, spec, Choices(queue=job.queue, priority=job.priority, headers=headers))
        await send(client, (recipe.new_job(job.payload, id=run),), len(job.payload))
        raise Snooze(FIRST_LOOK)
    status = run_status(start, end)
    if status in UNFINISHED:
        raise Snooze(min(LAST_LOOK, FIRST_LOOK * 2 ** min(job.snoozes, 10)))
    if status == "succeeded":
        return RunResult(await count_steps(store, run) or 0, to_text(run))
    if job.snoozes == 0:
        await Run(client, run).retry()
        raise Snooze(FIRST_LOOK)
    raise Dead(await _cause(client, run))


async def _cause(client: Client, run: bytes) -> str:
    """Why a run has failed."""
    try:
        await Run(client, run).result(0)
    except Exception as error:  # noqa: BLE001 - what a step has raised may be anything
        return "; ".join(getattr(error, "__notes__", ())) or str(error)
    return f"run {to_text(run)} has failed"
