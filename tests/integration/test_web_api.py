"""The HTTP API, as programs use it, over a socket: what it answers, and whom it lets in."""

import asyncio
import inspect
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.web_harness import site_of
from windlass import App, Every, InvalidOption, RemoteError
from windlass.core.clock import SECOND
from windlass.store.sqlite import SQLiteStore
from windlass.web import planning, site
from windlass.web.access import known
from windlass.web.access import vault as vault_module
from windlass.web.access.roles import Role
from windlass.web.access.vault import Vault
from windlass.web.api import events

NOBODY = "01890a5d-ac96-774b-bcce-b302099a8057"
PASSWORD = "correct horse"
STUCK = threading.Event()


def make_app(url: str) -> App:
    app = App(url)

    @app.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="fail")
    def fail(text: str) -> None:
        raise ValueError(text)

    @app.task(name="send", secret=["key"])
    def send(to: str, key: str) -> None: ...

    @app.task(name="run")
    def run(command: str) -> None: ...

    @app.task(name="later", queue="slow")
    def later(n: int) -> None: ...

    @app.workflow(name="sum")
    def total(n: int) -> Any:
        return add.step(add.step(n, 1), 2)

    @app.workflow(name="chain")
    def chain(n: int) -> Any:
        _misbehave(n)
        last = add.step(0, 1)
        for _ in range(n - 1):
            last = add.step(last, 1)
        return last

    return app


def _misbehave(how: int) -> None:
    if how == -1:
        {}["nothing"]
    elif how == -2:
        raise SystemExit
    elif how == -3:
        STUCK.wait(60)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture
def app(url: str) -> App:
    return make_app(url)


@pytest.fixture
def api(app: App) -> Iterator[httpx.Client]:
    with site_of(app) as where, httpx.Client(base_url=f"{where}/api/v1") as client:
        yield client


@pytest.fixture(scope="module")
def unchanging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One for all requests that change nothing."""
    app = make_app(f"sqlite:///{tmp_path_factory.mktemp('api') / 'jobs.db'}")
    with site_of(app) as where, httpx.Client(base_url=f"{where}/api/v1") as client:
        yield client


def ok(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def problem(answer: httpx.Response, status: int) -> str:
    """What an answer says that is none."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    detail: str = said["detail"]
    return detail


# ---------------------------------------------------------------------------------------------------- jobs


def test_a_job_from_its_beginning_to_its_end(api: httpx.Client, url: str) -> None:
    stored = ok(api.post("/jobs", json={"task": "add", "arguments": [1], "named": {"b": 2}, "priority": 9}), 201)
    job = ok(api.get(f"/jobs/{stored['id']}"))
    assert (job["state"], job["arguments"], job["priority"]) == ("ready", {"a": 1, "b": 2}, 9)
    other = make_app(url)
    with other.start_worker_thread():
        assert other.job(stored["id"]).result_sync(20) == 3
    job = ok(api.get(f"/jobs/{stored['id']}"))
    assert (job["state"], job["result"], job["attempt"]) == ("succeeded", 3, 1)
    [listed] = ok(api.get("/jobs", params={"state": "succeeded", "task": "add"}))["jobs"]
    assert listed["id"] == stored["id"]


def test_secret_arguments_are_not_shown(app: App) -> None:
    with site_of(app, redact=["A", "*text*"]) as where, httpx.Client(base_url=f"{where}/api/v1") as api:
        for task, named, shown in (
            ("send", {"to": "ada", "key": "k3y"}, {"to": "ada", "key": "***"}),
            ("add", {"a": 1, "b": 2}, {"a": "***", "b": 2}),
            ("fail", {"text": "hidden"}, {"text": "***"}),
        ):
            job_id = ok(api.post("/jobs", json={"task": task, "named": named}), 201)["id"]
            assert ok(api.get(f"/jobs/{job_id}"))["arguments"] == shown


