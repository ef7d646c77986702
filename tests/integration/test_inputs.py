"""What a worker remembers of results, for the steps that take them."""

import pytest

from windlass.core.ids import Family, new_id, new_run_id
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Settled, Settlement
from windlass.core.options import encode_options
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

    def __init__(self) -> None:
        self.settled: list[Settlement] = []
        self.delivered: list[ClaimedJob] = []
        store = MemoryStore()
        self.inputs = Inputs(store, {}, self.delivered.extend, self.settled.append, PausedRuns(store))

    def ends(self, number: int, result: bytes, answer: Settled) -> None:
        job = claimed(Family(RUN).id(number))
        self.inputs.ended(job, result)
        self.inputs.settled([Settlement(job.id, 1, Outcome.SUCCEEDED, result)], [answer])


@pytest.fixture
def heard() -> Heard:
    return Heard()


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
