"""Thread slots: as many threads as there is work, and no end forgotten."""

import asyncio
import threading
from collections.abc import Callable

from windlass.engine.threads import ThreadSlots, Work


async def test_every_end_is_delivered_on_the_loop() -> None:
    slots = ThreadSlots(4, asyncio.get_running_loop())
    ends: list[int] = []
    done = asyncio.Event()
    loop_thread = threading.get_ident()

    def work(number: int) -> Work:
        def end() -> None:
            assert threading.get_ident() == loop_thread
            ends.append(number)
            if len(ends) == 2000:
                done.set()

        def run() -> Callable[[], None]:
            assert threading.get_ident() != loop_thread
            return end

        return run

    for number in range(2000):
        slots.submit(work(number))
    async with asyncio.timeout(10):
        await done.wait()
    assert sorted(ends) == list(range(2000))
    slots.close()


async def test_threads_start_only_when_there_is_work_for_them() -> None:
    slots = ThreadSlots(100, asyncio.get_running_loop())
    for _ in range(5):
        ended = asyncio.Event()
        slots.submit(lambda ended=ended: ended.set)
        await ended.wait()
    assert slots._threads == 1, "one thread did them one after the other"
    slots.close()