def test_pages_of_jobs_meet_each_once(api: httpx.Client) -> None:
    ids = [ok(api.post("/jobs", json={"task": "add", "arguments": [n, n]}), 201)["id"] for n in range(7)]
    met, cursor = [], None
    while True:
        page = ok(api.get("/jobs", params={"limit": 3} | ({} if cursor is None else {"cursor": cursor})))
        met += [job["id"] for job in page["jobs"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert met == ids[::-1]


def test_many_jobs_at_once(api: httpx.Client) -> None:
    for n in range(5):
        ok(api.post("/jobs", json={"task": "later", "arguments": [n]}), 201)
    ok(api.post("/jobs", json={"task": "add", "arguments": [1, 1]}), 201)
    chosen = {"act": "cancel", "queue": "slow"}
    assert ok(api.post("/jobs/bulk", json=chosen | {"dry_run": True})) == {"matched": 5, "done": 0, "refused": 0}
    assert ok(api.post("/jobs/bulk", json=chosen)) == {"matched": 5, "done": 5, "refused": 0}
    replay = {"act": "replay", "state": ["cancelled"]}
    assert ok(api.post("/jobs/bulk", json=replay)) == {"matched": 5, "done": 5, "refused": 0}
    assert "which jobs?" in problem(api.post("/jobs/bulk", json={"act": "cancel"}), 400)
    assert ok(api.post("/jobs/bulk", json={"act": "cancel", "everything": True}))["done"] == 6


def test_jobs_are_chosen_one_by_one(api: httpx.Client) -> None:
    body = {"task": "later", "arguments": [1]}
    first, second, third = (ok(api.post("/jobs", json=body), 201)["id"] for _ in range(3))
    chosen = {"act": "cancel", "ids": [first, second, first, NOBODY]}
    assert ok(api.post("/jobs/bulk", json=chosen | {"dry_run": True})) == {"matched": 2, "done": 0, "refused": 0}
    assert ok(api.post("/jobs/bulk", json=chosen)) == {"matched": 2, "done": 2, "refused": 0}
    assert ok(api.post("/jobs/bulk", json={"act": "cancel", "ids": [first, third]}))["refused"] == 1
    assert ok(api.post("/jobs/bulk", json={"act": "replay", "ids": [second]}))["done"] == 1
    states = [ok(api.get(f"/jobs/{one}"))["state"] for one in (first, second, third)]
    assert states == ["cancelled", "ready", "cancelled"]
    assert ok(api.post("/jobs/bulk", json={"act": "cancel", "ids": []})) == {"matched": 0, "done": 0, "refused": 0}
    assert "all that is said" in problem(api.post("/jobs/bulk", json=chosen | {"queue": "slow"}), 400)
    assert "expected something like" in problem(api.post("/jobs/bulk", json={"act": "cancel", "ids": ["x"]}), 400)
    problem(api.post("/jobs/bulk", json={"act": "cancel", "ids": [first] * 1001}), 400)


def test_one_job_is_cancelled_replayed_rescheduled_and_deleted(api: httpx.Client) -> None:
    job_id = ok(api.post("/jobs", json={"task": "add", "arguments": [1, 1], "delay": 600}), 201)["id"]
    assert ok(api.post(f"/jobs/{job_id}/reschedule", json={"delay": 60}))["answer"] == "rescheduled"
    assert ok(api.post(f"/jobs/{job_id}/cancel"))["answer"] == "cancelled"
    assert ok(api.delete(f"/jobs/{job_id}"))["answer"] == "stays"
    assert ok(api.post(f"/jobs/{job_id}/replay"))["answer"] == "replayed"
    assert ok(api.post(f"/jobs/{job_id}/replay"))["answer"] == "not_dead"
    for act in ("cancel", "replay"):
        assert NOBODY in problem(api.post(f"/jobs/{NOBODY}/{act}"), 404)
    assert NOBODY in problem(api.post(f"/jobs/{NOBODY}/reschedule", json={"delay": 1}), 404)
    assert NOBODY in problem(api.delete(f"/jobs/{NOBODY}"), 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/jobs?limit=0", None, 400, "limit"),
        ("GET", "/jobs?limit=1001", None, 400, "limit"),
        ("GET", "/jobs?limit=x", None, 400, "limit"),
        ("GET", "/jobs?state=done", None, 400, "state='done': expected one of waiting, scheduled"),
        ("POST", "/jobs/bulk", {"act": "cancel", "state": ["done"]}, 400, "state='done': expected one of"),
        ("GET", "/jobs?stat=dead", None, 400, "no parameter 'stat'; did you mean 'state'?"),
        ("GET", "/jobs?state=dead&%ff=1", None, 400, "there are after, before, cursor"),
        ("GET", "/queues?State=dead", None, 400, "there are above, limit"),
        ("GET", "/me?x=1", None, 400, "no parameter 'x'; there are none here"),
        ("POST", "/schedules/preview?cuont=5", {"every": 5}, 400, "did you mean 'count'?"),
        ("GET", "/openapi.json?format=yaml", None, 400, "there are none here"),
        ("GET", "/jobs?before=yesterday", None, 400, "2026-01-31T12:00"),
        ("GET", "/jobs?queue=a%00b", None, 400, "queue"),
        ("GET", "/jobs?cursor=x", None, 400, "cursor"),
        ("GET", "/jobs?task=" + "x" * 10_000, None, 400, ""),
        ("GET", "/jobs/xyz", None, 400, "expected something like"),
        ("GET", f"/jobs/{NOBODY}", None, 404, "retention is over"),
        ("GET", "/nowhere", None, 404, ""),
        ("PATCH", "/jobs", None, 405, ""),
        ("POST", "/jobs", {"task": "ad"}, 404, "did you mean"),
        ("POST", "/jobs", {"task": "add", "arguments": [1, "x"]}, 400, "expected `int`"),
        ("POST", "/jobs", {"task": "add", "priority": 10}, 400, "priority"),
        ("POST", "/jobs", {"task": "add", "delay": 1e300}, 400, "delay"),
        ("POST", "/jobs", {"task": "add", "bogus": 1}, 400, "bogus"),
        ("POST", "/jobs", {"task": "send", "named": {"to": "x" * 300_000, "key": ""}}, 413, "bytes"),
        ("POST", "/jobs", [1], 400, ""),
        ("POST", "/queues/a%20b/pause", None, 400, "queue"),
        ("PUT", "/limits", {"scope": "queue", "name": "q", "rate": "much"}, 400, "10/s"),
        ("PUT", "/limits", {"scope": "job", "name": "q"}, 400, "scope"),
        ("POST", "/workers/zz/drain", None, 400, "32 hexadecimal digits"),
        ("GET", "/schedules/none", None, 404, "none"),
        ("POST", "/schedules/preview", {"cron": "61 * * * *"}, 400, "61"),
        ("POST", "/schedules/preview", {"cron": "* * * * *", "every": 5}, 400, "one of"),
        ("POST", "/schedules/preview?count=5000", {"every": 5}, 400, "count"),
        ("GET", f"/runs/{NOBODY}", None, 400, "not of a run"),
        ("POST", "/workflows/none/runs", {}, 404, "no workflow"),
        ("POST", "/tokens", {"name": "a b"}, 400, "letters"),
        ("POST", "/users", {"name": "ada", "password": "short"}, 400, "8 to 1000"),
        ("POST", "/users", {"name": "ada", "password": "long enough", "role": "god"}, 400, "viewer, operator"),
    ],
)
def test_bad_requests_are_told_what_was_wrong(  # noqa: PLR0917 - a table
    unchanging: httpx.Client, method: str, path: str, body: Any, status: int, said: str
) -> None:
    assert said in problem(unchanging.request(method, path, json=body), status)


def test_a_body_that_is_none(unchanging: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    for body in (b"{", b"[" * 100_000, b"\xff\xfe", b'{"task": "add", "arguments": [NaN]}'):
        assert problem(unchanging.post("/jobs", content=body, headers=headers), 400)
    assert unchanging.post("/jobs", content=b"x" * 3_000_000, headers=headers).status_code == 413


def test_a_body_that_is_not_utf_8(unchanging: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    for body in (
        b'{"task": "fail", "arguments": ["\xed\xa0\x80"]}',  # half of a pair, which UTF-16 has and UTF-8 has not
        b'{"task": "fail", "named": {"te\xffxt": "a"}}',
        b'{"task": "\xff"}',
    ):
        assert "not UTF-8" in problem(unchanging.post("/jobs", content=body, headers=headers), 400)
        for form in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            assert problem(unchanging.post("/jobs", content=body, headers={"content-type": form}), 400), form
    body = b'{"scope": "queue", "name": "a\xff", "concurrency": 1}'
    assert "at byte 29" in problem(unchanging.put("/limits", content=body, headers=headers), 400)


# --------------------------------------------------------------------------------------------- other nouns


def test_queues_tasks_and_limits(api: httpx.Client) -> None:
    ok(api.post("/jobs", json={"task": "later", "arguments": [1]}), 201)
    assert ok(api.post("/queues/slow/pause")) == {"scope": "queue", "name": "slow", "paused": True}
    [queue] = [one for one in ok(api.get("/queues")) if one["queue"] == "slow"]
    assert (queue["ready"], queue["paused"]) == (1, True)
    ok(api.post("/queues/slow/resume"))
    ok(api.post("/tasks/add/pause"))
    limit = {"scope": "queue", "name": "slow", "concurrency": 2, "rate": "10/s", "burst": 5}
    assert ok(api.put("/limits", json=limit)) == limit
    limits = {(one["scope"], one["name"]): one for one in ok(api.get("/limits"))}
    assert limits["queue", "slow"]["rate"] == "10/s"
    assert limits["task", "add"]["paused"]
    assert api.delete("/limits/queue/slow").status_code == 204
    ok(api.post("/tasks/add/resume"))
    assert ok(api.get("/limits")) == []
    assert "add" in ok(api.get("/tasks"))


def test_names_may_have_slashes(api: httpx.Client) -> None:
    for name, quoted in (("mail/bulk", "mail%2Fbulk"), ("a/b/c", "a%2fb%2Fc")):
        assert ok(api.post(f"/queues/{quoted}/pause")) == {"scope": "queue", "name": name, "paused": True}
    assert {queue["queue"] for queue in ok(api.get("/queues"))} == {"mail/bulk", "a/b/c"}
    ok(api.put("/limits", json={"scope": "key", "name": "customer:%2F/x", "concurrency": 1}))
    ok(api.delete("/limits/key/customer%3A%252F%2Fx"), 204)
    assert [one["name"] for one in ok(api.get("/limits")) if one["scope"] == "key"] == []
    problem(api.post("/queues/mail/bulk/pause"), 404)
    [entry, *_] = [one for one in ok(api.get("/audit")) if one["path"].endswith("%2Fx") or "customer" in one["path"]]
    assert entry["status"] == 204


def test_workers_are_told(api: httpx.Client, url: str) -> None:
    with make_app(url).start_worker_thread(queues=["none"]):
        [worker] = ok(api.get("/workers"))
        assert worker["state"] == "live"
        assert worker["queues"] == ["none"]
        assert ok(api.post(f"/workers/{worker['session']}/drain"))["told"] is True
    for word in ("drain", "stop"):
        assert "no session" in problem(api.post(f"/workers/{'0' * 32}/{word}"), 404)


def test_schedules(api: httpx.Client) -> None:
    body = {"task": "add", "named": {"a": 1, "b": 2}, "when": {"cron": "0 12 * * *", "tz": "Europe/Berlin"}}
    made = ok(api.put("/schedules/noon", json=body))
    assert (made["paused"], made["arguments"]) == (False, {"a": 1, "b": 2})
    assert ok(api.put("/schedules/noon", json=body)) == made, "repeated, it changes nothing"
    assert problem(api.put("/schedules/noon", json=body | {"named": {"a": 1, "b": 3}}), 409)
    ok(api.put("/schedules/noon", json=body | {"replace": True, "policies": {"overlap": "skip"}}))
    assert "overlap" in problem(api.put("/schedules/noon", json=body | {"policies": {"x": 1}}), 400)
    following = ok(api.get("/schedules/noon/next", params={"count": 2}))
    assert len(following["next"]) == 2
    assert all(text.endswith("12:00:00") for text in following["local"])
    preview = ok(api.post("/schedules/preview", json={"every": 3600}))
    assert len(preview["next"]) == 5
    assert "hour" in preview["description"]
    assert ok(api.post("/schedules/noon/pause"))["paused"] is True
    assert ok(api.post("/schedules/noon/resume"))["paused"] is False
    assert ok(api.post("/schedules/noon/change", json={"every": 60}))["description"].lower() == "every 1 minute"
    fired = ok(api.post("/schedules/noon/fire"), 201)
    assert ok(api.get(f"/jobs/{fired['id']}"))["task"] == "add"
    assert [one["name"] for one in ok(api.get("/schedules"))] == ["noon"]
    assert api.delete("/schedules/noon").status_code == 204
    assert problem(api.get("/schedules/noon"), 404)


def test_past_fire_times_have_jobs_once(api: httpx.Client) -> None:
    body = {"task": "add", "named": {"a": 1, "b": 2}, "when": {"every": 3600}}
    ok(api.put("/schedules/hourly", json=body))
    year = ok(api.get("/schedules/hourly"))["next"][:4]
    past = {"start": f"{int(year) - 1}-01-01", "end": f"{int(year) - 1}-01-02", "parallel": 2}
    for _ in range(2):
        assert ok(api.post("/schedules/hourly/backfill", json=past), 201) == {"enqueued": 24}
    states = [job["state"] for job in ok(api.get("/jobs"))["jobs"]]
    assert sorted(states) == ["ready"] * 2 + ["waiting"] * 22
    assert "10,000" in problem(api.post("/schedules/hourly/backfill", json=past | {"end": "3000-01-01"}), 400)
    assert "start" in problem(api.post("/schedules/hourly/backfill", json=past | {"start": "soon"}), 400)


def test_the_app_s_declarations_are_deployed(api: httpx.Client, app: App) -> None:
    app.schedule("declared", app.find_task("add").bind(1, 2), Every(hours=1))
    assert ok(api.post("/deploy", json={})) == [{"name": "declared", "action": "made"}]
    assert ok(api.post("/deploy", json={})) == [{"name": "declared", "action": "unchanged"}]


def test_users_are_let_in_changed_and_removed(api: httpx.Client) -> None:
    admin = bearer(ok(api.post("/tokens", json={"name": "t", "role": "admin"}), 201)["token"])
    assert api.post("/users", json={"name": "ada", "password": PASSWORD}, headers=admin).status_code == 204
    change = {"role": "operator", "password": "another one"}
    assert api.post("/users/ada/change", json=change, headers=admin).status_code == 204
    [ada] = ok(api.get("/users", headers=admin))
    assert (ada["name"], ada["role"]) == ("ada", "operator")
    assert ok(api.get("/audit", headers=admin))[0]["what"] == "role operator, password"
    assert "a user 'ada'" in problem(api.post("/users", json={"name": "ada", "password": PASSWORD}, headers=admin), 409)
    assert "no user" in problem(api.post("/users/eve/change", json={}, headers=admin), 404)
    assert "no user" in problem(api.delete("/users/eve", headers=admin), 404)
    for key in ("0123456789ab", "", "x" * 12, "g" * 12):
        assert api.delete(f"/tokens/{key}", headers=admin).status_code == (404 if key else 405)
    assert api.delete("/users/ada", headers=admin).status_code == 204
    assert ok(api.get("/users", headers=admin)) == []


def test_users_and_tokens_come_in_pages(api: httpx.Client, app: App, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_module, "_PAGE", 2)

    async def let_in() -> str:
        async with make_app(url) as other:
            vault = Vault(other.store)
            for n in range(5):
                await vault.add_user(f"user{n}", PASSWORD, Role.VIEWER)
                token = await vault.add_token(f"token{n}", Role.ADMIN)
            return token

    admin = bearer(asyncio.run(let_in()))
    for path, name in (("/users", "name"), ("/tokens", "id")):
        everything = [one[name] for one in ok(api.get(path, headers=admin))]
        assert everything == sorted(everything)
        met: list[str] = []
        for _ in range(2):
            above = {"above": met[-1]} if met else {}
            met += [one[name] for one in ok(api.get(path, params={"limit": 3} | above, headers=admin))]
        assert met == everything
        assert len(met) == 5
    assert problem(api.get("/tokens?limit=1001", headers=admin), 400)


def test_runs(api: httpx.Client, url: str) -> None:
    assert ok(api.get("/workflows")) == ["chain", "sum"]
    run = ok(api.post("/workflows/sum/runs", json={"arguments": [1]}), 201)["id"]
    assert ok(api.post(f"/runs/{run}/pause"))["status"] == "paused"
    ok(api.post(f"/runs/{run}/resume"))
    other = make_app(url)
    with other.start_worker_thread():
        assert other.run(run).result_sync(20) == 4
    detail = ok(api.get(f"/runs/{run}"))
    assert (detail["status"], [step["status"] for step in detail["steps"]]) == ("succeeded", ["succeeded"] * 2)
    assert [one["id"] for one in ok(api.get("/runs"))] == [run]
    assert api.get(f"/runs/{run}/graph.svg").text.startswith("<svg")
    assert api.get(f"/runs/{run}/graph", params={"format": "dot"}).text.startswith("digraph")
    assert ok(api.post(f"/runs/{run}/rerun", json={"named": {"n": 5}}), 201)["id"] != run
    assert "nothing in it has failed" in problem(api.post(f"/runs/{run}/retry"), 400)
    assert problem(api.post(f"/runs/{run}/explode"), 400)


def test_a_step_is_retried(api: httpx.Client, url: str) -> None:
    app = make_app(url)
    fail, add = app.find_task("fail"), app.find_task("add")

    @app.workflow(name="fails")
    def fails() -> Any:
        return add.step(fail.options(step_name="bad").step("x"), 1)

    with app.start_worker_thread():
        run = fails.start_sync().id
        with pytest.raises(RemoteError):
            app.run(run).result_sync(20)
    assert "'add' has not failed" in problem(api.post(f"/runs/{run}/retry-step", json={"step": "add"}), 400)
    assert "is no map" in problem(api.post(f"/runs/{run}/retry-step", json={"step": "bad", "item": 1}), 400)
    assert ok(api.post(f"/runs/{run}/retry-step", json={"step": "bad"}))["jobs"] == 2


def test_runs_that_do_not_go_on_are_found_and_mended(api: httpx.Client, app: App, url: str) -> None:
    assert ok(api.get("/runs/audit")) == {"runs": [], "before": None}
    started = [ok(api.post("/workflows/sum/runs", json={"named": {"n": n}}), 201)["id"] for n in range(3)]
    stuck = ok(api.get("/runs/audit", params={"limit": 2}))
    assert [one["id"] for one in stuck["runs"]] == [started[2], started[1]]
    assert all(finding["sentence"] for one in stuck["runs"] for finding in one["findings"]), "nobody works here"
    assert stuck["before"] == started[1]
    older = ok(api.get("/runs/audit", params={"limit": 2, "before": stuck["before"]}))
    assert ([one["id"] for one in older["runs"]], older["before"]) == ([started[0]], None)
    assert [one["id"] for one in ok(api.post("/runs/mend"))["runs"]] == started[::-1], "they wait for a worker still"
    with make_app(url).start_worker_thread():
        for run in started:
            app.run(run).result_sync(20)
    assert ok(api.get("/runs/audit"))["runs"] == []


def test_what_a_workflow_would_run_is_drawn(api: httpx.Client) -> None:
    body = {"arguments": [3]}
    for form, begin in (("text", "add"), ("mermaid", "flowchart"), ("dot", "digraph")):
        assert api.post("/workflows/sum/graph", params={"format": form}, json=body).text.startswith(begin)
    picture = api.post("/workflows/sum/graph.svg", json=body)
    assert picture.text.startswith("<svg")
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert ok(api.get("/runs")) == []
    assert "no workflow" in problem(api.post("/workflows/nothing/graph", json={}), 404)
    assert "argument" in problem(api.post("/workflows/sum/graph", json={"arguments": ["x"]}), 400)
    assert api.post("/workflows/chain/graph", json={"arguments": [2000]}).text.count("\n") == 1999
    assert "more than 2_000 steps" in problem(api.post("/workflows/chain/graph", json={"arguments": [10**7]}), 400)
    assert "KeyError: 'nothing'" in problem(api.post("/workflows/chain/graph", json={"arguments": [-1]}), 400)
    assert "KeyError: 'nothing'" in problem(api.post("/workflows/chain/runs", json={"arguments": [-1]}), 400)
    assert "SystemExit" in problem(api.post("/workflows/chain/graph", json={"arguments": [-2]}), 400)


def test_a_workflow_that_does_not_end_holds_up_nobody(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "PATIENCE", 0.5)
    body = {"arguments": [-3]}
    with ThreadPoolExecutor() as pool:
        stuck = pool.submit(api.post, "/workflows/chain/graph", json=body)
        assert ok(api.get("/workflows")) == ["chain", "sum"]
        assert "not traced within 0.5 s" in problem(stuck.result(), 400)
    assert "another workflow is being traced" in problem(api.post("/workflows/chain/graph", json=body), 400)
    assert "another workflow is being traced" in problem(api.post("/workflows/sum/runs", json={"arguments": [1]}), 400)
    STUCK.set()
    for _ in range(200):
        if api.post("/workflows/chain/graph", json={"arguments": [3]}).status_code == 200:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("it goes on for ever")


def test_where_no_thread_can_be_started_for_a_workflow_the_next_one_is_not_held_up(
    api: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        if thread.name == "windlass-trace":
            raise RuntimeError("can't start new thread")
        begin(thread)

    begin = threading.Thread.start
    body = {"arguments": [3]}
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert "can't start new thread" in problem(api.post("/workflows/chain/graph", json=body), 400)
    assert api.post("/workflows/chain/graph", json=body).status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        {"act": "zap", "everything": "yes"},
        {"act": "cancel"},
        {"act": "cancel", "everything": "yes", "dry_run": "true"},
        {"act": "cancel", "state": ["dead", "ready"], "queue": ["a", "b"]},
    ],
)
def test_a_wrong_form_of_the_pages_is_refused(unchanging: httpx.Client, form: dict[str, Any]) -> None:
    """Most of all one that names no jobs: it does not mean all of them."""
    assert problem(unchanging.post(f"{str(unchanging.base_url).removesuffix('/api/v1/')}/jobs", data=form), 400)


def test_a_trace_url_says_where_the_id_goes(app: App) -> None:
    with pytest.raises(InvalidOption, match="trace_id"):
        site(app, trace_url="https://traces.example.org/trace/")


def test_a_crontab_is_imported(api: httpx.Client) -> None:
    body = {"text": "0 3 * * * backup --all\n@reboot nothing\n*/5 * * * * poll\n", "task": "shell", "tz": "Asia/Seoul"}
    assert "shell" in problem(api.post("/schedules/import", json=body), 404)
    body["task"] = "run"
    found = ok(api.post("/schedules/import", json=body | {"dry_run": True}))
    assert [one["what"] for one in found["schedules"]] == ["made", "made"]
    assert [(one["line"], one["text"]) for one in found["skipped"]] == [(2, "@reboot nothing")]
    assert ok(api.get("/schedules")) == []
    assert ok(api.post("/schedules/import", json=body))["schedules"] == found["schedules"]
    assert [one["what"] for one in ok(api.post("/schedules/import", json=body))["schedules"]] == ["unchanged"] * 2
    names = [one["name"] for one in found["schedules"]]
    fewer = body | {"text": "0 4 * * * backup --all\n"}
    again = ok(api.post("/schedules/import", json=fewer))
    assert ([one["what"] for one in again["schedules"]], again["gone"]) == (["changed"], [names[1]])
    wrong = fewer | {"text": "0 4 * * * backup --all\n*/5 * * * 8 poll\n", "delete": True}
    assert "no line that is a schedule" in problem(
        api.post("/schedules/import", json=fewer | {"text": "", "delete": True}), 400
    )
    assert "line 2 cannot be read" in problem(api.post("/schedules/import", json=wrong), 400)
    nowhere = fewer | {"tz": "Europe/Berln", "delete": True}
    assert "Europe/Berln" in problem(api.post("/schedules/import", json=nowhere), 400)
    assert len(ok(api.get("/schedules"))) == 2, "nothing was deleted"
    ok(api.post("/schedules/import", json=fewer | {"delete": True}))
    assert [one["name"] for one in ok(api.get("/schedules"))] == [names[0]]
    operator = bearer(ok(api.post("/tokens", json={"name": "root", "role": "admin"}), 201)["token"])
    steer = bearer(ok(api.post("/tokens", json={"name": "steer", "role": "operator"}, headers=operator), 201)["token"])
    problem(api.post("/schedules/import", json=fewer | {"delete": True}, headers=steer), 403)
    ok(api.post("/schedules/import", json=fewer, headers=steer))


def test_the_doctor_explains(api: httpx.Client) -> None:
    ok(api.post("/jobs", json={"task": "later", "arguments": [1]}), 201)
    assert any("slow" in finding["sentence"] for finding in ok(api.get("/doctor")))
    later = ok(api.post("/jobs", json={"task": "add", "arguments": [1, 2], "delay": 600}), 201)["id"]
    assert ok(api.get(f"/jobs/{later}/doctor"))["kind"] == "later"
    assert problem(api.get(f"/jobs/{NOBODY}/doctor"), 404)


# ------------------------------------------------------------------------------------------------ who may


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_once_there_is_a_token_nobody_comes_in_without(api: httpx.Client) -> None:
    assert ok(api.get("/me")).items() >= {"name": "local", "role": "admin", "how": "local"}.items()
    token = ok(api.post("/tokens", json={"name": "ci", "role": "operator"}), 201)["token"]
    assert "bearer token" in problem(api.get("/me"), 401)
    assert ok(api.get("/me", headers=bearer(token))) == {
        "name": "ci",
        "role": "operator",
        "how": "token",
        "csrf": "",
    }
    for wrong in (token[:-1], token + "x", token.swapcase(), "wl_", "a" * 10_000):
        assert problem(api.get("/me", headers=bearer(wrong)), 401)
    for scheme in ("Basic", "Token"):
        assert problem(api.get("/me", headers={"authorization": f"{scheme} {token}"}), 401)


def test_nobody_comes_in_again_once_the_last_token_is_over(app: App, api: httpx.Client, url: str) -> None:
    async def stay(name: str, keep: int) -> str:
        async with make_app(url) as other:
            return await Vault(other.store).add_token(name, Role.ADMIN, keep)

    expired = bearer(asyncio.run(stay("short", SECOND // 2)))
    while api.get("/me", headers=expired).status_code == 200:
        time.sleep(0.05)
    assert problem(api.get("/me"), 401)
    last = bearer(asyncio.run(stay("long", 600 * SECOND)))
    [token] = ok(api.get("/tokens", headers=last))
    ok(api.delete(f"/tokens/{token['id']}", headers=last), 204)
    with site_of(make_app(url)) as another:
        assert problem(httpx.get(f"{another}/api/v1/me"), 401)
    assert problem(api.get("/me"), 401)


def test_roles(api: httpx.Client) -> None:
    tokens = {}
    admin: dict[str, str] = {}
    for role in ("admin", "operator", "viewer"):
        made = ok(api.post("/tokens", json={"name": role, "role": role}, headers=admin), 201)
        tokens[role] = bearer(made["token"])
        admin = tokens["admin"]
    stored = {"task": "add", "arguments": [1, 2]}
    assert "operator" in problem(api.post("/jobs", json=stored, headers=tokens["viewer"]), 403)
    job = ok(api.post("/jobs", json=stored, headers=tokens["operator"]), 201)["id"]
    assert ok(api.get(f"/jobs/{job}", headers=tokens["viewer"]))["state"] == "ready"
    for method, path, body in (
        ("DELETE", f"/jobs/{job}", None),
        ("POST", "/jobs/bulk", {"act": "purge", "everything": True}),
        ("POST", "/users", {"name": "eve", "password": PASSWORD, "role": "admin"}),
        ("POST", "/tokens", {"name": "eve", "role": "admin"}),
        ("GET", "/users", None),
        ("GET", "/tokens", None),
        ("GET", "/audit", None),
        ("DELETE", "/tokens/0123456789ab", None),
        ("DELETE", "/users/ada", None),
        ("DELETE", "/schedules/x", None),
    ):
        assert "admin" in problem(api.request(method, path, json=body, headers=tokens["operator"]), 403), path


def test_every_write_needs_more_than_a_look(app: App, api: httpx.Client) -> None:
    """Whatever the API offers: a viewer changes nothing."""
    viewer = bearer(ok(api.post("/tokens", json={"name": "look", "role": "viewer"}), 201)["token"])
    schema = ok(api.get("/openapi.json", headers=viewer))
    writes = [
        (method.upper(), path)
        for path, operations in schema["paths"].items()
        for method in operations
        if method in ("post", "put", "delete", "patch") and not path.endswith("/schedules/preview")
    ]
    assert len(writes) > 25
    for method, path in writes:
        where = path.removeprefix("/api/v1").replace("{id}", NOBODY).replace("{act}", "cancel")
        where = where.replace("{name}", "x").replace("{session}", "0" * 32).replace("{kind}", "queue")
        assert problem(api.request(method, where, json={}, headers=viewer), 403), (method, path)


def test_deleting_a_token_ends_it(api: httpx.Client) -> None:
    first = bearer(ok(api.post("/tokens", json={"name": "a", "role": "admin"}), 201)["token"])
    second = bearer(ok(api.post("/tokens", json={"name": "b", "days": 1}, headers=first), 201)["token"])
    [token] = [one for one in ok(api.get("/tokens", headers=first)) if one["name"] == "b"]
    assert token["expires_at"] is not None
    assert api.delete(f"/tokens/{token['id']}", headers=first).status_code == 204
    assert problem(api.get("/me", headers=second), 401)


def test_whom_a_proxy_lets_through_is_not_from_this_machine(api: httpx.Client) -> None:
    for headers in (
        {"host": "windlass.example.org"},
        {"host": "127.0.0.1.example.org"},
        {"x-forwarded-for": "203.0.113.9"},
        {"forwarded": "for=203.0.113.9"},
        {"x-forwarded-proto": "https"},
    ):
        assert problem(api.get("/jobs", headers=headers), 401), headers


def test_another_site_changes_nothing(api: httpx.Client) -> None:
    """A browser on this machine that is on another site: what it sends has this machine's address."""
    body = {"task": "add", "arguments": [1, 2]}
    host = api.base_url.netloc.decode()
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": f"http://{host}"},  # a page of ours says more than that
        {"origin": f"http://{host}", "x-csrf-token": "guess"},
        {"sec-fetch-site": "same-origin"},
    ):
        assert problem(api.post("/jobs", json=body, headers=headers), 403), headers
    text = {"content-type": "text/plain", "origin": "https://evil.example"}
    assert problem(api.post("/jobs", content=json.dumps(body), headers=text), 403)
    assert ok(api.get("/jobs"))["jobs"] == []
    assert "access-control-allow-origin" not in api.get("/jobs", headers={"origin": "https://evil.example"}).headers


def test_where_the_machine_is_not_open_nobody_comes_in(app: App) -> None:
    with site_of(app, open_on_this_machine=False) as where:
        assert problem(httpx.get(f"{where}/api/v1/jobs"), 401)
        assert httpx.get(f"{where}/healthz").text == "ok"
        assert httpx.get(f"{where}/readyz").text == "ok"


def test_every_write_is_in_the_audit_log(api: httpx.Client) -> None:
    ok(api.post("/jobs", json={"task": "add", "arguments": [1, 2]}), 201)
    problem(api.post("/jobs", json={"task": "no"}), 404)
    ok(api.post("/queues/mail/pause"))
    ok(api.get("/jobs"))
    entries = ok(api.get("/audit"))
    assert [(one["method"], one["path"], one["what"], one["status"], one["who"]) for one in entries] == [
        ("POST", "/api/v1/queues/mail/pause", "", 200, "local"),
        ("POST", "/api/v1/jobs", "no", 404, "local"),
        ("POST", "/api/v1/jobs", "add", 201, "local"),
    ]
    [older] = ok(api.get("/audit", params={"before": entries[1]["id"]}))
    assert older["id"] == entries[2]["id"]


# ------------------------------------------------------------------------------------------------- events


def test_events_say_how_the_store_stands(api: httpx.Client) -> None:
    with api.stream("GET", "/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in stream.iter_lines() if line.startswith("data:"))
        assert json.loads(next(lines)[5:])["ready"] == 0
        ok(api.post("/jobs", json={"task": "later", "arguments": [1]}), 201)
        while json.loads(next(lines)[5:])["ready"] != 1:
            pass


@pytest.mark.parametrize("how", ["token", "user", "another process", "expiry"])
def test_who_may_not_come_in_any_more_hears_no_more(
    app: App, url: str, api: httpx.Client, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(events, "CHECKED", 0.2)
    monkeypatch.setattr(known, "FRESH", 0.2)

    async def let_in() -> tuple[str, str, str]:
        async with make_app(url) as other:
            vault = Vault(other.store)
            await vault.add_user("ada", PASSWORD, Role.VIEWER)
            keep = 2 * SECOND if how == "expiry" else None
            admin, token = await vault.add_token("root", Role.ADMIN), await vault.add_token("look", Role.VIEWER, keep)
            return admin, token, str(await vault.log_in("ada", PASSWORD))

    async def remove_elsewhere(key: str) -> None:
        async with make_app(url) as other:
            await Vault(other.store).remove_token(key)

    admin, token, session = asyncio.run(let_in())
    cookie = f"windlass_session_{api.base_url.port}={session}"
    headers = {"cookie": cookie} if how == "user" else bearer(token)
    with api.stream("GET", "/events", headers=headers, timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("event: pulse")
        [key] = [one["id"] for one in ok(api.get("/tokens", headers=bearer(admin))) if one["name"] == "look"]
        if how == "token":
            ok(api.delete(f"/tokens/{key}", headers=bearer(admin)), 204)
        elif how == "user":
            ok(api.delete("/users/ada", headers=bearer(admin)), 204)
        elif how == "another process":
            asyncio.run(remove_elsewhere(key))
        for number, _ in enumerate(line for line in lines if line.startswith("data:")):
            assert number < 8, "it ends"


def test_who_listens_and_may_hears_on(api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CHECKED", 0.1)
    with api.stream("GET", "/events") as stream:
        lines = (line for line in stream.iter_lines() if line.startswith("data:"))
        assert len([next(lines) for _ in range(3)]) == 3


def test_fifty_listeners_cost_what_one_costs(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "CHECKED", 0.5)
    monkeypatch.setattr(known, "FRESH", 0.5)
    asked: list[str] = []

    def counted(name: str) -> Any:
        verb = getattr(SQLiteStore, name)

        async def run(self: SQLiteStore, *args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return await verb(self, *args, **kwargs)

        return run

    for name, _ in inspect.getmembers(SQLiteStore, inspect.iscoroutinefunction):
        if not name.startswith("_"):
            monkeypatch.setattr(SQLiteStore, name, counted(name))
    with site_of(app) as where, httpx.Client(base_url=f"{where}/api/v1", timeout=30) as api:
        admin = bearer(ok(api.post("/tokens", json={"name": "root", "role": "admin"}), 201)["token"])
        tokens = [
            bearer(ok(api.post("/tokens", json={"name": f"t{n}", "role": "viewer"}, headers=admin), 201)["token"])
            for n in range(50)
        ]
        heard = threading.Barrier(51)

        def listen(headers: dict[str, str]) -> None:
            with httpx.stream("GET", f"{where}/api/v1/events", timeout=30, headers=headers) as stream:
                lines = (line for line in stream.iter_lines() if line.startswith("data:"))
                next(lines)
                heard.wait(30)
                before = len(asked)
                for _ in range(3):
                    next(lines)
                told.append(Counter(asked[before:]))

        told: list[Counter[str]] = []
        threads = [threading.Thread(target=listen, args=(one,)) for one in tokens]
        for thread in threads:
            thread.start()
        heard.wait(30)
        for thread in threads:
            thread.join(30)
        assert len(told) == 50
        for counts in told:
            assert counts["queues"] <= 4, "one look a second, however many listen"
            assert counts["get_documents"] <= 6, "and all of them are looked up together"
            assert set(counts) <= {"queues", "sessions", "now", "get_documents"}
        settled = len(asked)
        ok(api.get("/me", headers=admin))
        threading.Event().wait(2.5)
        assert len(asked) <= settled + 5, "nobody listens, and nobody looks"


def test_every_schedule_is_shown_with_its_words(api: httpx.Client, app: App) -> None:
    app.schedule("hourly", app.find_task("add").bind(1, 2), Every(hours=1))
    assert ok(api.get("/schedules")) == []  # declared here, made by a worker or `windlass deploy`
