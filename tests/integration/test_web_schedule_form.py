"""The form that changes when a schedule fires: it has in it what there is, and changes nothing that nobody changed."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.test_web_api import make_app
from tests.integration.web_harness import site_of
from tests.servers.database import run_apart
from windlass import AnyOf, App, At, Calendar, Cron, Daily, Every, Excluding, Monthly, Trigger, Weekly, Within
from windlass.web.pages.schedule_form import fields_of

THEN = datetime(2031, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
SAYABLE = {
    "cron": Cron("*/5 8-18 * * mon-fri", tz="Asia/Seoul"),
    "seconds": Cron("*/10 * * * * *"),
    "macro": Cron("@daily"),
    "mixed": Every(hours=1, seconds=30),
    "minute": Every(minutes=1),
    "fraction": Every(days=365, seconds=0.000001),
    "daily": Daily("12:00:30", tz="Europe/Berlin"),
    "weekly": Weekly("mon-fri", "09:00"),
    "monthly": Monthly("last", "23:59"),
    "once": At(THEN),
}
UNSAYABLE = {
    "anchored": Every(hours=6, anchor=datetime(2026, 1, 1, 3, tzinfo=UTC)),
    "calendar": Calendar(months=3, start=date(2026, 1, 15), at="09:00"),
    "any": AnyOf([Daily("9:00"), Weekly("fri", "17:00")]),
    "within": Within(Daily("9:00"), end=THEN),
    "excluding": Excluding(trigger=Every(minutes=5), dates=(date(2026, 12, 24),)),
}
TRIGGERS: dict[str, Trigger] = SAYABLE | UNSAYABLE


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, str]]:
    app = make_app(f"sqlite:///{tmp_path_factory.mktemp('form') / 'jobs.db'}")

    async def add() -> None:
        async with make_app(app.url) as mine:
            for name, trigger in TRIGGERS.items():
                await mine.schedules.add(name, mine.find_task("add").bind(1, 2), trigger)

    run_apart(add)
    with site_of(app) as where:
        yield app, where


def stored(where: str, name: str) -> object:
    """The trigger that a schedule has now."""
    return httpx.get(f"{where}/api/v1/schedules/{name}").raise_for_status().json()["trigger"]


@pytest.fixture
def page(browser: Browser, site: tuple[App, str]) -> Iterator[Page]:
    opened = browser.new_page(base_url=site[1])
    yield opened
    opened.close()


@pytest.mark.parametrize("name", SAYABLE)
def test_pressing_change_without_a_change_changes_nothing(page: Page, site: tuple[App, str], name: str) -> None:
    before = stored(site[1], name)
    page.goto("/schedules")
    page.locator(f"#schedule-{name}").get_by_role("link", name="Edit").click()
    preview = page.locator("#preview")
    expect(preview.locator("li").first).to_be_visible()
    expect(preview.locator(".bad")).to_have_count(0)
    page.get_by_role("button", name="Change").click()
    expect(page.locator(".toast")).to_have_text(f"{name}: nothing was changed")
    assert stored(site[1], name) == before


@pytest.mark.parametrize("name", UNSAYABLE)
def test_what_the_form_cannot_say_is_shown_in_words_and_stays(page: Page, site: tuple[App, str], name: str) -> None:
    before = stored(site[1], name)
    page.goto(f"/schedules?edit={name}")
    edit = page.locator("#edit")
    expect(edit).to_contain_text(TRIGGERS[name].in_zone("UTC").describe())
    expect(edit.locator("li").first).to_be_visible()
    expect(edit.locator(".bad")).to_have_count(0)
    expect(edit.get_by_role("button", name="Change")).to_be_hidden()
    edit.get_by_text("Replace it").click()
    edit.get_by_role("button", name="Change").click()
    expect(page.locator(".toast.bad")).to_contain_text("when should it fire?")
    assert stored(site[1], name) == before


@pytest.mark.parametrize("trigger", SAYABLE.values(), ids=SAYABLE)
def test_what_is_in_the_form_fires_as_the_trigger_does(site: tuple[App, str], trigger: Trigger) -> None:
    fields = fields_of(trigger)
    assert fields is not None
    again = fields.when().trigger(site[0])
    at = datetime(2026, 2, 27, tzinfo=UTC)
    for _ in range(50):
        expected, found = trigger.next(at), again.next(at)
        assert found == expected
        if found is None:
            break
        at = found + timedelta(hours=5)


@pytest.mark.parametrize("trigger", UNSAYABLE.values(), ids=UNSAYABLE)
def test_what_fires_otherwise_is_not_in_the_form(trigger: Trigger) -> None:
    assert fields_of(trigger) is None


def test_a_schedule_is_replaced_by_something_simpler(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")

    async def add() -> None:
        async with make_app(app.url) as mine:
            await mine.schedules.add("any", mine.find_task("add").bind(1, 2), UNSAYABLE["any"])

    run_apart(add)
    with site_of(app) as where:
        page, other = browser.new_page(base_url=where), browser.new_page(base_url=where)
        page.goto("/schedules?edit=any")
        other.goto("/schedules?edit=any")
        page.get_by_text("Replace it").click()
        page.get_by_label("or once, at").fill("2031-05-06T07:08")
        page.get_by_label("Time zone").fill("Asia/Seoul")
        expect(page.locator("#preview")).to_contain_text("Once, at 2031-05-05T22:08")
        page.get_by_role("button", name="Change").click()
        expect(page).to_have_url(f"{where}/schedules")
        expect(page.locator(".toast")).to_contain_text("any: Once, at 2031-05-05")
        changed = stored(where, "any")
        other.get_by_text("Replace it").click()
        other.get_by_label("Cron").fill("0 0 * * *")
        other.get_by_role("button", name="Change").click()
        expect(other.locator(".toast.bad")).to_contain_text("was changed meanwhile: Once, at 2031")
        assert stored(where, "any") == changed
        other.reload()
        other.get_by_label("or once, at").fill("")
        other.get_by_label("or every").fill("90")
        other.get_by_role("button", name="Change").click()
        expect(other.locator(".toast")).to_contain_text("any: Every 1 minute and 30 seconds")
        page.close()
        other.close()
