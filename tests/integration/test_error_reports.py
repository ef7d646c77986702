"""The recipe for Sentry, with Sentry's own library and a transport that keeps what it would send."""

import logging
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

EXAMPLE = Path(__file__).parents[2] / "examples/sentry_reports.py"


class Kept(Transport):
    """Sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events += [event for item in envelope.items if (event := item.get_event()) is not None]


@pytest.fixture
def sent() -> Iterator[list[Any]]:
    """What is sent to Sentry meanwhile."""
    kept = Kept()
    logging.getLogger("shop").setLevel(logging.INFO)
    sentry_sdk.init("http://key@127.0.0.1:9/1", transport=kept, auto_enabling_integrations=False)  # those stay for good
    yield kept.events
    sentry_sdk.get_client().close()
    sentry_sdk.init()


async def test_each_failure_is_reported_once_with_what_that_attempt_logged(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "SENTRY_DSN", "")
    example = runpy.run_path(str(EXAMPLE))
    await example["main"]()
    assert capsys.readouterr().out.count("the bank does not answer") == 2
    told = sorted((one["contexts"]["job"]["id"], one["contexts"]["job"]["attempt"], one["level"]) for one in sent)
    first, second = sorted({job for job, _, _ in told})
    assert told == [(job, n, level) for job in (first, second) for n, level in ((1, "warning"), (2, "error"))]
    for event in sent:
        assert event["exception"]["values"][-1]["type"] == "ConnectionError"
        assert event["transaction"].endswith("charge")
        logged = [crumb["message"] for crumb in event["breadcrumbs"]["values"] if crumb["category"] == "shop"]
        order = 1 if event["contexts"]["job"]["id"] == first else 2
        assert logged == [f"charging order {order}"], "the isolation scope is the attempt's own"


SITE = """
import sys
import httpx, sentry_sdk
from tests.integration.test_error_reports import Kept
from tests.integration.web_harness import site_of
from windlass import App

kept = Kept()
sentry_sdk.init("http://key@127.0.0.1:9/1", transport=kept)
with site_of(App("sqlite:///" + sys.argv[1])) as where:
    for body in (b"{", b"[" * 100_000, b'{"task": "add", "arguments": [NaN]}'):
        answer = httpx.post(where + "/api/v1/jobs", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"].startswith("application/problem+json")
    assert httpx.get(where + "/api/v1/queues").status_code == 200
"""


def test_a_site_beside_sentry_answers_as_without(tmp_path: Path) -> None:
    """Sentry's library takes part in each request, where it finds Litestar."""
    done = subprocess.run(
        [sys.executable, "-c", SITE, str(tmp_path / "w.db")],
        cwd=Path(__file__).parents[2],
        timeout=60,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
