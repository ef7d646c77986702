"""What it costs the store that many look, and that many come: as much as one does."""

import asyncio
import inspect
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.integration.test_web_api import PASSWORD, make_app
from tests.integration.web_harness import site_of
from windlass.core.model import MAX_BATCH
from windlass.store.sqlite import SQLiteStore
from windlass.web import shared, site
from windlass.web.access import known
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault

VERBS = [name for name, _ in inspect.getmembers(SQLiteStore, inspect.iscoroutinefunction) if not name.startswith("_")]
PAGES = (
    "/", "/stuck", "/jobs", "/jobs?state=ready&after=1h", "/jobs?text=ada", "/queues", "/workers", "/schedules",
    "/runs", "/dead", "/api/v1/me",
)  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each verb of the store was called."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> Any:
        verb = getattr(SQLiteStore, name)

        async def run(self: SQLiteStore, *args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return await verb(self, *args, **kwargs)

        return run

    for name in VERBS:
        monkeypatch.setattr(SQLiteStore, name, counted(name))
    return counts


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A time that stands still: whatever is shared for a moment is shared by all who look in it."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    for module in (shared, known):
        monkeypatch.setattr(module, "time", clock)
    return clock


async def test_twenty_who_look_cost_what_one_costs(tmp_path: Path, asked: Counter[str], clock: SimpleNamespace) -> None:
    async with make_app(f"sqlite:///{tmp_path / 'jobs.db'}") as app:
        for n in range(3):
            await app.find_task("send").enqueue(f"ada {n}", "key")
        vault = Vault(app.store)
        tokens, sessions = [], []
        await vault.add_user("ada", PASSWORD, Role.VIEWER)
        for n in range(10):
            sessions.append(await vault.log_in("ada", PASSWORD))
            tokens.append(await vault.add_token(f"token{n}", Role.VIEWER))
        shown = [{"cookie": f"windlass_session={one}"} for one in sessions]
        shown += [{"authorization": f"Bearer {one}"} for one in tokens]
        transport = httpx.ASGITransport(site(app))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:

            async def look(headers: dict[str, str], path: str) -> None:
                assert (await client.get(path, headers=headers)).status_code == 200

            async def cost(some: list[dict[str, str]]) -> dict[str, int]:
                clock.now += 5
                asked.clear()
                await asyncio.gather(*(look(headers, path) for path in PAGES for headers in some))
                return dict(asked)

            await cost(shown)  # each is looked up by itself once
            many = await cost(shown)
            clock.now += 60
            one = await cost(shown[:1])
            assert many == one | {"get_documents": one["get_documents"] + 1}, "and tokens beside sessions"


async def test_fifty_who_come_at_once_are_looked_up_in_two_readings(tmp_path: Path, asked: Counter[str]) -> None:
    async with make_app(f"sqlite:///{tmp_path / 'jobs.db'}") as app:
        vault = Vault(app.store)
        await vault.add_user("ada", PASSWORD, Role.VIEWER)
        sessions = await asyncio.gather(*(vault.log_in("ada", PASSWORD) for _ in range(50)))
        transport = httpx.ASGITransport(site(app))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
            asked.clear()
            shown = ({"cookie": f"windlass_session={one}"} for one in sessions)
            answers = await asyncio.gather(*(client.get("/api/v1/me", headers=one) for one in shown))
    assert {answer.status_code for answer in answers} == {200}
    assert asked["get_documents"] <= 4, "sessions and users, of the first and of all others"


async def test_strangers_who_come_in_thousands_keep_nobody_out(tmp_path: Path) -> None:
    """One reading of all is more than a store gives at once."""
    async with make_app(f"sqlite:///{tmp_path / 'jobs.db'}") as app:
        vault = Vault(app.store)
        good = await vault.add_token("ci", Role.VIEWER)
        *strangers, known_one = await asyncio.gather(*map(vault.token, [*map(str, range(2 * MAX_BATCH)), good]))
    assert not any(strangers)
    assert known_one is not None


def test_four_pages_that_are_open_cost_what_one_costs(browser: Browser, tmp_path: Path, asked: Counter[str]) -> None:
    with site_of(make_app(f"sqlite:///{tmp_path / 'jobs.db'}")) as where:
        pages = []
        for _ in range(4):  # about a second apart, so that they begin on different looks
            pages.append(browser.new_page(base_url=where))
            pages[-1].goto("/")
            expect(pages[-1].locator("#connection.on")).to_be_visible(timeout=15_000)
            pages[-1].wait_for_timeout(700)
        pages[0].wait_for_timeout(2000)
        asked.clear()
        pages[0].wait_for_timeout(8000)
        for page in pages:
            page.close()
    assert 2 <= asked["list_jobs"] <= 5, "what the overview reads, every other second"
