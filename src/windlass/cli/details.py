"""One job in full, for `windlass jobs show`."""

from __future__ import annotations

import json

import msgspec

from windlass.cli.output import iso
from windlass.core.ids import to_text
from windlass.core.lifecycle import State
from windlass.core.model import ErrorRecord
from windlass.core.options import decode_options
from windlass.core.records import JobRecord, Reason
from windlass.core.text import shorten

SHOWN = 4000
"""Characters of arguments or of a result that people are shown; `--json` has all."""

HIDDEN = "***"


def record(job: JobRecord) -> dict[str, object]:
    """Everything, as JSON values."""
    return {
        "id": to_text(job.id),
        "task": job.task,
        "queue": job.queue,
        "requires": job.requires,
        "state": job.state.word,
        "reason": None if job.reason is Reason.NONE else job.reason.name.lower(),
        "priority": job.priority,
        "arguments": _arguments(job),
        "options": _value(job.options),
        "result": _value(job.result),
        "errors": [_error(error) for error in job.errors],
        "attempt": job.attempt,
        "token": job.token,
        "failures": job.failures,
        "losses": job.losses,
        "snoozes": job.snoozes,
        "suspect": job.suspect,
        "cancel_requested": job.cancel_requested,
        "unique_key": job.unique_key,
        "limit_key": job.limit_key,
        "session": job.session.hex() if job.session and job.state >= State.RUNNING else None,
        "parents_open": job.parents_open,
        "progress": job.progress,
        "message": job.message,
        "log": job.log,
        **{name: iso(getattr(job, name)) for name in _TIMES},
    }


_TIMES = ("enqueued_at", "due_at", "expires_at", "started_at", "finished_at", "purge_at")


def fields(job: JobRecord) -> list[tuple[str, object]]:
    """What people want to know, in the order in which they do."""
    errors = [_error(error) for error in job.errors]
    return [
        ("id", to_text(job.id)),
        ("task", job.task),
        ("state", _state(job)),
        ("queue", job.queue),
        ("requires", job.requires),
        ("priority", job.priority),
        ("arguments", _text(_shown(job))),
        ("options", _text(job.options)),
        ("result", _text(job.result)),
        ("attempt", job.attempt),
        ("failures", job.failures or None),
        ("losses", job.losses or None),
        ("snoozes", job.snoozes or None),
        ("unique key", job.unique_key),
        ("limit key", job.limit_key),
        ("waits for", f"{job.parents_open} parents" if job.parents_open else None),
        ("progress", None if job.progress is None else f"{job.progress:.0%} {job.message or ''}".strip()),
        *((name.removesuffix("_at"), iso(getattr(job, name))) for name in _TIMES),
        *((f"error {error.get('attempt', '')}".strip(), _error_text(error)) for error in errors),
        ("log", job.log.rstrip("\n")),
    ]


def _arguments(job: JobRecord) -> object:
    return _value(_shown(job))


def _shown(job: JobRecord) -> bytes:
    """The arguments, without those that are secret."""
    secret = decode_options(job.options).secret
    if not secret:
        return job.payload
    try:
        arguments = json.loads(job.payload)
        return json.dumps({name: HIDDEN if name in secret else value for name, value in arguments.items()}).encode()
    except (ValueError, AttributeError, RecursionError):
        return HIDDEN.encode()  # whatever this is, it may be in there


def _state(job: JobRecord) -> str:
    extras = [] if job.reason is Reason.NONE else [job.reason.name.lower()]
    extras += ["suspect"] if job.suspect else []
    extras += ["cancel requested"] if job.cancel_requested else []
    return f"{job.state.word} ({', '.join(extras)})" if extras else job.state.word


def _error_text(error: dict[str, object]) -> str:
    first = f"{error['type']}: {error['message']}" if error["message"] else str(error["type"])
    return f"{first}\n{error['traceback']}".rstrip("\n")


def _error(raw: bytes) -> dict[str, object]:
    try:
        error = msgspec.json.decode(raw, type=ErrorRecord)
    except msgspec.MsgspecError:
        return {"type": "undecodable", "message": _text(raw), "traceback": ""}
    return {
        "type": error.type,
        "message": error.message,
        "attempt": error.attempt,
        "at": iso(error.at),
        "traceback": error.traceback,
    }


def _value(raw: bytes | None) -> object:
    """The JSON value, or, where the bytes are none, an object that shows them."""
    try:
        return None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        return {"undecodable": raw.decode("utf-8", "backslashreplace") if raw is not None else None}


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else shorten(raw.decode("utf-8", "backslashreplace"), SHOWN)
