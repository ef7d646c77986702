"""Every command as a new user tries it, with right and wrong input: what the terminal shows is a snapshot."""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.docs.test_command_line import leaves
from tests.integration.cli_session import SNAPSHOTS, Session
from windlass.core.clock import HOUR, MINUTE, SECOND
from windlass.core.ids import from_text, new_id
from windlass.core.model import ClaimRequest, Lane, NewJob, Settings
from windlass.core.model import Session as WorkerSession
from windlass.store.sqlite import SQLiteStore

APP = ("--app", "tasks:app")
NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def enqueue(session: Session, *arguments: str) -> str:
    """Enqueue; answers the id."""
    done = session.run("enqueue", *APP, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_help(session: Session) -> None:
    session.run("--version")
    session.run("--help")
    session.run()
    session.run("frobnicate")
    session.run("frobnicate", "--json")
    session.run("jobs")
    session.run("queues", "--help")
    session.run("workers")
    session.run("workers", "frobnicate")
    session.run("jobs", "ls", "--bogus", "--json")
    for words in leaves():
        assert session.run(*words.split(), "--help").returncode == 0
    session.check("help")


def test_enqueue(session: Session) -> None:
    enqueue(session, "tasks.add", "1", "2")
    enqueue(session, "tasks.add", "1", "--kwargs", '{"b": 2}', "-q", "later", "--priority", "9", "--delay", "60")
    first = enqueue(session, "tasks.send", '"a@example.org"', "--unique", "a", "--expires", "600")
    assert enqueue(session, "tasks.send", '"a@example.org"', "--unique", "a") == first
    assert session.json("enqueue", *APP, "tasks.send", '"a"', "--unique", "a")["duplicate"] is True
    enqueue(session, "tasks.add", "--", "-1", "2")
    enqueue(session, "tasks.later", '"2026-01-31T12:00:00Z"')
    session.run("jobs", "ls", *APP)
    session.run("enqueue", "tasks.add", "1", "2", WINDLASS_APP="tasks:app")
    assert session.run("enqueue", *APP, "tasks.add", "1", "2", "--wait", "0.1", "--json").returncode == 1
    session.check("enqueue")


def test_enqueue_refuses(session: Session) -> None:
    for arguments in (
        ("tasks.ad", "1", "2"),
        ("os:system", '"true"'),
        ("tasks.\x1b[31madd", "1", "2"),
        ("tasks.add", "1", '"2"'),
        ("tasks.add", "1"),
        ("tasks.add", "1", "2", "3"),
        ("tasks.add", "1", "two"),
        ("tasks.add", "1", "NaN"),
        ("tasks.add", "1", ""),
        ("tasks.send", "a@example.org"),
        ("tasks.later", '"yesterday"'),
        ("tasks.add", "--kwargs", "[1, 2]"),
        ("tasks.add", "--kwargs", "{a: 1}"),
        ("tasks.add", "1", "2", "--priority", "10"),
        ("tasks.add", "1", "2", "--priority", "high"),
        ("tasks.add", "1", "2", "--delay", "-1"),
        ("tasks.add", "1", "2", "--delay", "nan"),
        ("tasks.add", "1", "2", "--del", "3"),
        ("tasks.add", "1", "2", "--delay", "60", "--expires", "30"),
        ("tasks.add", "1", "2", "--queue", "bad queue"),
        ("tasks.add", "1", "2", "--unique", ""),
        ("tasks.add", "1", "2", "--wait", "long"),
        (),
    ):
        assert session.run("enqueue", *APP, *arguments).returncode == 2
    session.run("enqueue", "tasks.add", "1", "2")
    session.run("enqueue", *APP, "tasks.ad", "1", "2", "--json")
    assert not (session.folder / "jobs.db").exists(), "nothing was stored, and no file made"
    session.check("enqueue_refuses")


def test_apps_that_are_not_there(session: Session) -> None:
    (session.folder / "broken.py").write_text("from windlass import App\n\n1 / 0\n")
    (session.folder / "crooked.py").write_text("def f(:\n")
    (session.folder / "needs.py").write_text("import surely_not_installed\n")
    (session.folder / "leaves.py").write_text("raise SystemExit(3)\n")
    (session.folder / "empty.py").write_text("app = 3\n")
    (session.folder / "elsewhere.py").write_text("from windlass import App\napp = App('amqp://me:secret@db/x')\n")
    for place in (
        "tasks",
        "tasks.py",
        "tasks:",
        "tasks:ap",
        "tasks:app.add",
        "tsks:app",
        "tasks.sub:app",
        "empty:app",
        "empty:other",
        "broken:app",
        "crooked:app",
        "needs:app",
        "leaves:app",
        "elsewhere:app",
        "",
    ):
        assert session.run("queues", "ls", "--app", place).returncode == 2
    assert "secret" not in "".join(session.transcript).replace("me:secret@db/x')", "")
    session.check("apps_that_are_not_there")


def test_stores_that_are_not_there(session: Session) -> None:
    (session.folder / "text.db").write_text("no database at all, just text that is long enough to be looked at" * 20)
    for url in (
        "sqlite:///typo.db",
        "sqlite:////nowhere/at/all.db",
        "sqlite://two-slashes.db",
        "windlass.db",
        "memory://",
        "amqp://me:secret@db.example.org/jobs",
        "sqllite:///jobs.db",
        "gopher://x",
        "",
    ):
        assert session.run("queues", "ls", "--url", url).returncode == 2
    session.run("queues", "ls")
    session.run("queues", "ls", WINDLASS_URL="sqlite:///typo.db")
    assert session.run("queues", "ls", "--url", "sqlite:///text.db").returncode == 1
    assert session.run("migrate", "--url", "sqlite:////nowhere/at/all.db").returncode == 1
    assert "secret" not in "".join(session.transcript).replace("amqp://me:secret@", "", 1)
    session.check("stores_that_are_not_there")


def test_jobs(session: Session) -> None:
    session.run("jobs", "ls", *APP)
    session.create_store()
    session.run("jobs", "ls", *APP)
    assert session.json("jobs", "ls", *APP) == {"jobs": [], "cursor": None}
    ids = [enqueue(session, "tasks.add", str(number), "0") for number in range(3)]
    ids.append(enqueue(session, "tasks.send", '"a"', "--delay", "60", "--unique", "k"))
    session.run("jobs", "ls", *APP)
    session.run("jobs", "ls", *APP, "--state", "scheduled", "--state", "dead")
    session.run("jobs", "ls", *APP, "--queue", "mail", "--task", "tasks.send")
    session.run("jobs", "ls", *APP, "--queue", "nobody")
    page = session.json("jobs", "ls", *APP, "--limit", "2")
    assert [job["id"] for job in page["jobs"]] == ids[:1:-1]
    rest = session.json("jobs", "ls", *APP, "--limit", "2", "--cursor", page["cursor"])
    assert [job["id"] for job in rest["jobs"]] == ids[1::-1]
    session.run("jobs", "ls", *APP, "--limit", "3")
    session.run("jobs", "show", *APP, ids[3])
    assert session.json("jobs", "show", *APP, ids[3])["arguments"] == {"to": "a"}
    session.run("jobs", "cancel", *APP, ids[0], ids[3], ids[0].upper())
    session.run("jobs", "cancel", *APP, ids[0])
    session.run("jobs", "show", *APP, ids[3])
    session.run("jobs", "replay", *APP, ids[3])
    session.run("jobs", "replay", *APP, ids[3], ids[1])
    delayed = session.run("enqueue", *APP, "tasks.send", '"b"', "--delay", "1h").stdout.strip()
    session.run("jobs", "reschedule", *APP, delayed, "--delay", "5m")
    assert session.json("jobs", "reschedule", *APP, delayed) == [{"id": delayed, "answer": "rescheduled"}]
    session.run("jobs", "reschedule", *APP, ids[3], delayed)
    assert session.json("jobs", "cancel", *APP, ids[3]) == [{"id": ids[3], "answer": "cancelled"}]
    assert session.json("jobs", "replay", *APP, ids[3]) == [{"id": ids[3], "answer": "ready again"}]
    session.run("jobs", "purge", *APP)
    session.run("jobs", "purge", *APP, ids[0])
    session.run("jobs", "purge", *APP, "--state", "cancelled", "--yes")
    purged = session.json("jobs", "purge", *APP, "--queue", "mail", "--yes")
    assert purged == {"matched": 0, "deleted": 0, "refused": 0, "interrupted": False}
    session.check("jobs")


def test_jobs_purge_deletes(session: Session) -> None:
    session.create_store()
    ids = [enqueue(session, "tasks.add", str(number), "0") for number in range(5)]
    asyncio.run(cancel_a_while_ago(session.folder / "jobs.db", ids[:4]))
    session.run("jobs", "purge", *APP, ids[0])
    assert session.run("jobs", "purge", *APP, ids[1], ids[4]).returncode == 1
    session.run("jobs", "purge", *APP, "--state", "cancelled", "--task", "tasks.add", "--yes")
    session.run("jobs", "ls", *APP)
    session.check("jobs_purge")


async def cancel_a_while_ago(path: Path, ids: list[str]) -> None:
    async with store_of(path, minutes_ago=6) as store:
        await store.cancel([from_text(text) for text in ids])


def test_jobs_refuses(session: Session) -> None:
    session.create_store()
    for command in ("show", "cancel", "replay", "reschedule"):
        assert session.run("jobs", command, *APP, NOBODY).returncode == 1
        assert session.run("jobs", command, *APP, "42").returncode == 2
        assert session.run("jobs", command, *APP).returncode == 2
    session.run("jobs", "show", *APP, "\x1b[31mred\n", "--json")
    session.run("jobs", "reschedule", *APP, NOBODY, "--delay", "soon", "--json")
    session.run("jobs", "purge", *APP, NOBODY)
    for options in (
        ("--state", "asleep"),
        ("--limit", "0"),
        ("--limit", "many"),
        ("--limit", "100000000000000000000"),
        ("--cursor", "zz"),
        ("--cursor", "ab"),
        ("--cursor", ""),
        ("--queue", "a b"),
        ("--task", "'; drop table jobs"),
    ):
        assert session.run("jobs", "ls", *APP, *options).returncode == 2
    for arguments in ((NOBODY, "--state", "dead"), ("42",), ("--state", "asleep"), ("--all",)):
        assert session.run("jobs", "purge", *APP, *arguments).returncode == 2
    for command in ("show", "cancel", "replay", "purge"):
        assert session.run("jobs", command, *APP, NOBODY, "--json").returncode == 1
        assert session.run("jobs", command, *APP, "42", "--json").returncode == 2
    session.run("jobs", "ls", *APP, "--state", "asleep", "--json")
    session.check("jobs_refuses")


def test_queues(session: Session) -> None:
    session.create_store()
    session.run("queues", "ls", *APP)
    enqueue(session, "tasks.add", "1", "2")
    enqueue(session, "tasks.send", '"a"', "--delay", "60")
    session.run("queues", "ls", *APP)
    session.run("queues", "pause", *APP, "default", "typo", "default")
    session.run("queues", "ls", *APP)
    session.run("queues", "resume", *APP, "default", "typo")
    session.run("queues", "pause", *APP, "mail", "--json")
    session.run("queues", "ls", *APP, "--json")
    session.run("queues", "resume", *APP, "mail", "--json")
    session.check("queues")


def test_queues_refuses(session: Session) -> None:
    session.create_store()
    for command in ("pause", "resume"):
        for arguments in ((), ("a b",), ("good", ""), ("mail", "--force"), ("a b", "--json")):
            assert session.run("queues", command, *APP, *arguments).returncode == 2
    assert session.run("queues", "ls", *APP, "mail").returncode == 2
    assert session.run("queues", "ls", *APP, "mail", "--json").returncode == 2
    assert session.run("queues", "frobnicate").returncode == 2
    assert session.run("queues", "pause", "--url", "sqlite:///typo.db", "mail").returncode == 2
    assert session.json("queues", "ls", *APP) == [], "nothing was stored of what was refused"
    session.check("queues_refuses")


def test_limits(session: Session) -> None:
    session.create_store()
    session.run("limits", "ls", *APP)
    asyncio.run(take_mails(session.folder / "jobs.db"))
    session.run("limits", "set", *APP, "-q", "mail", "--concurrency", "5", "--rate", "10/s", "--burst", "20")
    session.run("limits", "set", *APP, "--queue", "typo", "--rate", "600/60s")
    session.run("limits", "set", *APP, "--task", "tasks.send", "--rate", "1/90s")
    session.run("limits", "set", *APP, "--key", "customer", "--concurrency", "2")
    assert session.json("limits", "set", *APP, "--key", "customer:42", "--concurrency", "50")["concurrency"] == 50
    session.run("queues", "pause", *APP, "mail")
    session.run("limits", "set", *APP, "--task", "tasks.typo", "--concurrency", "1")
    session.run("limits", "ls", *APP)
    session.run("limits", "ls", *APP, "--json")
    session.run("queues", "ls", *APP)
    session.json("queues", "ls", *APP)
    session.run("limits", "rm", *APP, "-q", "mail")
    session.run("limits", "rm", *APP, "-q", "mail", "--json")
    session.run("limits", "rm", *APP, "--key", "customer:42", "--json")
    session.run("limits", "rm", *APP, "--key", "customer:42")
    session.run("limits", "ls", *APP)
    session.check("limits")


async def take_mails(path: Path) -> None:
    """Be a worker that runs two jobs for one customer and one for another."""
    async with store_of(path, minutes_ago=0) as store:
        await store.open(WorkerSession(id=bytes(16), node="node", pid=1, tasks=("tasks.send",)))
        keys = ("customer:1", "customer:1", "customer:2", "customer:42")
        jobs = [NewJob(id=new_id(), task="tasks.send", payload=b"{}", queue="mail", limit_key=key) for key in keys]
        await store.enqueue(jobs, first_sent=await store.now())
        assert len((await store.claim(bytes(16), ClaimRequest(1, (Lane("mail"),)))).jobs) == 4


def test_what_the_app_or_the_store_knows_is_no_slip(session: Session) -> None:
    session.create_store()
    enqueue(session, "tasks.send", '"a"', "-q", "elsewhere")
    store = ("--url", "sqlite:///jobs.db")
    for known in (("-q", "mail", *APP), ("-q", "elsewhere", *store), ("--task", "tasks.add", *APP)):
        assert "nothing was known" not in session.run("limits", "set", *known, "--concurrency", "1").stderr
    key = session.run("limits", "set", "--key", "customr:42", *APP, "--concurrency", "1")
    assert "no task of the app says limit_by='customr'" in key.stderr
    assert not session.run("limits", "set", "--key", "customer", *store, "--concurrency", "1").stderr
    assert "nothing was known" not in session.run("tasks", "pause", *store, "tasks.send").stderr
    assert "nothing was known" in session.run("queues", "pause", *store, "default").stderr
    session.run("queues", "resume", *store, "default")
    assert "nothing was known" not in session.run("queues", "pause", *APP, "default").stderr


def test_limits_refuses(session: Session) -> None:
    session.create_store()
    for arguments in (
        (),
        ("--concurrency", "5"),
        ("-q", "mail"),
        ("-q", "mail", "--task", "tasks.send", "--concurrency", "5"),
        ("-q", "mail", "--burst", "5"),
        ("-q", "mail", "--concurrency", "5", "--burst", "5"),
        ("-q", "mail", "--concurrency", "0"),
        ("-q", "mail", "--concurrency", "many"),
        ("-q", "mail", "--concurrency", "99999999"),
        ("-q", "mail", "--rate", "10"),
        ("-q", "mail", "--rate", "10/fortnight"),
        ("-q", "mail", "--rate", "0/s"),
        ("-q", "a b", "--rate", "1/s"),
        ("--task", "", "--rate", "1/s"),
        ("--key", "customer:", "--rate", "1/s"),
        ("--key", "customer", "--rate", "10/x", "--json"),
    ):
        assert session.run("limits", "set", *APP, *arguments).returncode == 2
    for arguments in ((), ("-q", "mail", "--key", "k"), ("--key", "", "--json"), ("-q", "mail", "--rate", "1/s")):
        assert session.run("limits", "rm", *APP, *arguments).returncode == 2
    assert session.run("limits", "ls", *APP, "mail").returncode == 2
    assert session.run("limits", "ls", *APP, "mail", "--json").returncode == 2
    assert session.run("limits", "frobnicate").returncode == 2
    assert session.run("limits", "set", "--url", "sqlite:///typo.db", "-q", "a", "--rate", "1/s").returncode == 2
    assert session.json("limits", "ls", *APP) == [], "nothing was stored of what was refused"
    session.check("limits_refuses")


def test_tasks(session: Session) -> None:
    session.create_store()
    asyncio.run(have_workers_without_jobs(session.folder / "jobs.db"))
    session.run("tasks", "pause", *APP, "tasks.add", "tasks.typo", "tasks.add")
    session.run("limits", "ls", *APP)
    session.run("tasks", "resume", *APP, "tasks.add", "tasks.typo")
    assert session.json("tasks", "pause", *APP, "tasks.send") == [{"task": "tasks.send", "paused": True}]
    assert session.json("tasks", "resume", *APP, "tasks.send") == [{"task": "tasks.send", "paused": False}]
    for command in ("pause", "resume"):
        for arguments in ((), ("a b",), ("a b", "--json"), ("--all",)):
            assert session.run("tasks", command, *APP, *arguments).returncode == 2
    session.check("tasks")


async def have_workers_without_jobs(path: Path) -> None:
    async with store_of(path, minutes_ago=0) as store:
        await store.open(WorkerSession(id=bytes(16), node="box", pid=1, tasks=("tasks.add", "tasks.send")))


def test_migrate(session: Session) -> None:
    session.run("migrate", "--url", "sqlite:///new.db")
    session.run("migrate", "--url", "sqlite:///new.db", "--finish")
    assert session.json("migrate", "--url", "sqlite:///new.db") == {"done": []}
    session.check("migrate")


def test_metrics(session: Session) -> None:
    session.run("metrics", "--rules")
    assert session.run("metrics", "--dashboard").stdout.startswith("{")
    session.transcript.pop()  # long, and looked at elsewhere
    for arguments in (("--listen", "x"), ("--listen", "0.0.0.0:9791"), ("--once", "--url", "memory://"), ("now",)):
        url = () if "--url" in arguments else ("--url", "sqlite:///new.db")
        assert session.run("metrics", *arguments, *url).returncode == 2
    session.run("migrate", "--url", "sqlite:///new.db")
    session.transcript.pop()
    assert session.run("metrics", "--listen", "0.0.0.0:9791", "--url", "sqlite:///new.db").returncode == 2
    session.check("metrics")


def test_users_and_tokens(session: Session) -> None:
    url = ("--url", "sqlite:///new.db")
    assert session.run("users", "add", "ada", *url, stdin="long enough").returncode == 2  # there is no such database
    session.run("migrate", *url)
    session.transcript.pop()
    session.run("users", "add", "ada", "--role", "admin", *url, stdin="long enough\n")
    assert session.run("users", "add", "ada", *url, stdin="long enough\n").returncode == 2
    for arguments, password in (
        (("add", "bob"), "short\n"),
        (("add", "b b"), "long enough\n"),
        (("add", "bob", "--role", "god"), "long enough\n"),
        (("passwd", "bob"), "long enough\n"),
        (("rm", "bob"), ""),
        (("ls", "bob"), ""),
    ):
        assert session.run("users", *arguments, *url, stdin=password).returncode == 2
        assert session.run("users", *arguments, "--json", *url, stdin=password).returncode == 2
    session.run("users", "passwd", "ada", *url, stdin="another one\n")
    assert session.json("users", "passwd", "ada", *url, stdin="another one\n") == {"name": "ada"}
    assert session.json("users", "add", "bob", *url, stdin="long enough\n")["role"] == "viewer"
    assert session.run("users", "rm", "bob", *url).returncode == 0
    session.run("users", "ls", *url)
    assert session.json("users", "ls", *url)[0]["name"] == "ada"
    assert session.json("users", "rm", "ada", *url) == {"name": "ada", "deleted": True}
    session.run("users", "ls", *url)
    session.run("tokens", "ls", *url)
    made = session.json("tokens", "add", "ci", "--role", "operator", "--days", "7", *url)
    assert made["token"].startswith("wl_")
    [token] = session.json("tokens", "ls", *url)
    assert session.json("tokens", "rm", token["id"], *url)["deleted"] is True
    session.run("tokens", "add", "cd", *url)
    session.run("tokens", "ls", *url)
    [token] = session.json("tokens", "ls", *url)
    assert session.run("tokens", "rm", token["id"], *url).returncode == 0
    assert session.json("tokens", "ls", *url) == []
    for more in ((), ("--json",)):
        assert session.run("tokens", "add", "c i", *more, *url).returncode == 2
        assert session.run("tokens", "rm", "0123456789ab", *more, *url).returncode == 2
        assert session.run("tokens", "ls", "x", *more, *url).returncode == 2
    session.check("users_and_tokens")


def test_ui(session: Session) -> None:
    url = ("--url", "sqlite:///new.db")
    session.run("migrate", *url)
    session.transcript.pop()
    for arguments in (("--listen", "x"), ("--listen", "0.0.0.0:8380"), ("--listen", "[::]:8380"), ("now",)):
        assert session.run("ui", *arguments, *url).returncode == 2
    command = [sys.executable, "-m", "windlass", "ui", "--listen", "0", *url]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=session.folder, env=session.environment({}), **pipes) as process:
        assert process.stdout is not None
        where = process.stdout.readline().strip()
        assert httpx.get(f"{where}readyz").text == "ok"
        process.terminate()
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0, log
    session.keep(log.splitlines(), "ui", "--listen", "0", *url)
    session.check("ui")


