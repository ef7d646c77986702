"""Making schedules that are not there: those that the application declares, when a worker starts, and others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from windlass.core.clock import Instant
from windlass.core.definition import Definition, encode
from windlass.core.firing import following
from windlass.core.model import MAX_BATCH
from windlass.core.schedules import NewSchedule, PutStatus
from windlass.store.port import Store


async def declare(store: Store, schedules: Mapping[str, Definition]) -> int:
    """Make those of these schedules that the store does not have; answers how many that were."""
    missing = await absent(store, schedules)
    made = await put_new(store, {name: schedules[name] for name in missing})
    return sum(status is PutStatus.STORED for status in made.values())


async def put_new(store: Store, schedules: Mapping[str, Definition], *, paused: bool = False) -> dict[str, PutStatus]:
    """Make schedules that are not there; answers what became of each."""
    now = await store.now()
    answers: dict[str, PutStatus] = {}
    for names in _batches(schedules):
        puts = [_new(name, schedules[name], now, paused=paused) for name in names]
        found = dict(zip(names, await store.put_schedules(puts), strict=True))
        # The store's clock was set back since these have fired.
        late = {name: answer for name, answer in found.items() if answer.status is PutStatus.FIRED}
        again = [_new(name, schedules[name], answer.last or now, paused=paused) for name, answer in late.items()]
        if again:
            found |= zip(late, await store.put_schedules(again), strict=True)
        answers |= {name: answer.status for name, answer in found.items()}
    return answers


async def absent(store: Store, names: Iterable[str]) -> list[str]:
    """Which of these the store does not have."""
    found: list[str] = []
    for some in _batches(names):
        records = await store.get_schedules(some)
        found += [name for name, record in zip(some, records, strict=True) if record is None]
    return found


def _new(name: str, one: Definition, after: Instant, *, paused: bool) -> NewSchedule:
    at = None if paused else following(one.trigger, after)
    return NewSchedule(name=name, definition=encode(one), version=0, next=at, paused=paused)


def _batches(names: Iterable[str]) -> list[list[str]]:
    listed = list(names)
    return [listed[start : start + MAX_BATCH] for start in range(0, len(listed), MAX_BATCH)]
