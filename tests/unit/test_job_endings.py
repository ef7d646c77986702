"""What `Job.result` makes of each way in which a job can end."""

import pytest

from windlass import App, InvalidResult, Job, JobCancelled, JobFailed, JobLost, RemoteError
from windlass.core.ids import new_id
from windlass.core.lifecycle import State
from windlass.core.records import JobResult, Reason
from windlass.core.remote import encode_error
from windlass.engine.waiting import ResultWaiter

app = App("memory://")


@app.task(name="count")
def count() -> int:
    return 1


async def end(monkeypatch: pytest.MonkeyPatch, state: State, reason: Reason = Reason.NONE, **said: bytes | None) -> int:
    job: Job[int] = Job(app._client, new_id(), count.spec)
    outcome = JobResult(job._id, state, reason, said.get("result"), said.get("error"))

    async def ended(*_: object) -> JobResult:
        return outcome

    monkeypatch.setattr(ResultWaiter, "wait", ended)
    try:
        return await job.result()
    finally:
        await app.aclose()


async def test_success(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await end(monkeypatch, State.SUCCEEDED, result=b"3") == 3
    for result in (b'"x"', None, b"\xff"):
        with pytest.raises(InvalidResult, match="count"):
            await end(monkeypatch, State.SUCCEEDED, result=result)


async def test_death_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        await end(monkeypatch, State.DEAD, error=encode_error(ValueError("bad"), 1, 0))
    assert isinstance(caught.value, RemoteError)
    with pytest.raises(RemoteError, match="cannot be decoded"):
        await end(monkeypatch, State.DEAD, error=b"\x80")
    with pytest.raises(JobFailed, match="no error was recorded"):
        await end(monkeypatch, State.DEAD)


async def test_death_of_losses_wins_over_older_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobLost, match="'count' is dead: its workers died"):
        await end(monkeypatch, State.DEAD, Reason.LOST, error=encode_error(ValueError("older"), 1, 0))


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (Reason.CANCELLED, "somebody asked for it"),
        (Reason.EXPIRED, "it had not started when it expired"),
        (Reason.PARENT, "a job that it depends on did not succeed"),
        (Reason.REPLACED, "a newer job took its unique key"),
    ],
)
async def test_cancellation_says_why(monkeypatch: pytest.MonkeyPatch, reason: Reason, said: str) -> None:
    with pytest.raises(JobCancelled, match=said) as caught:
        await end(monkeypatch, State.CANCELLED, reason)
    assert caught.value.reason == reason.name.lower()
