"""What strangers send to the site, and what it shows of itself when something fails."""

import asyncio
import http.client
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.integration.test_web_api import PASSWORD, make_app, ok, problem
from tests.integration.web_harness import site_of
from windlass.store.memory import MemoryStore
from windlass.store.sqlite import SQLiteStore
from windlass.web import live
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault
from windlass.web.shared import Shared


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site that nobody may enter."""
    app = make_app(f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'jobs.db'}")
    with site_of(app, open_on_this_machine=False) as where:
        yield where


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site that anybody on this machine may enter, for requests that change nothing."""
    with site_of(make_app(f"sqlite:///{tmp_path_factory.mktemp('open') / 'jobs.db'}")) as where:
        yield where


def raw(where: str, path: str) -> tuple[int, bytes]:
    """Ask for a path just as it is written."""
    connection = http.client.HTTPConnection(urlsplit(where).netloc, timeout=20)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_files_beside_the_static_ones_are_not_served(closed: str) -> None:
    assert raw(closed, "/static/app.css")[0] == 200
    for path in (
        "../application.py",
        "%2e%2e/frame.py",
        "..%2fframe.py",
        "%2e%2e%2f%2e%2e%2fapplication.py",
        "..\\frame.py",
        "/etc/passwd",
    ):
        status, body = raw(closed, f"/static/{path}")
        assert status in {400, 401, 404}, path
        assert b"import" not in body
        assert b"root:" not in body
    assert raw(closed, "/static/%00")[0] in {400, 404}


def test_no_spelling_of_a_path_gets_past_the_gate(closed: str) -> None:
    for path in (
        "/static/../api/v1/jobs", "/static/..%2fapi/v1/jobs", "//api/v1/jobs", "/api/v1/jobs/", "/API/V1/jobs",
        "/./api/v1/jobs", "/login/../api/v1/jobs", "/healthz/../api/v1/jobs", "/%61pi/v1/jobs", "/api/v1/jobs;x",
        "/static//api/v1/jobs", "/jobs", "/", "/api/v1/openapi.json", "/api/v1/events",
    ):  # fmt: skip
        assert raw(closed, path)[0] in {401, 404}, path


def test_faults_of_ours_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(_: SQLiteStore) -> None:
        raise RuntimeError("secret of ours")

    monkeypatch.setattr(SQLiteStore, "queues", fails)
    with site_of(make_app(f"sqlite:///{tmp_path / 'jobs.db'}")) as where:
        answer = httpx.get(f"{where}/api/v1/queues")
    assert problem(answer, 500) == "this failed; the server's log says why"
    for word in ("secret of ours", "Traceback", "RuntimeError", ".py"):
        assert word not in answer.text


def test_a_store_that_cannot_be_reached_is_named_without_its_password() -> None:
    with site_of(make_app("redis://:s3cret@127.0.0.1:1/0"), open_on_this_machine=True) as where:
        answer = httpx.get(f"{where}/api/v1/queues", timeout=60)
        assert "s3cret" not in answer.text
        assert problem(answer, 503)
        assert httpx.get(f"{where}/readyz", timeout=60).status_code == 503


def test_names_without_end_come_in_pages(tmp_path: Path) -> None:
    with (
        site_of(make_app(f"sqlite:///{tmp_path / 'jobs.db'}")) as where,
        httpx.Client(base_url=f"{where}/api/v1", timeout=30) as api,
    ):
        for n in range(5):
            ok(api.post(f"/queues/q{n}/pause"))
            ok(api.put(f"/schedules/s{n}", json={"task": "later", "arguments": [n], "when": {"every": 60}}))
        for path, names in (("/queues", "queue"), ("/limits", "name"), ("/schedules", "name")):
            first = ok(api.get(path, params={"limit": 3}))
            last = f"queue:{first[-1]['name']}" if path == "/limits" else first[-1][names]
            rest = ok(api.get(path, params={"limit": 3, "above": last}))
            assert [one[names][1:] for one in first + rest] == ["0", "1", "2", "3", "4"], path
        assert problem(api.get("/queues", params={"limit": 1001}), 400)


