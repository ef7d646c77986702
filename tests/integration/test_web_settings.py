"""The settings page: what it says of who may come in, and that its buttons keep out whom they name."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.integration.test_web_api import PASSWORD, make_app, ok
from tests.integration.test_web_mounted import ROOT, by_header, server_of
from tests.integration.web_harness import serving, site_of
from tests.servers.database import run_apart
from windlass.core.clock import HOUR
from windlass.web import mounted, site
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault


def api_link(page: str) -> str:
    """Where the page says that programs find the HTTP API."""
    found = re.search(r'href="([^"]+)">the HTTP API', page)
    assert found
    return found[1]


@pytest.mark.parametrize("root", ["", ROOT])
def test_the_link_to_the_api_leads_to_its_description(tmp_path: Path, root: str) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    who = {"x-known-as": "viewer"}
    inner = site(app, who=by_header)
    with serving(server_of(mounted(inner, root, inner) if root else inner)) as where:
        page = httpx.get(f"{where}{root}/settings", headers=who).text
        assert ok(httpx.get(where + api_link(page), headers=who))["openapi"]
    app.close_sync()


def test_a_token_says_how_long_it_is_good_for(tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    tokens = {}

    async def make() -> None:
        async with make_app(app.url) as mine:
            vault = Vault(mine.store)
            tokens["admin"] = await vault.add_token("for-ever", Role.ADMIN, None)
            await vault.add_token("for-an-hour", Role.VIEWER, HOUR)

    run_apart(make)
    with site_of(app) as where:
        page = httpx.get(f"{where}/settings", headers={"authorization": f"Bearer {tokens['admin']}"}).text
    rows = re.findall(r'<tr id="token-.*?</tr>', page, re.DOTALL)
    assert [("until it is deleted" in row, "data-as" in row) for row in rows if "for-ever" in row] == [(True, False)]
    assert [("until it is deleted" in row, "data-as" in row) for row in rows if "an-hour" in row] == [(False, True)]


def test_tokens_and_users_that_are_deleted_come_in_no_more(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    tokens = {}

    async def make() -> None:
        async with make_app(app.url) as mine:
            vault = Vault(mine.store)
            await vault.add_user("ada", PASSWORD, Role.ADMIN)
            await vault.add_user("bob", PASSWORD, Role.VIEWER)
            tokens["ci"] = await vault.add_token("ci", Role.VIEWER, None)

    run_apart(make)
    with site_of(app) as where:
        bearer = {"authorization": f"Bearer {tokens['ci']}"}
        assert ok(httpx.get(f"{where}/api/v1/me", headers=bearer))["name"] == "ci"
        page = browser.new_page(base_url=where)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto("/login?next=/settings")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        token, user = page.locator("tr[id^=token-]"), page.locator("#user-bob")
        expect(token).to_contain_text("ci")
        token.get_by_role("button", name="Delete").click()
        expect(token).to_have_count(0)
        expect(page.locator(".toast").last).to_have_text("ci deleted")
        user.get_by_role("button", name="Delete").click()
        expect(user).to_have_count(0)
        expect(page.locator(".toast").last).to_have_text("bob deleted")
        expect(page.locator("#user-ada")).to_have_count(1)
        assert httpx.get(f"{where}/api/v1/me", headers=bearer).status_code == 401
        answer = httpx.post(f"{where}/login", data={"name": "bob", "password": PASSWORD})
        assert answer.status_code == 401
        page.close()
