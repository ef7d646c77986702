"""The manifests of the documentation: clusters and KEDA understand them, and what they say a worker understands."""

import asyncio
import json
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.servers.server import free_port
from tests.system.probing import Endpoint
from tests.system.supervised import Supervised, wait_until, worker_command
from windlass import App
from windlass.engine.config import DEFAULT_GRACE
from windlass.engine.supervisor import MARGIN

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
KEDA = json.loads((Path(__file__).parents[1] / "integration" / "schemas" / "keda.scaledobject.v2.16.json").read_text())
VERSIONS = ("1.30", "1.33", "1.37")
"""Of Kubernetes."""


def manifests(page: str) -> list[dict[str, Any]]:
    """What a page shows as YAML."""
    _, *texts = (PAGES / page).read_text().split("```yaml\n")
    return [yaml.safe_load(text.split("```")[0]) for text in texts]


@pytest.fixture
def pod() -> dict[str, Any]:
    deployment, _ = manifests("run-workers-on-kubernetes.md")
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def test_it_leaves_time_to_stop(pod: dict[str, Any]) -> None:
    assert pod["terminationGracePeriodSeconds"] > DEFAULT_GRACE + MARGIN


def test_names_within_the_pod_fit(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    (url,) = [one["value"] for one in container["env"] if one["name"] == "WINDLASS_URL"]
    (mount,) = container["volumeMounts"]
    assert url.removeprefix("sqlite:///").startswith(mount["mountPath"] + "/")


def test_memory_suffices_for_a_process_more_than_usual(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    options = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"])
    limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
    assert limit > (int(options["processes"]) + 1) * int(options["recycle-memory"].removesuffix("MiB"))


def test_a_worker_takes_the_arguments_and_answers_the_probes(pod: dict[str, Any], tmp_path: Path) -> None:
    (container,) = pod["containers"]
    assert container["command"] == ["windlass", "worker"]
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "tasks.py").write_text("from windlass import App\napp = App('sqlite:///jobs.db')\n")
    (port,) = [one["containerPort"] for one in container["ports"] if one["name"] == "health"]
    arguments = [argument.replace(f"0.0.0.0:{port}", "127.0.0.1:0") for argument in container["args"]]
    assert arguments != container["args"]
    with Supervised(worker_command(*arguments), tmp_path) as worker:
        endpoint = Endpoint(worker)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == "health"
            endpoint.wait_for(container[probe]["httpGet"]["path"], 200)
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0


async def migrated(url: str) -> None:
    store = App(url).new_store()
    await store.migrate()
    await store.aclose()


def test_the_exporter_takes_the_arguments(tmp_path: Path) -> None:
    _, deployment = manifests("run-workers-on-kubernetes.md")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    (tmp_path / "shop" / "tasks.py").write_text("from windlass import App\napp = App()\n")
    port = free_port()
    arguments = [argument.replace("0.0.0.0:9791", f"127.0.0.1:{port}") for argument in container["args"]]
    assert arguments != container["args"]
    url, token = (one["name"] for one in container["env"])
    environment = {url: f"sqlite:///{tmp_path}/jobs.db", token: "t0ken" * 8}
    asyncio.run(migrated(environment[url]))
    with Supervised([sys.executable, "-m", *container["command"], *arguments], tmp_path, environment) as exporter:
        wait_until(lambda: figures(port, environment[token]), "the figures")
        assert figures(port, "another") is None
        exporter.signal(signal.SIGTERM)
        assert exporter.ended() == 0


def figures(port: int, token: str) -> str | None:
    """What the exporter says to who shows a token; ``None``: nothing (yet)."""
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            said: str = answer.read().decode()
    except urllib.error.URLError:
        return None
    assert "windlass_up 1" in said
    return said


@pytest.mark.parametrize("version", VERSIONS)
def test_clusters_understand_the_manifests(version: str) -> None:
    shown = [*manifests("run-workers-on-kubernetes.md"), *manifests("scale-workers.md")]
    known = [one for one in shown if one.get("kind") in ("Deployment", "HorizontalPodAutoscaler")]
    assert len(known) == 3
    for manifest in known:
        kubernetes_validate.validate(manifest, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**known[0], "sepc": {}}, version, strict=True)


def test_keda_understands_its_manifest() -> None:
    (manifest,) = (one for one in manifests("scale-workers.md") if one.get("kind") == "ScaledObject")
    jsonschema.validate(manifest, KEDA)
    with pytest.raises(jsonschema.ValidationError, match="treshold"):
        jsonschema.validate({**manifest, "treshold": 1}, KEDA)


def test_they_scale_the_deployment_by_figures_that_there_are() -> None:
    deployment, _ = manifests("run-workers-on-kubernetes.md")
    keda, adapter, autoscaler = manifests("scale-workers.md")
    for one in (keda, autoscaler):
        assert one["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (rule,) = adapter["rules"]["external"]
    (metric,) = autoscaler["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == rule["name"]["as"]
    (trigger,) = keda["spec"]["triggers"]
    wanted = trigger["metadata"]["query"]
    assert wanted == rule["metricsQuery"].replace("<<.LabelMatchers>>", 'queue="mail"')
    assert wanted in (PAGES / "scale-workers.md").read_text().split("```")[1]
