"""A FastAPI app that hands slow work to workers.

    export WINDLASS_URL=sqlite:////tmp/fastapi-demo.db
    cd examples/fastapi_app
    windlass worker --app tasks:app &
    uvicorn web:web
    curl localhost:8000/texts --json '{"text": "to be or not to be"}'

The answer names the job; GET /texts/<job> tells its state, and at last the statistics. The web UI is under /windlass,
for those whom `windlass users add NAME` lets in.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from tasks import Statistics, Text, analyse, app

from windlass import JobNotFound, StoreUnavailable
from windlass.web import site


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the store when the server starts, so that a wrong URL is not found by the first visitor, and close it."""
    async with app:
        yield


web = FastAPI(lifespan=lifespan)
web.mount("/windlass", site(app))


class State(BaseModel):
    """What is known of a job."""

    job: UUID
    status: str
    progress: float | None = None
    statistics: Statistics | None = None


@web.post("/texts", status_code=202)
async def start(text: Text) -> State:
    """Store the job, and answer at once."""
    job = await analyse.enqueue(text)
    return State(job=UUID(job.id), status="ready")


@web.get("/texts/{job_id}")
async def show(job_id: UUID) -> State:
    """Tell how far it is."""
    job = app.job(str(job_id))
    info = await job.info()
    statistics = await job.result() if info.status == "succeeded" else None
    return State(job=job_id, status=info.status, progress=info.progress, statistics=statistics)


@web.delete("/texts/{job_id}", status_code=204)
async def cancel(job_id: UUID) -> None:
    """Change one's mind; a job that has finished stays as it is."""
    await app.job(str(job_id)).cancel()


@web.exception_handler(JobNotFound)
async def no_such_job(_: Request, __: JobNotFound) -> JSONResponse:
    """Answer 404 for a job that never was, or is no longer kept."""
    return JSONResponse({"detail": "no such job"}, 404)


@web.exception_handler(StoreUnavailable)
async def try_later(_: Request, __: StoreUnavailable) -> JSONResponse:
    """Answer 503 when the store cannot be reached: nothing was accepted."""
    return JSONResponse({"detail": "try again later"}, 503)
