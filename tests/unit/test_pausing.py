"""Pausing queues and tasks from code."""

from typing import Any

import pytest

from windlass import App, InvalidName, InvalidOption
from windlass.testing import Harness

app = App("memory://")


@app.task(name="shop.send", queue="mail")
def send(to: str) -> None: ...


async def paused() -> list[tuple[str, str]]:
    return [(limit.scope, limit.name) for limit in await app.limits() if limit.paused]


async def test_queues_and_tasks_are_paused_and_go_on() -> None:
    with Harness(app):
        for _ in range(2):
            await app.pause(queue="mail")
            await app.pause(task=send)
        await app.pause(task="old.name")
        assert await paused() == [("queue", "mail"), ("task", "old.name"), ("task", "shop.send")]
        await app.resume(queue="mail")
        await app.resume(task="shop.send")
        await app.resume(task="old.name")
        await app.resume(queue="nothing-was-known-of-it")
        assert await paused() == []


def test_the_blocking_twins() -> None:
    with Harness(app):
        app.pause_sync(queue="mail")
        assert [limit.name for limit in app.limits_sync() if limit.paused] == ["mail"]
        app.resume_sync(queue="mail")
        assert app.limits_sync() == []


@pytest.mark.parametrize("target", [{}, {"queue": "mail", "task": "t"}])
async def test_one_of_the_two_is_needed(target: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match="give one of queue and task"):
        await app.pause(**target)


@pytest.mark.parametrize("target", [{"queue": "a b"}, {"task": ""}])
async def test_names_keep_their_grammar(target: dict[str, Any]) -> None:
    with pytest.raises(InvalidName):
        await app.resume(**target)
