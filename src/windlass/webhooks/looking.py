"""Looks for what endpoints want to be told of, and enqueues a job for each message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from windlass.core.documents import NewDocument
from windlass.core.lifecycle import State
from windlass.core.model import NewJob
from windlass.core.records import JobRecord
from windlass.core.schedules import ScheduleRecord
from windlass.engine.deaths import KIND, claim_of
from windlass.store.port import Store
from windlass.webhooks.endpoint import JOB_DEAD, SCHEDULE_MISSED, Endpoint
from windlass.webhooks.messages import Message, of_age, of_deaths, of_missed

OURS = "windlass.webhooks."
"""What the names of our own tasks begin with. Nobody is told of their deaths: a message about a message, and so on."""
_SKIPS = "webhook-skips"
"""Kind of the documents that remember how many fire times of a schedule an endpoint was told of."""
_PAGE = 500


class Look:
    """One look at the store.

    What was told is forgotten (a death), or remembered (missed fire times), only after the jobs that tell it are
    stored: a crash in between has the next look store the same jobs, by the same ids.
    """

    def __init__(
        self, store: Store, endpoints: Iterable[Endpoint], make: Callable[[Endpoint, Message], NewJob]
    ) -> None:
        self._store = store
        self._endpoints = tuple(endpoints)
        self._make = make

    async def at_everything(self) -> None:
        """Tell of all that there is to tell."""
        await self._deaths()
        if any(SCHEDULE_MISSED in endpoint.on for endpoint in self._endpoints):
            await self._missed()
        if any(endpoint.ages for endpoint in self._endpoints):
            await self._ages()

    async def _tell(self, messages: Sequence[Message], which: Callable[[Endpoint], bool]) -> None:
        jobs = [self._make(endpoint, one) for endpoint in self._endpoints if which(endpoint) for one in messages]
        now = await self._store.now()
        for start in range(0, len(jobs), _PAGE):
            await self._store.enqueue(jobs[start : start + _PAGE], first_sent=now)

    # ---------------------------------------------------------------------------------------------- deaths

    async def _deaths(self) -> None:
        """Tell of the jobs that workers wrote down, if they are dead; forget those that are not, and will not be."""
        dead: list[JobRecord] = []
        done: list[str] = []
        above = ""
        while True:
            documents = await self._store.list_documents(KIND, above=above, limit=_PAGE)
            keys = [document.key for document in documents]
            claims = [claim_of(key) for key in keys]
            jobs = await self._store.get_jobs([job_id for job_id, _ in claims])
            for key, (_, token), job in zip(keys, claims, jobs, strict=True):
                if job is not None and job.token == token:
                    if job.state is State.RUNNING:
                        continue
                    if job.state is State.DEAD and not job.task.startswith(OURS):
                        dead.append(job)
                done.append(key)
            if len(documents) < _PAGE:
                break
            above = keys[-1]
        await self._tell(of_deaths(dead), lambda endpoint: JOB_DEAD in endpoint.on)
        for start in range(0, len(done), _PAGE):
            await self._store.delete_documents(KIND, done[start : start + _PAGE])

    # ------------------------------------------------------------------------------------------- schedules

    async def _missed(self) -> None:
        """Tell of fire times that passed without a job since the last look; at a schedule's first look, of none."""
        now = await self._store.now()
        async for schedules in self._pages():
            known = await self._store.get_documents(_SKIPS, [schedule.name for schedule in schedules])
            messages, changed = [], []
            for schedule, document in zip(schedules, known, strict=True):
                before = None if document is None else int(document.body)
                if before != schedule.skipped:
                    changed.append(NewDocument(kind=_SKIPS, key=schedule.name, body=b"%d" % schedule.skipped))
                if before is not None and before < schedule.skipped:
                    messages.append(of_missed(schedule, before, now))
            await self._tell(messages, lambda endpoint: SCHEDULE_MISSED in endpoint.on)
            if changed:
                await self._store.put_documents(changed)

    async def _pages(self) -> AsyncIterator[list[ScheduleRecord]]:
        cursor = None
        while True:
            page = await self._store.list_schedules(limit=_PAGE, cursor=cursor)
            if page.schedules:
                yield [schedule for schedule in page.schedules if not schedule.name.startswith(OURS)]
            cursor = page.cursor
            if cursor is None:
                return

    # ---------------------------------------------------------------------------------------------- queues

    async def _ages(self) -> None:
        """Tell of queues whose oldest ready job is too old, once an hour as long as it is."""
        now = await self._store.now()
        queues = await self._store.queues()
        for limit in sorted({age for endpoint in self._endpoints for age in endpoint.ages}):
            messages = [message for queue in queues if (message := of_age(queue, limit, now)) is not None]
            await self._tell(messages, lambda endpoint, limit=limit: limit in endpoint.ages)  # type: ignore[misc]
