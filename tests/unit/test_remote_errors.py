"""Errors are data: written whatever happens, and raised again without importing or building anything."""

import asyncio
import pickle
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.errors import RemoteError
from windlass.core.model import ErrorRecord
from windlass.core.remote import MAX_MESSAGE, MAX_TRACEBACK, decode_error, encode_error, rebuild_error


def record_of(error: BaseException) -> ErrorRecord:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 - SystemExit and the like are raised here too
        return decode_error(encode_error(raised, 3, 99))


class OwnError(ValueError):
    """Its constructor counts how often it ran."""

    built = 0

    def __init__(self, code: int, detail: str) -> None:
        OwnError.built += 1
        super().__init__(f"{code}: {detail}")
        self.code = code


class SilentError(Exception):
    def __str__(self) -> str:
        raise SystemExit("a task's exception ends the worker")


class TakenError(Exception):
    """Nothing about it can be relied on."""

    def __new__(cls, *args: object) -> "TakenError":
        raise RuntimeError("not to be made again")

    def __init_subclass__(cls) -> None:
        raise RuntimeError("not to be derived from")


class FrozenError(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


def test_a_record_says_what_was_raised() -> None:
    record = record_of(OwnError(4, "no\x1b[31m"))
    assert record.type == f"{__name__}.OwnError"
    assert record.message == "4: no\x1b[31m"
    assert (record.attempt, record.at) == (3, 99)
    assert record.names == (f"{__name__}.OwnError", "ValueError", "Exception", "BaseException")
    assert "raise error" in record.traceback
    assert record.traceback.rstrip().endswith("OwnError: 4: no\x1b[31m")


@pytest.mark.parametrize(
    "error", [SilentError(), SystemExit(1), KeyError("k"), ExceptionGroup("g", [ValueError("v")]), ValueError("\ud800")]
)
def test_writing_a_record_never_raises(error: BaseException) -> None:
    record = record_of(error)
    assert record.type.endswith(type(error).__name__)


def in_engine(function: Callable[..., object]) -> ErrorRecord:
    """Call it as the engine would, and record what it raises there."""
    code = "def run():\n    try: call()\n    except BaseException as raised: return encode_error(raised, 1, 0)\n"
    names = {"__name__": "windlass.engine.runner", "function": function, "encode_error": encode_error}
    exec(compile(code + "def call():\n    function()\n", "/windlass/engine/runner.py", "exec"), names)
    return decode_error(names["run"]())  # type: ignore[operator]


def frames(record: ErrorRecord) -> list[str]:
    return re.findall(r"^  File .*, in (\w+)$", record.traceback, re.MULTILINE)


def test_a_traceback_begins_with_the_tasks_own_frames() -> None:
    def task() -> None:
        helper()

    def helper() -> None:
        raise ValueError("v")

    record = in_engine(task)
    assert frames(record) == ["task", "helper"]
    assert record.traceback.startswith("Traceback (most recent call last):\n")
    assert record.traceback.endswith("\nValueError: v\n")


def test_of_a_failure_in_windlass_alone_every_frame_is_kept() -> None:
    assert frames(in_engine(len)) == ["run", "call"]
    names: dict[str, Any] = {"__name__": "windlass.core.codec"}
    exec("def decode():\n    raise ValueError('bytes')", names)
    assert frames(in_engine(names["decode"])) == ["run", "call", "decode"]


def test_causes_and_contexts_stay_whole() -> None:
    def inner() -> None:
        raise KeyError("k")

    def task() -> None:
        try:
            inner()
        except KeyError as error:
            try:
                raise ValueError("v") from error
            except ValueError:
                raise TypeError("t")  # noqa: B904 - a context without a cause

    record = in_engine(task)
    assert frames(record) == ["task", "inner", "task", "task"]
    text = record.traceback
    order = [
        "in task",
        "in inner",
        "KeyError: 'k'",
        "direct cause",
        "ValueError: v",
        "another exception",
        "TypeError: t",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places), text


def test_the_members_of_a_group_stay_whole() -> None:
    async def child(number: int) -> None:
        raise ValueError(f"child {number}")

    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(2):
                group.create_task(child(number))

    record = in_engine(lambda: asyncio.run(parent()))
    assert record.type == "ExceptionGroup"
    assert "windlass/engine" not in record.traceback
    assert all(
        words in record.traceback for words in ("in parent", "in child", "ValueError: child 0", "ValueError: child 1")
    )


def test_a_record_is_bounded() -> None:
    def deep(n: int) -> None:
        deeper(n)

    def deeper(n: int) -> None:
        deep(n + 1)

    record = record_of(ValueError("é" * 100_000))
    assert len(record.message.encode()) <= MAX_MESSAGE
    assert len(record.message) >= MAX_MESSAGE // 2 - 1
    try:
        deep(0)
    except RecursionError as error:
        record = decode_error(encode_error(error, 1, 0))
    assert len(record.traceback.encode()) <= MAX_TRACEBACK
    assert "RecursionError" in record.traceback
    endless = type("N" * 10_000, (Exception,), {})
    assert len(record_of(endless()).type) <= 200


@given(st.binary(max_size=200))
def test_a_record_that_does_not_decode_becomes_one_that_says_so(data: bytes) -> None:
    assert decode_error(b"{" + data).type == "unknown"


def test_a_built_in_is_raised_as_itself_too() -> None:
    with pytest.raises(KeyError) as caught:
        raise rebuild_error(record_of(KeyError("who")))
    error = caught.value
    assert isinstance(error, RemoteError)
    assert str(error) == "KeyError: 'who'"
    assert error.type_name == "KeyError"
    assert "raise error" in error.traceback
    assert "Remote traceback" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("kind", [OSError, UnicodeError, ImportError, MemoryError, ZeroDivisionError, TimeoutError])
def test_the_nearest_known_base_decides(kind: type[Exception]) -> None:
    derived = type("Derived", (kind,), {})
    error = rebuild_error(record_of(derived("x")))
    assert isinstance(error, kind if kind is not UnicodeError else ValueError)
    assert str(error).endswith("Derived: x")
    assert repr(error)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), StopIteration(), GeneratorExit()])