def test_migrate_refuses(session: Session) -> None:
    for arguments in (
        ("--url", "memory://"),
        ("--url", "sqlite:///new.db", "now"),
        ("--url", "sqlite:///new.db", "--finished"),
        ("--app", "tsks:app", "--json"),
    ):
        assert session.run("migrate", *arguments).returncode == 2
    assert not (session.folder / "new.db").exists()
    session.check("migrate_refuses")


def test_workers(session: Session) -> None:
    session.create_store()
    session.run("workers", "ls", *APP)
    assert session.json("workers", "ls", *APP) == []
    for number in range(2):
        enqueue(session, "tasks.add", str(number), "0")
    asyncio.run(have_workers(session.folder / "jobs.db"))
    session.run("workers", "ls", *APP)
    assert [worker["state"] for worker in session.json("workers", "ls", *APP)] == ["revoked", "silent", "live"]
    session.check("workers")


async def have_workers(path: Path) -> None:
    """Leave a worker that is being reaped, one that is silent, and one that is live; all but the second hold a job."""
    reaped, silent, live = (
        WorkerSession(
            id=number.to_bytes(16, "big"),
            node=f"node-{number}",
            pid=4700 + number,
            lanes=(Lane("default"), Lane("mail"))[:number],
            tasks=("tasks.add", "tasks.send"),
            version="1.2",
            slots=slots,
        )
        for number, slots in ((1, 1), (2, 100), (3, 4))
    )
    async with store_of(path, minutes_ago=3) as store:
        await store.open(reaped)
        assert len((await store.claim(reaped.id, ClaimRequest(1, (Lane("default"),)))).jobs) == 2
    async with store_of(path, minutes_ago=2) as store:
        await store.open(silent)
        assert (await store.reap(await store.observe(), limit=1)).more
    async with store_of(path, minutes_ago=0) as store:
        await store.open(live)
        assert len((await store.claim(live.id, ClaimRequest(1, (Lane("default"),)))).jobs) == 1


