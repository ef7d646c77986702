"""Lists that are cut say so, and what is cut off is not what somebody looks for; where nobody works, pages say it."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.test_web_api import PASSWORD, make_app, ok
from tests.integration.web_harness import site_of
from tests.servers.database import run_apart
from windlass import App, Every
from windlass.web import live
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault
from windlass.web.pages import dead, overview, queues, runs, schedules, settings


@pytest.fixture
def app(tmp_path: Path) -> App:
    return make_app(f"sqlite:///{tmp_path / 'jobs.db'}")


@pytest.fixture
def site(app: App) -> Iterator[httpx.Client]:
    with site_of(app) as where, httpx.Client(base_url=where) as client:
        yield client


def shown(site: httpx.Client, path: str) -> str:
    """A page, as somebody reads it."""
    page = site.get(path)
    assert page.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text.split('id="live"')[1]))


def ids(site: httpx.Client, path: str, kind: str) -> list[str]:
    """Whose rows a page has, in its order."""
    return re.findall(rf'id="{kind}-([^"]*)"', site.get(path).text)


async def _fill(app: App, depths: dict[str, int]) -> None:
    async with make_app(app.url) as mine:
        add = mine.find_task("add")
        for queue, depth in depths.items():
            await mine.enqueue_many(add.options(queue=queue).bind(n, 1) for n in range(depth))


def test_the_overview_has_the_deepest_queues(app: App, site: httpx.Client) -> None:
    depths = {f"a{n:02}": 1 for n in range(12)} | {"deep": 2, "zz": 3}
    run_apart(lambda: _fill(app, depths))
    assert ids(site, "/", "queue") == ["zz", "deep", *(f"a{n:02}" for n in range(overview.QUEUES - 2))]
    assert "10 of 14 queues: those with the most ready jobs" in shown(site, "/")


def test_many_queues_are_cut_to_the_deepest_and_found_by_name(
    app: App, site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "MOST", 3)
    monkeypatch.setattr(live, "MOST", 3)
    run_apart(lambda: _fill(app, {"a1": 1, "a2": 1, "a3": 1, "b1": 2, "zz": 3}))
    assert ids(site, "/queues", "queue") == ["zz", "b1", "a1"]
    assert "3 of 5 queues: those with the most ready jobs" in shown(site, "/queues")
    assert ids(site, "/queues?name=a", "queue") == ["a1", "a2", "a3"]
    assert "of 5" not in shown(site, "/queues?name=a")
    assert "No queue has this in its name" in shown(site, "/queues?name=nothing")
    pulse = asyncio.run(_pulse(app))
    assert [one.queue for one in pulse.queues] == ["zz", "b1", "a1"]
    assert (pulse.queues_in_all, pulse.ready) == (5, 8)


async def _pulse(app: App) -> live.Pulse:
    async with make_app(app.url) as mine:
        return await live.Live(mine.store, live.Shared()).pulse()


def test_many_limits_say_that_they_are_cut(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MOST", 2)
    for n in range(3):
        ok(site.put("/api/v1/limits", json={"scope": "key", "name": f"k:{n}", "concurrency": 1}))
    assert "2 of 3 limits: the first by name" in shown(site, "/queues")


def test_many_schedules_say_that_they_are_cut_and_are_found_by_name(
    app: App, site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "MOST", 2)

    async def add() -> None:
        async with make_app(app.url) as mine:
            for name in ("a1", "a2", "a3", "zz"):
                await mine.schedules.add(name, mine.find_task("add").bind(1, 2), Every(minutes=1))

    run_apart(add)
    assert ids(site, "/schedules", "schedule") == ["a1", "a2"]
    assert "The first 2 of more, by name" in shown(site, "/schedules")
    assert ids(site, "/schedules?name=zz", "schedule") == ["zz"]
    assert 'href="/schedules?name=zz&amp;edit=zz#edit"' in site.get("/schedules?name=zz").text
    assert "of more" not in shown(site, "/schedules?name=zz")
    assert "When “zz” fires" in shown(site, "/schedules?edit=zz")


def test_many_kinds_of_dead_jobs_say_that_they_are_cut(
    app: App, site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead, "MOST", 2)

    async def fail() -> None:
        async with make_app(app.url) as mine, _worked_off(mine):
            await mine.enqueue_many(mine.find_task("fail").options(retry=None).bind(text) for text in "abcc")

    run_apart(fail)
    assert "2 of 3 kinds: those with the most dead jobs" in shown(site, "/dead")


@asynccontextmanager
async def _worked_off(app: App) -> AsyncIterator[None]:
    """On leaving, all jobs have ended."""
    yield
    store = await app.store()
    async with app.worker():
        for _ in range(500):
            if not any(queue.ready + queue.running + queue.scheduled + queue.waiting for queue in await store.queues()):
                return
            await asyncio.sleep(0.02)
    raise AssertionError("they do not end")


def test_a_long_run_says_how_many_of_its_steps_are_drawn(
    app: App, site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "BARS", 2)
    found: dict[str, Any] = {}

    async def start() -> None:
        async with make_app(app.url) as mine, _worked_off(mine):
            found["run"] = await mine.workflows["chain"].start(4)

    run_apart(start)
    assert "2 of 4 steps: the first that started" in shown(site, f"/runs/{found['run'].id}")


def test_many_workers_say_that_they_are_cut(app: App, site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MOST", 1)
    with make_app(app.url).start_worker_thread(), make_app(app.url).start_worker_thread():
        assert "1 of 2 workers: the oldest" in shown(site, "/workers")
        assert "all live" in shown(site, "/")


def test_many_tokens_and_users_say_that_they_are_cut(
    app: App, site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MOST", 2)
    monkeypatch.setattr(settings, "ENTRIES", 1)
    tokens: list[str] = []

    async def let_in() -> None:
        async with make_app(app.url) as mine:
            vault = Vault(mine.store)
            tokens.extend([await vault.add_token(f"ci{n}", Role.ADMIN, None) for n in range(3)])
            for n in range(3):
                await vault.add_user(f"ada{n}", PASSWORD, Role.VIEWER)

    run_apart(let_in)
    site.headers["authorization"] = f"Bearer {tokens[0]}"
    ok(site.put("/api/v1/limits", json={"scope": "key", "name": "k", "concurrency": 1}))
    page = shown(site, "/settings")
    for said in ("2 of more; windlass tokens ls has all", "The first 2 of more, by name", "the newest 1"):
        assert said in page
    assert len(ids(site, "/settings", "token")) == len(ids(site, "/settings", "user")) == 2


def test_what_is_stuck_says_that_there_is_more(app: App, site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "FINDINGS", 1)
    run_apart(lambda: _fill(app, {"a": 1, "b": 1}))
    said = site.get("/stuck").text
    assert "more:" in said


def test_the_overview_says_that_nobody_is_there(site: httpx.Client) -> None:
    page = shown(site, "/")
    assert "none is there" in page
    assert "all live" not in page
    assert "no worker is live" not in page, "nothing waits"


def test_the_overview_warns_where_jobs_wait_and_nobody_works(app: App, site: httpx.Client) -> None:
    run_apart(lambda: _fill(app, {"mail": 3}))
    assert "3 jobs are ready, and no worker is live" in shown(site, "/")
    assert 'class="tile warn"' in site.get("/").text


def test_the_overview_does_not_warn_where_somebody_works(app: App, site: httpx.Client) -> None:
    run_apart(lambda: _fill(app, {"mail": 3}))
    with make_app(app.url).start_worker_thread(queues=["nothing"]):
        page = shown(site, "/")
    assert "all live" in page
    assert "no worker is live" not in page
