"""``python -m bench.peers [NAME ...] [--jobs N] [--keep]``: make a venv in a temp folder, measure, remove it.

Needs a package index, and ``redis-server`` for all but huey and PgQueuer, which needs ``postgres``, and beside which
Windlass is measured on a server of the same kind. Figures are printed, not kept: they are not ours to track.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from bench.figure import Probe
from bench.on_postgres import server as postgres_server
from bench.sample import take
from tests.servers.redis import RedisServer

HERE = Path(__file__).parent
PACKAGES = {
    "huey": ["huey"],
    "celery": ["celery[redis]"],
    "dramatiq": ["dramatiq[redis]"],
    "taskiq": ["taskiq", "taskiq-redis"],
    "pgqueuer": ["pgqueuer", "asyncpg", "psycopg[binary]", "uvloop"],
}
PATIENCE = 120.0


def make_environment(folder: Path, names: list[str]) -> Path:
    """Make a venv with these systems; answers its folder of programs."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    packages = [package for name in names for package in PACKAGES[name]]
    subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", *packages], check=True)
    return programs


def measure(name: str, programs: Path, folder: Path, jobs: int) -> dict[str, float]:
    """Enqueue with no worker, drain with one, and measure the round trip while idle."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "PEER_FOLDER": str(folder), "PATH": _path(programs)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if name == "huey":
        return _drive(name, programs, folder, environment, jobs)
    if name == "pgqueuer":
        with postgres_server() as server:
            return _drive(name, programs, folder, {**environment, "PEER_URL": server.url}, jobs)
    with RedisServer("--appendonly", "no") as server:
        return _drive(name, programs, folder, {**environment, "PEER_PORT": str(server.port)}, jobs)


def measure_ours(jobs: int) -> dict[str, float]:
    """The same of Windlass on PostgreSQL, as `python -m bench` measures it."""

    def probe(what: str, **arguments: object) -> dict[str, float]:
        return take(Probe(f"bench.on_postgres:{what}"), arguments)

    return {"enqueue": probe("bulk", jobs=jobs)["bulk"], **probe("drain", jobs=jobs), **probe("trips", trips=200)}


def _drive(name: str, programs: Path, folder: Path, environment: dict[str, str], jobs: int) -> dict[str, float]:
    # Imported, not run: tasks get the names under which their worker finds them.
    command = [str(programs / "python"), "-c", f"import {name}_peer; {name}_peer.main({jobs})"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    numbers: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def _path(programs: Path) -> str:
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


def _show(name: str, found: dict[str, float]) -> None:
    print(
        f"{name:<10} {found['enqueue']:>10,.0f} {found['drain']:>10,.0f} {found['p50']:>12.2f} {found['p99']:>12.2f}",
        flush=True,
    )


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {', '.join(PACKAGES)}")
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--keep", action="store_true", help="leave the folder there, and say where")
    options = parser.parse_args()
    names = options.names or list(PACKAGES)
    if unknown := set(names) - set(PACKAGES):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there are: {', '.join(PACKAGES)}")
    folder = Path(tempfile.mkdtemp(prefix="windlass-peers-"))
    try:
        programs = make_environment(folder, names)
        print(f"{'system':<10} {'enqueue/s':>10} {'drain/s':>10} {'idle p50 ms':>12} {'idle p99 ms':>12}")
        for name in names:
            (folder / name).mkdir()
            _show(name, measure(name, programs, folder / name, options.jobs))
            if name == "pgqueuer":
                _show("windlass", measure_ours(options.jobs))
    finally:
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
