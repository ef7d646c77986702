"""Records that no producer of ours would write, put straight into the SQLite file: dead or undeliverable with their
bytes kept, and the worker goes on."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.system.crash_site import CrashSite, until
from windlass.core.clock import HOUR, SECOND
from windlass.core.lifecycle import State
from windlass.core.model import ErrorRecord


@pytest.fixture
def site(tmp_path: Path, rng: random.Random) -> Iterator[CrashSite]:
    with CrashSite(tmp_path, rng) as made:
        yield made


HOPELESS = {
    "an empty list": b"[]",
    "a number": b"42",
    "null": b"null",
    "a text": b'"x"',
    "nothing": b"",
    "binary junk": random.Random(7).randbytes(1000),
    "lone surrogate": b'{"n": "\xed\xa0\x80"}',
    "200 KiB of nesting": b'{"n":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of ten thousand digits": b'{"n":' + b"9" * 10_000 + b"}",
    "cut off": b'{"n": 1',
}
"""Bytes that no version of the task could read."""
REJECTED = {
    "an empty object": b"{}",
    "a wrong type": b'{"n": "one"}',
    "an unknown parameter": b'{"n": 1, "m": 2}',
    "300 KiB of nesting": b'{"n":' + b"[" * 150_000 + b"]" * 150_000 + b"}",
    "a number of a million digits": b'{"n":' + b"9" * 1_000_000 + b"}",
}
"""Bytes that another version of the task, or one with a higher limit, might accept: it may be on its way."""


def test_undecodable_records(site: CrashSite) -> None:
    site.enqueue("work", ({"n": n} for n in range(2500)))
    hopeless = site.enqueue("work", ({"n": n} for n in range(len(HOPELESS))), expect=State.DEAD)
    rejected = site.enqueue("work", ({"n": n} for n in range(len(REJECTED))))
    unknown = site.enqueue("os:system", [{"command": "true"}])
    junk = dict(zip(hopeless + rejected, [*HOPELESS.values(), *REJECTED.values()], strict=True))
    for job_id, payload in junk.items():
        site.by_hand("payload", payload, job_id)
    site.enqueue("work", ({"n": n} for n in range(2500)))
    fleet = site.workers(2)
    pids = fleet.pids()
    undeliverable = rejected + unknown
    until(lambda: site.unfinished() == len(undeliverable), "all but the undeliverable to finish")
    until(lambda: all(site.record(job_id).errors for job_id in undeliverable), "each of those to be tried")
    for job_id, (what, payload) in zip(hopeless, HOPELESS.items(), strict=True):
        job = site.record(job_id)
        assert (job.state, job.payload, job.failures) == (State.DEAD, payload, 1), what
        assert error_of(job.errors) == "windlass.core.errors.UndecodablePayload", what
    for job_id in undeliverable:
        job = site.record(job_id)
        assert job.state in (State.SCHEDULED, State.READY, State.RUNNING)
        assert (job.losses, job.failures) == (0, 0)
    assert error_of(site.record(unknown[0]).errors) == "windlass.core.errors.UnknownTask"
    assert site.record(unknown[0]).payload == b'{"command":"true"}'
    # The version that could run them does not come: after an hour they are dead.
    for job_id in undeliverable:
        site.by_hand("undeliverable_since", site.ask(site.store.now()) - HOUR - SECOND, job_id)
    site.books.expected.update(dict.fromkeys(undeliverable, State.DEAD))
    site.drained()
    assert all(site.record(job_id).payload == junk[job_id] for job_id in rejected)
    site.audit()
    assert fleet.pids() == pids, "nobody died"
    assert fleet.stop() == 0


def error_of(errors: list[bytes]) -> str:
    return msgspec.json.decode(errors[-1], type=ErrorRecord).type
