"""Limits as people say them."""

from typing import Any

import pytest

from windlass import App, InvalidName, InvalidOption, LimitInfo
from windlass.core.clock import SECOND
from windlass.core.model import ClaimRequest, Lane, Session
from windlass.core.records import Limit, LimitScope, Rate
from windlass.limits import limit_record
from windlass.testing import Harness

app = App()


@app.task(queue="mail", limit_by="customer", name="shop.send", aliases=["old.send"])
async def send(customer: int) -> int:
    return customer


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ({"queue": "mail", "concurrency": 5}, Limit(scope=LimitScope.QUEUE, name="mail", concurrency=5)),
        ({"task": "shop.send", "rate": "10/s"}, Limit(scope=LimitScope.TASK, name="shop.send", rate=Rate(10))),
        (
            {"key": "customer", "concurrency": 2, "rate": "5/10s", "burst": 20},
            Limit(scope=LimitScope.KEY, name="customer", concurrency=2, rate=Rate(5, 10 * SECOND, 20)),
        ),
        ({"key": "customer:a:b"}, Limit(scope=LimitScope.KEY, name="customer:a:b")),
    ],
)
def test_limits_become_a_record(said: dict[str, Any], meant: Limit) -> None:
    assert limit_record(**said) == meant


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "give one of queue, task and key, not none"),
        ({"queue": "a", "key": "b"}, "give one of queue, task and key, not queue and key"),
        ({"queue": "a", "task": "b", "key": "c"}, "not queue and task and key"),
        (
            {"queue": "a", "concurrency": 0},
            "concurrency=0: expected an integer from 1 to 1_000_000; to stop it, pause it",
        ),
        ({"queue": "a", "concurrency": -1}, "concurrency=-1"),
        ({"queue": "a", "concurrency": True}, "concurrency=True"),
        ({"queue": "a", "concurrency": 2.0}, "concurrency=2.0"),
        ({"queue": "a", "concurrency": 10**7}, "concurrency=10000000"),
        ({"queue": "a", "rate": "10/x"}, "rate '10/x': expected s, m, h or d (or ms, us) at character 4"),
        ({"queue": "a", "rate": 10}, "rate=10: expected text"),
        ({"queue": "a", "burst": 5}, "add rate='10/s'"),
        ({"queue": "a", "rate": "10/s", "burst": 0}, "burst=0"),
        ({"queue": "a", "rate": "10/s", "burst": "5"}, "burst='5'"),
    ],
)
def test_impossible_limits_are_refused_with_a_reason(said: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        limit_record(**said)
    assert why in str(refused.value)


@pytest.mark.parametrize("target", [{"queue": "no spaces"}, {"task": ""}, {"key": "g:"}, {"task": len}, {"queue": 5}])
def test_names_keep_their_grammar(target: dict[str, Any]) -> None:
    with pytest.raises(InvalidName):
        limit_record(**target, concurrency=1)


def info(scope: Any, name: str, **fields: Any) -> LimitInfo:
    usual = {"paused": False, "concurrency": None, "rate": None, "burst": None, "running": 0}
    usual["running_keys"] = 0 if scope == "key" and ":" not in name else None
    return LimitInfo(scope=scope, name=name, **(usual | fields))


async def test_limits_are_set_replaced_listed_and_removed() -> None:
    with Harness(app):
        assert await app.limits() == []
        await app.set_limit(key="customer:42", concurrency=7)
        await app.set_limit(queue="mail", concurrency=5, rate="60/60s")
        await app.set_limit(task=send, rate="10/s", burst=20)
        await app.set_limit(task="other.task", concurrency=1)
        assert await app.limits() == [
            info("queue", "mail", concurrency=5, rate="60/m", burst=1),
            info("task", "other.task", concurrency=1),
            info("task", "shop.send", rate="10/s", burst=20),
            info("key", "customer:42", concurrency=7),
        ]
        await app.set_limit(queue="mail", rate="1/h")
        assert (await app.limits())[0] == info("queue", "mail", rate="1/h", burst=1), "what is left out is not limited"
        for target in ({"queue": "mail"}, {"task": send}, {"task": "other.task"}, {"key": "customer:42"}):
            for _ in range(2):
                await app.set_limit(**target)
        assert await app.limits() == []


async def test_a_limit_and_a_pause_leave_each_other_alone() -> None:
    with Harness(app):
        store = await app.store()
        await store.pause(LimitScope.QUEUE, "mail", paused=True)
        await app.set_limit(queue="mail", concurrency=5)
        assert await app.limits() == [info("queue", "mail", paused=True, concurrency=5)]
        await app.set_limit(queue="mail")
        assert await app.limits() == [info("queue", "mail", paused=True)]
        await app.set_limit(queue="mail", concurrency=5)
        await store.pause(LimitScope.QUEUE, "mail", paused=False)
        assert await app.limits() == [info("queue", "mail", concurrency=5)]


def test_the_blocking_twins_do_the_same() -> None:
    with Harness(app):
        app.set_limit_sync(key="customer", concurrency=2, rate="1/m", burst=3)
        assert app.limits_sync() == [info("key", "customer", concurrency=2, rate="1/m", burst=3)]
        with pytest.raises(InvalidOption, match="give one of queue, task and key"):
            app.set_limit_sync(concurrency=1)


async def test_every_way_to_enqueue_gives_the_key_of_the_argument() -> None:
    with Harness(app) as harness:
        await send.enqueue(1)
        await send.bind(customer=2).enqueue()
        await app.enqueue_many([send.bind(3), send.options(priority=9).bind(4), send.options(limit_by="vip").bind(5)])
        await send.options(unique=True).enqueue(6)
        assert [job.limit_by for job in harness.enqueued()] == [
            *(f"customer:{n}" for n in (1, 2, 3, 4)),
            "vip",
            "customer:6",
        ]


def test_every_blocking_way_to_enqueue_gives_it_too() -> None:
    with Harness(app) as harness:
        send.enqueue_sync(1)
        send.bind(2).enqueue_sync()
        app.enqueue_many_sync([send.bind(3)])
        assert [job.limit_by for job in harness.enqueued()] == [f"customer:{n}" for n in (1, 2, 3)]


async def test_what_runs_now_is_told_for_a_group_without_the_keys_that_have_their_own() -> None:
    with Harness(app):
        for key in ("customer", "customer:1"):
            await app.set_limit(key=key, concurrency=3)
        await app.set_limit(queue="mail", concurrency=99)
        await app.set_limit(task=send, concurrency=99)
        await app.enqueue_many(send.bind(customer) for customer in (1, 1, 2, 2, 3))
        await send.options(limit_by="customer").enqueue(0)
        await send.options(limit_by="customers:1").enqueue(0)
        await claim_all()
        assert [(limit.name, limit.running, limit.running_keys) for limit in await app.limits()] == [
            ("mail", 7, None),
            ("shop.send", 7, None),
            ("customer", 4, 3),
            ("customer:1", 2, None),
        ]


async def claim_all() -> None:
    """Take every job, as a worker would, and leave it running."""
    store = await app.store()
    session = Session(id=bytes(16), node="test", pid=1)
    await store.open(session)
    await store.claim(session.id, ClaimRequest(1, (Lane("mail"),)))
