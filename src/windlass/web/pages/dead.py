"""Dead jobs by what killed them."""

from __future__ import annotations

import hashlib
import re

import msgspec
from litestar import Response, get, post

from windlass.core.ids import from_text, to_text
from windlass.core.lifecycle import State
from windlass.core.records import JobFilter, JobRecord, Reason, ReplayAnswer
from windlass.core.steps import FINISH_RUN
from windlass.core.text import shorten
from windlass.store.port import Store
from windlass.views import error_view, iso
from windlass.web.api.common import LOOK, STEER, AnyRequest, Cursor, TheConsole, note
from windlass.web.pages.frame import Form, changed, page

LOOKED = 2000
"""Dead jobs that one page sorts, at most."""
MOST = 200
"""Kinds that a page shows."""
LOOKS = 12
"""Looks at the store for one page; each goes back over 10,000 jobs, dead or not, at most."""
_VARIES = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|'[^']*'|\"[^\"]*\"|\d+")
"""What differs between errors of one kind: numbers, ids, what is quoted."""


class Kind(msgspec.Struct, kw_only=True):
    """Jobs of a task that died alike."""

    fingerprint: str
    task: str
    type: str
    message: str
    """Of the newest."""
    ids: list[bytes]
    """Newest first."""
    newest: str | None
    oldest: str | None

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.ids)

    @property
    def samples(self) -> list[str]:
        """Some of them."""
        return [to_text(one) for one in self.ids[:3]]


async def read_kinds(store: Store, cursor: str | None) -> tuple[list[Kind], str | None]:
    """Dead jobs by kind, the largest first: the newest, or those before the cursor; and where to go on.

    Without those that end runs: they die of a step, which is there for itself.
    """
    kinds: dict[str, Kind] = {}
    looked, at = 0, None if cursor is None else from_text(cursor)
    for _ in range(LOOKS):
        some = await store.list_jobs(JobFilter(states=(State.DEAD,)), limit=500, cursor=at)
        for job in await store.get_jobs([one.id for one in some.jobs]):
            if job is not None and job.state is State.DEAD and job.task != FINISH_RUN:
                _sort(kinds, job)
        looked += len(some.jobs)
        at = some.cursor
        if at is None or looked >= LOOKED:
            break
    return sorted(kinds.values(), key=lambda kind: -kind.count), None if at is None else to_text(at)


def _sort(kinds: dict[str, Kind], job: JobRecord) -> None:
    if job.errors:
        error = error_view(job.errors[-1])
        kind, message = error.type, error.message
    else:
        kind, message = ("JobLost", "its workers died while they ran it") if job.reason is Reason.LOST else ("?", "")
    alike = _VARIES.sub("*", message.split("\n", 1)[0])
    fingerprint = hashlib.sha256(f"{job.task}\0{kind}\0{alike}".encode()).hexdigest()[:16]
    at = iso(job.finished_at)
    if fingerprint not in kinds:
        kinds[fingerprint] = Kind(
            fingerprint=fingerprint,
            task=job.task,
            type=kind,
            message=shorten(message, 500),
            ids=[],
            newest=at,
            oldest=at,
        )
    kinds[fingerprint].ids.append(job.id)
    kinds[fingerprint].oldest = at


@get("/dead", guards=LOOK, include_in_schema=False)
async def dead(console: TheConsole, request: AnyRequest, cursor: Cursor = None) -> Response[str]:
    """What they died of."""

    async def ask() -> tuple[list[Kind], str | None]:
        return await read_kinds(await console.store(), cursor)

    kinds, older = await console.shared.read(("dead", cursor), ask)
    count = sum(kind.count for kind in kinds)
    return page(
        request, "dead.html", kinds=kinds[:MOST], kinds_in_all=len(kinds), count=count, cursor=cursor, older=older
    )


@post("/dead/replay", guards=STEER, include_in_schema=False, status_code=204)
async def replay_kind(
    console: TheConsole,
    request: AnyRequest,
    data: Form,
) -> Response[None]:
    """Run all of a kind again that one page shows, the oldest first."""
    store = await console.store()
    wanted = data.get("fingerprint", "")
    kinds, _ = await read_kinds(store, data.get("cursor") or None)
    done = 0
    for kind in kinds:
        if kind.fingerprint == wanted:
            note(request, f"{kind.task} {kind.type}: {kind.message}")
            ids = kind.ids[::-1]
            for first in range(0, len(ids), 500):
                done += (await store.replay(ids[first : first + 500])).count(ReplayAnswer.REPLAYED)
    return changed(f"{done:,} run again")


HANDLERS = (dead, replay_kind)
