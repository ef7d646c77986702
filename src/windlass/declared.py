"""From a call, a trigger and policies, as people give them, to a schedule's definition."""

from __future__ import annotations

import hashlib
from typing import Any, TypedDict

import msgspec

from windlass.call import Call
from windlass.choices import Seconds
from windlass.core.clock import span
from windlass.core.definition import Coalesce, Definition, Overlap, Policies, encode
from windlass.core.errors import InvalidOption
from windlass.core.options import decode_options
from windlass.core.triggers import Trigger

_OVERLAPS = ("allow", "skip", "queue", "cancel")
_COALESCES = ("latest", "one", "all")


class PolicyOptions(TypedDict, total=False):
    """Policies as people give them; `windlass.App.schedule` says what each means."""

    overlap: Overlap
    coalesce: Coalesce
    misfire_grace: Seconds | None
    catch_up: int
    max_jobs: int | None
    jitter: Seconds


def policies(
    *,
    overlap: Overlap = "allow",
    coalesce: Coalesce = "latest",
    misfire_grace: Seconds | None = None,
    catch_up: int = 100,
    max_jobs: int | None = None,
    jitter: Seconds = 0,
) -> Policies:
    """Check policies as people give them; `windlass.App.schedule` says what each means. Raises `InvalidOption`."""
    for what, value, allowed in (("overlap", overlap, _OVERLAPS), ("coalesce", coalesce, _COALESCES)):
        if value not in allowed:
            raise InvalidOption(f"{what}={value!r}: expected {', '.join(map(repr, allowed))}")
    for what, number in (("catch_up", catch_up), ("max_jobs", max_jobs)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise InvalidOption(f"{what}={number!r}: expected a whole number")
    return Policies(
        overlap=overlap,
        coalesce=coalesce,
        misfire_grace=None if misfire_grace is None else span(misfire_grace, "misfire_grace"),
        catch_up=catch_up,
        max_jobs=max_jobs,
        jitter=span(jitter, "jitter"),
    )


def definition(call: Call[Any], trigger: Trigger, tz: str, policy: Policies) -> Definition:
    """Put a definition together. ``tz``: where the trigger says none. Raises `InvalidOption` for what is no call or no
    trigger, and for options of the call that a schedule decides, or that contradict a policy."""
    if not isinstance(call, Call):
        raise InvalidOption(f"expected a call such as task.bind(...), got {type(call).__name__}")
    if not isinstance(trigger, Trigger):
        raise InvalidOption(f"{trigger!r} is no trigger; expected for example Cron('0 12 * * *') or Every(minutes=5)")
    choices = call.recipe.choices
    for word in ("delay", "at", "expires_at", "connection"):
        if getattr(choices, word) is not None:
            raise InvalidOption(f"{word.removesuffix('_at')}: the schedule decides when its jobs are due; leave it out")
    if call.recipe.spec.starts_runs and policy.overlap == "cancel":
        raise InvalidOption("overlap='cancel' would cancel the job that waits for a run, and not the run; use 'skip'")
    job = call.recipe.plain_job(call.payload, call.limit_key)
    if job.unique is not None and policy.overlap in ("skip", "queue"):
        raise InvalidOption(f"overlap={policy.overlap!r} has a unique key of its own; leave out unique=...")
    return Definition(
        trigger=trigger.in_zone(tz),
        task=job.task,
        payload=msgspec.Raw(job.payload),
        queue=job.queue,
        requires=job.requires,
        priority=job.priority,
        options=decode_options(job.options),
        expires_in=job.expires_in,
        unique=job.unique,
        limit_key=job.limit_key,
        policies=policy,
    )


def declared(given: Definition) -> Definition:
    """The same, as the application's code declares it: with its fingerprint."""
    plain = msgspec.structs.replace(given, declared="", edited=False)
    return msgspec.structs.replace(plain, declared=hashlib.blake2b(encode(plain), digest_size=8).hexdigest())