def test_nothing_that_steers_the_interpreter_comes_back(error: BaseException) -> None:
    assert type(rebuild_error(record_of(error))) is RemoteError


def test_a_listed_class_is_raised_without_running_its_constructor() -> None:
    record = record_of(OwnError(4, "no"))
    built = OwnError.built
    assert not isinstance(rebuild_error(record), OwnError)
    error = rebuild_error(record, (OwnError,))
    assert isinstance(error, OwnError)
    assert isinstance(error, RemoteError)
    assert OwnError.built == built
    assert str(error).endswith("OwnError: 4: no")
    assert type(error) is type(rebuild_error(record, (OwnError,)))


@pytest.mark.parametrize("kind", [TakenError, FrozenError])
def test_a_class_that_resists_costs_its_type_not_the_error(kind: type[Exception]) -> None:
    record = ErrorRecord(type=f"{__name__}.{kind.__name__}", message="m", names=(f"{__name__}.{kind.__name__}",))
    error = rebuild_error(record, (kind,))
    assert isinstance(error, RemoteError)
    assert str(error) == f"{__name__}.{kind.__name__}: m"
    assert error.type_name == record.type


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "antigravity", "builtins.eval", "eval", "", "a.b.c"])
def test_names_in_a_record_are_words_only(name: str) -> None:
    before = set(sys.modules)
    error = rebuild_error(ErrorRecord(type=name, message="id", names=(name, "__import__")))
    assert type(error) is RemoteError
    assert set(sys.modules) == before


def test_the_shown_traceback_has_no_escape_sequences() -> None:
    error = rebuild_error(ErrorRecord(type="E", message="m", traceback="line\n\x1b]0;owned\x07\r\u202e"))
    notes: list[Any] = error.__notes__
    assert notes == ["Remote traceback:\nline\n\\x1b]0;owned\\x07\\r\\u202e"]
    assert "\x1b" in error.traceback


def test_a_remote_error_survives_pickling_as_its_plain_parent() -> None:
    error = pickle.loads(pickle.dumps(rebuild_error(record_of(ValueError("v")))))
    assert type(error) is RemoteError
    assert str(error) == "ValueError: v"
    assert error.type_name == "ValueError"
