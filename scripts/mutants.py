"""Break the code in known ways, one at a time, and see that a test notices.

    make mutants                       all of them, two at a time
    python scripts/mutants.py token    only those whose name contains "token"
    python scripts/mutants.py --list   what would be planted
    python scripts/mutants.py --check  whether all of them still can be planted; a test of the suite asks this

Each mutant is an exact replacement of text in a copy of ``src``; the tests run against the copy. A mutant that no
test notices, or whose old text is not there any more, fails the run. The list is in ``planted_faults.py``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from planted_faults import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
LIMIT = 300
"""Seconds for the tests of one mutant. One that hangs is caught, too."""
BASELINE_LIMIT = 1200
"""Seconds for the tests of all of them, without a mutant."""


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant."""

    mutant: Mutant
    by: str
    """The test that failed first; empty: none did."""
    trouble: str = ""
    """Why it could not be tried."""
    took: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="plant only mutants whose name contains one of these")
    parser.add_argument("--list", action="store_true", help="show what would be planted, and stop")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--check", action="store_true", help="say which cannot be planted any more, and stop")
    options = parser.parse_args(arguments)
    chosen = [m for m in MUTANTS if not options.words or any(word in m.name for word in options.words)]
    width = max((len(mutant.name) for mutant in chosen), default=0)
    if options.list:
        for mutant in chosen:
            print(f"{mutant.name:{width}}  {mutant.breaks}")
        return 0
    if options.check:
        return _check(chosen)
    if trouble := _baseline(chosen):
        print(trouble)
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = []
        for verdict in pool.map(_try, chosen):
            print(f"{verdict.mutant.name:{width}}  {_said(verdict)}", flush=True)
            verdicts.append(verdict)
    bad = [verdict for verdict in verdicts if not verdict.by]
    print(f"{len(verdicts) - len(bad)} of {len(verdicts)} planted faults were caught")
    return 1 if bad else 0


def _check(chosen: Sequence[Mutant]) -> int:
    troubles = [f"{mutant.name}: {trouble}" for mutant in chosen if (trouble := _planted(mutant, ROOT / "src")[1])]
    print("\n".join(troubles) or f"all {len(chosen)} can be planted")
    return 1 if troubles else 0


def _said(verdict: Verdict) -> str:
    if verdict.trouble:
        return f"NOT PLANTED: {verdict.trouble}"
    return f"{verdict.by or 'SURVIVED'}  ({verdict.took:.1f} s)"


def _baseline(chosen: Sequence[Mutant]) -> str:
    """Run the tests on the code as it is: a test that fails anyway catches nothing."""
    tests = sorted({test for mutant in chosen for test in mutant.tests if test.startswith("tests/")})
    with tempfile.TemporaryDirectory(prefix="windlass-mutant-") as folder:
        shutil.copytree(ROOT / "src", Path(folder) / "src", ignore=shutil.ignore_patterns("__pycache__"))
        code, output = _pytest(Path(folder) / "src", [*tests, "-n", "2", "--dist", "worksteal"], BASELINE_LIMIT)
    return "" if code == 0 else f"the tests fail without any mutant:\n{output}"


def _try(mutant: Mutant) -> Verdict:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="windlass-mutant-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
        if trouble := _plant(mutant, source):
            return Verdict(mutant, "", trouble)
        code, output = _pytest(source, [*mutant.tests, "-x"], LIMIT)
    took = time.monotonic() - started
    if code in (0, 1):
        return Verdict(mutant, _first_failure(output) if code else "", took=took)
    if code == -1:
        return Verdict(mutant, f"hangs: no answer within {LIMIT} s", took=took)
    return Verdict(mutant, "", f"pytest could not run (exit {code}):\n{output[-2000:]}", took)


def _plant(mutant: Mutant, source: Path) -> str:
    text, trouble = _planted(mutant, source)
    if not trouble:
        _file(mutant, source).write_text(text)
    return trouble


def _planted(mutant: Mutant, source: Path) -> tuple[str, str]:
    """The text of the file with the fault in it, and why that cannot be."""
    file = _file(mutant, source)
    missing = [
        test for test in mutant.tests if test.startswith("tests/") and not (ROOT / test.partition("::")[0]).exists()
    ]
    if missing or not file.exists():
        return "", f"there is no {(missing or [mutant.file])[0]}"
    text = file.read_text()
    times = text.count(mutant.old)
    if times != 1 and not (times and mutant.everywhere):
        return "", f"the old text is {times} times in {mutant.file}"
    text = text.replace(mutant.old, mutant.new)
    if file.suffix == ".py":
        try:
            compile(text, str(file), "exec")
        except SyntaxError as error:
            return "", f"{mutant.file} is not Python any more: {error}"
    return text, ""


def _file(mutant: Mutant, source: Path) -> Path:
    return source / "windlass" / mutant.file


def _pytest(source: Path, arguments: Sequence[str], limit: float) -> tuple[int, str]:
    """Run tests against ``source``; answers pytest's exit code (-1: too long) and what it said."""
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", *arguments]
    env = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", "WINDLASS_NO_SHRINK": "1"}
    with tempfile.TemporaryFile("w+") as said:
        # A session of its own, so that servers and workers that a test has started end with it.
        tests = subprocess.Popen(command, cwd=ROOT, env=env, stdout=said, stderr=said, start_new_session=True)
        try:
            code = tests.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(tests.pid, signal.SIGKILL)
            tests.wait()
            return -1, f"no answer within {limit:g} s"
        said.seek(0)
        return code, said.read()


def _first_failure(output: str) -> str:
    found = re.search(r"^(?:FAILED|ERROR) (?:\S*/)?(\S+?\.py(?:::\S+)?)", output, re.MULTILINE)
    return found.group(1) if found else output.strip().splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
