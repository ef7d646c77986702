"""The HTTP API does what its description says, whatever it is asked."""

import subprocess
import sys
from pathlib import Path

import httpx

from tests.integration.test_web_api import make_app
from tests.integration.web_harness import site_of

CONFIG = """
[generation]
deterministic = true
max-examples = 3

[phases.examples]
enabled = false

[phases.stateful]
enabled = false

# What names, ids and expressions have to look like is not in the description: it is said to who gets it wrong.
[checks.positive_data_acceptance]
enabled = false

# The framework's answers to OPTIONS name the methods of one handler only.
[checks.allow_header_conformance]
enabled = false

# These have switches, and the framework takes 0 and 1 for false and true.
[[operations]]
include-path-regex = "/jobs/bulk$|/deploy$|/schedules/import$"
checks.negative_data_rejection.enabled = false
"""


def test_whatever_it_is_asked_it_does_as_described(tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    with site_of(make_app(f"sqlite:///{tmp_path / 'jobs.db'}")) as where:
        made = httpx.post(f"{where}/api/v1/tokens", json={"name": "tests", "role": "admin"})
        done = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                f"--config-file={config}",
                "run",
                f"{where}/api/v1/openapi.json",
                f"--header=Authorization: Bearer {made.json()['token']}",
                "--exclude-path=/api/v1/events",  # has no end
                "--workers=1",  # parsing Python in several threads fails now and then in CPython 3.11
                "--continue-on-failure",
                "--no-color",
            ],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
