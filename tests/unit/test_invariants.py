"""Each invariant notices what it is for: one sound snapshot, and one way to break it per case."""

from collections import Counter
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest

from windlass.core.clock import MINUTE, SECOND
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import State
from windlass.core.model import Session
from windlass.core.records import JobRecord, Limit, LimitScope, QueueRecord, Reason, SessionRecord
from windlass.testing.invariants import InvariantBroken, Watcher, check, violations
from windlass.testing.snapshot import Snapshot, without_large

NOW = 10**15
WORKER = b"w" * 16


def job(number: int, state: State, **changes: Any) -> JobRecord:
    """A sound job in this state."""
    fields: dict[str, Any] = {"enqueued_at": NOW}
    if state is State.WAITING:
        fields |= {"parents_open": 1}
    if state is State.SCHEDULED:
        fields |= {"due_at": NOW + SECOND}
    if state in {State.READY, State.RUNNING}:
        fields |= {"sequence": number}
    if state is State.RUNNING:
        fields |= {"session": WORKER, "token": 1, "attempt": 1, "started_at": NOW}
    if state.is_finished:
        fields |= {"finished_at": NOW, "purge_at": NOW + 10 * MINUTE}
    if state is State.CANCELLED:
        fields |= {"reason": Reason.CANCELLED}
    fields |= {"task": "t", "queue": "q", "requires": "", "priority": 5, "payload": b"{}", "options": None}
    return JobRecord(id=bytes([number]) * 16, state=state, **(fields | changes))


def snapshot(*jobs: JobRecord, now: int = NOW, limits: tuple[Limit, ...] = (), **changes: Any) -> Snapshot:
    """What a store would say that holds these jobs, for one worker."""
    states = Counter(record.state for record in jobs if record.queue == "q")
    queue = QueueRecord(
        name="q",
        waiting=states[State.WAITING],
        scheduled=states[State.SCHEDULED],
        ready=states[State.READY],
        running=states[State.RUNNING],
        suspects=sum(record.suspect for record in jobs if record.state is State.READY),
        oldest_ready_at=min((record.enqueued_at for record in jobs if record.state is State.READY), default=None),
    )
    session = SessionRecord(
        session=Session(id=WORKER, node="n", pid=1),
        opened_at=NOW,
        lease_until=NOW,
        renewals=0,
        revoked=False,
        running=states[State.RUNNING],
    )
    newest_first = sorted(jobs, key=lambda record: record.id, reverse=True)
    fields: dict[str, Any] = {
        "now": now,
        "jobs": {record.id: record for record in jobs},
        "listed": [without_large(record) for record in newest_first],
        "counts": dict(Counter((record.queue, int(record.state)) for record in jobs)),
        "queues": {"q": queue},
        "limits": list(limits),
        "sessions": {WORKER: session},
    }
    return Snapshot(**(fields | changes))


def two_ready() -> list[JobRecord]:
    return [job(1, State.READY), job(2, State.READY)]


SOUND = [job(number, state) for number, state in enumerate(State)]


def test_a_sound_store_has_no_violations() -> None:
    assert violations(snapshot(*SOUND)) == []


