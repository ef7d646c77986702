"""What the scripts answer, as records of the port."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from windlass.core.lifecycle import State
from windlass.core.model import Session
from windlass.core.records import JobRecord, Limit, LimitScope, Rate, Reason

SESSION_ENCODER = msgspec.msgpack.Encoder()
SESSION_DECODER = msgspec.msgpack.Decoder(Session)


def pack_payload(payload: bytes, options: bytes | None) -> bytes:
    """Put the options before a payload: their length plus one in four bytes (0: there are none), then they, then it."""
    if options is None:
        return b"\0\0\0\0" + payload
    return (len(options) + 1).to_bytes(4, "big") + options + payload


def unpack_payload(packed: bytes) -> tuple[bytes, bytes | None]:
    """Answer payload and options."""
    if packed[:4] == b"\0\0\0\0":
        return packed[4:], None
    end = 3 + int.from_bytes(packed[:4], "big")
    return packed[end:], packed[4:end]


def lane_name(queue: str, requires: str) -> bytes:
    """A lane as the scripts name it."""
    return f"{queue}\0{requires}".encode()


@lru_cache(1000)
def lane_of(name: bytes) -> tuple[str, str]:
    """Queue and requirement signature of a lane."""
    queue, _, requires = name.decode().partition("\0")
    return queue, requires


@lru_cache(1000)
def text_of(name: bytes) -> str:
    """A name that comes again and again."""
    return name.decode()


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def record_of(row: Sequence[Any]) -> JobRecord:
    """A record of a row of ``_record.lua``: what may be large is left out if the row leaves it out."""
    (state, task, lane, priority, number, sequence, claim, failures, losses, snoozes, suspect, cancel, undeliverable,
     due, expires, unique, limit_key, stored, finished, purge, reason, result, progress, message, parents_open, settled,
     job_id, *large) = row  # fmt: skip
    if finished is None and settled is not None and len(settled) > 1:  # a plain job, which has all this in one
        _, finished, purge = settled.split()
    token, attempt, _, started, session = (b"0", b"0", b"", None, None) if claim is None else claim.split(b" ", 4)
    payload, options = unpack_payload(large[0]) if len(large) > 2 else (b"", None)
    queue, requires = lane_of(lane)
    return JobRecord(
        id=job_id,
        task=text_of(task),
        queue=queue,
        requires=requires,
        priority=int(priority),
        state=State(int(state)),
        reason=Reason(int(reason or 0)),
        payload=payload,
        options=options,
        result=result,
        errors=list(large[1]) if len(large) > 2 else [],
        token=int(token),
        attempt=int(attempt),
        failures=int(failures or 0),
        losses=int(losses or 0),
        snoozes=int(snoozes or 0),
        suspect=suspect is not None,
        cancel_requested=cancel is not None,
        unique_key=_text(unique),
        limit_key=_text(limit_key),
        session=session,
        enqueued_at=int(stored),
        due_at=_number(due),
        expires_at=_number(expires),
        started_at=_number(started),
        finished_at=_number(finished),
        purge_at=_number(purge),
        sequence=int(number) if sequence is None else int(sequence) or None,
        undeliverable_since=_number(undeliverable),
        parents_open=parents_open,
        progress=None if progress is None else float(progress),
        message=_text(message),
        log=(large[2] or b"").decode("utf-8", "surrogatepass") if len(large) > 2 else "",
    )


def counted(scope: LimitScope, name: str) -> str:
    """The name under which the scripts count for a limit."""
    return f"{int(scope)}{name}"


def numbers_of(limit: Limit) -> str:
    """What a record limits, as the scripts read it."""
    rate = limit.rate
    parts = (limit.concurrency, *((None,) * 3 if rate is None else (rate.count, rate.per, rate.burst)))
    return " ".join("-" if part is None else str(part) for part in parts)


def limit_of(name: bytes, text: bytes) -> Limit:
    """The record that `numbers_of` and whether it is paused were made of."""
    paused, concurrency, count, per, burst = text.decode().split()
    return Limit(
        scope=LimitScope(int(name[:1])),
        name=name[1:].decode(),
        paused=paused == "1",
        concurrency=None if concurrency == "-" else int(concurrency),
        rate=None if count == "-" else Rate(int(count), int(per), int(burst)),
    )
