"""Frames between a worker and its child processes."""

import random

import pytest

from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, Note, Settlement
from windlass.engine.process_pool.wire import (
    BrokenFrame,
    Cutter,
    Ended,
    Noted,
    Ready,
    Refused,
    decode_answer,
    decode_job,
    frame,
)

JOB = ClaimedJob(b"1" * 16, 7, "task", b'{"a":1}', None, "q", "process", 5, 2, 1, 0, 123, 0, "customer:1")
ANSWERS = [
    Ready(),
    Refused("no"),
    Noted(Note(b"1" * 16, 7, 0.5, "half", "a line\n")),
    Ended(Settlement(b"1" * 16, 7, Outcome.SUCCEEDED, b"x" * 100_000), 12345),
    Ended(Settlement(b"1" * 16, 7, Outcome.RETRY, None, b"{}", 5), 0),
]


def test_messages_arrive_as_they_were_sent() -> None:
    (body,) = Cutter(1000).feed(frame(JOB))
    assert decode_job(body) == JOB
    for answer in ANSWERS:
        (body,) = Cutter(10**6).feed(frame(answer))
        assert decode_answer(body) == answer


def test_it_does_not_matter_in_which_pieces_they_arrive(rng: random.Random) -> None:
    stream = b"".join(map(frame, ANSWERS))
    for most in (1, 2, 3, 5, 1000, len(stream)):
        cutter, found, at = Cutter(10**6), [], 0
        while at < len(stream):
            size = rng.randint(1, most)
            found += [decode_answer(body) for body in cutter.feed(stream[at : at + size])]
            at += size
        assert found == ANSWERS


def test_a_message_that_is_too_long_is_refused_before_it_has_come() -> None:
    with pytest.raises(BrokenFrame, match="4294967295 bytes"):
        list(Cutter(10**6).feed(b"\xff" * 5))
