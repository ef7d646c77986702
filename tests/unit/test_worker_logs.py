"""What a worker writes of attempts that failed: a traceback is lines, and none of them can pass for a record."""

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.cli.logs import JsonFormatter, PlainFormatter
from windlass.context import Current, NoteSink, set_current
from windlass.core.ids import new_id, to_text
from windlass.core.lifecycle import Outcome
from windlass.core.model import ClaimedJob, ErrorRecord, Settlement
from windlass.core.remote import encode_error
from windlass.engine.endings import log_ending
from windlass.engine.unix import _quoted

FORGED = "2026-01-31T12:00:00.000Z ERROR [1] windlass.engine: forged"
HOSTILE = f"bad\x1b[31m\n{FORGED}\r{FORGED}\u2028{FORGED}"


def fail(message: str) -> ValueError:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def written(caplog: pytest.LogCaptureFixture, error: bytes, outcome: Outcome = Outcome.DEAD) -> list[str]:
    job = ClaimedJob(new_id(), 1, "t\nu", b"{}", None, "default", "", 4, 1, 0, 0, 0, 0, None)
    with caplog.at_level(logging.INFO):
        log_ending(job, Settlement(job.id, 1, outcome, error=error))
    (record,) = caplog.records
    return PlainFormatter().format(record).split("\n")


def test_the_traceback_of_a_dead_job_is_lines(caplog: pytest.LogCaptureFixture) -> None:
    lines = written(caplog, encode_error(fail("bad"), 1, 0))
    assert lines[0].endswith("is dead after attempt 1: ValueError: bad")
    assert lines[1].strip() == "Traceback (most recent call last):"
    assert "in fail" in lines[2]
    assert lines[-1].strip() == "ValueError: bad"


@pytest.mark.parametrize("outcome", [Outcome.DEAD, Outcome.RETRY, Outcome.UNDELIVERABLE])
def test_no_line_of_it_can_pass_for_a_record_or_move_a_terminal(
    caplog: pytest.LogCaptureFixture, outcome: Outcome
) -> None:
    for error in (
        encode_error(fail(HOSTILE), 1, 0),
        msgspec.json.encode(ErrorRecord(type=HOSTILE, traceback=HOSTILE)),
        msgspec.json.encode(ErrorRecord(type="E", message=HOSTILE, traceback=f"{HOSTILE}\n\n{HOSTILE}")),
    ):
        first, *others = written(caplog, error, outcome)
        caplog.clear()
        assert first.isprintable()
        assert r"t\nu" in first
        assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_so_it_is_where_an_exception_is_logged() -> None:
    try:
        fail_hard = 1 / 0
        assert fail_hard
    except ZeroDivisionError:
        info = sys.exc_info()
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "%s", (HOSTILE,), (ValueError, fail(HOSTILE), info[2]))
    record.stack_info = HOSTILE
    first, *others = PlainFormatter().format(record).split("\n")
    assert first.isprintable()
    assert others
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_json_is_one_object_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    job = ClaimedJob(new_id(), 1, "t\nu", b"{}", None, "q", "", 4, 3, 0, 0, 0, 0, None)
    with caplog.at_level(logging.INFO):
        log_ending(job, Settlement(job.id, 1, Outcome.DEAD, error=encode_error(fail(HOSTILE), 1, 0)))
    (record,) = caplog.records
    line = JsonFormatter().format(record)
    assert line.isprintable()
    said = json.loads(line)
    assert (said["level"], said["logger"], said["pid"]) == ("ERROR", "windlass.engine", record.process)
    assert (said["job"], said["task"], said["queue"], said["attempt"]) == (to_text(job.id), "t\nu", "q", 3)
    assert datetime.fromisoformat(said["time"]).tzinfo is UTC
    assert "is dead after attempt 3: ValueError" in said["message"]


def test_json_says_where_task_code_has_logged_it() -> None:
    job = ClaimedJob(new_id(), 1, "t", b"{}", None, "q", "", 4, 1, 0, 0, 0, 0, None)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logging.LogRecord("shop", logging.INFO, __file__, 1, "said %r", (object,), sys.exc_info())

    def inside() -> dict[str, object]:
        set_current(Current(job, cast("NoteSink", None)))
        found: dict[str, object] = json.loads(JsonFormatter().format(record))
        return found

    said = contextvars.copy_context().run(inside)
    assert (said["job"], said["task"], said["message"]) == (to_text(job.id), "t", "said <class 'object'>")
    assert FORGED in str(said["exception"])
    assert "job" not in json.loads(JsonFormatter().format(record)), "outside of a task there is none"


@given(st.text())
def test_the_supervisor_writes_json_without_its_library(text: str) -> None:
    said = _quoted(text)
    assert said.isascii()
    assert json.loads(said) == text
