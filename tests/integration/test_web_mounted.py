"""The site inside another application, which says who is asking."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from tests.integration.test_web_api import make_app, ok, problem
from tests.integration.web_harness import serving
from windlass.web import Role, mounted, site

ROOT = "/ops/windlass"


def server_of(application: Any) -> uvicorn.Server:
    """As the application's own people serve it."""
    config = uvicorn.Config(application, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    return uvicorn.Server(config)


async def by_header(scope: Any) -> tuple[str, Role] | None:
    """Who is asking, as an application that knows it already would say."""
    name = dict(scope["headers"]).get(b"x-known-as")
    return None if name is None else (name.decode(), Role[name.decode().upper()])


def _fastapi(inner: Any) -> Any:
    outer = FastAPI()
    outer.mount(ROOT, inner)
    return outer


def _starlette(inner: Any) -> Any:
    return Starlette(routes=[Mount(ROOT, app=inner)])


def _by_path(inner: Any) -> Any:
    return mounted(inner, ROOT, PlainTextResponse("mine"))


@pytest.fixture(params=[_fastapi, _starlette, _by_path])
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """Addresses of two processes of one application, as far as the site can tell."""
    with ExitStack() as stack:
        apps = [make_app(f"sqlite:///{tmp_path / 'jobs.db'}") for _ in range(2)]
        yield [stack.enter_context(serving(server_of(request.param(site(app, who=by_header))))) for app in apps]
        for app in apps:
            app.close_sync()


def test_it_works_below_a_path_for_those_whom_the_application_knows(twins: list[str]) -> None:
    first, second = twins
    operator = {"x-known-as": "operator"}
    for path in ("/api/v1/jobs", "/", "/jobs", "/login"):
        assert problem(httpx.get(first + ROOT + path, headers={"accept": "text/html"}), 401)
    assert f'href="{ROOT}/jobs"' in httpx.get(f"{first}{ROOT}/", headers=operator).text
    assert httpx.get(f"{first}{ROOT}/static/app.css").status_code == 200
    described = ok(httpx.get(f"{first}{ROOT}/api/v1/openapi.json", headers=operator))
    assert described["servers"] == [{"url": ROOT}]
    body = {"task": "add", "arguments": [1, 2]}
    ok(httpx.post(f"{first}{ROOT}/api/v1/jobs", json=body, headers=operator), 201)
    assert problem(httpx.post(f"{first}{ROOT}/api/v1/jobs", json=body, headers={"x-known-as": "viewer"}), 403)

    csrf = ok(httpx.get(f"{first}{ROOT}/api/v1/me", headers=operator))["csrf"]
    page = operator | {"origin": second, "cookie": "a=b"}
    assert "X-CSRF-Token" in problem(httpx.post(f"{second}{ROOT}/api/v1/jobs", json=body, headers=page), 403)
    ok(httpx.post(f"{second}{ROOT}/api/v1/jobs", json=body, headers=page | {"x-csrf-token": csrf}), 201)
    others = page | {"x-known-as": "admin", "x-csrf-token": csrf}
    assert problem(httpx.post(f"{second}{ROOT}/api/v1/jobs", json=body, headers=others), 403)
    entries = ok(httpx.get(f"{first}{ROOT}/api/v1/audit", headers={"x-known-as": "admin"}))
    assert {(one["who"], one["path"], one["status"]) for one in entries} == {
        ("operator", "/api/v1/jobs", 201),
        ("viewer", "/api/v1/jobs", 403),
    }


def test_what_is_not_below_the_path_is_the_application_s_own(tmp_path: Path) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    with serving(server_of(_by_path(site(app, who=by_header)))) as where:
        for path in ("/", "/ops", "/ops/windlassed", "/x/ops/windlass/api/v1/me"):
            assert httpx.get(where + path).text == "mine"
        assert problem(httpx.get(f"{where}{ROOT}"), 401)
    app.close_sync()
