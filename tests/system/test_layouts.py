"""Workers and `windlass migrate` on one file: the older code at work, a newer layout under running workers."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layouts.layout import read_layout, set_version
from tests.system.supervised import Supervised, wait_until, worker_command
from windlass import App, Job
from windlass.core.lifecycle import State
from windlass.store.sqlite import SQLiteStore, schema
from windlass.testing import invariants, snapshot

ROOT = Path(__file__).parents[2]
LAYOUT_1 = "25f63c7"
"""The commit whose layout that was; see `tests.layouts`."""
TASKS = """\
import asyncio
from pathlib import Path
from windlass import App

app = App("sqlite:///jobs.db", lease=1)


@app.task(name="work")
async def work(n: int = 0, until: str = "") -> int:
    Path("working").touch()
    while until and not Path(until).exists():
        await asyncio.sleep(0.01)
    return n


@app.task(name="keyed")
def keyed(n: int) -> int:
    return n


@app.task(name="limited")
def limited(n: int) -> int:
    return n
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


def windlass(folder: Path, *arguments: str, code: int = 0, **env: str) -> str:
    """Run a command, which must end with this exit code; answers what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "windlass", *arguments],
        cwd=folder, env=os.environ | env, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def succeeded(folder: Path, job_id: str, **env: str) -> bool:
    return "succeeded" in windlass(folder, "jobs", "show", job_id, "--app", "tasks:app", **env)


# ----------------------------------------------------------------------------------------------- an older layout


def test_workers_run_all_of_a_migrated_database(folder: Path) -> None:
    layout = read_layout(1)
    layout.restore(folder / "jobs.db")
    app = ("--app", "tasks:app")
    with Supervised(worker_command(*app), folder) as workers:
        workers.next(f"has layout 1, this version of Windlass needs {schema.LATEST}: run `windlass migrate`")
        assert workers.ended() == 2
    windlass(folder, "migrate", *app)
    windlass(folder, "queues", "resume", "paused", *app)
    windlass(folder, "limits", "rm", "--key", "site", *app)  # else one of its jobs has to wait for a minute
    queues = sorted({job["queue"] for job in layout.jobs})
    options = [word for queue in queues for word in ("--queue", queue)]
    with Supervised(worker_command(*app, *options), folder) as workers:
        wait_until(lambda: unserved(asyncio.run(look(folder))) == {"gpu=1"}, "all jobs but one to end")
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0
    found = asyncio.run(look(folder))
    invariants.check(found)
    dead = {job["id"] for job in layout.jobs if job.get("state") == State.DEAD}
    assert {job.id.hex() for job in found.jobs.values() if job.state is State.DEAD} == dead, "no more than there were"


def unserved(found: snapshot.Snapshot) -> set[str]:
    """What the unfinished jobs require."""
    return {job.requires for job in found.jobs.values() if not job.state.is_finished}


async def look(folder: Path) -> snapshot.Snapshot:
    store = SQLiteStore(folder / "jobs.db")
    try:
        return await snapshot.take(store)
    finally:
        await store.aclose()


@pytest.fixture
def older(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the code of layout 1 runs."""
    code = tmp_path_factory.mktemp("older")
    archive = code / "code.tar"
    git = ["git", "-C", str(ROOT), "archive", "--output", str(archive), LAYOUT_1, "src"]
    try:
        subprocess.run(git, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this checkout has no history, and so no {LAYOUT_1} to take older code from: {error}")
    subprocess.run(["tar", "-xf", str(archive), "-C", str(code)], check=True)
    return {"PYTHONPATH": str(code / "src")}


def test_a_file_is_not_migrated_from_under_workers_of_the_older_code(folder: Path, older: dict[str, str]) -> None:
    app = ("--app", "tasks:app")
    windlass(folder, "migrate", *app, **older)
    begun = windlass(folder, "enqueue", "work", "1", '"enough"', *app, **older).split()[0]
    with Supervised(worker_command(*app), folder, older) as workers:
        child = workers.started()
        wait_until((folder / "working").exists, "the job to start")
        refusal = windlass(folder, "migrate", *app, code=1)
        assert f":{child}): stop them, then migrate" in refusal
        (folder / "enough").touch()
        wait_until(lambda: succeeded(folder, begun, **older), "the job to end")
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0
    waiting = windlass(folder, "enqueue", "work", "2", *app, **older).split()[0]
    assert windlass(folder, "migrate", *app).startswith("layout 2: ")
    with Supervised(worker_command(*app), folder, older) as workers:
        workers.next(f"has layout {schema.LATEST}, this version of Windlass knows 1 only: upgrade Windlass")
        assert workers.ended() == 2
    with Supervised(worker_command(*app), folder) as workers:
        wait_until(lambda: succeeded(folder, waiting), "the new code to run what the older one stored")
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0


# ------------------------------------------------------------------------------------------------ a newer layout


@pytest.fixture
def app(folder: Path) -> Iterator[App]:
    made = App(f"sqlite:///{folder}/jobs.db", lease=1)

    @made.task(name="work")
    async def work(n: int = 0, until: str = "") -> int:
        raise NotImplementedError

    yield made
    made.close_sync()


NEWER = schema.LATEST + 97
UPGRADE = f"has layout {NEWER}, this version of Windlass knows {schema.LATEST} only: upgrade Windlass"


def test_nobody_begins_on_a_newer_layout(app: App, folder: Path) -> None:
    app.find_task("work").enqueue_sync()
    set_version(folder / "jobs.db", NEWER)
    for command in (["jobs", "ls"], ["migrate"], ["doctor"], ["enqueue", "work"]):
        assert UPGRADE in windlass(folder, *command, "--app", "tasks:app", code=1)
    with Supervised(worker_command("--app", "tasks:app"), folder) as workers:
        workers.next(UPGRADE)
        assert workers.ended() == 2
    assert sum("started" in line for line in workers.lines) == 1


def test_workers_stop_when_the_file_has_a_newer_layout_and_are_back_when_they_can(app: App, folder: Path) -> None:
    """Nothing is lost, and the supervisor tries less and less often."""
    job: Job[int] = app.find_task("work").enqueue_sync(7, "enough")
    with Supervised(worker_command("--app", "tasks:app"), folder) as workers:
        child = workers.started()
        wait_until((folder / "working").exists, "the job to start")
        set_version(folder / "jobs.db", NEWER)
        workers.next(UPGRADE)
        workers.next(rf"worker {child} died: exit code 78; a new one starts in 0.1 s")
        for pause in ("0.2", "0.4", "0.8"):
            workers.next(f"died: exit code 78; a new one starts in {pause} s")
        set_version(folder / "jobs.db", schema.LATEST)
        (folder / "enough").touch()
        assert job.result_sync(20) == 7
        assert (job.info_sync().losses, job.info_sync().attempt) == (1, 2)
        workers.signal(signal.SIGTERM)
        assert workers.ended() == 0


def test_idle_workers_notice_too(folder: Path) -> None:
    with Supervised(worker_command("--app", "tasks:app", "--processes", "2"), folder) as workers:
        children = set()
        for _ in range(2):
            children.add(workers.started())
            workers.ready()
        set_version(folder / "jobs.db", NEWER)
        wait_until(lambda: children <= misconfigured(workers.lines), "both to stop")
        workers.signal(signal.SIGTERM)
        workers.ended()


def misconfigured(lines: list[str]) -> set[int]:
    """The processes that ended so."""
    return {int(found[1]) for line in list(lines) if (found := re.search(r"worker (\d+) died: exit code 78", line))}
