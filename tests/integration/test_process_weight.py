"""What the processes of a worker load: it stays in memory beside every worker, for as long as it runs."""

import subprocess
import sys
from pathlib import Path

from tests.integration.cli_session import Session


def modules_after(code: str, cwd: Path) -> set[str]:
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_supervisor_loads_next_to_nothing(tmp_path: Path) -> None:
    bare = modules_after("", tmp_path)
    extra = modules_after("import windlass.engine.supervisor", tmp_path) - bare
    large = {"asyncio", "json", "logging", "msgspec", "re", "socket", "subprocess", "threading"}
    assert not extra & {*large, "dataclasses", "typing"}
    assert {name for name in extra if name.startswith("windlass.")} == {
        "windlass.engine",
        "windlass.engine.health",
        "windlass.engine.notify",
        "windlass.engine.processes",
        "windlass.engine.report",
        "windlass.engine.slots",
        "windlass.engine.supervisor",
        "windlass.engine.unix",
        "windlass.engine.vitals",
    }


def test_the_worker_process_loads_nothing_of_the_command_line(tmp_path: Path) -> None:
    Session(tmp_path)  # writes tasks.py
    code = "import windlass.cli.child, windlass.cli.loading, windlass.store.sqlite\n"
    loaded = modules_after(code + "windlass.cli.loading.load_app('tasks:app')", tmp_path)
    assert not loaded & {"click", "rich", "typer", "argparse", "windlass.cli.main", "windlass.testing"}
    assert not loaded & {"bz2", "lzma", "shutil", "tempfile", "zipfile"}, "importlib.resources brings them along"
    assert "tasks" in loaded


def test_the_worker_command_imports_no_other_command(tmp_path: Path) -> None:
    code = "from windlass.cli.main import run\nassert run(['worker', '--help']) == 0"
    program = f"{code}\nimport sys\nsys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "windlass.cli.worker" in loaded
    assert not loaded & {"windlass.cli.jobs", "windlass.app", "msgspec", "asyncio", "rich", "uvloop"}
