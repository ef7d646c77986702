"""The settings page: what it says of who may come in, and that its buttons keep out whom they name."""

import re
from pathlib import Path

import httpx
import pytest

from tests.integration.test_web_api import make_app, ok
from tests.integration.test_web_mounted import ROOT, by_header, server_of
from tests.integration.web_harness import serving
from windlass.web import mounted, site


def api_link(page: str) -> str:
    """Where the page says that programs find the HTTP API."""
    found = re.search(r'href="([^"]+)">the HTTP API', page)
    assert found
    return found[1]


@pytest.mark.parametrize("root", ["", ROOT])
def test_the_link_to_the_api_leads_to_its_description(tmp_path: Path, root: str) -> None:
    app = make_app(f"sqlite:///{tmp_path / 'jobs.db'}")
    who = {"x-known-as": "viewer"}
    inner = site(app, who=by_header)
    with serving(server_of(mounted(inner, root, inner) if root else inner)) as where:
        page = httpx.get(f"{where}{root}/settings", headers=who).text
        assert ok(httpx.get(where + api_link(page), headers=who))["openapi"]
    app.close_sync()
