"""What one job says differently from its task: validated where it is said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from windlass.core.clock import Instant, Span, instant, span, to_datetime
from windlass.core.errors import InvalidOption
from windlass.core.model import KEEP_AT_LEAST, MAX_PRIORITY, NewJob, Unique, UniqueUntil
from windlass.core.names import check_key, check_limit_key, check_queue
from windlass.core.options import encode_options
from windlass.core.requirements import Amount, Resources, changed, check_labels, check_resources
from windlass.core.retry import Retry
from windlass.core.task import JobOptions, TaskSpec

Seconds: TypeAlias = float | timedelta
Until: TypeAlias = Literal["finished", "started"]
W = TypeVar("W", bound=str)
OnConflict: TypeAlias = Literal["return", "raise", "replace"]

_UNTIL: dict[str, UniqueUntil] = {"finished": UniqueUntil.FINISHED, "started": UniqueUntil.STARTED}
_MAX_HEADERS = 8 * 1024


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a job, checked; ``None``: as the task says."""

    queue: str | None = None
    priority: int | None = None
    delay: Span | None = None
    at: Instant | None = None
    expires_in: Span | None = None
    expires_at: Instant | None = None
    unique: str | bool | None = None
    """A key; ``True``: the arguments are the key."""
    unique_until: Until | None = None
    on_conflict: OnConflict | None = None
    retry: Retry | None = None
    timeout: Span | None = None
    keep: Span | None = None
    limit_by: str | None = None
    """A limit key, in place of the one that an argument makes."""
    resources: dict[str, Amount] | None = None
    labels: tuple[str, ...] | None = None
    headers: dict[str, str] | None = None
    connection: Any = None
    """The user's own, inside whose transaction jobs are stored."""
    step: Any = None
    """What holds for a step of a workflow only: a `windlass.workflows.step.StepChoices`."""

    def merged(self, newer: Choices) -> Choices:
        """What both say; where they differ, what ``newer`` says. Raises `InvalidOption` if they contradict."""
        said: dict[str, Any] = {
            name: value for name in self.__struct_fields__ if (value := getattr(newer, name)) is not None
        }
        if newer.step and self.step:
            said["step"] = self.step.merged(newer.step)
        if newer.headers and self.headers:
            said["headers"] = self.headers | newer.headers
        if newer.unique is False:
            said |= {"unique_until": newer.unique_until, "on_conflict": newer.on_conflict}
        return _check_together(msgspec.structs.replace(self, **said))

    def template(self, spec: TaskSpec) -> NewJob:
        """A job of the task, but for its id and payload (and its key, where the arguments are the key)."""
        return NewJob(
            id=b"",
            payload=b"",
            task=spec.name,
            queue=spec.queue if self.queue is None else self.queue,
            requires=self._requires(spec.requires),
            priority=spec.priority if self.priority is None else self.priority,
            options=encode_options(self.for_worker(self.headers, spec)),
            delay=self.delay or 0,
            at=self.at,
            expires_in=self.expires_in,
            expires_at=self.expires_at,
            unique=self.unique_for(self.unique) if isinstance(self.unique, str) else None,
            limit_key=self.limit_by,
        )

    def _requires(self, of_task: str) -> str:
        said = self.resources is not None or self.labels is not None
        return changed(of_task, self.resources, self.labels) if said else of_task

    def unique_for(self, key: str) -> Unique:
        return Unique(key, _UNTIL[self.unique_until or "finished"], self.on_conflict == "replace")

    def for_worker(self, headers: dict[str, str] | None, spec: TaskSpec) -> JobOptions:
        return JobOptions(
            retry=self.retry, timeout=self.timeout, keep=self.keep, headers=headers or None, secret=spec.secret
        )


NONE = Choices()


