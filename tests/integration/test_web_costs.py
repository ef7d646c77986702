"""What it costs the store that many look: as much as one does."""

import asyncio
import inspect
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.integration.test_web_api import PASSWORD, make_app
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
