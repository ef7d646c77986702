"""Every command as a new user tries it, with right and wrong input: what the terminal shows is a snapshot."""

from pathlib import Path

import pytest

from tests.integration.cli_session import Session

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
    session.run("jobs", "ls", "--help")
    session.run("jobs", "ls", "--bogus", "--json")
    for command in ("worker", "enqueue", "migrate", "bench"):
        session.run(command, "--help")
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
    (session.folder / "elsewhere.py").write_text("from windlass import App\napp = App('postgresql://me:secret@db/x')\n")
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
        "postgresql://me:secret@db.example.org/jobs",
        "sqllite:///jobs.db",
        "gopher://x",
        "",
    ):
        assert session.run("queues", "ls", "--url", url).returncode == 2
    session.run("queues", "ls")
    session.run("queues", "ls", WINDLASS_URL="sqlite:///typo.db")
    assert session.run("queues", "ls", "--url", "sqlite:///text.db").returncode == 1
    assert session.run("migrate", "--url", "sqlite:////nowhere/at/all.db").returncode == 1
    assert "secret" not in "".join(session.transcript).replace("postgresql://me:secret@", "", 1)
    session.check("stores_that_are_not_there")


def test_jobs(session: Session) -> None:
    session.run("jobs", "ls", *APP)
    session.run("migrate", *APP)
    session.run("jobs", "ls", *APP)
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
    session.run("jobs", "purge", *APP)
    session.run("jobs", "purge", *APP, ids[0])
    session.run("jobs", "purge", *APP, "--state", "cancelled")
    assert session.json("jobs", "purge", *APP, "--queue", "mail") == {"deleted": 0}
    session.check("jobs")


def test_jobs_refuses(session: Session) -> None:
    session.run("migrate", *APP)
    for command in ("show", "cancel", "replay"):
        assert session.run("jobs", command, *APP, NOBODY).returncode == 1
        assert session.run("jobs", command, *APP, "42").returncode == 2
        assert session.run("jobs", command, *APP).returncode == 2
    session.run("jobs", "show", *APP, NOBODY, "--json")
    session.run("jobs", "show", *APP, "\x1b[31mred\n", "--json")
    session.run("jobs", "purge", *APP, NOBODY)
    for options in (
        ("--state", "asleep"),
        ("--limit", "0"),
        ("--limit", "many"),
        ("--limit", "100000000000000000000"),
        ("--cursor", "zz"),
        ("--queue", "a b"),
        ("--task", "'; drop table jobs"),
    ):
        assert session.run("jobs", "ls", *APP, *options).returncode == 2
    assert session.run("jobs", "purge", *APP, NOBODY, "--state", "dead").returncode == 2
    session.check("jobs_refuses")


def test_queues(session: Session) -> None:
    session.run("migrate", *APP)
    session.run("queues", "ls", *APP)
    enqueue(session, "tasks.add", "1", "2")
    enqueue(session, "tasks.send", '"a"', "--delay", "60")
    session.run("queues", "ls", *APP)
    session.run("queues", "pause", *APP, "default", "typo", "default")
    session.run("queues", "ls", *APP)
    session.run("queues", "resume", *APP, "default", "typo")
    session.run("queues", "pause", *APP, "mail", "--json")
    session.run("queues", "ls", *APP, "--json")
    session.run("queues", "pause", *APP)
    session.run("queues", "pause", *APP, "a b")
    session.check("queues")


def test_migrate(session: Session) -> None:
    session.run("migrate", "--url", "sqlite:///new.db")
    session.run("migrate", "--url", "sqlite:///new.db", "--finish")
    assert session.json("migrate", "--url", "sqlite:///new.db") == {"done": []}
    session.check("migrate")


def test_bench_measures(session: Session) -> None:
    figures = session.json("bench", "--jobs", "200")
    assert len(figures) == 6
    assert all(figure["value"] > 0 for figure in figures)
    table = session.run("bench", "--jobs", "100").stdout
    assert "drain, one worker" in table
    assert not list(session.folder.glob("*.db"))
    assert session.run("bench", "--jobs", "1").returncode == 2
