"""The life of a store object."""

from __future__ import annotations

import asyncio

from windlass.core.errors import StoreUnavailable
from windlass.core.lifecycle import State
from windlass.core.model import Settings
from windlass.core.records import JobFilter
from windlass.store.port import Capability
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import holds, raises, same
from windlass.testing.conformance.marks import needs


async def check_verbs_open_the_store_when_needed(env: Env) -> None:
    twin = env.twin()
    same(await twin.get_jobs([]), [], "the first answer of a store object that nobody connected")


async def check_connecting_twice_is_harmless(env: Env) -> None:
    job_id = await env.put()
    await env.store.connect()
    await env.store.connect()
    await env.expect(job_id, State.READY, "stored before connecting again")


async def check_a_closed_store_object_says_so(env: Env) -> None:
    twin = env.twin()
    await twin.connect()
    await twin.aclose()
    await twin.aclose()
    await raises(StoreUnavailable, twin.connect(), "connecting a store object that was closed")
    await raises(StoreUnavailable, twin.now(), "reading the clock of a store object that was closed")
    await raises(StoreUnavailable, twin.list_jobs(JobFilter()), "reading from a store object that was closed")
    sent = await env.now()
    await raises(
        StoreUnavailable, twin.enqueue([env.job()], first_sent=sent), "writing to a store object that was closed"
    )
    same(await env.store.counts(), {}, "what the refused write stored")


async def check_closing_what_was_never_opened(env: Env) -> None:
    await env.twin().aclose()


async def check_a_twin_is_the_same_store(env: Env) -> None:
    job_id = await env.put()
    twin = env.twin()
    same(
        (twin.url, twin.settings, twin.capabilities), (env.store.url, env.settings, env.store.capabilities), "its parts"
    )
    same([record and record.state for record in await twin.get_jobs([job_id])], [State.READY], "what it sees")
    await twin.cancel([job_id])
    await env.expect(job_id, State.CANCELLED, "cancelled through a twin")
    await twin.aclose()
    await env.expect(job_id, State.CANCELLED, "the twin being closed")


async def check_a_closed_store_object_still_has_twins(env: Env) -> None:
    first = env.twin()
    await first.connect()
    await first.aclose()
    second = first.twin()
    same(await second.get_jobs([]), [], "an answer from the twin of a closed store object")
    await second.aclose()


async def check_a_twin_serves_another_loop_in_another_thread(env: Env) -> None:
    job_id = await env.put()
    twin = env.store.twin()

    def elsewhere() -> list[bool]:
        async def read() -> list[bool]:
            found = await twin.get_jobs([job_id])
            await twin.aclose()
            return [record is not None for record in found]

        return asyncio.run(read())

    same(await asyncio.to_thread(elsewhere), [True], "whether the heartbeat's thread finds the job")


async def check_it_tells_where_it_is_and_what_it_can(env: Env) -> None:
    scheme, separator, _ = env.store.url.partition("://")
    holds(separator and scheme.isascii(), f"url {env.store.url!r} has no scheme")
    holds(isinstance(env.store.capabilities, Capability), f"capabilities are {env.store.capabilities!r}")
    holds(isinstance(env.store.settings, Settings), f"settings are {env.store.settings!r}")


async def check_migrating_what_is_up_to_date_does_nothing(env: Env) -> None:
    job_id = await env.put()
    same(await env.store.migrate(), [], "what was done to a store that is up to date")
    await env.store.migrate(finish=True)
    same(await env.store.migrate(finish=True), [], "what was done by finishing again")
    await env.expect(job_id, State.READY, "stored before migrating")


@needs(Capability.DURABLE)
async def check_what_was_answered_is_there_after_everybody_has_left(env: Env) -> None:
    ready, done = await env.put(), await env.put_in(State.SUCCEEDED, queue="q")
    heir = env.twin()
    await env.store.aclose()
    found = await heir.get_jobs([ready, done])
    same([record and record.state for record in found], [State.READY, State.SUCCEEDED], "states found by the next")
