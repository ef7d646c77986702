"""Services: safe to stop twice or before the start, and hard to kill."""

import asyncio
import logging

import pytest

from windlass.engine import service as module
from windlass.engine.service import Service


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_stop_before_start_and_twice() -> None:
    service = Service("test", for_ever)
    await service.stop()
    service.start()
    service.start()
    await service.stop()
    await service.stop()


async def test_a_service_that_raises_runs_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FIRST_BACK_OFF", 0.0)
    runs = 0

    async def fails_twice() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ValueError(f"run {runs}")

    service = Service("shaky", fails_twice)
    with caplog.at_level(logging.ERROR):
        service.start()
        await service.wait()
    assert runs == 3
    assert caplog.text.count("shaky failed") == 2
    await service.stop()