def choose(
    *,
    queue: str | None = None,
    priority: int | None = None,
    delay: Seconds | None = None,
    at: datetime | None = None,
    expires: Seconds | datetime | None = None,
    unique: str | bool | None = None,
    unique_until: Until | None = None,
    on_conflict: OnConflict | None = None,
    retry: Retry | None = None,
    timeout: Seconds | None = None,
    result_ttl: Seconds | None = None,
    limit_by: str | None = None,
    headers: Mapping[str, str] | None = None,
    connection: object = None,
    resources: Resources | None = None,
    labels: Iterable[str] | None = None,
) -> Choices:
    """Check options as people give them, each by itself; `windlass.Task.options` says what each means. `Choices.merged`
    checks them together. Raises `InvalidOption`."""
    return Choices(
        queue=None if queue is None else check_queue(queue),
        priority=None if priority is None else check_priority(priority),
        delay=None if delay is None else span(delay, "delay"),
        at=None if at is None else instant(at, "at"),
        expires_in=None if expires is None or isinstance(expires, datetime) else span(expires, "expires"),
        expires_at=instant(expires, "expires") if isinstance(expires, datetime) else None,
        unique=_check_unique(unique),
        unique_until=_one_of("unique_until", unique_until, ("finished", "started")),
        on_conflict=_one_of("on_conflict", on_conflict, ("return", "raise", "replace")),
        retry=check_retry(retry),
        timeout=None if timeout is None else check_timeout(timeout),
        keep=None if result_ttl is None else check_keep(result_ttl, "result_ttl"),
        limit_by=None if limit_by is None else check_limit_key(limit_by),
        headers=None if headers is None else check_headers(headers),
        connection=connection,
        resources=None if resources is None else check_resources(resources),
        labels=None if labels is None else check_labels(labels),
    )


def _check_together(choices: Choices) -> Choices:
    """Refuse options that contradict each other."""
    if choices.delay is not None and choices.at is not None:
        raise InvalidOption("delay and at: give one of the two")
    if choices.expires_in is not None and choices.expires_at is not None:
        raise InvalidOption("expires: given as a span and as a time; give one of the two")
    if choices.unique in (None, False) and (choices.unique_until or choices.on_conflict):
        word = "unique_until" if choices.unique_until else "on_conflict"
        raise InvalidOption(f"{word} says what a unique key does, and there is none; add unique=...")
    if choices.expires_in is not None or choices.expires_at is not None:
        _check_expiry(choices)
    return choices


def _check_expiry(choices: Choices) -> None:
    now = instant(datetime.now(UTC), "now")
    due = choices.at if choices.at is not None else now + (choices.delay or 0)
    end = choices.expires_at if choices.expires_at is not None else now + (choices.expires_in or 0)
    if (choices.at is not None or choices.delay is not None) and due >= end:
        raise InvalidOption(
            f"expires: the job would be due at {to_datetime(due).isoformat()}, "
            f"when it has expired already at {to_datetime(end).isoformat()}"
        )


def check_priority(priority: object) -> int:
    """Return ``priority``, 0 to 9, or raise `InvalidOption`."""
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= MAX_PRIORITY:
        raise InvalidOption(f"priority={priority!r}: expected an integer from 0 (last) to {MAX_PRIORITY} (first)")
    return priority


def check_timeout(timeout: Seconds) -> Span:
    """Return ``timeout`` as a span, or raise `InvalidOption`."""
    checked = span(timeout, "timeout")
    if checked == 0:
        raise InvalidOption("timeout: 0 seconds leave no time to run; leave it out for no timeout")
    return checked


def check_keep(keep: Seconds, what: str) -> Span:
    """Return a retention as a span, or raise `InvalidOption`. What is shorter counts as `KEEP_AT_LEAST`: so long an id
    stays known in any case."""
    return max(span(keep, what), KEEP_AT_LEAST)


def check_retry(retry: object) -> Retry | None:
    """Return ``retry``, or raise `InvalidOption`."""
    if retry is not None and not isinstance(retry, Retry):
        raise InvalidOption(f"retry={retry!r}: expected for example Retry(attempts=5)")
    return retry


def _check_unique(unique: object) -> str | bool | None:
    if unique is None or isinstance(unique, bool):
        return unique
    return check_key("unique", unique)


def _one_of(what: str, value: W | None, allowed: tuple[W, ...]) -> W | None:
    if value is not None and value not in allowed:
        raise InvalidOption(f"{what}={value!r}: expected {', '.join(map(repr, allowed))}")
    return value


def check_headers(headers: object) -> dict[str, str]:
    """Return ``headers`` as a dict, or raise `InvalidOption`."""
    if not isinstance(headers, Mapping):
        raise InvalidOption(f"headers: expected a mapping of str to str, got {type(headers).__name__}")
    for key, value in headers.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidOption(f"headers: expected str to str, got {type(key).__name__} to {type(value).__name__}")
    try:
        size = sum(len(key.encode()) + len(value.encode()) for key, value in headers.items())
    except UnicodeEncodeError:
        raise InvalidOption("headers: text with lone surrogates cannot travel") from None
    if size > _MAX_HEADERS:
        raise InvalidOption(f"headers: {size} bytes exceed the limit of {_MAX_HEADERS}")
    return dict(headers)
