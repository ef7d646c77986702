"""Workers: list, drain, stop. And what keeps jobs from running."""

from __future__ import annotations

import msgspec
from litestar import get, post

from windlass.core.errors import JobNotFound, UsageError
from windlass.core.ids import from_text
from windlass.core.model import DRAIN, STOP
from windlass.doctor import Finding, examine, examine_job
from windlass.views import WorkerView, worker_view
from windlass.web.api.common import LOOK, STEER, Above, Count, InPath, TheConsole, page_of
from windlass.web.refusals import NotThere


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that was told something."""

    session: str
    told: bool
    """Whether it is live."""


@get("/workers", summary="List workers", guards=LOOK)
async def list_workers(console: TheConsole, limit: Count = 1000, above: Above = None) -> list[WorkerView]:
    """Those that the store knows, by session."""
    store = await console.store()
    now = await store.now()
    some = page_of(await store.sessions(), lambda one: one.session.id.hex(), above=above, limit=limit)
    return [worker_view(record, now) for record in some]


async def tell(console: TheConsole, session: str, word: str) -> Told:
    """Tell a worker something. Raises `UsageError`, and `NotThere`."""
    try:
        key = bytes.fromhex(session)
    except ValueError:
        key = b""
    if len(key) != 16:
        raise UsageError(f"session {session[:40]!a}: expected 32 hexadecimal digits")
    store = await console.store()
    told = await store.command(key, word)
    if not told and all(one.session.id != key for one in await store.sessions()):
        raise NotThere(f"there is no session {session}")
    return Told(session=session, told=told)


@post("/workers/{session:str}/drain", summary="Drain a worker", guards=STEER, status_code=200)
async def drain(console: TheConsole, session: InPath) -> Told:
    """It claims nothing more, finishes what it holds, however long that takes, and ends."""
    return await tell(console, session, DRAIN)


@post("/workers/{session:str}/stop", summary="Stop a worker", guards=STEER, status_code=200)
async def stop(console: TheConsole, session: InPath) -> Told:
    """It claims nothing more, finishes what it can within its grace time, and gives the rest back."""
    return await tell(console, session, STOP)


@get("/doctor", summary="Explain what is stuck", guards=LOOK)
async def doctor(console: TheConsole) -> list[Finding]:
    """What keeps jobs from running, a sentence each."""
    return await examine(await console.store())


@get("/jobs/{id:str}/doctor", summary="Explain why a job is where it is", guards=LOOK)
async def doctor_of_job(console: TheConsole, id: InPath) -> Finding:
    """Takes two seconds if a worker ought to claim it at once, to see whether one does."""
    finding = await examine_job(await console.store(), from_text(id))
    if finding is None:
        raise JobNotFound(f"there is no job {id}")
    return finding


HANDLERS = (list_workers, drain, stop, doctor, doctor_of_job)
