"""Prometheus servers for tests."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.servers.server import Server, find_binary


class PrometheusServer(Server):
    """A private Prometheus that looks each second.

    Args:
        targets: ``host:port`` of what it scrapes.
        rules: a file of rules.
        token: what it shows there.
        jobs: what it scrapes instead, as its configuration has it.
    """

    def __init__(
        self, *targets: str, rules: Path, token: str | None = None, jobs: list[dict[str, Any]] | None = None
    ) -> None:
        self._program = find_binary("prometheus", "prometheus")
        super().__init__()
        authorization = {} if token is None else {"authorization": {"credentials": token}}
        job = {"job_name": "windlass", "static_configs": [{"targets": targets}], **authorization}
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [job] if jobs is None else jobs,
        }
        (self.folder / "prometheus.yml").write_text(json.dumps(settings))  # JSON is YAML, too

    def command(self) -> list[str]:
        """See `Server`."""
        return [
            self._program,
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def is_ready(self) -> bool:
        """Whether it serves queries."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **arguments: str) -> Any:
        """Ask its API; give the data of the answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> dict[str, float]:
        """Evaluate PromQL now; give values by label sets, as text without the metric's name."""
        found = {}
        for one in self.get("query", query=expression)["result"]:
            labels = sorted((name, value) for name, value in one["metric"].items() if name in ("queue", "state"))
            found[",".join(f"{name}={value}" for name, value in labels)] = float(one["value"][1])
        return found
