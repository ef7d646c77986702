"""One verb's work in SQLite is bounded: counted in steps of its virtual machine, however many jobs wait in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from windlass.core.clock import SECOND
from windlass.core.ids import new_id
from windlass.core.model import ClaimAnswer, ClaimRequest, Lane, NewJob, Progress, Session, Settings
from windlass.core.records import Limit, LimitScope, Rate
from windlass.store.sqlite.claim import claim
from windlass.store.sqlite.connection import open_connection
from windlass.store.sqlite.enqueue import enqueue
from windlass.store.sqlite.janitor import promote
from windlass.store.sqlite.limits import put_limit
from windlass.store.sqlite.schema import prepare
from windlass.store.sqlite.sessions import open_session
from windlass.store.sqlite.transaction import Transaction

FEW, MANY = 3_000, 30_000
PER_CALL = 100
"""Steps of the virtual machine between two calls of the handler that counts them."""


class Bench:
    """A database, one session, and what verbs cost."""

    def __init__(self, path: str) -> None:
        self.db = open_connection(path)
        prepare(self.db, path)
        self.now = 1_800_000_000_000_000
        self.tx = Transaction(self.db, lambda: self.now, Settings())
        self.session = new_id()
        self.requests = 0
        self.steps(lambda: open_session(self.tx, Session(id=self.session, node="n", pid=1)))

    def steps(self, act: Callable[[], object]) -> int:
        """Do it in a transaction, and count the steps of the virtual machine."""
        count = 0

        def tick() -> None:
            nonlocal count
            count += PER_CALL

        self.db.set_progress_handler(tick, PER_CALL)
        self.tx.begin()
        act()
        self.tx.commit()
        self.db.set_progress_handler(None, 0)
        return count

    def put(self, number: int, key: Callable[[int], str | None] = lambda _: None, **fields: object) -> None:
        for start in range(0, number, 1000):
            jobs = [
                NewJob(id=new_id(), task="t", payload=b"{}", limit_key=key(index), **fields)  # type: ignore[arg-type]
                for index in range(start, min(number, start + 1000))
            ]
            self.steps(lambda jobs=jobs: enqueue(self.tx, jobs, first_sent=self.now))  # type: ignore[misc]

    def limit(self, scope: LimitScope, name: str, **what: object) -> None:
        self.steps(lambda: put_limit(self.tx, Limit(scope=scope, name=name, **what)))  # type: ignore[arg-type]

    def claim(self, limit: int) -> tuple[ClaimAnswer, int]:
        self.requests += 1
        answers: list[ClaimAnswer] = []
        request = ClaimRequest(self.requests, (Lane("default", "", limit),))
        cost = self.steps(lambda: answers.append(claim(self.tx, self.session, request)))
        return answers[0], cost

    def expire(self) -> None:
        progress: list[Progress] = [Progress(1, more=True)]
        while progress[-1].more:
            self.steps(lambda: progress.append(promote(self.tx, 1000)))

    def claim_all(self) -> None:
        while (answer := self.claim(1000)[0]).jobs or answer.more:
            pass


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[tuple[Bench, Bench]]:
    pair = Bench(str(tmp_path / "few.db")), Bench(str(tmp_path / "many.db"))
    yield pair
    for bench in pair:
        bench.db.close()


def test_sqlite_counts_steps(benches: tuple[Bench, Bench]) -> None:
    """Else the other tests here would say nothing."""
    few, many = benches
    few.put(10)
    many.put(1000)
    assert 0 < few.claim(1000)[1] * 20 < many.claim(1000)[1]


def test_blocked_keys_cost_a_claim_nothing(benches: tuple[Bench, Bench]) -> None:
    costs = []
    for bench, number in zip(benches, (FEW, MANY), strict=True):
        bench.limit(LimitScope.KEY, "g", concurrency=1)
        bench.put(number, lambda index: f"g:{index // 2}")
        bench.claim_all()
        bench.put(10)
        answer, cost = bench.claim(100)
        assert len(answer.jobs) == 10
        costs.append(cost)
    assert costs[1] < costs[0] * 1.2


def test_jobs_of_one_blocked_key_cost_a_claim_nothing(benches: tuple[Bench, Bench]) -> None:
    costs = []
    for bench, number in zip(benches, (FEW, MANY), strict=True):
        bench.limit(LimitScope.KEY, "g", rate=Rate(1, 3600 * SECOND))
        bench.put(number, lambda _: "g:1")
        bench.put(10, lambda index: f"g:small{index}")
        answer, cost = bench.claim(100)
        assert len(answer.jobs) == 11
        costs.append(cost)
    assert costs[1] < costs[0] * 1.2


def test_waiting_keys_cost_a_claim_nothing(benches: tuple[Bench, Bench]) -> None:
    costs = []
    for bench, number in zip(benches, (FEW, MANY), strict=True):
        bench.limit(LimitScope.KEY, "g", concurrency=1)
        bench.put(number, lambda index: f"g:{index}")
        bench.claim(100)
        answer, cost = bench.claim(100)
        assert len(answer.jobs) == 100
        costs.append(cost)
    assert costs[1] < costs[0] * 1.2


def test_a_blocked_task_costs_one_claim_a_bounded_detour(benches: tuple[Bench, Bench]) -> None:
    """And later ones nothing."""
    costs = []
    for bench, number in zip(benches, (FEW, MANY), strict=True):
        bench.limit(LimitScope.TASK, "t", concurrency=1)
        bench.put(number)
        worst = 0
        while (found := bench.claim(100))[0].jobs or found[0].more:
            worst = max(worst, found[1])
        bench.put(10)
        costs.append((worst, bench.claim(100)[1]))
    assert costs[1][0] < costs[0][0] * 1.2
    assert costs[1][1] < costs[0][1] * 1.2


def test_expired_jobs_cost_a_claim_a_bounded_detour(benches: tuple[Bench, Bench]) -> None:
    costs = []
    for bench, number in zip(benches, (FEW, MANY), strict=True):
        bench.put(number, expires_in=SECOND, priority=9)
        bench.put(1)
        bench.now += SECOND
        answer, cost = bench.claim(100)
        assert answer.jobs == []
        costs.append(cost)
        bench.expire()
        assert len(bench.claim(100)[0].jobs) == 1
    assert costs[1] < costs[0] * 1.2


@pytest.mark.parametrize("keys", [1, FEW * FEW], ids=["of one key", "of a key each"])
@pytest.mark.parametrize("plain", [False, True], ids=["", "and some without a key"])
def test_expired_jobs_with_keys_cost_a_claim_a_bounded_detour(
    benches: tuple[Bench, Bench], keys: int, plain: bool
) -> None:
    """And it says so, and tells the janitors; once they have come by it finds what stands behind."""
    costs = []
    for bench, number in zip(benches, (FEW, MANY), strict=True):
        bench.limit(LimitScope.KEY, "g", concurrency=1)
        bench.put(number, lambda index: f"g:{index % keys}", expires_in=SECOND)
        if plain:
            bench.put(number, expires_in=SECOND)
        bench.put(1, lambda _: "g:last")
        bench.put(1, priority=1)
        bench.now += SECOND
        answer, cost = bench.claim(100)
        assert answer.jobs == []
        assert answer.more
        assert bench.tx.hints.due == bench.now
        costs.append(cost)
        bench.expire()
        assert [job.priority for job in bench.claim(100)[0].jobs] == [5, 1]
    assert costs[1] < costs[0] * 1.2


def test_a_claim_of_one_job_reads_few_lines(benches: tuple[Bench, Bench]) -> None:
    few, _ = benches
    few.limit(LimitScope.KEY, "g", concurrency=1)
    few.put(FEW, lambda index: f"g:{index}")
    assert few.claim(1)[1] * 4 < few.claim(100)[1]
