"""Every example of the documentation runs, and every link leads somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages, read_steps

WITH_STEPS = [page for page in pages() if read_steps(page.read_text())]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_examples_are_found_at_all() -> None:
    assert ROOT / "README.md" in WITH_STEPS


@pytest.mark.parametrize("page", WITH_STEPS, ids=_name)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WINDLASS_U")}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'src'}"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.docs.run_page", page],
        cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        check=False, timeout=55,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_every_python_block_is_tested_or_says_why_not(page: Path) -> None:
    fences = re.findall(r"^[ \t]*```[ \t]*(\S+)", page.read_text(), re.MULTILINE)
    steps = read_steps(page.read_text())
    assert len([fence for fence in fences if fence.startswith(("py", "console"))]) == len(steps)


@pytest.mark.parametrize("page", WITH_STEPS, ids=_name)
def test_what_is_quoted_is_in_its_file(page: Path) -> None:
    quoted = [step for step in read_steps(page.read_text()) if step.word == "from"]
    assert [step.line for step in quoted if step.text not in (ROOT / step.what).read_text()] == []


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_a_skip_needs_its_reason() -> None:
    with pytest.raises(ValueError, match="needs its reason"):
        read_steps("<!-- skip: -->\n```python\n1 / 0\n```\n")
