"""Progress and log lines of running attempts."""

from __future__ import annotations

from windlass.core.errors import UsageError
from windlass.core.lifecycle import Outcome
from windlass.core.model import MAX_BATCH, MAX_LOG, Note
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import holds, raises, same


async def check_progress_message_and_log_are_kept(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    job = await worker.claim_one()

    async def note(**what: object) -> tuple[float | None, str | None, str]:
        await env.store.annotate(worker.id, [Note(job_id, job.token, **what)])  # type: ignore[arg-type]  # fields of all types
        record = await env.read(job_id)
        return record.progress, record.message, record.log

    same(await note(log="one\n"), (None, None, "one\n"), "progress, message, log after a line")
    same(await note(progress=0.25, message="läuft"), (0.25, "läuft", "one\n"), "after progress and message")
    same(await note(progress=1.0), (1.0, "läuft", "one\n"), "after progress alone: the message stays")
    same(await note(message="", log="two\n"), (1.0, "", "one\ntwo\n"), "after an empty message and a line")
    await worker.end(job)
    record = await env.read(job_id)
    same((record.progress, record.log), (1.0, "one\ntwo\n"), "progress and log of the finished job")


async def check_notes_without_a_good_proof_are_dropped(env: Env) -> None:
    job_id = await env.put()
    worker, other = await env.worker(), await env.worker()
    job = await worker.claim_one()
    await env.store.annotate(other.id, [Note(job_id, job.token, log="x")])
    await env.store.annotate(worker.id, [Note(job_id, job.token + 1, log="x"), Note(job_id, 0, log="x")])
    await env.store.annotate(worker.id, [Note(env.id(), 1, log="x"), Note(job_id, job.token, log="good")])
    same((await env.read(job_id)).log, "good", "log: another session, wrong tokens, unknown job, and a good one")
    await worker.end(job, Outcome.RETRY)
    await env.store.annotate(worker.id, [Note(job_id, job.token, log="late")])
    same((await env.read(job_id)).log, "good", "log after a note of an attempt that has ended")


async def check_several_notes_of_a_job_come_in_order(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    notes = [Note(job_id, job.token, i / 10, str(i), f"{i} ") for i in range(5)]
    await env.store.annotate(worker.id, notes)
    record = await env.read(job_id)
    same((record.progress, record.message, record.log), (0.4, "4", "0 1 2 3 4 "), "progress, message, log")


async def check_the_log_goes_on_from_attempt_to_attempt(env: Env) -> None:
    job_id = await env.put()
    worker = await env.worker()
    for line in ("one\n", "two\n"):
        job = await worker.claim_one()
        await env.store.annotate(worker.id, [Note(job_id, job.token, log=line)])
        await worker.end(job, Outcome.RETRY)
    same((await env.read(job_id)).log, "one\ntwo\n", "log")


async def check_the_log_is_bounded(env: Env) -> None:
    """In bytes, and no character is cut in two."""
    job_id = await env.put()
    worker = await env.worker()
    job = await worker.claim_one()
    for _ in range(3):
        await env.store.annotate(worker.id, [Note(job_id, job.token, log="é" * (MAX_LOG // 4) + "a")])
    await env.store.annotate(worker.id, [Note(job_id, job.token, log="end")])
    log = (await env.read(job_id)).log
    size = len(log.encode())
    holds(MAX_LOG - 4 <= size <= MAX_LOG, f"the log has {size} bytes, its bound is {MAX_LOG}")
    same((log[-4:], set(log)), ("aend", set("éaend")), "the end of the log, and its characters")


async def check_notes_are_bounded(env: Env) -> None:
    worker = await env.worker()
    many = [Note(env.id(), 1) for _ in range(MAX_BATCH + 1)]
    await raises(UsageError, env.store.annotate(worker.id, many), f"{MAX_BATCH + 1} notes")
    await env.store.annotate(worker.id, many[1:])
