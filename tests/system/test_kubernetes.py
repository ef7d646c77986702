"""The deployment of the documentation: what it says is what a worker understands."""

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.probing import Endpoint
from tests.system.supervised import Supervised, worker_command
from windlass.engine.config import DEFAULT_GRACE
from windlass.engine.supervisor import MARGIN

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-workers-on-kubernetes.md"


@pytest.fixture
def pod() -> dict[str, Any]:
    (_, text) = PAGE.read_text().split("```yaml\n")
    deployment = yaml.safe_load(text.split("```")[0])
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
