"""A user's type checker sees through tasks, calls and jobs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECK = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--no-incremental", "--no-error-summary"]


@pytest.mark.timeout(180)
def test_mypy_accepts_what_is_right_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    ruthless = tmp_path / "unmasked.py"
    wrong = (HERE / "bad.py").read_text()
    ruthless.write_text(re.sub(r"  # type: ignore\[.*", "", wrong))
    done = subprocess.run(
        [*CHECK, str(HERE / "good.py"), str(HERE / "bad.py"), str(ruthless)],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stdout.splitlines() if "error:" in line]
    assert not [line for line in ours if "unmasked.py" not in line], done.stdout
    # And without the ignores each of these lines is an error, so that the check itself is known to work.
    found = {int(line.split(":")[1]) for line in ours}
    wanted = {number for number, line in enumerate(wrong.splitlines(), 1) if "type: ignore" in line}
    assert found == wanted
