"""``windlass workflows`` as a new user tries it, with right and wrong input."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.integration.cli_session import Session
from tests.integration.engine_harness import eventually
from windlass.workflows.run import Run

FLOWS = """
from pathlib import Path
from windlass import App

app = App("sqlite:///flows.db")

@app.task
async def numbers(n: int) -> list[int]:
    return list(range(n))

@app.task
async def check(n: int) -> int:
    if n == 2 and not Path("mended").exists():
        raise ValueError("two")
    return n

@app.task
async def total(numbers: list[int]) -> int:
    return sum(numbers)

@app.task(queue="people")
async def approve() -> bool:
    return True

@app.workflow
def report(n: int):
    return total.step(check.map(numbers.step(n)))

@app.workflow
def asked(n: int):
    return total.options(after=approve.step()).step([n])
"""
APP = ("--app", "flows:app")
NOBODY = "81890a5d-ac96-774b-bcce-b302099a8057"


class Flows:
    """The commands, and the app that they are about."""

    def __init__(self, folder: Path) -> None:
        self.session = Session(folder)
        (folder / "flows.py").write_text(FLOWS)
        spec = importlib.util.spec_from_file_location("flows", folder / "flows.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.app = module.app

    def run(self, *arguments: str) -> Any:
        return self.session.run("workflows", *arguments, *APP)

    def json(self, *arguments: str) -> Any:
        return self.session.json("workflows", *arguments, *APP)

    def work(self, run: str) -> None:
        """Let a worker run until the run has ended."""

        async def work() -> None:
            one: Run[Any] = self.app.run(run)
            async with self.app.worker(["default"]):
                await eventually(lambda: _has_ended(one))
            await self.app.aclose()

        asyncio.run(work())

    def start(self, run: str) -> None:
        """Let a worker run until the run has steps."""

        async def start() -> None:
            one: Run[Any] = self.app.run(run)
            async with self.app.worker(["default"]):
                await eventually(lambda: _has_started(one))
            await self.app.aclose()

        asyncio.run(start())


async def _has_ended(run: Run[Any]) -> bool:
    done, total = await run.progress()
    return await run.status() not in ("starting", "running") and done == total


@pytest.fixture
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flows]:
    monkeypatch.chdir(tmp_path)
    yield Flows(tmp_path)
    sys.modules.pop("flows", None)


def test_a_run_is_started_looked_at_mended_and_listed(flows: Flows) -> None:
    started = flows.run("start", "flows.report", "4")
    assert started.returncode == 0
    run = started.stdout.strip()
    assert flows.json("show", run)["status"] == "starting"
    flows.work(run)
    shown = flows.json("show", run)
    assert shown["status"] == "failed"
    assert [(step["name"], step["status"], step["items"]) for step in shown["steps"]] == [
        ("numbers", "succeeded", None),
        ("check", "dead", {"succeeded": 3, "dead": 1}),
        ("total", "cancelled", None),
    ]
    assert "3 succeeded, 1 dead" in flows.run("show", run).stdout
    Path("mended").touch()
    assert flows.json("retry", run) == {"id": run, "jobs": 2}
    flows.work(run)
    second = flows.json("start", "flows.report", "--kwargs", '{"n": 1}')["id"]
    listed = flows.json("ls")
    assert [(one["id"], one["status"]) for one in listed] == [(second, "starting"), (run, "succeeded")]
    assert [one["id"] for one in flows.json("ls", "--before", second)] == [run]
    assert flows.json("ls", "--workflow", "flows.asked") == []
    assert run in flows.run("ls", "-n", "1", "--before", second).stdout
    assert flows.json("cancel", second) == {"id": second, "status": "cancelled"}


def test_one_item_is_retried(flows: Flows) -> None:
    run = flows.run("start", "flows.report", "3").stdout.strip()
    flows.work(run)
    Path("mended").touch()
    assert flows.json("retry", run, "--step", "check", "--item", "2") == {"id": run, "jobs": 2}
    for wrong, said in (
        (("--item", "2"), "--item: of which step?"),
        (("--step", "total"), "'total' has not failed"),
        (("--step", "chek", "--item", "2"), "did you mean 'check'"),
        (("--step", "check", "--item", "3"), "it has 3, from 0"),
        (("--step", "total", "--item", "0"), "is no map"),
    ):
        refused = flows.run("retry", run, *wrong)
        assert refused.returncode != 0
        assert said in refused.stderr


def test_a_step_is_skipped(flows: Flows) -> None:
    run = flows.run("start", "flows.asked", "5").stdout.strip()

    flows.start(run)
    assert "expected" in flows.run("skip", run, "approve", '"text"').stderr
    assert flows.run("skip", run, "approve", "true").returncode == 0
    flows.work(run)
    assert flows.json("show", run)["status"] == "succeeded"
    assert "has started already" in flows.run("skip", run, "approve", "true").stderr


async def _has_started(run: Run[Any]) -> bool:
    return bool(await run.steps())


def test_a_run_is_paused_audited_and_resumed(flows: Flows) -> None:
    run = flows.run("start", "flows.asked", "5").stdout.strip()
    assert flows.json("pause", run) == {"id": run, "paused": True}
    assert flows.json("show", run)["status"] == "paused"
    assert flows.json("audit") == [], "it waits because somebody wants it to"
    assert flows.json("resume", run) == {"id": run, "paused": False}
    audited = flows.run("audit", run, "--json")
    assert audited.returncode == 1
    [finding] = json.loads(audited.stdout)
    assert finding["run"] == run
    assert "no worker is live" in finding["sentence"]
    assert flows.json("show", run)["stuck"] == [finding["sentence"]]
    assert finding["sentence"] in flows.run("show", run).stderr


def test_what_the_terminal_shows(flows: Flows) -> None:
    flows.session.run("migrate", *APP)
    flows.session.transcript.pop()
    flows.run("ls")
    run = flows.run("start", "flows.report", "4").stdout.strip()
    flows.json("start", "flows.report", "4", "--delay", "60")
    flows.work(run)
    asked = flows.run("start", "flows.asked", "5").stdout.strip()
    flows.start(asked)
    for as_json in ((), ("--json",)):
        flows.run("ls", *as_json)
        flows.run("ls", "--before", "x", *as_json)
        for command in ("show", "graph"):
            flows.run(command, run, *as_json)
            flows.run(command, "x", *as_json)
        flows.run("retry", run, "--item", "2", *as_json)
        flows.run("rerun", run, "--kwargs", "5", *as_json)
        flows.run("rerun", run, "--kwargs", '{"n": 1}', *as_json)
        for command in ("cancel", "pause", "resume", "audit"):
            flows.run(command, "x", *as_json)
        flows.run("pause", run, *as_json)
        flows.run("resume", NOBODY, *as_json)
        flows.run("pause", asked, *as_json)
        flows.run("audit", *as_json)
        flows.run("resume", asked, *as_json)
        flows.run("audit", asked, *as_json)
        flows.run("audit", run, *as_json)
        flows.run("skip", asked, "approve", "yes", *as_json)
        flows.run("start", "flows.reprt", *as_json)
    second = flows.run("start", "flows.asked", "6").stdout.strip()
    flows.start(second)
    flows.json("skip", second, "approve", "true")
    flows.run("skip", asked, "approve", "true")
    flows.run("cancel", asked)
    flows.json("cancel", asked)
    flows.run("retry", asked)
    flows.run("cancel", asked)
    flows.json("retry", asked)
    flows.run("start", "flows.report", "1", "--wait", "0.01")
    flows.session.check("workflows")


def test_graphs_of_runs_and_of_what_would_run(flows: Flows) -> None:
    assert flows.run("graph", "flows.report", "4").stdout == (
        "numbers\n  check    map  <- numbers\n    total       <- check\n"
    )
    run = flows.run("start", "flows.report", "2").stdout.strip()
    flows.work(run)
    assert "2 succeeded" in flows.run("graph", run).stdout
    assert flows.run("graph", run, "--format", "mermaid").stdout.startswith("flowchart LR\n")
    assert flows.run("graph", run, "--format", "dot").stdout.startswith("digraph run {\n")
    assert flows.run("graph", run, "--format", "svg", "-o", "run.svg").returncode == 0
    ET.parse("run.svg")
    assert [step["name"] for step in flows.json("graph", run)] == ["numbers", "check", "total"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("start", "flows.reprt", "4"), 2, "did you mean 'flows.report'"),
        (("start", "flows.report", '"x"'), 2, "argument `n`: expected `int`, got `str`"),
        (("start", "flows.report"), 2, "missing"),
        (("show", NOBODY), 1, "has no run"),
        (("show", "0" + NOBODY[1:]), 2, "is the id of a job, not of a run"),
        (("show", "x"), 2, "expected something like"),
        (("retry", NOBODY), 1, "has no run"),
        (("cancel", NOBODY), 1, "has no run"),
        (("graph", NOBODY), 1, "has no run"),
    ],
)
def test_what_is_wrong_is_said(flows: Flows, arguments: tuple[str, ...], code: int, said: str) -> None:
    flows.session.run("migrate", *APP)
    done = flows.run(*arguments)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
