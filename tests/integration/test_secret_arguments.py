"""What is shown of arguments that nobody is to see: whoever carries them."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NewType, Optional

import pytest

from windlass import App, Every, InvalidOption
from windlass.core.records import JobFilter, JobRecord
from windlass.views import job_view, shown_arguments
from windlass.web.console import Console

SOON = 20


@dataclass
class SecretStr:
    """As libraries for settings have it."""

    value: str


@dataclass
class Customer:
    name: str
    key: SecretStr | None = None


Password = NewType("Password", SecretStr)
Keys = list[SecretStr]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    made = App(f"sqlite:///{tmp_path}/w.db")
    yield made
    await made.aclose()


async def everything(app: App) -> list[JobRecord]:
    store = await app.store()
    page = await store.list_jobs(JobFilter(), limit=1000)
    return [job for job in await store.get_jobs([job.id for job in page.jobs]) if job is not None]


async def test_what_a_task_calls_secret_is_secret_in_a_map_and_in_a_batch(app: App) -> None:
    @app.task(name="charge", secret=["card"])
    async def charge(card: str, to: str) -> int:
        return len(card)

    @app.task(name="total")
    async def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.workflow(name="all", secret=["cards"])
    def all_of(cards: list[str], to: str) -> Any:
        return total.step(charge.map(cards, to=to))

    async with app.worker():
        run = await all_of.start(["4711-1", "4711-22"], "ann")
        assert await run.result(SOON) == 6 + 7
        assert [n async for n in app.amap(charge, ["4711-333"], to="bob")] == [8]
    jobs = await everything(app)
    shown = [shown_arguments(job).decode() for job in jobs]
    assert len(shown) > 5
    assert not [one for one in shown if "4711" in one]
    assert any('"ann"' in one for one in shown), "what is not secret is shown"
    assert any(b"4711" in job.payload for job in jobs), "and the store has all of it"


async def test_secret_arguments_of_a_workflow_are_so_on_its_schedule_too(app: App) -> None:
    @app.workflow(name="all", secret=["key"])
    def all_of(key: str) -> None: ...

    made = await app.schedules.add("nightly", all_of.bind("k3y"), Every(hours=1))
    assert made.arguments == {"key": "***"}
    with pytest.raises(InvalidOption, match="no parameter 'kye'"):
        app.workflow(name="other", secret=["kye"])(lambda key: None)


async def test_redaction_finds_a_type_wherever_in_a_hint_it_is(app: App) -> None:
    @app.task(name="login")
    def login(
        *,
        plain: str,
        bare: SecretStr,
        union: SecretStr | None,
        optional: Optional[SecretStr],  # noqa: UP045 - as people have it
        listed: list[SecretStr],
        marked: Annotated[SecretStr, "of the vault"],
        named: Password,
        quoted: "dict[str, SecretStr]",
        alias: Keys,
        quoted_alias: "Keys",
        also_plain: list[str] | None,
    ) -> None: ...

    @app.workflow(name="all")
    def all_of(key: SecretStr | None, n: int) -> None: ...

    console = Console(app, redact=["SecretStr"])
    hide = console.hide("login")
    assert hide is not None
    hidden = [name for name in login.spec.signature.names if hide(name)]
    assert hidden == ["bare", "union", "optional", "listed", "marked", "named", "quoted", "alias", "quoted_alias"]
    of_run = console.hide("all")
    assert of_run is not None
    assert [of_run(name) for name in ("key", "n")] == [True, False]


async def test_redaction_by_type_finds_fields(app: App) -> None:
    @app.task(name="greet")
    async def greet(who: list[Customer], n: int) -> None: ...

    await greet.enqueue([Customer("ann", SecretStr("k3y"))], 1)
    [job] = await everything(app)
    shown = json.loads(shown_arguments(job, Console(app, redact=["SecretStr"]).hide(job.task, job.payload)))
    assert shown == {"who": [{"name": "ann", "key": "***"}], "n": 1}


async def test_a_key_that_is_made_of_secret_arguments_is_one(app: App) -> None:
    @app.task(name="charge", secret=["card"])
    async def charge(card: str) -> None: ...

    jobs = [await charge.options(unique=unique).enqueue("4711") for unique in (True, "order 7")]
    assert sorted(job_view(one).unique_key or "" for one in await everything(app)) == ["***", "order 7"]
    assert len(jobs) == 2


async def test_redaction_reaches_fields_and_what_others_carry(app: App) -> None:
    @app.task(name="login")
    async def login(creds: dict[str, Any], n: int) -> int:
        return n

    @app.task(name="add")
    async def add(n: int) -> int:
        return n

    @app.task(name="pay")
    async def pay(key: SecretStr) -> None: ...

    @app.workflow(name="all")
    def all_of(n: int) -> Any:
        return [login.map([{"password": "hunter2"}], n=n), add.map([41, 42]), pay.map([{"value": "hunter3"}])]

    console = Console(app, redact=["*password*", "creds", "SecretStr"])
    by_field = Console(app, redact=["*password*"])
    job = await login.enqueue({"user": "ann", "more": [{"old_password": "hunter1"}]}, 1)
    run = await all_of.start(1)
    async with app.worker():
        await run.result(SOON)
    for record in await everything(app):
        shown = shown_arguments(record, console.hide(record.task, record.payload)).decode()
        assert "hunter" not in shown
        if '"lists":[[41,42]]' in record.payload.decode():
            assert json.loads(shown)["lists"] == [[41, 42]], "a map of which nothing is hidden"
        if record.task == "login" and b"hunter1" in record.payload:
            said = json.loads(shown_arguments(record, by_field.hide(record.task, record.payload)))
            assert said == {"creds": {"user": "ann", "more": [{"old_password": "***"}]}, "n": 1}
    assert await job.status() == "succeeded"
