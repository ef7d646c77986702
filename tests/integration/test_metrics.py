"""``windlass metrics``, as Prometheus sees it: a real one, that scrapes a live store, and evaluates every rule."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.prometheus import PrometheusServer
from tests.servers.redis import RedisServer
from tests.servers.server import find_binary
from tests.system.supervised import Supervised
from windlass import App
from windlass.metrics import figures

RULES = Path(figures.__file__).with_name("rules.yml")
DASHBOARD = Path(figures.__file__).with_name("dashboard.json")
TOKEN = "a token of more than sixteen"


def windlass(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "windlass", *arguments]


@contextmanager
def served(url: str, *arguments: str, **env: str) -> Iterator[str]:
    """Serve the figures of a store; gives where."""
    process = subprocess.Popen(
        windlass("metrics", "--url", url, "--listen", "127.0.0.1:0", *arguments),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **env},
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        process.stdout.close()


SHOP = """\
import asyncio
import time
from windlass import App, Retry

app = App("sqlite:///w.db", lease=1)


@app.task(name="nap", queue="naps")
async def nap(seconds: float = 0.0) -> None:
    await asyncio.sleep(seconds)


@app.task(name="fail", queue="naps", retry=Retry(attempts=2, delay=0.01))
async def fail() -> None:
    raise ValueError


@app.task(name="block", queue="naps")
def block(seconds: float) -> None:
    time.sleep(seconds)


@app.task(name="apart", queue="naps", executor="process")
def apart(seconds: float) -> None:
    time.sleep(seconds)
