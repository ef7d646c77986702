"""The pages, in a real browser: what they show, what their buttons do, whom they let in, what they let through."""

import asyncio
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from tests.integration.web_harness import site_of
from tests.servers.database import run_apart
from windlass import App, Cron, RemoteError, Retry, current
from windlass.core.clock import MINUTE
from windlass.core.lifecycle import State
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
PASSWORD = "correct horse battery"
PAGES = ("/", "/jobs", "/queues", "/workers", "/schedules", "/runs", "/dead", "/settings")


def is_complaint(said: ConsoleMessage) -> bool:
    """A refusal is an answer, which the browser notes too."""
    return said.type == "error" and not re.search("responded with a status of 4|Status Error Code 4", said.text)


def make_app(url: str) -> App:
    app = App(url)

    @app.task(name="mail.send", queue="mail", secret=["key"])
    async def send(to: str, key: str = "k3y") -> int:
        return len(to)

    @app.task(name="x<script>alert</script>", queue="evil")
    async def evil(text: str) -> None:
        current().log(text)
        raise RuntimeError(text)

    @app.task(name="shop.charge", queue="payments", retry=Retry(attempts=2, delay=0.01))
    async def charge(order: int) -> None:
        raise TimeoutError(f"no answer for order {order}")

    @app.task(name="slow", queue="slow")
    async def slow() -> None:
        current().progress(0.5, "half")
        await asyncio.sleep(3600)

    @app.task(name="double")
    async def double(n: int) -> int:
        return 2 * n

    @app.task(name="total")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.workflow(name="doubles")
    def doubles(n: int) -> Any:
        return total.step(double.map(list(range(n))))

    return app


async def fill(app: App) -> None:
    send, evil = app.find_task("mail.send"), app.find_task("x<script>alert</script>")
    async with app:
        await app.enqueue_many(send.bind(f"user{n}@example.org", "k3y") for n in range(60))
        await send.options(queue="letters").enqueue("J\u00f6rg")
        await app.enqueue_many(app.find_task("shop.charge").bind(n) for n in range(5))
        await evil.bind(EVIL).enqueue()
        await app.find_task("slow").enqueue()
        await app.workflows["doubles"].start(5)
        await send.options(queue="night").enqueue("nobody@example.org")
        await app.schedules.add("noon", send.bind("ops@example.org"), Cron("0 12 * * mon-fri", tz="Asia/Seoul"))
        async with app.worker(queues=["mail", "letters", "evil", "payments", "slow", "default"], grace=0.1):
            store = await app.store()
            while True:
                unfinished = Counter[State]()
                for (_, state), count in (await store.counts()).items():
                    unfinished[State(state)] += 0 if State(state).is_finished else count
                if +unfinished == {State.READY: 1, State.RUNNING: 1}:  # one nobody serves, one that runs on
                    break
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, str]]:
    url = f"sqlite:///{tmp_path_factory.mktemp('pages') / 'jobs.db'}"
    run_apart(lambda: fill(make_app(url)))
    app = make_app(url)
    with site_of(app) as where:
        yield app, where


@pytest.fixture
def page(browser: Browser, site: tuple[App, str]) -> Iterator[Page]:
    context = browser.new_context(base_url=site[1], color_scheme="light")
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message) if dialog.type == "alert" else dialog.accept())
    opened.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith(site[1]) else None)
    yield opened
    context.close()
    assert complaints == []


def test_every_page_is_accessible_in_light_and_dark(page: Page, site: tuple[App, str]) -> None:
    """By axe-core; and none asks for anything from elsewhere, nor has the browser complain (see `page`)."""
    with httpx.Client(base_url=f"{site[1]}/api/v1") as api:
        dead = api.get("/jobs", params={"state": "dead", "limit": 1}).json()["jobs"][0]["id"]
        run = api.get("/runs").json()[0]["id"]
    for path in (*PAGES, f"/jobs/{dead}", f"/runs/{run}", "/schedules?edit=noon"):
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        page.evaluate(AXE.read_text())
        for theme in ("light", "dark"):
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            found = page.evaluate("axe.run({resultTypes: ['violations']})")
            said = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found["violations"]]
            assert said == [], f"{path} in {theme}"


