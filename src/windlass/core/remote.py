"""Exceptions as data, and the one way back.

A worker writes what was raised as an `ErrorRecord`: words, and nothing else. A caller gets a `RemoteError`; where one
of the recorded names is in a closed table of built-ins, or is a class that the task's author listed, the error is an
instance of that class too. Nothing is imported and no constructor but our own runs, whatever the record says.
"""

from __future__ import annotations

import traceback
from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import Any, cast

import msgspec

from windlass.core.clock import Instant
from windlass.core.errors import InvalidResult, PayloadTooLarge, ProcessDied, RemoteError
from windlass.core.model import ErrorRecord
from windlass.core.text import printable

MAX_MESSAGE = 4 * 1024
"""Bytes of an exception's message that are kept: the first ones."""
MAX_TRACEBACK = 8 * 1024
"""Bytes of a formatted traceback that are kept: the last ones."""
_MAX_TYPE_NAME = 200
_MAX_NAMES = 20
_MAX_FRAMES = 100

_BUILT_INS: dict[str, type[BaseException]] = {
    kind.__name__: kind
    for kind in (
        ArithmeticError, AssertionError, AttributeError, BlockingIOError, BrokenPipeError, BufferError,
        ChildProcessError, ConnectionAbortedError, ConnectionError, ConnectionRefusedError, ConnectionResetError,
        EOFError, Exception, FileExistsError, FileNotFoundError, FloatingPointError, ImportError, IndexError,
        InterruptedError, IsADirectoryError, KeyError, LookupError, MemoryError, ModuleNotFoundError, NameError,
        NotADirectoryError, NotImplementedError, OSError, OverflowError, PermissionError, ProcessLookupError,
        RecursionError, ReferenceError, RuntimeError, TimeoutError, TypeError, UnboundLocalError, ValueError,
        ZeroDivisionError,
    )
}  # fmt: skip
"""No exits, no StopIteration, no groups, none that cannot stand without its own arguments."""
_OURS: tuple[type[BaseException], ...] = (ProcessDied, InvalidResult, PayloadTooLarge)
"""What Windlass itself reports in place of what the task raised."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ErrorRecord).decode


def encode_error(error: BaseException, attempt: int, now: Instant, span: str | None = None) -> bytes:
    """Write an exception as an encoded `ErrorRecord`. Never raises, whatever ``str(error)`` does.

    The traceback begins with the first frame that is not the engine's.

    Args:
        error: what the attempt raised.
        attempt: number of the attempt.
        now: instant of the worker's clock.
        span: of the attempt, as a ``traceparent``.
    """
    kind = type(error)
    names = tuple(type_name(base) for base in kind.__mro__[:_MAX_NAMES] if base is not object)
    return _encode(
        ErrorRecord(
            type=names[0],
            message=_message(error),
            traceback=_traceback(error),
            attempt=attempt,
            at=now,
            names=names,
            span=span,
        )
    )


def with_span(data: bytes, span: str | None) -> bytes:
    """The same encoded error, with the attempt's span, which was made only afterwards."""
    return data if span is None else _encode(msgspec.structs.replace(decode_error(data), span=span))


def decode_error(data: bytes) -> ErrorRecord:
    """Read an encoded `ErrorRecord`. Never raises: bytes that are none become a record that says so."""
    try:
        return _decode(data)
    except (ValueError, RecursionError, MemoryError) as error:
        return ErrorRecord(type="unknown", message=f"the error record cannot be decoded: {error}")


def is_named(data: bytes, name: str) -> bool:
    """Say whether an encoded error is of a class of this name, or of a base of it has that name: in full, as records
    write it (``requests.exceptions.Timeout``), or without its module (``Timeout``)."""
    record = decode_error(data)
    known = record.names or (record.type,)
    return any(full == name or full.rpartition(".")[2] == name for full in known)


def type_name(kind: type) -> str:
    """Name a class as records do: ``module.qualname``, built-ins without their module."""
    module, name = kind.__module__, kind.__qualname__
    full = name if module == "builtins" else f"{module}.{name}"
    return _clean(full, _MAX_TYPE_NAME)