"""


@contextmanager
def worked(folder: Path, *arguments: str, **env: str) -> Iterator[str]:
    """Run workers of `SHOP`; gives where they show what they have counted."""
    command = windlass("worker", "--app", "shop:app", "--health", "127.0.0.1:0", "--metrics", *arguments)
    with Supervised(command, folder, env) as supervisor:
        found = supervisor.next(r"answers (http://\S+)/healthz, /readyz and /metrics")
        supervisor.ready()
        yield f"{found[1]}/metrics"
        supervisor.signal(signal.SIGTERM)
        assert supervisor.ended() == 0


def fetch(address: str, token: str | None = None) -> dict[str, float]:
    """The figures: value by name and labels, as Prometheus writes them."""
    request = urllib.request.Request(address, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def wait_for(check: Callable[[], bool], what: str = "it") -> None:
    """Ask until the answer is yes: Prometheus looks once a second."""
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.1)


def enqueue(url: str, count: int, queue: str = "default", task: str = "nothing") -> None:
    """Store some jobs."""
    app = App(url)

    @app.task(name=task, queue=queue)
    async def nothing() -> None: ...

    async def store() -> None:
        await app.enqueue_many([nothing.bind() for _ in range(count)])
        await app.aclose()

    asyncio.run(store())


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path}/w.db"
    enqueue(made, 3)
    return made


def test_prometheus_scrapes_a_store_and_evaluates_every_rule(url: str) -> None:
    with (
        served(url, WINDLASS_METRICS_TOKEN=TOKEN) as address,
        PrometheusServer(address.split("/")[2], rules=RULES, token=TOKEN) as prometheus,
    ):
        wait_for(lambda: prometheus.query("instance_queue:windlass_jobs_ready:sum") == {"queue=default": 3})
        assert prometheus.query("windlass_up") == {"": 1}
        enqueue(url, 2, queue="mail")
        wait_for(lambda: prometheus.query("instance_queue:windlass_jobs_ready:sum").get("queue=mail") == 2)
        groups = prometheus.get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        wait_for(lambda: all(rule["health"] == "ok" for rule in _rules(prometheus)))
        assert len(rules) == RULES.read_text().count("- record:") + RULES.read_text().count("- alert:")
        wait_for(lambda: "WindlassNoWorkers" in _alerts(prometheus))
        for rule in _rules(prometheus):
            prometheus.query(rule["query"])


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def test_prometheus_evaluates_every_panel_of_the_dashboard(url: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with (
        worked(tmp_path) as at_work,
        served(url) as address,
        PrometheusServer(address.split("/")[2], at_work.split("/")[2], rules=RULES) as prometheus,
    ):
        wait_for(lambda: prometheus.query("instance:windlass_slots_used:ratio") != {})

        def says_something(asked: str) -> bool:
            enqueue(url, 1, queue="naps", task="nap")  # a rate is of what changes
            return prometheus.query(asked) != {}

        wait_for(lambda: says_something('rate(windlass_attempts_total{queue="naps"}[10s]) > 0'))
        for panel in panels():
            for target in panel["targets"]:
                asked = target["expr"].replace("$queue", ".*").replace("$__rate_interval", "10s")
                wait_for(lambda asked=asked: says_something(asked), asked)
        offered = {"match[]": "windlass_jobs"}  # by the variable
        wait_for(lambda: prometheus.get("label/queue/values", **offered) == ["default", "naps"])


def test_the_dashboard_is_what_grafana_reads() -> None:
    """Of three versions; and what `scripts/dashboards.py` makes."""
    dashboard = json.loads(DASHBOARD.read_text())
    for path in sorted(Path(__file__).with_name("schemas").glob("dashboard.*.json")):
        schema = json.loads(path.read_text())
        checked = jsonschema.validators.validator_for(schema)(schema)
        assert [error.message for error in checked.iter_errors(dashboard)] == [], path.name
    root = Path(__file__).parents[2]
    made = subprocess.run(
        [sys.executable, "scripts/dashboards.py", "--print"], cwd=root, capture_output=True, text=True, check=True
    )
    assert made.stdout == DASHBOARD.read_text(), "run scripts/dashboards.py"
    printed = subprocess.run(windlass("metrics", "--dashboard"), capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(printed.stdout) == dashboard


def _rules(prometheus: PrometheusServer) -> list[dict[str, Any]]:
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


def _alerts(prometheus: PrometheusServer) -> set[str]:
    """Alerts that are pending or fire."""
    return {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]}


def test_the_rules_are_right(tmp_path: Path) -> None:
    """What fires when, by promtool: `rules_test.yml` beside this file says it."""
    promtool = find_binary("promtool", "prometheus")
    printed = subprocess.run(windlass("metrics", "--rules"), capture_output=True, text=True, check=True, timeout=60)
    (tmp_path / "rules.yml").write_text(printed.stdout)
    tests = Path(__file__).with_name("rules_test.yml").read_text()
    (tmp_path / "rules_test.yml").write_text(tests)
    subprocess.run([promtool, "check", "rules", "rules.yml"], cwd=tmp_path, check=True, timeout=60)
    done = subprocess.run([promtool, "test", "rules", "rules_test.yml"], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0
    for line in RULES.read_text().splitlines():
        if "- alert:" in line:
            assert line.split()[-1] in tests, "every alert has a test"


def test_who_does_not_show_the_token_sees_nothing(url: str) -> None:
    with served(url, WINDLASS_METRICS_TOKEN=TOKEN) as address:
        assert fetch(address, TOKEN)["windlass_up"] == 1
        for wrong in (None, "", TOKEN[:-1], TOKEN + "x", "ä"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                fetch(address, wrong)
            with refused.value as answer:
                assert answer.code == 401
                assert b"windlass_up" not in answer.read()
        with pytest.raises(urllib.error.HTTPError) as unknown:
            fetch(address.replace("/metrics", "/"), TOKEN)
        with unknown.value as answer:
            assert answer.code == 404


def test_a_visitor_who_asks_for_no_format_gets_the_plain_one(url: str) -> None:
    with served(url) as address:
        request = urllib.request.Request(address, headers={"Accept": "text/plain; version=abc"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert b"windlass_up 1.0" in answer.read()


def refusal(url: str, listen: str, **env: str) -> str:
    """What is said to somebody who may not listen there."""
    command = windlass("metrics", "--url", url, "--listen", listen)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **env})
    assert done.returncode == 2
    return done.stderr


def test_other_machines_need_a_token(url: str) -> None:
    for listen in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0"):
        assert "WINDLASS_METRICS_TOKEN" in refusal(url, listen)
    assert "the token has 5 characters" in refusal(url, "0", WINDLASS_METRICS_TOKEN="short")


def test_it_listens_to_this_machine_only_unless_told(url: str) -> None:
    command = windlass("metrics", "--url", url, "--listen", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        connections = psutil.Process(process.pid).net_connections("inet")
        assert [one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN] == ["127.0.0.1"]
        process.terminate()
        assert process.wait(20) == 0


def test_a_port_that_is_taken_is_said(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "Address already in use" in refusal(url, f"127.0.0.1:{taken.getsockname()[1]}")


def test_visitors_that_say_nothing_keep_nobody_out(url: str) -> None:
    with served(url) as address:
        host, port = address.split("/")[2].split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(50)]
        try:
            silent[0].sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 1000)
            silent[1].sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
            assert fetch(address)["windlass_up"] == 1
        finally:
            for one in silent:
                one.close()


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_store_that_is_away_is_down_until_it_is_back(kind: str) -> None:
    with RedisServer() if kind == "redis" else PostgresServer() as server:
        if kind == "postgres":
            subprocess.run(windlass("migrate", "--url", server.url), check=True, timeout=60, capture_output=True)
        enqueue(server.url, 4)
        with served(server.url) as address:
            assert fetch(address)['windlass_jobs{queue="default",state="ready"}'] == 4
            server.kill()
            wait_for(lambda: fetch(address) == {"windlass_up": 0})
            server.start()
            wait_for(lambda: fetch(address)["windlass_up"] == 1)
            assert fetch(address)['windlass_jobs{queue="default",state="ready"}'] == 4


def test_once_prints_what_would_be_served(url: str) -> None:
    printed = subprocess.run(
        windlass("metrics", "--url", url, "--once"), capture_output=True, text=True, check=True, timeout=60
    )
    assert 'windlass_jobs{queue="default",state="ready"} 3.0' in printed.stdout.splitlines()
    promtool = find_binary("promtool", "prometheus")
    subprocess.run([promtool, "check", "metrics"], input=printed.stdout, text=True, check=True, timeout=60)


def test_many_visitors_cost_the_store_one_reading(url: str) -> None:
    with served(url) as address:
        readings = {fetch(address)["windlass_read_seconds"] for _ in range(10)}
    assert len(readings) < 10


def test_the_rules_name_figures_that_there_are(url: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with served(url) as address, worked(tmp_path) as at_work:
        there = {name.partition("{")[0] for name in (*fetch(address), *fetch(at_work))}
    said = re.findall(r"(?<![:\w])windlass_\w+", RULES.read_text())
    assert len(said) > 10
    assert set(said) <= there