def test_pages_fit_a_phone(browser: Browser, site: tuple[App, str]) -> None:
    context = browser.new_context(base_url=site[1], viewport={"width": 390, "height": 844}, is_mobile=True)
    page = context.new_page()
    run = httpx.get(f"{site[1]}/api/v1/runs").json()[0]["id"]
    for path in (*PAGES, f"/runs/{run}", "/schedules?edit=noon"):
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390, f"{path} is wider than the screen"
        tallest = "Math.max(0, ...Array.from(document.querySelectorAll('input, button'), one => one.offsetHeight))"
        assert page.evaluate(tallest) < 60, f"{path} has a field that fills the screen"
    context.close()


def test_what_is_not_there_is_said_on_a_page(browser: Browser, site: tuple[App, str]) -> None:
    page = browser.new_page(base_url=site[1])
    for path, said in (
        ("/jobs/01890a5d-ac96-774b-bcce-b302099a8057", "there is no job"),
        ("/jobs/x", "expected something like"),
        ("/runs/01890a5d-ac96-774b-bcce-b302099a8057", "is the id of a job"),
        ("/nothing", "There is no page /nothing here"),
        ("/nothing/at/<b>all</b>", "There is no page /nothing/at/<b>all</b> here"),
    ):
        answer = page.goto(path)
        assert answer is not None
        assert answer.status in (400, 404)
        expect(page.get_by_role("alert")).to_contain_text(said)
        expect(page.get_by_role("link", name="Overview", exact=True)).to_be_visible()
    page.get_by_role("link", name="Go to the overview").click()
    expect(page.locator("h1")).to_have_text("Overview")
    page.close()


def test_what_jobs_carry_is_text_and_nothing_else(page: Page, site: tuple[App, str]) -> None:
    """A script in a name, an argument, an error or the log would say something: see `page`."""
    for path in PAGES:
        page.goto(path)
    page.goto("/jobs?task=x<script>alert</script>")
    page.locator("tbody a").first.click()
    expect(page.locator("h1")).to_have_text("x<script>alert</script>")
    expect(page.locator("pre").first).to_contain_text(EVIL)
    expect(page.get_by_label("Log")).to_contain_text(EVIL)
    page.goto(f"/jobs?text={EVIL}&queue={EVIL}")
    expect(page.locator(".banner")).to_contain_text("queue name")
    page.goto(f"/schedules?edit={EVIL}")
    assert page.locator("script:not([src])").count() == 0


def test_jobs_are_searched(page: Page) -> None:
    page.goto("/jobs")
    page.keyboard.press("/")
    page.keyboard.type("user17@")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator(".banner")).to_contain_text("newest")
    page.goto("/jobs?text=k3y")
    expect(page.locator(".empty")).to_be_visible()  # a secret is not found
    page.goto("/jobs?state=succeeded&queue=mail")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_text("Older").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    job_id = page.locator("tbody tr td").last.inner_text()
    page.goto(f"/jobs?text={job_id}")
    expect(page).to_have_url(re.compile(f"/jobs/{job_id}$"))
    expect(page.get_by_label("Arguments")).to_contain_text('"key": "***"')
    page.goto("/jobs?after=yesterday")
    expect(page.locator(".banner")).to_contain_text("such as 90s")


@pytest.mark.parametrize(
    "text",
    [
        '"order":3',
        '"order": 3',
        '{"order": 3}',
        '{   "order": 3 }',
        '"to": "user17@example.org", "key"',
        '"to":"user17@example.org","key":"***"',
        "J\u00f6rg",
        '"to": "user17@example.org",   "key": "***"',
        "user17@",
    ],
)
def test_arguments_are_found_as_they_are_shown(site: tuple[App, str], text: str) -> None:
    found = httpx.get(f"{site[1]}/jobs", params={"text": text}).text
    assert found.count("<tr id=") == 1


