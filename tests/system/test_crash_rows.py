"""Rows that make no sense, put straight into the SQLite file: they stop nobody else."""

import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.crash_site import CrashSite, until
from windlass.core.lifecycle import State


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    with CrashSite(tmp_path, rng) as made:
        yield made


FOREIGN: list[tuple[str, object]] = [
    ("payload", 42),
    ("payload", 4.5),
    ("payload", '{"n": 1}'),
    ("options", 7),
    ("options", "{}"),
    ("options", b"\xff"),
    ("task", 999),
    ("lane", 999),
    ("state", 17),
    ("rank", 99),
    ("rank", "high"),
    ("seq", None),
    ("token", "x"),
    ("attempt", "x"),
    ("failures", -1),
    ("enqueued_at", "yesterday"),
    ("due_at", "tomorrow"),
    ("expires_at", "x"),
    ("limit_key", b"\xff"),
    ("unique_key", b"\xff"),
    ("id", "abc"),
    ("id", b"\0"),
]
"""What a row could say if somebody wrote it who does not know better; a column of SQLite takes any type."""


def test_rows_that_make_no_sense(site: CrashSite) -> None:
    """Each is refused by the file itself, or does not stop its neighbours."""
    site.enqueue("work", ({"n": n} for n in range(100)))
    strange = site.enqueue("work", ({"n": n} for n in range(len(FOREIGN))))
    for job_id, (column, value) in zip(strange, FOREIGN, strict=True):
        try:
            site.by_hand(column, value, job_id)
        except sqlite3.IntegrityError:
            continue
        del site.books.expected[job_id]
    neighbours = list(site.books.expected) + site.enqueue("work", ({"n": n} for n in range(100)))
    fleet = site.workers(1)
    until(lambda: all(job.state is State.SUCCEEDED for job in map(site.record, neighbours)), "the neighbours to finish")
    for verb in (site.store.counts, site.store.queues, site.store.sessions):
        site.ask(verb())
    assert fleet.stop() == 0
