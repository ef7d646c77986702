"""`windlass migrate` on PostgreSQL while workers of the version before are at work, and workers of both after it."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import PostgresServer
from tests.system import next_version
from tests.system.crash_site import ROOT, CrashSite, until
from windlass.core.errors import SchemaMismatch
from windlass.core.lifecycle import State
from windlass.store.postgres import schema

NEXT = next_version.VERSION


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, rng: random.Random, server: PostgresServer) -> Iterator[CrashSite]:
    with CrashSite(tmp_path, rng, url=server.url) as made:
        made.ask(made.store.migrate())
        yield made


def command(what: str) -> list[str]:
    return [sys.executable, "-m", "tests.system.next_version", what]


def next_code(site: CrashSite, what: str, code: int = 0) -> str:
    """Have the next version do something; answers what it said."""
    done = subprocess.run(
        command(what), cwd=ROOT, env=os.environ | site.environment(), capture_output=True, text=True, timeout=50,
        check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@contextmanager
def next_worker(site: CrashSite) -> Iterator[int]:
    """A worker of the next version, as long as the block runs; its process id."""
    worker = subprocess.Popen(command("work"), cwd=ROOT, env=os.environ | site.environment())
    try:
        until(lambda: site.sessions(worker.pid), "the worker to open its session")
        yield worker.pid
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def put_work(site: CrashSite, jobs: int) -> None:
    site.enqueue("work", ({"n": n, "seconds": site.rng.uniform(0, 0.02)} for n in range(jobs)))


@pytest.mark.timeout(120)
def test_a_migration_that_spares_workers_runs_under_them(site: CrashSite, server: PostgresServer) -> None:
    """Those that are there go on, and others of their version start; who migrates twice does it once; then they stop,
    and the migration is finished."""
    put_work(site, 3000)
    older = site.workers(2)
    until(site.marks, "jobs to start")
    # Where the machine is busy the migration holds its locks for longer than the test's lease of a second.
    site.books.interrupted += 2 * 20
    assert next_code(site, "migrate").strip() == f"layout {NEXT}: colours"
    assert next_code(site, "migrate").strip() == ""
    with next_worker(site) as newer:
        later = site.workers(1)
        put_work(site, 2000)
        site.drained(60)
        worked = {mark.pid for mark in site.marks()}
        assert {newer, *older.pids(), *later.pids()} <= worked, (
            "both versions worked, the older after the migration too"
        )
        assert "workers of the older layout are at work" in next_code(site, "finish", code=1)
        for fleet in (older, later):
            assert fleet.stop() == 0
        put_work(site, 50)
        assert next_code(site, "finish").strip() == f"layout {NEXT}: code of layout {schema.LATEST} goes on no more"
        until(lambda: _all_done(server), "the newer worker to go on")
    with pytest.raises(SchemaMismatch, match=f"has layout {NEXT}, this version of Windlass knows {schema.LATEST} only"):
        site.ask(site.new_store().connect())
    site.audit()


def _all_done(server: PostgresServer) -> bool:
    with psycopg.connect(server.url) as connection:
        return connection.execute("SELECT count(*) FROM windlass.jobs").fetchone() == (0,)


@pytest.mark.timeout(120)
def test_a_strangers_transaction_delays_the_migration_and_nobody_else(site: CrashSite, server: PostgresServer) -> None:
    site.workers(1)
    with psycopg.connect(server.url) as stranger:
        stranger.execute("SELECT windlass.enqueue('work', '{\"n\": 0}')")  # and does not commit
        migration = subprocess.Popen(
            command("migrate"), cwd=ROOT, env=os.environ | site.environment(), stdout=subprocess.PIPE, text=True
        )
        with psycopg.connect(server.url, autocommit=True) as admin:
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            for _ in range(2):
                until(lambda: admin.execute(waits).fetchone() != (0,), "the migration to wait for a lock")
                (job_id,) = site.enqueue("work", [{"n": 1}])
                until(lambda job_id=job_id: site.record(job_id).state is State.SUCCEEDED, "others to go on", 10)
        assert migration.poll() is None
        stranger.rollback()
    assert migration.communicate(timeout=30)[0].strip() == f"layout {NEXT}: colours"
    assert migration.returncode == 0