@pytest.mark.parametrize("text", ['"order": 99', '"order" : 3', "user 17@", '": "k3y"', "or der"])
def test_what_is_not_in_arguments_is_not_found(site: tuple[App, str], text: str) -> None:
    assert "<tr id=" not in httpx.get(f"{site[1]}/jobs", params={"text": text}).text


def test_times_to_look_for_say_whose_they_are(site: tuple[App, str]) -> None:
    """Those that are shown are by the clock of whoever looks."""
    page = httpx.get(f"{site[1]}/jobs").text
    for name in ("after", "before"):
        assert re.search(rf'\(UTC\) <input name="{name}"', page)


def test_keys(page: Page) -> None:
    page.goto("/")
    page.keyboard.press("g")
    page.keyboard.press("j")
    expect(page.locator("h1")).to_have_text("Jobs")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    first = page.locator("tr[data-at] a").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(first)
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_dead_jobs_are_run_again_by_kind(page: Page) -> None:
    page.goto("/dead")
    expect(page.locator("section.card")).to_have_count(2)
    charge = page.locator("section.card", has_text="shop.charge")
    expect(charge).to_contain_text("no answer for order")
    charge.get_by_role("button").click()
    expect(page.locator(".toast")).to_have_text("5 run again")
    expect(page.locator("section.card")).to_have_count(1)


def test_one_job_is_run_again_and_many_are_cancelled(page: Page) -> None:
    page.goto("/jobs?state=dead")
    page.locator("tbody a", has_text="script").first.click()
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#live .tag").first).to_have_text("ready")
    page.goto("/jobs?queue=evil")
    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator(".toast")).to_have_text("1 cancelled")
    expect(page.locator("tbody .tag").first).to_have_text("cancelled")


def test_what_changes_is_seen_without_loading_the_page_again(page: Page, site: tuple[App, str]) -> None:
    page.goto("/queues")
    row = page.locator("tr", has_text="night")
    expect(row.locator("td").nth(1)).to_have_text("1")
    run_apart(lambda: _enqueue(site[0].url, 3))
    expect(row.locator("td").nth(1)).to_have_text("4", timeout=10_000)
    page.goto("/")
    expect(page.locator("#backlog-chart canvas")).to_be_visible(timeout=10_000)
    expect(page.locator("[data-chart] canvas")).to_have_count(2)