@pytest.mark.parametrize(
    ("state", "changes", "said"),
    [
        (State.READY, {"finished_at": NOW}, "finished_at"),
        (State.SUCCEEDED, {"finished_at": None, "purge_at": None}, "finished_at"),
        (State.READY, {"purge_at": NOW}, "purge_at although unfinished"),
        (State.RUNNING, {"session": None}, "running for nobody"),
        (State.RUNNING, {"started_at": None}, "never started"),
        (State.RUNNING, {"token": 0, "attempt": 0}, "without a claim"),
        (State.RUNNING, {"attempt": 0}, "attempt 0"),
        (State.READY, {"sequence": None}, "no place"),
        (State.SCHEDULED, {"due_at": None}, "never"),
        (State.WAITING, {"parents_open": 0}, "waits for nothing"),
        (State.READY, {"parents_open": -1}, "no parents"),
        (State.READY, {"attempt": 2, "token": 1}, "more attempts than claims"),
        (State.READY, {"failures": 1}, "more failures"),
        (State.READY, {"losses": 1}, "more losses"),
        (State.READY, {"suspect": True, "losses": 1, "token": 1}, "fewer than two losses"),
        (State.READY, {"losses": 2, "token": 2}, "not suspect"),
        (State.READY, {"cancel_requested": True}, "unstarted"),
        (State.DEAD, {"result": b"1"}, "a result without success"),
        (State.CANCELLED, {"reason": Reason.NONE}, "without a reason"),
        (State.READY, {"reason": Reason.CANCELLED}, "without a reason"),
        (State.SUCCEEDED, {"reason": Reason.LOST}, "not dead"),
        (State.DEAD, {"reason": Reason.SKIPPED}, "not succeeded"),
        (State.CANCELLED, {"reason": Reason.EXPIRED}, "without an expiry"),
        (State.CANCELLED, {"reason": Reason.EXPIRED, "expires_at": NOW, "attempt": 1, "token": 1}, "had started"),
        (State.READY, {"errors": [b"{}"] * 11}, "too many errors"),
        (State.READY, {"log": "x" * 70_000}, "too long a log"),
    ],
)
def test_a_job_that_contradicts_itself_is_noticed(state: State, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvariantBroken, match=said):
        check(snapshot(job(1, state, **changes)))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (snapshot(job(1, State.READY, unique_key="k"), job(2, State.WAITING, unique_key="k")), "unique key"),
        (snapshot(job(1, State.READY, sequence=7), job(2, State.READY, sequence=7)), "share the sequence"),
        (snapshot(job(1, State.RUNNING), sessions={}), "not known"),
        (snapshot(job(1, State.RUNNING), job(2, State.RUNNING, suspect=True, losses=2, token=3)), "runs beside"),
        (snapshot(job(1, State.READY), counts={("q", 2): 2}), "counts say"),
        (snapshot(job(1, State.READY), queues={"q": QueueRecord(name="q")}), "queue q says"),
        (snapshot(job(1, State.READY), queues={}), r"leaves out \['q'\]"),
        (snapshot(limits=(Limit(scope=LimitScope.QUEUE, name="z", paused=True),)), r"leaves out \['z'\]"),
        (
            snapshot(job(1, State.READY), job(2, State.READY), listed=[job(1, State.READY), job(2, State.READY)]),
            "order",
        ),
        (snapshot(job(1, State.READY), listed=[job(1, State.READY, priority=9)]), "not the same"),
        (snapshot(listed=[job(1, State.READY)]), "does not know it"),
    ],
)
def test_jobs_that_contradict_each_other_are_noticed(bad: Snapshot, said: str) -> None:
    with pytest.raises(InvariantBroken, match=said):
        check(bad)


def test_a_session_that_miscounts_is_noticed() -> None:
    sound = snapshot(job(1, State.RUNNING))
    record = msgspec.structs.replace(sound.sessions[WORKER], running=2)
    with pytest.raises(InvariantBroken, match="says 2 running"):
        check(snapshot(job(1, State.RUNNING), sessions={WORKER: record}))


def finished_job(**changes: Any) -> JobRecord:
    return job(1, State.SUCCEEDED, **changes)


@pytest.mark.parametrize(
    ("before", "after", "now", "said"),
    [
        (job(1, State.READY), None, NOW + 20 * MINUTE, "not finished"),
        (finished_job(), None, NOW + MINUTE, "too short ago"),
        (finished_job(purge_at=None), None, NOW + 20 * MINUTE, "dependants were unfinished"),
        (job(1, State.READY), job(1, State.READY, payload=b"[]"), NOW, "payload changed"),
        (job(1, State.READY, token=2, attempt=1), job(1, State.READY, token=1, attempt=0), NOW, "token went back"),
        (job(1, State.READY, token=2, attempt=1), job(1, State.READY, token=2, attempt=2), NOW, "attempts 1 of 2"),
        (job(1, State.RUNNING), job(1, State.WAITING, token=1), NOW, "became waiting"),
        (finished_job(result=b"1"), finished_job(result=b"2"), NOW, "finished, and result"),
        (
            job(1, State.READY, token=1, attempt=1, failures=1),
            job(1, State.READY, token=1, attempt=1),
            NOW,
            "failures went back",
        ),
    ],
)
def test_a_step_that_cannot_be_is_noticed(before: JobRecord, after: JobRecord | None, now: int, said: str) -> None:
    watcher = Watcher()
    watcher.see(snapshot(before))
    with pytest.raises(InvariantBroken, match=said):
        watcher.see(snapshot(*([] if after is None else [after]), now=now))


