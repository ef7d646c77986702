"""One job in full, for `windlass jobs show`."""

from __future__ import annotations

import msgspec

from windlass.core.ids import to_text
from windlass.core.options import decode_options
from windlass.core.records import JobRecord, Reason
from windlass.core.text import shorten
from windlass.core.traceparent import trace_id_of
from windlass.views import ErrorView, error_view, iso, job_view, shown_arguments, shown_key

SHOWN = 4000
"""Characters of arguments or of a result that people are shown; `--json` has all."""


def record(job: JobRecord) -> dict[str, object]:
    """Everything, as JSON values."""
    found: dict[str, object] = msgspec.to_builtins(job_view(job))
    return found


_TIMES = ("enqueued_at", "due_at", "expires_at", "started_at", "finished_at", "purge_at")


def fields(job: JobRecord) -> list[tuple[str, object]]:
    """What people want to know, in the order in which they do."""
    errors = [error_view(error) for error in job.errors]
    return [
        ("id", to_text(job.id)),
        ("task", job.task),
        ("state", _state(job)),
        ("queue", job.queue),
        ("requires", job.requires),
        ("priority", job.priority),
        ("arguments", _text(shown_arguments(job))),
        ("options", _text(job.options)),
        ("result", _text(job.result)),
        ("attempt", job.attempt),
        ("failures", job.failures or None),
        ("losses", job.losses or None),
        ("snoozes", job.snoozes or None),
        ("unique key", shown_key(job)),
        ("limit key", job.limit_key),
        ("trace", trace_id_of(decode_options(job.options).headers)),
        ("waits for", f"{job.parents_open} parents" if job.parents_open else None),
        ("progress", None if job.progress is None else f"{job.progress:.0%} {job.message or ''}".strip()),
        *((name.removesuffix("_at"), iso(getattr(job, name))) for name in _TIMES),
        *((f"error {error.attempt or ''}".strip(), _error_text(error)) for error in errors),
        ("log", job.log.rstrip("\n")),
    ]


def _state(job: JobRecord) -> str:
    extras = [] if job.reason is Reason.NONE else [job.reason.name.lower()]
    extras += ["suspect"] if job.suspect else []
    extras += ["cancel requested"] if job.cancel_requested else []
    return f"{job.state.word} ({', '.join(extras)})" if extras else job.state.word


def _error_text(error: ErrorView) -> str:
    first = f"{error.type}: {error.message}" if error.message else error.type
    return f"{first}\n{error.traceback}".rstrip("\n")


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else shorten(raw.decode("utf-8", "backslashreplace"), SHOWN)
