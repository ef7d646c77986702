"""What an open page does when its stream of events fails: a bad answer, a session that is over."""

import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.integration.test_web_api import PASSWORD, make_app
from tests.integration.web_harness import site_of
from tests.servers.database import run_apart
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault

HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""

STREAM = "window.EventSource = class { addEventListener(_, act) { window.hear = act; } close() {} };"
HEAR = """seconds => {
    const refreshed = [];
    let now;
    document.body.addEventListener("refresh", () => refreshed.push(now));
    for (now of seconds) hear({data: JSON.stringify({now: new Date(now * 1000), ready: 0, running: 0})});
    return refreshed;
}"""


def refuse(page: Page, status: int, times: int) -> list[float]:
    """Let the stream be answered so, as by a proxy whose server is away; says when it was asked for."""
    asked: list[float] = []

    def answer(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) <= times:
            route.fulfill(status=status, body="<h1>Bad Gateway</h1>", content_type="text/html")
        else:
            route.continue_()

    page.route("**/api/v1/events", answer)
    return asked


def test_a_page_listens_again_after_bad_answers(browser: Browser, tmp_path: Path) -> None:
    with site_of(make_app(f"sqlite:///{tmp_path / 'jobs.db'}")) as where:
        page = browser.new_page(base_url=where)
        asked = refuse(page, 502, times=3)
        page.goto("/queues")
        expect(page.locator("#connection.off")).to_be_visible()
        expect(page.locator("#connection.on")).to_be_visible(timeout=30_000)
        assert len(asked) == 4
        first, *_, last = (later - sooner for sooner, later in pairwise(asked))
        assert first < last, "it waits longer each time"
        page.close()


def test_a_page_whose_session_is_over_leads_to_the_login(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")

    async def let_in() -> None:
        async with make_app(app.url) as mine:
            await Vault(mine.store).add_user("ada", PASSWORD, Role.VIEWER)

    async def put_out() -> None:
        async with make_app(app.url) as mine:
            await Vault(mine.store).change_user("ada", password="another password")

    run_apart(let_in)
    with site_of(app) as where:
        page = browser.new_context(base_url=where).new_page()
        page.goto("/login?next=/queues")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#connection.on")).to_be_visible(timeout=15_000)
        page.evaluate(HIDE, True)  # it listens no more, and so nothing else asks the server
        run_apart(put_out)
        page.evaluate(HIDE, False)
        expect(page).to_have_url(re.compile("/login"), timeout=10_000)
        page.context.close()


def test_a_page_goes_on_listening_where_only_its_stream_is_refused(browser: Browser, tmp_path: Path) -> None:
    """Whoever is still known is not sent away."""
    with site_of(make_app(f"sqlite:///{tmp_path / 'jobs.db'}")) as where:
        page = browser.new_page(base_url=where)
        refuse(page, 401, times=1)
        page.goto("/queues")
        expect(page.locator("#connection.on")).to_be_visible(timeout=15_000)
        expect(page).to_have_url(f"{where}/queues")
        page.close()


@pytest.mark.parametrize("skipped", [0, 1, 2])
def test_pages_ask_in_the_same_moments(browser: Browser, tmp_path: Path, skipped: int) -> None:
    """Whenever they were opened: what is read for one is there for the others."""
    with site_of(make_app(f"sqlite:///{tmp_path / 'jobs.db'}")) as where:
        page = browser.new_page(base_url=where)
        page.add_init_script(STREAM)
        page.goto("/queues")
        first, *rest = page.evaluate(HEAR, [10.1, 11.2, 12.3, 13.4, 14.5, 15.6, 16.7, 17.8, 18.9][skipped:])
        assert first == [10.1, 11.2, 12.3][skipped], "at once"
        assert rest[-3:] == [14.5, 16.7, 18.9], "and then with all others"
        page.close()
