"""On a phone's screen: what can be done is where a thumb finds it, and what is written can be read."""

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.test_web_api import PASSWORD, make_app
from tests.integration.web_harness import site_of
from tests.servers.database import run_apart
from windlass import Every
from windlass.core.clock import SECOND
from windlass.limits import limit_record
from windlass.web.access import audit
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault

WIDTH = 390
PLACES = """() => Array.from(document.querySelectorAll("tbody button, tbody .button"), one => {
    const {left, right, height} = one.getBoundingClientRect();
    return [one.textContent.trim(), left, right, height];
})"""

BEYOND = """(selector) => {
    const all = Array.from(document.querySelectorAll(`${selector}, ${selector} td, ${selector} td *`));
    const beyond = (one) => one.getBoundingClientRect().right > innerWidth || one.scrollWidth > one.clientWidth + 1;
    return all.filter((one) => one.clientWidth && beyond(one)).map((one) => one.textContent);
}"""

CELLS = "row => Array.from(row.cells, one => one.getBoundingClientRect()).map(({y, width}) => [y, width])"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A site with something of each kind, and a run that has ended."""
    app = make_app(f"sqlite:///{tmp_path_factory.mktemp('phone') / 'jobs.db'}")
    run: list[str] = []

    async def fill() -> None:
        async with make_app(app.url) as mine:
            vault, store = Vault(mine.store), await mine.store()
            await vault.add_user("ada", PASSWORD, Role.ADMIN)
            await vault.add_token("ci", Role.VIEWER, None)
            await mine.schedules.add("every/minute", mine.find_task("add").bind(1, 2), Every(minutes=1))
            await mine.find_task("later").enqueue(1)
            await audit.begin(store, _done("PATCH", "/api/v1/limits/customer:42", "rate=100/m", 200))
            await audit.begin(store, _done("DELETE", f"/api/v1/schedules/{'every-minute-' * 9}", "", 0))
            await store.put_limit(limit_record(key="customer:42", concurrency=3, rate="100/m"))
            run.append((await mine.workflows["chain"].start(3)).id)
            async with mine.worker():
                await mine.run(run[0]).result(20)
            await mine.workflows["chain"].start(3)

    run_apart(fill)
    with site_of(app) as where, make_app(app.url).start_worker_thread(queues=["nothing"]):
        yield where, run[0]


def _done(method: str, path: str, what: str, status: int) -> audit.Entry:
    at = int(time.time() * SECOND)
    return audit.Entry(at=at, who="ada", how="session", method=method, path=path, what=what, status=status)


@pytest.fixture
def page(browser: Browser, site: tuple[str, str]) -> Iterator[Page]:
    context = browser.new_context(base_url=site[0], viewport={"width": WIDTH, "height": 844}, is_mobile=True)
    opened = context.new_page()
    opened.goto("/login")
    opened.get_by_label("Name").fill("ada")
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_role("button", name="Log in").click()
    expect(opened.locator("h1")).to_have_text("Overview")
    yield opened
    context.close()


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/queues", {"Pause", "Remove limits"}),
        ("/workers", {"Drain", "Stop"}),
        ("/schedules", {"Run now", "Pause", "Edit", "Delete"}),
        ("/settings", {"Delete"}),
    ],
)
def test_buttons_of_rows_are_on_the_screen_and_as_large_as_a_thumb(page: Page, path: str, names: set[str]) -> None:
    page.goto(path)
    expect(page.locator("tbody button").first).to_be_attached()
    found = page.evaluate(PLACES)
    assert {name for name, *_ in found} == names
    for name, left, right, height in found:
        assert left >= 0, name
        assert right <= WIDTH, name
        assert height >= 36, name
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTH


def test_what_was_done_can_be_read(page: Page) -> None:
    """All of it, without pushing a table to and fro: as wide as the screen, and what is long goes on below."""
    page.goto("/settings")
    entries = page.locator("#audit tbody tr", has_text="/api/v1/")
    expect(entries).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTH
    assert page.evaluate(BEYOND, "#audit") == []
    for entry in entries.all():
        (when, _), (who, _), (what, width), (answer, _) = entry.evaluate(CELLS)
        assert width > WIDTH * 0.8, "what was done has a line for itself"
        assert when < who < what < answer
    expect(entries.last.locator("td").last).to_have_text("200")


def test_the_names_of_steps_can_be_read(page: Page, site: tuple[str, str]) -> None:
    page.goto(f"/runs/{site[1]}")
    expect(page.locator(".gantt rect")).to_have_count(3)
    labels = "Array.from(document.querySelectorAll('.gantt text, .gantt .name'), one => one.getBoundingClientRect())"
    heights = page.evaluate(f"{labels}.map(one => one.height)")
    assert len(heights) == 3
    assert min(heights) >= 14
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTH
