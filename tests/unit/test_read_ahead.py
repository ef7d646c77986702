"""Iterables that are read ahead in another thread than the one that takes from them."""

import asyncio
import queue
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from windlass.compute import mapping
from windlass.compute.mapping import AskedFor

Rows = list[tuple[Any, ...]]


def serve(events: "queue.SimpleQueue[Any]", source: Iterator[tuple[Any, ...]]) -> threading.Thread:
    def run() -> None:
        while (event := events.get(timeout=20)) is not None:
            event.answer(source)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_fewer_rows_than_asked_for_are_the_last_ones() -> None:
    """More may be asked for while the request before is still being answered, and has had all that it may."""
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    asked_again = threading.Event()

    def source() -> Iterator[tuple[int]]:
        for number in range(10):
            if number == 3:
                assert asked_again.wait(20)
            yield (number,)

    async def take() -> list[Rows]:
        asked = AskedFor(1, events)
        first = await asked.take(2, 5)
        second = asyncio.create_task(asked.take(6, 6))
        await asyncio.sleep(0)  # it asks
        asked_again.set()
        found = [first, await second]
        while len(found[-1]) == 6 or len(found) == 2:
            found.append(await asked.take(6, 6))
        events.put(None)
        return found

    thread = serve(events, source())
    found = asyncio.run(take())
    thread.join()
    assert found == [[(0,), (1,)], [(number,) for number in range(2, 8)], [(8,), (9,)]]


@pytest.mark.parametrize("seed", range(20))
def test_none_is_lost_and_none_comes_twice(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(mapping, "AHEAD", rng.choice([0, 0.0001, 0.005]))
    count, slow = rng.randrange(3000), rng.choice([0, 0.1, 0.01])
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def source() -> Iterator[tuple[int]]:
        for number in range(count):
            if rng.random() < slow:
                time.sleep(0.00002)
            yield (number,)

    async def take() -> Rows:
        asked, found = AskedFor(1, events), []
        others = random.Random(seed)
        while True:
            wanted = others.randrange(1, 40)
            some = await asked.take(wanted, wanted * others.randrange(1, 20))
            found += some
            if len(some) < wanted:
                events.put(None)
                return found
            if others.random() < 0.2:
                await asyncio.sleep(0)

    thread = serve(events, source())
    found = asyncio.run(take())
    thread.join()
    assert found == [(number,) for number in range(count)]