def test_only_a_tab_that_is_looked_at_listens(page: Page) -> None:
    hide = """hidden => {
        Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.goto("/queues")
    expect(page.locator("#connection.on")).to_be_visible(timeout=15_000)
    page.evaluate(hide, True)
    expect(page.locator("#connection.on")).to_have_count(0)
    with page.expect_request("**/api/v1/events"):
        page.evaluate(hide, False)
    expect(page.locator("#connection.on")).to_be_visible(timeout=15_000)


def test_whoever_looks_keeps_their_place_when_things_change(page: Page, site: tuple[App, str]) -> None:
    page.goto("/jobs?queue=night")
    marked = page.locator("tbody tr[data-at]")
    page.keyboard.press("j")
    job = marked.get_attribute("id")
    page.locator(f"#{job} a").focus()
    run_apart(lambda: _enqueue(site[0].url, 2))
    expect(page.locator("tbody tr").first).not_to_have_id(str(job), timeout=10_000)
    expect(marked).to_have_id(str(job))
    assert page.evaluate("document.activeElement.closest('tr').id") == job
    assert page.locator(f"#{job} time").first.inner_text().endswith("ago")


async def _enqueue(url: str, number: int) -> None:
    app = make_app(url)
    async with app:
        for _ in range(number):
            await app.find_task("mail.send").options(queue="night").enqueue("x")


def test_queues_are_paused_and_limited(page: Page) -> None:
    page.goto("/queues")
    row = page.locator("tr", has_text="night")
    row.get_by_role("button", name="Pause").click()
    expect(row.locator(".tag")).to_have_text("paused")
    row.get_by_role("button", name="Resume").click()
    expect(row.locator(".tag")).to_have_count(0)
    page.get_by_label("Name").fill("night")
    page.get_by_label("At once").fill("x")
    page.get_by_role("button", name="Set").click()
    expect(page.locator(".toast.bad")).to_contain_text("expected a whole number")
    page.get_by_label("At once").fill("3")
    page.get_by_label("Rate").fill("10/s")
    page.get_by_role("button", name="Set").click()
    page.locator("h1").click()
    expect(row).to_contain_text("3 at once")
    expect(row).to_contain_text("10/s")


def test_schedules_are_looked_at_fired_paused_and_changed(page: Page) -> None:
    page.goto("/schedules")
    row = page.locator("tr", has_text="noon").first
    expect(row).to_contain_text("12:00:00 Asia/Seoul")
    row.get_by_role("button", name="Run now").click()
    row.get_by_role("button", name="Pause").click()
    expect(row.locator(".tag").first).to_have_text("paused")
    row.get_by_role("button", name="Resume").click()
    expect(row.locator(".tag", has_text="paused")).to_have_count(0)
    row.get_by_text("Edit").click()
    preview = page.locator("#preview")
    expect(preview).to_contain_text("12:00")
    page.get_by_label("Cron").fill("61 * * * *")
    expect(preview).to_contain_text("61")
    page.get_by_label("Cron").fill("30 6 * * *")
    expect(preview.locator("li").first).to_contain_text("06:30:00 Asia/Seoul")
    page.get_by_role("button", name="Change").click()
    expect(page.locator(".toast")).to_contain_text("06:30")
    expect(page.locator(".calendar td[data-n]")).to_have_count(7, timeout=10_000)


@pytest.mark.parametrize("button", ["Drain", "Stop"])
def test_a_worker_is_seen_and_told_to_end(page: Page, site: tuple[App, str], button: str) -> None:
    with make_app(site[0].url).start_worker_thread(queues=["nothing"]):
        page.goto("/workers")
        row = page.locator("tr", has_text="nothing")
        expect(row.locator(".tag")).to_have_text("live")
        row.get_by_role("button", name=button).click()
        expect(page.locator("tr", has_text="nothing")).to_have_count(0, timeout=15_000)


def test_a_run_is_drawn(page: Page) -> None:
    page.goto("/runs")
    page.locator("tbody a").first.click()
    expect(page.locator("#live .tag").first).to_have_text("succeeded")
    expect(page.locator("tbody tr")).to_have_count(2)
    steps = page.locator("svg.graph a")
    expect(steps).to_have_count(2)
    expect(page.locator(".gantt rect")).to_have_count(2)
    steps.first.click()
    expect(page.locator("h1")).to_have_text("windlass.map")


def test_what_admins_delete_is_gone(page: Page, site: tuple[App, str]) -> None:
    def rows(text: str) -> Locator:
        return page.locator("tbody tr", has_text=text)

    with httpx.Client(base_url=f"{site[1]}/api/v1") as api:
        api.put("/limits", json={"scope": "key", "name": f"g:{EVIL}", "concurrency": 2}).raise_for_status()
        weekly = {"task": "double", "arguments": [1], "when": {"every": 604800}}
        api.put("/schedules/once%2Fweek", json=weekly).raise_for_status()
    page.goto("/queues")
    expect(rows(EVIL)).to_contain_text("2")
    rows(EVIL).get_by_role("button", name="Remove limits").click()
    expect(rows(EVIL)).to_have_count(0)
    page.goto("/schedules")
    rows("once/week").first.get_by_role("button", name="Delete").click()
    expect(rows("once/week")).to_have_count(0)


def test_a_run_is_paused_resumed_cancelled_and_retried(page: Page, site: tuple[App, str]) -> None:
    with httpx.Client(base_url=f"{site[1]}/api/v1") as api:
        run = api.post("/workflows/doubles/runs", json={"arguments": [2]}).raise_for_status().json()["id"]
    page.goto(f"/runs/{run}")
    acts = {"Pause": "paused", "Resume": "starting", "Cancel": "cancelled", "Retry all that failed": "starting"}
    for button, status in acts.items():
        page.get_by_role("button", name=button).click()
        expect(page.locator("#live .tag").first).to_have_text(status)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#live .tag").first).to_have_text("cancelled")


def test_a_step_is_run_again_and_another_skipped(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    run_apart(lambda: _fail_a_run(app.url))
    with site_of(app) as where:
        page = browser.new_page(base_url=where)
        page.goto("/runs")
        page.locator("tbody a").click()
        row = page.locator("tr", has_text="shop.charge")
        row.get_by_role("button", name="Retry from here").click()
        expect(page.locator(".toast")).to_have_text("2 jobs go on")
        expect(row.locator(".tag")).to_have_text("ready")
        page.on("dialog", lambda dialog: dialog.accept())
        row.get_by_role("button", name="Skip").click()
        expect(row.locator(".tag")).to_have_text("succeeded")
        page.close()


async def _fail_a_run(url: str) -> None:
    async with make_app(url) as app:
        charge, total = app.find_task("shop.charge"), app.find_task("total")

        @app.workflow(name="pay")
        def pay() -> Any:
            return total.step([charge.step(7)])

        run = await app.workflows["pay"].start()
        async with app.worker():
            with pytest.raises(RemoteError):
                await run.result(20)


def test_jobs_are_chosen_one_by_one(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    run_apart(lambda: _enqueue(app.url, 3))
    with site_of(app) as where:
        page = browser.new_page(base_url=where)
        page.goto("/jobs")
        boxes = page.locator('input[name="ids"]')
        expect(boxes).to_have_count(3)
        bar = page.locator("#chosen")
        expect(bar).to_be_hidden()
        boxes.nth(0).check()
        boxes.nth(2).check()
        expect(bar).to_contain_text("2 chosen")
        with page.expect_response("**/jobs*"):  # how things are now, read anew
            page.evaluate("htmx.trigger(document.body, 'refresh')")
        expect(bar).to_contain_text("2 chosen")
        expect(boxes.nth(2)).to_be_checked()
        bar.get_by_role("button", name="Cancel").click()
        expect(page.locator(".toast")).to_have_text("2 cancelled")
        expect(page.locator("tbody .tag")).to_have_text(["cancelled", "ready", "cancelled"])
        expect(bar).to_be_hidden()
        page.get_by_label("Choose all that are shown").check()
        expect(bar).to_contain_text("3 chosen")
        bar.get_by_role("button", name="Retry").click()
        expect(page.locator(".toast").last).to_have_text("2 run again, 1 not")
        expect(page.locator("tbody .tag")).to_have_text(["ready"] * 3)
        page.close()


def _age(url: str, minutes: int) -> None:
    """Let all that has finished have finished so much earlier."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
        database.execute("UPDATE jobs SET finished_at = finished_at - ?", (minutes * MINUTE,))