def test_the_command_listens_to_this_machine_only_unless_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "windlass", "ui", "--url", f"sqlite:///{tmp_path / 'jobs.db'}", "--listen"]
    subprocess.run([*command[:3], "migrate", *command[4:6]], check=True, capture_output=True, timeout=50)
    refused = subprocess.run([*command, "0.0.0.0:0"], capture_output=True, text=True, timeout=50, check=False)
    assert refused.returncode == 2
    assert "windlass users add" in refused.stderr
    with subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        where = process.stdout.readline().strip()
        assert httpx.get(f"{where}healthz").text == "ok"
        listeners = [one.laddr for one in psutil.Process(process.pid).net_connections("inet") if one.status == "LISTEN"]
        assert [one.ip for one in listeners] == ["127.0.0.1"]
        process.terminate()
        assert process.wait(20) == 0


def test_the_command_believes_only_proxies_that_it_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"

    async def let_in() -> None:
        async with make_app(url) as app:
            await Vault(app.store).add_user("ada", PASSWORD, Role.VIEWER)

    asyncio.run(let_in())
    command = [sys.executable, "-m", "windlass", "ui", "--url", url, "--listen", "0", "--proxy"]
    wrong = subprocess.run([*command, "proxy.example"], capture_output=True, text=True, timeout=50, check=False)
    assert wrong.returncode == 2
    assert "expected an IP address, or a network" in wrong.stderr
    headers = {"x-forwarded-proto": "https"}
    for proxy, is_believed in (("192.0.2.0/24", False), ("127.0.0.1", True)):
        with subprocess.Popen([*command, proxy], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            where = process.stdout.readline().strip()
            answer = httpx.post(f"{where}login", data={"name": "ada", "password": PASSWORD}, headers=headers)
            assert ("secure" in answer.headers["set-cookie"].lower()) == is_believed
            process.terminate()
            assert process.wait(20) == 0


async def test_who_listens_slowly_misses_some_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY", 0.0)
    store = MemoryStore()

    async def find() -> MemoryStore:
        return store

    looks = itertools.count()
    monkeypatch.setattr(live, "iso", lambda _: next(looks))
    watch = live.Live(find, Shared(fresh=-1.0))
    slow, quick = watch.listen(), watch.listen()
    assert (await anext(slow)).now == 0
    seen = [(await anext(quick)).now for _ in range(50)]
    assert seen[-1] in {49, 50}
    assert (await anext(slow)).now in {seen[-1], next(looks) - 1}, "the newest, and not all that it missed"
    for one in (slow, quick):
        await one.aclose()
    await watch.aclose()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200), ("/jobs/xyz", 400), ("/nowhere", 404), ("/static/app.css", 200), ("/static/none.css", 404),
        ("/api/v1/queues", 200), ("/api/v1/jobs/xyz", 400), ("/api/v1/none", 404), ("/healthz", 200), ("/a%00b", 404),
        ("/login", 200),
    ],
)  # fmt: skip
def test_every_answer_tells_browsers_what_not_to_do(open_site: str, path: str, status: int) -> None:
    answer = httpx.get(open_site + path, headers={"accept": "text/html"})
    assert answer.status_code == status
    assert_guarded(answer, is_file=path == "/static/app.css")


def test_so_do_answers_to_nobody(closed: str) -> None:
    for headers, status in (({}, 401), ({"accept": "text/html"}, 303), ({"hx-request": "true"}, 401)):
        answer = httpx.get(f"{closed}/jobs", headers=headers)
        assert answer.status_code == status
        assert_guarded(answer)
    refused = httpx.post(f"{closed}/api/v1/jobs", headers={"origin": "https://evil.example"})
    assert refused.status_code == 403
    assert_guarded(refused)


def assert_guarded(answer: httpx.Response, *, is_file: bool = False) -> None:
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert answer.headers.get_list("cache-control") == ([] if is_file else ["no-store"])


def test_a_store_has_nothing_that_lets_anybody_in(tmp_path: Path) -> None:
    """A file of SQLite is as readable as its directory and the umask let it be: what is in there has to do no harm."""

    async def let_in() -> list[str]:
        async with make_app(f"sqlite:///{tmp_path / 'jobs.db'}") as app:
            vault = Vault(app.store)
            await vault.add_user("ada", PASSWORD, Role.ADMIN)
            return [PASSWORD, await vault.add_token("ci", Role.ADMIN), str(await vault.log_in("ada", PASSWORD))]

    secrets = asyncio.run(let_in())
    stored = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert b"$argon2id$" in stored
    for secret in secrets:
        assert secret.encode() not in stored
        assert secret.removeprefix("wl_").encode() not in stored
