"""The demo's audit notices what it is there to notice."""

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

DEMO = Path(__file__).parents[2] / "examples/stdlib_index"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(DEMO))
    import report

    yield report
    for name in ("report", "tasks"):
        sys.modules.pop(name, None)


@pytest.fixture
def ended(report: ModuleType, tmp_path: Path) -> list:
    """Two files that were indexed rightly, the second one in its second attempt."""
    jobs = []
    for name, losses in (("a.py", 0), ("b.py", 1)):
        (tmp_path / name).write_text(f"# {name}\n")
        digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        jobs.append(report.Ended(name, "succeeded", 1 + losses, losses, report.FileIndex(name, 7, digest)))
    return jobs


def test_a_sound_result_passes(report: ModuleType, ended: list, tmp_path: Path) -> None:
    audit = report.audit(tmp_path, ["a.py", "b.py"], ended, killed=True)
    assert audit.line.startswith("audit ok: 2 files, 2 jobs")
    assert (audit.attempts, audit.again) == (3, 1)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda jobs: jobs[:1], "b.py is missing"),
        (lambda jobs: [*jobs, jobs[0]], "a.py is counted 2 times"),
        (lambda jobs: [replace(jobs[0], state="dead", index=None), jobs[1]], "a.py is missing"),
        (lambda jobs: [replace(jobs[0], state="running"), jobs[1]], "a.py is running"),
        (lambda jobs: [replace(jobs[0], attempt=2), jobs[1]], "a.py: attempt 2 without a loss"),
        (lambda jobs: [replace(jobs[0], index=replace(jobs[0].index, sha256="0")), jobs[1]], "a.py: another hash"),
        (lambda jobs: [jobs[0], replace(jobs[1], losses=0, attempt=1)], "none was run again"),
    ],
)
def test_what_is_wrong_is_named(report: ModuleType, ended: list, tmp_path: Path, spoil, problem: str) -> None:
    audit = report.audit(tmp_path, ["a.py", "b.py"], spoil(ended), killed=True)
    assert "FAILED" in audit.line
    assert any(problem in found for found in audit.problems), audit.problems