def test_a_job_is_deleted_or_it_is_said_why_it_stays(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    run_apart(lambda: _enqueue(app.url, 2))
    with site_of(app) as where:
        page = browser.new_page(base_url=where)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto("/jobs")
        page.locator("tbody a").first.click()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.locator(".toast.bad")).to_have_text("not deleted: it finished less than five minutes ago")
        job = page.locator("header code").inner_text()
        _age(app.url, 6)
        page.get_by_role("button", name="Delete").click()
        expect(page).to_have_url(f"{where}/jobs")
        expect(page.locator(".toast")).to_have_text(f"job {job[:8]}…{job[-4:]} deleted")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.reload()
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator(".toast")).to_have_count(0)
        page.close()


def test_many_jobs_are_deleted_and_dead_ones_run_again(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    run_apart(lambda: _fail_some(app.url, 3))
    with site_of(app) as where:
        page = browser.new_page(base_url=where)
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto("/jobs?state=dead")
        page.get_by_role("button", name="Retry all").click()
        expect(page.locator(".toast")).to_have_text("3 run again")
        expect(page.locator(".empty")).to_be_visible()
        run_apart(lambda: _work_off(app.url))
        page.goto("/jobs?state=dead")
        page.get_by_role("button", name="Delete all").click()
        expect(page.locator(".toast")).to_have_text("0 deleted, 3 not")
        _age(app.url, 6)
        page.locator('input[name="ids"]').first.check()
        page.locator("#chosen").get_by_role("button", name="Delete").click()
        expect(page.locator(".toast").last).to_have_text("1 deleted")
        expect(page.locator("tbody tr")).to_have_count(2)
        page.get_by_role("button", name="Delete all").click()
        expect(page.locator(".toast").last).to_have_text("2 deleted")
        expect(page.locator(".empty")).to_be_visible()
        page.close()


async def _fail_some(url: str, number: int) -> None:
    async with make_app(url) as app:
        charge = app.find_task("shop.charge")
        await app.enqueue_many(charge.bind(n) for n in range(number))
    await _work_off(url)


async def _work_off(url: str) -> None:
    async with make_app(url) as app:
        store = await app.store()
        async with app.worker():
            while True:
                if all(State(state).is_finished for (_, state), count in (await store.counts()).items() if count):
                    break
                await asyncio.sleep(0.02)


def test_a_traced_job_leads_to_its_trace(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with site_of(app, trace_url="https://traces.example/{trace_id}") as where:
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        run_apart(lambda: _enqueue_with(app.url, headers))
        page = browser.new_page(base_url=where)
        page.goto("/jobs")
        page.locator("tbody a").click()
        expect(page.get_by_role("link", name="Trace")).to_have_attribute("href", f"https://traces.example/{trace}")
        page.close()


async def _enqueue_with(url: str, headers: dict[str, str]) -> None:
    async with make_app(url) as app:
        await app.find_task("double").options(headers=headers).enqueue(1)


def test_roles_and_logging_in(browser: Browser, tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    with site_of(app) as where:
        page = browser.new_context(base_url=where).new_page()
        page.goto("/settings")
        page.locator("section", has_text="Let a user in").get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.locator("section", has_text="Let a user in").get_by_label("Role").select_option("admin")
        page.get_by_role("button", name="Add").click()
        expect(page).to_have_url(re.compile("/login"))  # from now on nobody comes in without
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("no such user")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("h1")).to_have_text("Settings")
        [cookie] = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        page.locator("section", has_text="Make a token").get_by_label("For").fill("ci")
        page.get_by_role("button", name="Make").click()
        expect(page.get_by_label("Token", exact=True)).to_contain_text("wl_")
        token = page.get_by_label("Token", exact=True).inner_text()
        assert httpx.get(f"{where}/api/v1/me", headers={"authorization": f"Bearer {token}"}).json()["name"] == "ci"
        page.get_by_role("button", name="Log out").click()
        expect(page).to_have_url(re.compile("/login"))
        page.goto("/jobs")
        expect(page).to_have_url(re.compile("/login"))

        async def let_in() -> None:
            await Vault(app.store).add_user("bob", PASSWORD, Role.VIEWER)

        run_apart(let_in)
        page.get_by_label("Name").fill("bob")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("h1")).to_have_text("Jobs")
        page.goto("/settings")
        assert page.get_by_text("Make a token").count() == 0
        assert page.get_by_role("button", name="Delete").count() == 0
        page.context.close()


def test_guessing_passwords_is_slowed_down(tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")

    async def let_in() -> None:
        await Vault(app.store).add_user("eve", PASSWORD, Role.VIEWER)

    run_apart(let_in)
    with site_of(app) as where, httpx.Client(base_url=where) as client:
        tries = [client.post("/login", data={"name": "eve", "password": f"guess {n}"}).status_code for n in range(12)]
        assert tries == [401] * 10 + [429] * 2
        assert client.post("/login", data={"name": "eve", "password": PASSWORD}).status_code == 429
