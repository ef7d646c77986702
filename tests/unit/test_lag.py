"""Who blocks the event loop: looked at from the loop's own thread, which so stands still for the length of a test."""

import asyncio
import logging
import threading

import pytest

from windlass.engine.lag import LoopWatch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def looked(watch: LoopWatch, clock: Clock, times: int = 1) -> None:
    """Look so many times, as often as one should."""
    for _ in range(times):
        clock.now += watch.pause
        watch.look()


async def turned() -> None:
    """Let the loop turn: callbacks that were there before us are called first."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def nothing() -> None: ...


async def test_a_loop_that_turns_is_not_reported(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    watch = LoopWatch(0.5, nothing, clock)
    for _ in range(5):
        looked(watch, clock)
        await turned()
        assert watch.ticked_at == clock.now
    assert not caplog.records


async def test_a_standstill_is_reported_once_and_again_when_it_is_over(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    watch = LoopWatch(0.5, nothing, clock)
    assert watch.pause == 0.25
    looked(watch, clock)  # asks the loop
    looked(watch, clock)
    assert not caplog.records, "half the patience"
    looked(watch, clock, times=20)
    (begun,) = caplog.messages
    assert begun.startswith("the event loop has been blocked for 0.5 s by code that is not in a task of the app")
    await turned()
    looked(watch, clock)
    assert caplog.messages[1].startswith("the event loop goes on: it was blocked for 5.2 s by code that is not")
    await turned()
    looked(watch, clock, times=3)
    assert len(caplog.messages) == 3, "the next standstill is another one"
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


async def test_zero_is_never(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    looks: list[float] = []
    watch = LoopWatch(0, lambda: looks.append(clock.now), clock)
    assert watch.pause == 1.0
    looked(watch, clock, times=100)
    assert not caplog.records
    assert len(looks) == 100, "the vitals are shown all the same"


@pytest.mark.parametrize("answered", [True, False])
async def test_when_the_whole_process_stood_still_nobody_is_blamed_for_sure(
    clock: Clock, caplog: pytest.LogCaptureFixture, *, answered: bool
) -> None:
    watch = LoopWatch(0.5, nothing, clock)
    looked(watch, clock)
    if answered:
        await turned()
    clock.now += 10
    watch.look()
    (said,) = caplog.messages
    assert said.startswith("the whole process stood still for 9.8 s (C code that keeps the GIL? a stopped process?); ")
    assert "now its event loop is in code that is not in a task of the app" in said
    looked(watch, clock, times=2)
    assert len(caplog.messages) == 2, "if the loop is blocked even then, that is another matter"
    assert caplog.messages[1].startswith("the event loop has been blocked for 0.5 s by ")


async def test_a_loop_that_is_closed_is_no_error(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    made: list[LoopWatch] = []

    def elsewhere() -> None:
        async def make() -> None:
            made.append(LoopWatch(0.5, nothing, clock))

        asyncio.run(make())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    looked(made[0], clock, times=5)
    assert "no line of Python" in caplog.text, "its thread is gone as well"
