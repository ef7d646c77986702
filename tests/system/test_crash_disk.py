"""A disk that fills up, and a file that may not be written to: whoever asks is told, and nothing is lost."""

import os
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.system.crash_site import CrashSite, until
from windlass.core.errors import StoreFull
from windlass.core.lifecycle import State

SIZE = 12 * 1024 * 1024
"""Bytes of the small disk: room for some thousand jobs."""


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    folder = tmp_path / "database"
    folder.mkdir()
    with CrashSite(tmp_path, rng, database=folder / "jobs.db") as made:
        yield made


@contextmanager
def mounted(folder: Path, *steps: list[str]) -> Iterator[Path]:
    """Mount something on a folder."""
    if os.geteuid() != 0:
        skip_or_fail("only root can mount")
    folder.mkdir()
    for step in steps:
        ran = subprocess.run(["mount", *step, str(folder)], capture_output=True, text=True, check=False)
        if ran.returncode:
            skip_or_fail(f"mount: {ran.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    """A database on a file system of its own."""
    small = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs"]
    with mounted(tmp_path / "disk", small) as disk, CrashSite(tmp_path, rng, database=disk / "jobs.db") as made:
        yield made


def fill(folder: Path) -> Path:
    """Leave no room at all; answers the file to delete."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return ballast


def test_a_full_disk(small_site: CrashSite) -> None:
    """The producer is told; the workers wait, and go on when there is room again."""
    site = small_site
    fleet = site.workers(2)
    pids = fleet.pids()
    site.enqueue("work", ({"n": n, "seconds": 0.02} for n in range(5000)))
    until(lambda: site.states()[State.SUCCEEDED] > 500, "work to be under way")
    ballast = fill(site.path.parent)
    with pytest.raises(StoreFull, match=f"no room left on the disk of {site.path}"):
        enqueue_until_refused(site)
    fleet.next("no room left on the disk")
    assert site.unfinished(), "they had finished before the disk was full"
    ballast.unlink()
    site.enqueue("work", ({"n": n} for n in range(1000)))
    site.drained()
    assert fleet.pids() == pids, "nobody died"
    # Whoever could not renew its lease has cancelled its attempts, and says so.
    cancelled = re.findall(r"(\d+) attempts are cancelled", "\n".join(fleet.lines))
    site.books.interrupted = sum(map(int, cancelled)) + sum(job.losses for job in map(site.record, site.books.expected))
    site.audit()
    assert fleet.stop() == 0


def enqueue_until_refused(site: CrashSite) -> None:
    for _ in range(1000):  # what is free inside the database is used first
        site.enqueue("work", ({"n": n} for n in range(100)))


@contextmanager
def read_only(site: CrashSite) -> Iterator[Path]:
    """A way to the site's database on which nothing may be written."""
    folder = site.path.parent
    if os.geteuid() == 0:  # whom no file mode stops
        with mounted(site.folder / "read-only", ["--bind", str(folder)], ["-o", "remount,bind,ro"]) as there:
            yield there / site.path.name
        return
    writable = [folder, *folder.glob("*")]
    for path in writable:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        yield site.path
    finally:
        for path in writable:
            path.chmod(path.stat().st_mode | 0o200)


def test_a_read_only_file(site: CrashSite) -> None:
    """Whoever may not write is told, a producer as well as a worker; those who may go on."""
    fleet = site.workers(1)
    with read_only(site) as database:
        site.enqueue("work", ({"n": n, "seconds": 0.01} for n in range(5000)))
        producer = site.producer(1000, site.folder / "acknowledged", f"sqlite:///{database}")
        said = producer.communicate(timeout=30)[0]
        assert producer.returncode == 1
        assert re.search(rf"StoreReadOnly: {database}\S* may not be written to", said), said
        assert not (site.folder / "acknowledged").read_text()
        refused = site.start(1, url=f"sqlite:///{database}")
        assert refused.process.wait(30) == 2
        assert re.search(rf"ERROR .*{database}\S* may not be written to", "\n".join(refused.lines))
        site.drained()
    site.audit()
    assert fleet.stop() == 0
