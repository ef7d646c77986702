"""What a worker brings to jobs before they start: what it remembers of results, and what it looks up of retries."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from windlass.core.errors import StoreUnavailable
from windlass.core.ids import Family, new_id, new_run_id
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settled, Settlement
from windlass.core.options import encode_options
from windlass.core.records import JobRecord
from windlass.core.steps import Input, StepInfo
from windlass.core.task import JobOptions
from windlass.engine import inputs
from windlass.engine.inputs import Inputs
from windlass.engine.paused_runs import PausedRuns
from windlass.store.memory import MemoryStore

RUN = new_run_id()


def claimed(job_id: bytes, *takes: int) -> ClaimedJob:
    places = tuple(Input((f"p{number}",), ((number, number),)) for number in takes)
    info = StepInfo(run=RUN, number=9, name="it", inputs=places)
    payload = b"{%s}" % b",".join(b'"p%d":null' % number for number in takes)
    options = encode_options(JobOptions(step=info))
    return ClaimedJob(job_id, 1, "it", payload, options, "default", "", 5, 1, 0, 0, 0, 0)


class Heard:
    """What the inputs told the worker."""

    def __init__(self, store: MemoryStore, *, traced: bool = False) -> None:
        self.settled: list[ClaimedJob] = []
        self.delivered: list[ClaimedJob] = []
        self.inputs = Inputs(
            store,
            {},
            self.delivered.extend,
            lambda job, _: self.settled.append(job),
            PausedRuns(store),
            traced=traced,
        )

    def ends(self, number: int, result: bytes, answer: Settled) -> None:
        job = claimed(Family(RUN).id(number))
        self.inputs.ended(job, result)
        self.inputs.settled([Settlement(job.id, 1, Outcome.SUCCEEDED, result)], [answer])


@pytest.fixture
def heard() -> Heard:
    return Heard(MemoryStore())


async def test_what_the_store_accepted_is_there_without_asking(heard: Heard) -> None:
    heard.ends(1, b"10", Settled.APPLIED)
    heard.ends(2, b"20", Settled.ALREADY)
    [ready] = heard.inputs.fill([claimed(new_id(), 1, 2)])
    assert ready.payload == b'{"p1":10,"p2":20}'


async def test_what_the_store_refused_is_not(heard: Heard) -> None:
    """Another attempt has ended the step, with another result."""
    heard.ends(1, b"10", Settled.LOST)
    assert heard.inputs.fill([claimed(new_id(), 1)]) == []
    assert len(heard.inputs.loading) == 1
    heard.inputs.close()


async def test_results_that_are_remembered_have_bounds(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "REMEMBER", 2)
    for number in (1, 2, 3):
        heard.ends(number, b"1", Settled.APPLIED)
    assert len(heard.inputs.fill([claimed(new_id(), 2, 3)])) == 1
    assert heard.inputs.fill([claimed(new_id(), 1)]) == []
    monkeypatch.setattr(inputs, "REMEMBER_LARGEST", 3)
    heard.ends(4, b"12345", Settled.APPLIED)
    assert heard.inputs.fill([claimed(new_id(), 4)]) == []
    heard.inputs.close()


async def test_what_waits_can_be_taken_out(heard: Heard) -> None:
    job = claimed(new_id(), 1)
    heard.inputs.fill([job])
    assert heard.inputs.take_out(lambda one: one.id == job.id) == [job]
    assert not heard.inputs.loading
    heard.inputs.close()


# ------------------------------------------------------------------------------------------------ retries


class Asked(MemoryStore):
    """Answers when it is let go."""

    def __init__(self, *, away: bool = False) -> None:
        super().__init__()
        self.asked: list[Sequence[bytes]] = []
        self.may_answer = asyncio.Event()
        self._away = away

    async def get_jobs(self, ids: Sequence[bytes]) -> list[JobRecord | None]:
        self.asked.append(ids)
        await self.may_answer.wait()
        if self._away:
            raise StoreUnavailable("no")
        return await super().get_jobs(ids)


def retried() -> ClaimedJob:
    return msgspec.structs.replace(claimed(new_id()), attempt=2, failures=1)


async def test_the_attempts_before_are_looked_up_once_for_all_that_were_claimed_together() -> None:
    store = Asked()
    heard = Heard(store, traced=True)
    jobs = [retried(), retried()]
    first = claimed(new_id())
    assert heard.inputs.fill([*jobs, first]) == [first]
    assert set(heard.inputs.loading) == {job.id for job in jobs}
    store.may_answer.set()
    await asyncio.sleep(0.01)
    assert store.asked == [[job.id for job in jobs]]
    assert [(job.id, job.failed_span) for job in heard.delivered] == [(job.id, "") for job in jobs]
    assert not heard.inputs.loading


async def test_a_retry_starts_though_the_store_cannot_say_what_was_before() -> None:
    store = Asked(away=True)
    heard = Heard(store, traced=True)
    heard.inputs.fill([job := retried()])
    store.may_answer.set()
    await asyncio.sleep(0.01)
    assert [one.id for one in heard.delivered] == [job.id]


async def test_a_retry_that_was_given_back_meanwhile_does_not_start() -> None:
    store = Asked()
    heard = Heard(store, traced=True)
    heard.inputs.fill([kept := retried(), gone := retried()])
    assert heard.inputs.take_out(lambda one: one.id == gone.id) == [gone]
    store.may_answer.set()
    await asyncio.sleep(0.01)
    assert [one.id for one in heard.delivered] == [kept.id]


async def test_nothing_is_looked_up_where_nothing_is_traced() -> None:
    store = Asked()
    heard = Heard(store)
    assert heard.inputs.fill([job := retried()]) == [job]
    assert store.asked == []
