"""What is read of a child's output, with a real pipe; and how a child hears that its worker is gone."""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator

import pytest

from windlass.core.model import MAX_LOG
from windlass.engine.process_pool.confine import watch_line
from windlass.engine.process_pool.output import Output


class Captured:
    """An output, its writing end, and what came of it."""

    def __init__(self) -> None:
        reading, self.writing = os.pipe()
        self.texts: list[str] = []
        self.came = asyncio.Event()
        self.output = Output(reading, self._log)

    def _log(self, text: str) -> None:
        self.texts.append(text)
        self.came.set()


@pytest.fixture
async def captured() -> AsyncIterator[Captured]:
    made = Captured()
    yield made
    made.output.close()
    os.close(made.writing)


async def test_output_comes_by_itself_after_a_moment(captured: Captured) -> None:
    os.write(captured.writing, b"one\n")
    async with asyncio.timeout(10):
        await captured.came.wait()
    assert captured.texts == ["one\n"]


async def test_a_flush_brings_everything_at_once(captured: Captured) -> None:
    os.write(captured.writing, b"one\n")
    captured.output.flush()
    assert captured.texts == ["one\n"]
    captured.output.flush()
    assert captured.texts == ["one\n"]


async def test_a_character_that_comes_in_two_pieces_is_one(captured: Captured) -> None:
    first, second = "é".encode()[:1], "é".encode()[1:]
    os.write(captured.writing, b"a" + first)
    async with asyncio.timeout(10):
        await captured.came.wait()
    os.write(captured.writing, second + b"z")
    captured.output.flush()
    assert "".join(captured.texts) == "aéz"


async def test_what_is_no_text_is_shown_as_what_it_is(captured: Captured) -> None:
    os.write(captured.writing, b"\xff\x00\xc3")
    captured.output.flush()
    assert captured.texts == ["\\xff\\x00\\xc3"]


async def test_of_much_output_the_end_is_kept_and_the_rest_is_counted(captured: Captured) -> None:
    written = 3 * MAX_LOG
    for _ in range(3):
        os.write(captured.writing, b"x" * (MAX_LOG - 1) + b"\n")
        captured.output._read()
        assert len(captured.output._gathered) <= 2 * MAX_LOG
    captured.output.flush()
    (text,) = captured.texts
    assert len(text) <= MAX_LOG
    head, _, kept = text.partition("\n")
    assert head == f"[{written - len(kept):,} bytes of output are left out here]"
    assert kept.endswith("x\n")


async def test_the_end_of_the_pipe_ends_the_reading(captured: Captured) -> None:
    os.write(captured.writing, b"last words")
    os.close(captured.writing)
    async with asyncio.timeout(10):
        await captured.came.wait()
    captured.output.flush()
    captured.writing = os.open(os.devnull, os.O_WRONLY)
    assert captured.texts == ["last words"]


def test_where_the_kernel_does_not_help_a_thread_sees_that_the_worker_is_gone() -> None:
    ours, theirs = socket.socketpair()
    gone = threading.Event()
    with ours, theirs:
        watch_line(theirs.fileno(), gone.set)
        ours.send(b"a job")
        assert not gone.wait(0.1), "it lives, and speaks"
        ours.close()
        assert gone.wait(10)