@asynccontextmanager
async def store_of(path: Path, minutes_ago: float) -> AsyncIterator[SQLiteStore]:
    """Open the store as somebody did some minutes ago, for a lease of ten seconds, or does now, for an hour."""
    lease = HOUR if minutes_ago == 0 else 10 * SECOND
    behind = round(minutes_ago * MINUTE)
    store = SQLiteStore(path, Settings(lease=lease), clock=lambda: time.time_ns() // 1000 - behind)
    try:
        yield store
    finally:
        await store.aclose()


def test_workers_refuses(session: Session) -> None:
    session.create_store()
    for arguments in (
        (*APP, "all"),
        (*APP, "all", "--json"),
        (*APP, "--queue", "mail"),
        ("--url", "sqlite:///typo.db"),
    ):
        assert session.run("workers", "ls", *arguments).returncode == 2
    session.check("workers_refuses")


def test_bench(session: Session) -> None:
    session.run("bench", "--jobs", "100")
    figures = session.json("bench", "--jobs", "200")
    assert len(figures) == 6
    assert all(figure["value"] > 0 for figure in figures)
    assert not list(session.folder.glob("*.db"))
    for arguments in (("--jobs", "1"), ("--jobs", "many"), ("--jobs", "0", "--json"), ("drain",), APP):
        assert session.run("bench", *arguments).returncode == 2
    session.check("bench")


def test_schedules(session: Session) -> None:
    session.run("schedules", "ls", *APP)
    session.create_store()
    session.run("schedules", "ls", *APP)
    add = ("schedules", "add", *APP)
    session.run(*add, "hourly", "tasks.add", "1", "2", "--every", "3600", "--overlap", "skip", "-q", "later")
    session.run(*add, "yearly", "tasks.send", "--kwargs", '{"to": "a"}', "--cron", "@yearly", "--json")
    session.run(*add, "yearly", "tasks.add", "1", "2", "--cron", "0 0 1 1 *")
    session.run(*add, "yearly", "tasks.add", "1", "2", "--cron", "0 0 1 1 *", "--replace", "--paused")
    session.run(*add, "once", "tasks.add", "1", "2", "--at", "2999-01-31T12:00:00+01:00", "--jitter", "60")
    session.run(*add, "late", "tasks.add", "1", "2", "--at", "2001-01-31T12:00:00+01:00")
    session.run(*add, "wrong", "tasks.add", "1", "2", "--cron", "0 25 * * *")
    session.run(*add, "wrong", "tasks.add", "1", "2", "--cron", "0 0 30 2 *", "--json")
    session.run(*add, "wrong", "tasks.add", "1", "2")
    session.run(*add, "wrong", "tasks.add", "1", "2", "--every", "5", "--tz", "UTC")
    session.run(*add, "wrong", "tasks.add", "1", "--every", "5")
    session.run(*add, "wrong", "tasks.nothing", "--every", "5")
    session.run(*add, "wr ong", "tasks.add", "1", "2", "--every", "5")
    session.run(*add, "wrong", "tasks.add", "1", "2", "--cron", "0 0 * * *", "--tz", "Mars/Base")
    session.run("schedules", "ls", *APP)
    assert [one["name"] for one in session.json("schedules", "ls", *APP)] == ["hourly", "once", "yearly"]
    for command in ("show", "next", "pause", "resume", "fire"):
        session.run("schedules", command, *APP, "hourly")
        session.json("schedules", command, *APP, "hourly")
    session.run("schedules", "next", *APP, "yearly")
    assert session.run("schedules", "fire", *APP, "hourly").returncode == 0
    january = ("--from", "2026-01-01T00:30:00", "--until", "2026-01-01T00:45:00Z")
    session.run("schedules", "backfill", *APP, "hourly", *january)
    session.json("schedules", "backfill", *APP, "hourly", *january)
    session.run("schedules", "backfill", *APP, "hourly", "--from", "yesterday", "--until", "2026-01-02")
    session.run("schedules", "backfill", *APP, "hourly", "--from", "2026-01-02", "--until", "2026-01-01")
    session.run("schedules", "rm", *APP, "hourly")
    session.json("schedules", "rm", *APP, "yearly")
    for command in ("show", "next", "pause", "resume", "fire", "rm"):
        session.run("schedules", command, *APP, "hourly")
        session.run("schedules", command, "--url", "sqlite:///nothing.db", "hourly")
        session.run("schedules", command, "--url", "sqlite:///nothing.db", "hourly", "--json")
    session.run("schedules", "backfill", "--url", "sqlite:///nothing.db", "hourly", *january, "--json")
    session.run("schedules", "ls", "--url", "sqlite:///nothing.db", "--json")
    session.check("schedules")


CRONTAB = """\
MAILTO=ops
0 3 * * *  backup --all
*/5 9-17 * * mon-fri  refresh
61 * * * *  wrong
@reboot  start
"""


def test_importing_a_crontab(session: Session) -> None:
    (session.folder / "old.txt").write_text(CRONTAB)
    (session.folder / "latin.txt").write_bytes(b"0 0 * * * caf\xe9")
    come = ("schedules", "import", *APP, "--task", "tasks.send", "--crontab")
    session.run(*come, "old.txt", "--dry-run")
    session.run("schedules", "ls", "--url", "sqlite:///jobs.db")
    session.run(*come, "old.txt", "--tz", "Europe/Berlin")
    first = session.json(*come, "old.txt")["schedules"][0]["name"]
    session.run("schedules", "pause", *APP, first)
    again = session.json(*come, "old.txt")
    assert {one["what"] for one in again["schedules"]} == {"unchanged"}
    session.run("schedules", "ls", *APP)
    lines = [line for line in CRONTAB.splitlines() if "refresh" not in line]
    (session.folder / "new.txt").write_text("\n".join(lines[::-1]))
    session.run(*come, "new.txt")
    session.run(*come, "new.txt", "--delete")
    (session.folder / "new.txt").write_text("\n".join(line for line in lines if "wrong" not in line))
    session.run(*come, "new.txt", "--delete", "--tz", "Europe/Berln")
    (session.folder / "empty.txt").write_text("")
    session.run(*come, "empty.txt", "--delete")
    session.run("schedules", "ls", *APP)
    session.run(*come, "new.txt", "--delete")
    session.run("schedules", "ls", *APP)
    session.run(*come, "missing.txt")
    session.run(*come, "latin.txt", "--json")
    session.run("schedules", "import", *APP, "--task", "tasks.nothing", "--crontab", "old.txt")
    session.check("import")


DECLARED = """
from windlass import Daily, Every

app.schedule("noon", send.bind("ops"), Daily("12:00"))
app.schedule("hourly", add.bind(1, 2), Every(hours=1), overlap="skip")
"""


def test_deploying_schedules(session: Session) -> None:
    tasks = session.folder / "tasks.py"
    plain = tasks.read_text()
    session.run("deploy", *APP)
    tasks.write_text(plain + DECLARED)
    session.run("deploy", *APP)
    assert {one["action"] for one in session.json("deploy", *APP)} == {"unchanged"}
    session.run("schedules", "pause", *APP, "noon")
    session.run("schedules", "add", *APP, "mine", "tasks.add", "1", "2", "--every", "60")
    tasks.write_text(plain + DECLARED.replace("12:00", "13:00"))
    session.run("deploy", *APP)
    session.run("schedules", "show", *APP, "noon")
    tasks.write_text(plain + DECLARED.split('app.schedule("hourly"', maxsplit=1)[0])
    session.run("deploy", *APP)
    session.run("schedules", "ls", *APP)
    session.run("deploy", "--app", "tasks:nothing")
    session.run("deploy", "--app", "tasks:nothing", "--json")
    session.check("deploy")


def test_every_command_was_tried_with_right_and_wrong_input() -> None:
    transcripts = "".join(file.read_text() + "\n" for file in SNAPSHOTS.glob("*.txt"))
    tried = re.findall(r"^\$ .*?windlass (.+)\n(?:(?!\[\d+\]$).*\n)*\[(\d+)\]$", transcripts, re.MULTILINE)
    for words, command in leaves().items():
        of_it = [(line.split(), code) for line, code in tried if line.startswith(f"{words} ")]
        seen = {("--json" in line, code) for line, code in of_it if "--help" not in line}
        forms = {False, True} if any("--json" in one.names for one in command.arguments) else {False}
        assert seen >= {(form, code) for form in forms for code in "02"}, f"snapshots of {words}: {sorted(seen)}"
