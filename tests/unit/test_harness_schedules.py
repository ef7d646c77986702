"""Schedules in a harness: days of them pass in a moment."""

from __future__ import annotations

import pytest

from windlass import App, Daily, Every, current
from windlass.testing import Harness


def make_app() -> tuple[App, list[str]]:
    app, seen = App("memory://"), []

    @app.scheduled(Daily("12:00", tz="Asia/Seoul"), name="noon")
    def report() -> None:
        at = current().fire_time
        assert at is not None
        seen.append(at.strftime("%H:%M"))

    return app, seen


async def test_time_that_passes_fires_schedules() -> None:
    app, seen = make_app()
    with Harness(app) as harness:
        attempts = await harness.run_for(days=3)
        assert seen == ["03:00"] * 3
        assert [one.outcome for one in attempts] == ["succeeded"] * 3
        assert len(harness.enqueued()) == 3
        assert (await app.schedules.get("noon")).fired == 3


def test_so_it_does_in_blocking_code() -> None:
    app, seen = make_app()
    with Harness(app) as harness:
        harness.run_for_sync(days=2)
        assert len(seen) == 2


async def test_what_is_made_in_the_test_fires_too() -> None:
    app = App("memory://")
    seen = []

    @app.task
    async def probe(n: int) -> None:
        seen.append(n)

    with Harness(app) as harness:
        await app.schedules.add("probe", probe.bind(1), Every(minutes=5), max_jobs=4)
        await harness.run_for(hours=1)
        assert seen == [1] * 4
        assert (await app.schedules.get("probe")).next is None


async def test_nothing_fires_where_time_stands_or_has_no_end() -> None:
    app, seen = make_app()
    with Harness(app) as harness:
        await harness.run()
        await harness.run_until_idle()
        harness.clock.advance(days=1)
        await harness.run()
        assert seen == []


async def test_a_schedule_that_is_too_busy_is_no_endless_loop_but_needs_steps() -> None:
    app = App("memory://")
    app.schedule("busy", app.task(name="t")(lambda: None).bind(), Every(seconds=1))
    with Harness(app, max_steps=100) as harness, pytest.raises(Exception, match="max_steps"):
        await harness.run_for(hours=1)
