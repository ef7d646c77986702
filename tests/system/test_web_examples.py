"""The web examples, as somebody would run them: a server, a worker, a SQLite file, and requests over loopback."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.supervised import PATIENCE, Supervised, worker_command

EXAMPLES = Path(__file__).parents[2] / "examples"
LOG_IN = """
from django.contrib.auth.models import User
from django.contrib.auth import HASH_SESSION_KEY, BACKEND_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
user = User.objects.create(username="{name}", is_staff=True, is_superuser={superuser})
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(session.session_key)
"""
UVICORN = [sys.executable, "-m", "uvicorn", "--port", "0"]


class Site:
    """One example: starts its processes, and asks its pages."""

    def __init__(self, stack: ExitStack, folder: Path, data: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._env = {"WINDLASS_URL": f"sqlite:///{data}/windlass.db", "SHOP_DATA": str(data)}
        self._started: list[Supervised] = []
        self._address = ""

    def start(self, command: list[str]) -> Supervised:
        process = self._stack.enter_context(Supervised(command, self._folder, self._env))
        self._started.append(process)
        return process

    def serve(self, command: list[str]) -> None:
        """Start a server, which says what port it was given."""
        self._address = self.start(command).next(r"[Rr]unning on (http://127\.0\.0\.1:\d+)")[1]

    def work(self, app: str) -> None:
        """Start workers, and wait for the first."""
        self.start(worker_command("--app", app)).ready()

    def run(self, *command: str) -> str:
        """Run something to its end, and answer what it says."""
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self._folder,
            env=os.environ | self._env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = "text/plain", **headers: str
    ) -> tuple[int, Any]:
        """Send a request; answers the status and the decoded JSON."""
        url = self._address + path
        request = urllib.request.Request(url, body, {"Content-Type": kind, **headers}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    @contextmanager
    def listening(self, path: str, **headers: str) -> Iterator[None]:
        """Hear a stream that has no end by itself, until the server ends it."""
        request = urllib.request.Request(self._address + path, headers=headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            assert answer.readline().startswith(b"event:")
            yield
            assert answer.read().endswith(b"\n"), "it ended in order"

    def post(self, path: str, body: object = None) -> tuple[int, Any]:
        """Send JSON."""
        return self.ask("POST", path, json.dumps(body).encode(), "application/json")

    def until(self, path: str, name: str, value: object) -> Any:
        """Ask again until the answer says ``value`` under ``name``."""
        deadline = time.monotonic() + PATIENCE
        while (answer := self.ask("GET", path)[1])[name] != value:
            assert time.monotonic() < deadline, answer
            time.sleep(0.02)
        return answer

    def stop(self) -> None:
        """Stop everything as a service manager would; all end well."""
        for process in self._started:
            process.signal(signal.SIGTERM)
        # uvicorn ends itself with the signal that it got, once all is closed.
        assert [process.ended() in {0, -signal.SIGTERM} for process in self._started] == [True] * len(self._started)
        assert [line for process in self._started for line in process.lines if "Traceback" in line] == []


def _decoded(body: bytes) -> Any:
    return json.loads(body) if body.startswith(b"{") else None


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack, EXAMPLES / request.param, tmp_path)


@pytest.mark.parametrize("site", ["fastapi_app"], indirect=True)
def test_fastapi(site: Site) -> None:
    site.serve([*UVICORN, "web:web"])
    status, started = site.post("/texts", {"text": "to be or not to be"})
    assert (status, started["status"]) == (202, "ready")
    page = f"/texts/{started['job']}"
    assert site.ask("GET", page)[1]["status"] == "ready"
    assert site.post("/texts", {"text": ""})[0] == 422
    cancelled = site.post("/texts", {"text": "never mind"})[1]["job"]
    assert site.ask("DELETE", f"/texts/{cancelled}")[0] == 204
    site.work("tasks:app")
    assert site.until(page, "status", "succeeded")["statistics"] == {"words": 6, "longest": "not"}
    assert site.ask("GET", f"/texts/{cancelled}")[1]["status"] == "cancelled"
    assert site.ask("GET", f"/texts/{uuid.uuid4()}") == (404, {"detail": "no such job"})
    assert site.ask("GET", "/texts/nonsense")[0] == 422
    assert site.ask("GET", "/windlass/api/v1/jobs")[0] == 401
    token = site.run("-m", "windlass", "tokens", "add", "test").strip()
    status, page = site.ask("GET", "/windlass/api/v1/jobs", Authorization=f"Bearer {token}")
    assert (status, [job["state"] for job in page["jobs"]]) == (200, ["cancelled", "succeeded"])
    with site.listening("/windlass/api/v1/events", Authorization=f"Bearer {token}"):
        began = time.monotonic()
        site.stop()
        assert time.monotonic() < began + 10, "an open page does not hold up the end"


@pytest.mark.parametrize("site", ["flask_app"], indirect=True)
def test_flask(site: Site) -> None:
    site.serve([sys.executable, "-m", "flask", "--app", "web:web", "run", "--port", "0"])
    status, started = site.ask("POST", "/texts", b"to be or not to be")
    assert (status, started["status"]) == (202, "ready")
    page = f"/texts/{started['job']}"
    assert site.ask("GET", page) == (200, started)
    cancelled = site.ask("POST", "/texts", b"never mind")[1]["job"]
    assert site.ask("DELETE", f"/texts/{cancelled}")[0] == 204
    site.work("tasks:app")
    assert site.until(page, "status", "succeeded")["words"] == 6
    assert site.ask("GET", f"/texts/{cancelled}")[1]["status"] == "cancelled"
    assert site.ask("GET", f"/texts/{uuid.uuid4()}") == (404, {"error": "no such job"})
    site.stop()


@pytest.mark.parametrize("site", ["django_app"], indirect=True)
def test_django(site: Site) -> None:
    migrated = site.start([sys.executable, "manage.py", "migrate"])
    assert migrated.ended() == 0, migrated.lines
    site.serve([*UVICORN, "shop.asgi:application"])
    orders = [site.post("/orders", {"item": f"item {n}"}) for n in range(10)]
    assert orders == [(202, {"order": n}) for n in range(1, 11)]
    assert site.ask("GET", "/orders/1")[1]["parcel"] is None
    site.work("shop.worker:app")
    for n in range(1, 11):
        site.until(f"/orders/{n}", "parcel", f"P{n:06}")
    status, counting = site.post("/counts")
    assert status == 202
    assert site.until(f"/counts/{counting['job']}", "status", "succeeded")["orders"] == 10
    assert site.ask("GET", f"/counts/{uuid.uuid4()}")[0] == 404
    assert site.ask("GET", "/windlass/api/v1/me")[0] == 401
    for role, superuser in (("operator", False), ("admin", True)):
        session = site.run("manage.py", "shell", "-c", LOG_IN.format(superuser=superuser, name=role)).split()[-1]
        status, me = site.ask("GET", "/windlass/api/v1/me", Cookie=f"sessionid={session}")
        assert (status, me["name"], me["role"], me["how"]) == (200, role, role, "host")
    assert site.ask("GET", "/windlass/api/v1/me", Cookie="sessionid=guessed")[0] == 401
    site.stop()


def test_a_refused_transaction_leaves_no_job(tmp_path: Path) -> None:
    """What `transaction.on_commit` is for, in the example's own project."""
    script = """
from django.core.management import call_command
from shop import worker
call_command("migrate", verbosity=0)
from django.db import transaction
from shop.tasks import app, ship
try:
    with transaction.atomic():
        transaction.on_commit(lambda: ship.enqueue_sync(1))
        raise LookupError
except LookupError:
    pass
import asyncio
async def count():
    async with app:
        return await (await app.store()).counts()
assert asyncio.run(count()) == {}
"""
    env = {"SHOP_DATA": str(tmp_path), "WINDLASS_URL": f"sqlite:///{tmp_path}/windlass.db"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=EXAMPLES / "django_app", env=env, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0