def test_replay_may_do_what_nothing_else_may() -> None:
    watcher = Watcher()
    watcher.see(snapshot(job(1, State.DEAD, failures=3, token=3, attempt=3)))
    watcher.see(snapshot(job(1, State.READY, token=3, attempt=3)), replayed=[bytes([1]) * 16])


def test_an_acknowledged_job_that_is_not_stored_is_noticed() -> None:
    watcher = Watcher()
    watcher.acknowledged.add(b"x" * 16)
    with pytest.raises(InvariantBroken, match="was stored, and is not"):
        watcher.see(snapshot())


@pytest.mark.parametrize(("until_started", "sound"), [(set(), False), ({bytes([2]) * 16}, True)])
def test_a_key_held_twice_is_noticed_if_neither_has_given_it_up(until_started: set[bytes], sound: bool) -> None:
    both = snapshot(job(1, State.READY, unique_key="k"), job(2, State.RUNNING, unique_key="k"))
    watcher = Watcher(until_started=until_started)
    with nullcontext() if sound else pytest.raises(InvariantBroken, match="unique key"):
        watcher.see(both)


@pytest.mark.parametrize(
    ("scope", "name", "changes"),
    [
        (LimitScope.QUEUE, "q", {}),
        (LimitScope.TASK, "t", {}),
        (LimitScope.KEY, "g:1", {"limit_key": "g:1"}),
        (LimitScope.KEY, "g", {"limit_key": "g:1"}),
    ],
)
def test_a_limit_that_is_exceeded_is_noticed(scope: LimitScope, name: str, changes: dict[str, Any]) -> None:
    limit = Limit(scope=scope, name=name, concurrency=1)
    ready = [job(number, State.READY, **changes) for number in (1, 2)]
    running = [job(number, State.RUNNING, **changes) for number in (1, 2)]
    watcher = Watcher()
    watcher.see(snapshot(*ready, limits=(limit,)))
    with pytest.raises(InvariantBroken, match="which is limited to 1"):
        watcher.see(snapshot(*running, limits=(limit,)))

    before_the_limit = Watcher()
    before_the_limit.see(snapshot(*running))
    before_the_limit.see(snapshot(*running, limits=(limit,)))


PARENT, CHILD = bytes([1]) * 16, bytes([2]) * 16


@pytest.mark.parametrize(
    ("parent", "child", "policy", "said"),
    [
        (State.RUNNING, State.READY, EdgePolicy.SUCCEEDED, "its parents say WAIT"),
        (State.DEAD, State.RUNNING, EdgePolicy.SUCCEEDED, "its parents say CANCEL"),
        (State.SUCCEEDED, State.WAITING, EdgePolicy.SUCCEEDED, "is forgotten"),
        (State.DEAD, State.WAITING, EdgePolicy.DONE, "is forgotten"),
        (State.SUCCEEDED, State.CANCELLED, EdgePolicy.SUCCEEDED, "is cancelled for its parents"),
    ],
)
def test_a_dependant_that_disagrees_with_its_parents_is_noticed(
    parent: State, child: State, policy: EdgePolicy, said: str
) -> None:
    reason = {"reason": Reason.PARENT} if child is State.CANCELLED else {}
    watcher = Watcher(edges={(PARENT, CHILD): policy})
    above = job(1, parent, **({} if not parent.is_finished else {"purge_at": None}))
    with pytest.raises(InvariantBroken, match=said):
        watcher.see(snapshot(above, job(2, child, **reason)))


def test_a_dependant_may_lag_behind_only_while_a_cursor_is_pending() -> None:
    above, below = job(1, State.SUCCEEDED, purge_at=None), job(2, State.WAITING)
    Watcher(edges={(PARENT, CHILD): EdgePolicy.DONE}).see(snapshot(above, below), pending=True)


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([job(1, State.SUCCEEDED), job(2, State.READY)], "may be purged"),
        ([job(2, State.READY)], "is gone, and its dependant"),
    ],
)
def test_a_parent_that_does_not_outlive_its_dependants_is_noticed(jobs: list[JobRecord], said: str) -> None:
    with pytest.raises(InvariantBroken, match=said):
        Watcher(edges={(PARENT, CHILD): EdgePolicy.SUCCEEDED}).see(snapshot(*jobs))
