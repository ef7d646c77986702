"""``examples/monitoring``: what it says to Compose, to Prometheus and to Windlass is understood by each."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import ComposeSpecification

from tests.integration.test_metrics import TOKEN, wait_for
from tests.servers.prometheus import PrometheusServer
from tests.servers.redis import RedisServer
from tests.servers.server import find_binary
from tests.system.supervised import Supervised

FOLDER = Path(__file__).parents[2] / "examples" / "monitoring"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return {name: value for name, value in found.items() if not name.startswith("x-")}


@pytest.fixture(scope="module")
def jobs() -> dict[str, dict[str, Any]]:
    """What Prometheus is told to scrape."""
    found = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    return {job["job_name"]: job for job in found["scrape_configs"]}


def test_compose_understands_it(compose: dict[str, Any]) -> None:
    ComposeSpecification.model_validate(compose, extra="forbid")
    with pytest.raises(ValueError, match="Extra inputs"):
        ComposeSpecification.model_validate({**compose, "servces": {}}, extra="forbid")


def test_names_within_it_fit(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert {secret["source"] for secret in service.get("secrets", [])} <= set(compose["secrets"])
        for volume in service.get("volumes", []):
            source, target = volume.split(":")[:2]
            assert (FOLDER / source).is_file() if source.startswith(".") else source in compose["volumes"]
            assert target.startswith("/")
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "nobody else sees it"


def test_prometheus_looks_where_somebody_answers(compose: dict[str, Any], jobs: dict[str, dict[str, Any]]) -> None:
    (target,) = jobs["windlass"]["static_configs"][0]["targets"]
    assert f"--listen=0.0.0.0:{target.removeprefix('figures:')}" in compose["services"]["figures"]["command"]
    (found,) = jobs["windlass-workers"]["dns_sd_configs"]
    (name,) = found["names"]
    assert f"--health=0.0.0.0:{found['port']}" in compose["services"][name]["command"]
    (secret,) = compose["services"]["prometheus"]["secrets"]
    for job in jobs.values():
        assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret['source']}"


def command(compose: dict[str, Any], service: str, **ports: str) -> list[str]:
    """What a service runs, on free ports of this machine."""
    first, *arguments = compose["services"][service]["command"]
    assert first == "windlass"
    said = [argument for argument in arguments if argument.partition("=")[0].lstrip("-") not in ports]
    assert len(said) == len(arguments) - len(ports)
    return [sys.executable, "-m", "windlass", *said, *(f"--{name}={where}" for name, where in ports.items())]


@contextmanager
def figures(compose: dict[str, Any], environment: dict[str, str]) -> Iterator[str]:
    asked = command(compose, "figures", listen="127.0.0.1:0")
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, env=environment, cwd=FOLDER)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().split("/")[2]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


def test_it_works(compose: dict[str, Any], jobs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """All but the containers: its commands, its jobs, its scrape configuration, on a real Redis and Prometheus."""
    (shell, option, script) = compose["services"]["files"]["command"]
    windlass = f"{sys.executable} -m windlass"
    written = script.replace("/files/", f"{tmp_path}/").replace("windlass metrics", f"{windlass} metrics")
    subprocess.run([shell, option, written], check=True, timeout=60)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "prometheus.yml").write_text(
        (FOLDER / "prometheus.yml")
        .read_text()
        .replace("windlass/rules.yml", "rules.yml")
        .replace("/run/secrets/metrics_token", "token")
    )
    promtool = find_binary("promtool", "prometheus")
    subprocess.run([promtool, "check", "config", "prometheus.yml"], cwd=tmp_path, check=True, timeout=60)
    with RedisServer() as redis:
        environment = {
            **os.environ,
            "WINDLASS_URL": redis.url,
            "WINDLASS_METRICS_TOKEN": TOKEN,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        shop = subprocess.Popen([sys.executable, "shop.py"], cwd=FOLDER, env=environment)
        asked = command(compose, "worker", health="127.0.0.1:0")
        with Supervised(asked, FOLDER, environment) as workers, figures(compose, environment) as store:
            at_work = workers.next(r"answers http://(\S+)/healthz, /readyz and /metrics")[1]
            scraped = [
                {
                    "job_name": name,
                    "authorization": {"credentials_file": str(tmp_path / "token")},
                    "static_configs": [{"targets": [where]}],
                }
                for name, where in (("windlass", store), ("windlass-workers", at_work))
            ]
            assert {one["job_name"] for one in scraped} == set(jobs)
            with PrometheusServer(rules=tmp_path / "rules.yml", jobs=scraped) as prometheus:
                for name in jobs:
                    wait_for(lambda name=name: prometheus.query(f'up{{job="{name}"}}') == {"": 1}, name)
                wait_for(lambda: prometheus.query("sum(rate(windlass_attempts_total[10s])) > 0") != {}, "attempts")
                wait_for(lambda: prometheus.query("sum(windlass_jobs)") != {}, "jobs")
            shop.send_signal(signal.SIGTERM)
            shop.wait(20)
            workers.signal(signal.SIGTERM)
            assert workers.ended() == 0