def _message(error: BaseException) -> str:
    try:
        return _clean(str(error), MAX_MESSAGE)
    except BaseException as fault:  # noqa: BLE001 - the worker must outlive whatever a task's exception does
        return f"(str() of the exception raised {type(fault).__name__})"


def _traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, _without_engine(error.__traceback__), limit=-_MAX_FRAMES)
        return "".join(lines).encode("utf-8", "backslashreplace")[-MAX_TRACEBACK:].decode("utf-8", "ignore")
    except BaseException as fault:  # noqa: BLE001 - as above
        return f"(the traceback cannot be formatted: {type(fault).__name__})"


def _without_engine(trace: TracebackType | None) -> TracebackType | None:
    """Begin where the engine called the task: what people look for are their own frames. All of it, if it has none.

    Causes, contexts and the members of a group began inside the task: their tracebacks are whole as they are.
    """
    begun = next((step for step in _steps(trace) if not _module(step).startswith("windlass.engine.")), None)
    foreign = any(_module(step).partition(".")[0] != "windlass" for step in _steps(begun))
    return begun if foreign else trace


def _steps(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _module(step: TracebackType) -> str:
    return str(step.tb_frame.f_globals.get("__name__"))


def _clean(text: str, limit: int) -> str:
    """Bound text in bytes, and write lone surrogates as what they are, since JSON cannot say them."""
    return text[:limit].encode("utf-8", "backslashreplace")[:limit].decode("utf-8", "ignore")


def rebuild_error(record: ErrorRecord, allowed: Iterable[type[BaseException]] = ()) -> RemoteError:
    """Turn a record into an exception to raise.

    Args:
        record: what the worker wrote.
        allowed: classes that may be raised again beyond the built-ins (``@app.task(errors=[...])``).
    """
    message = f"{record.type}: {record.message}" if record.message else record.type
    error = _instance(_find(record, allowed), message)
    # Not by plain assignment: the other class may have a __setattr__ of its own.
    for name, value in (("args", (message,)), ("type_name", record.type), ("traceback", record.traceback)):
        BaseException.__setattr__(error, name, value)
    if record.traceback:
        # Shown where the exception is: what a terminal would obey becomes visible text.
        BaseException.add_note(error, "Remote traceback:\n" + printable(record.traceback, lines=True))
    return error


def _find(record: ErrorRecord, allowed: Iterable[type[BaseException]]) -> type[BaseException]:
    known = {**_BUILT_INS, **{type_name(kind): kind for kind in (*_OURS, *allowed)}}
    return next((known[name] for name in record.names or (record.type,) if name in known), Exception)


def _instance(kind: type[BaseException], message: str) -> RemoteError:
    both: type[RemoteError] = _joined(cast("Hashable", kind))
    # The built-in's own __new__ (of the base that gives the memory layout): no other class's __new__ or __init__ runs.
    native: type = both
    while native.__module__ != "builtins":
        assert native.__base__ is not None
        native = native.__base__
    try:
        return cast("RemoteError", native.__new__(both))  # type: ignore[call-overload]
    except Exception:  # noqa: BLE001 - a class that refuses costs us its type, not the error
        return RemoteError(message)


@lru_cache(maxsize=256)
def _joined(kind: Any) -> type[RemoteError]:
    """Make a class that is a `RemoteError` and a ``kind``, if the two can be one."""
    if issubclass(RemoteError, kind):
        return RemoteError
    own: dict[str, Any] = {
        "__str__": lambda self: str(self.args[0]),
        "__repr__": lambda self: f"RemoteError({self.args[0]!r})",
        # A class that exists in this process only cannot be pickled; its plain parent can.
        "__reduce__": lambda self: (RemoteError, self.args, {"type_name": self.type_name, "traceback": self.traceback}),
        "__module__": RemoteError.__module__,
        "__doc__": RemoteError.__doc__,
    }
    try:
        return type("RemoteError", (RemoteError, kind), own)
    except Exception:  # noqa: BLE001 - layout or metaclass conflicts, or a refusing __init_subclass__
        return RemoteError
