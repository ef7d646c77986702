"""Finding out what keeps a run from going on, and ending what never could."""

from __future__ import annotations

from uuid import UUID

import msgspec

from windlass.core.ids import Family
from windlass.core.lifecycle import State
from windlass.core.records import JobRecord
from windlass.core.steps import FINISH
from windlass.doctor import Finding, Kind, examine_jobs
from windlass.store.port import Store
from windlass.workflows.states import StepState, read_family, read_steps

HOPELESS = (Kind.PARENT_MISSING, Kind.PARENT_FAILED, Kind.CIRCLE)
"""What waits so waits for ever; nothing but a cancellation lets go of it."""
CLOSELY = 50
"""Jobs of a run that are looked at closely: of each step, and of the items of each map, a few."""
_EACH = 3


async def audit(store: Store, run: bytes, *, mend: bool) -> list[Finding]:
    """Say what is stuck in a run. ``mend``: carry on what was left behind, and cancel what waits for ever, so that the
    run ends; what was mended so is said, and not called stuck any more."""
    if mend:
        while (await store.release_edges()).more:
            pass
    start, end = await store.get_jobs([run, Family(run).id(FINISH)])
    names: dict[bytes, str] = {}
    jobs: list[JobRecord] = []
    for step in await read_steps(store, run):
        found = [step.job, *await _items(store, step)]
        unfinished = [job for job in found if not job.state.is_finished][:_EACH]
        jobs += unfinished
        names.update(dict.fromkeys((job.id for job in unfinished), f"step {step.info.name}: "))
    if start is not None and not start.state.is_finished:
        jobs.insert(0, start)
    if end is not None and not end.state.is_finished:
        jobs.append(end)
        names[end.id] = "the end of the run: "
    findings = await examine_jobs(store, jobs[:CLOSELY])
    stuck = [
        (job, finding)
        for job, finding in zip(jobs, findings, strict=False)
        if finding.stuck and finding.kind is not Kind.PARENTS  # what keeps the parent is said of that
    ]
    hopeless = [job.id for job, finding in stuck if finding.kind in HOPELESS] if mend else []
    if hopeless:
        await store.cancel(hopeless)
    once = {(names.get(job.id, ""), finding.kind): (job.id, finding) for job, finding in reversed(stuck)}
    said = [_said(finding, what, mended=job_id in hopeless) for (what, _), (job_id, finding) in reversed(once.items())]
    if end is None and start is not None and start.state is State.SUCCEEDED and jobs:
        text = f"run {UUID(bytes=run)}: the job that ends it is gone, so that its result never comes; cancel it"
        said.append(Finding(kind=Kind.PARENT_MISSING, stuck=True, sentence=text))
    return said


def _said(finding: Finding, what: str, *, mended: bool) -> Finding:
    sentence = what + finding.sentence + (" (cancelled)" if mended else "")
    return msgspec.structs.replace(finding, stuck=not mended, sentence=sentence)


async def _items(store: Store, step: StepState) -> list[JobRecord]:
    """Some unfinished items of a map."""
    found: list[JobRecord] = []
    if any(not state.is_finished for state in step.items):
        async for job in read_family(store, step.job.id, range(step.items.total())):
            if not job.state.is_finished:
                found.append(job)
                if len(found) == _EACH:
                    break
    return found
