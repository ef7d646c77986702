"""What a schedule's definition says, as JSON that stores keep and never read."""

from __future__ import annotations

import hashlib
from typing import Literal, TypeAlias

import msgspec

from windlass.core.clock import MAX_SPAN, Instant, Span
from windlass.core.errors import InvalidOption
from windlass.core.graph import EdgePolicy
from windlass.core.ids import id_from
from windlass.core.model import DEFAULT_PRIORITY, NewJob, Parent, Unique, UniqueUntil
from windlass.core.options import encode_options
from windlass.core.task import JobOptions
from windlass.core.triggers import Trigger

Overlap: TypeAlias = Literal["allow", "skip", "queue", "cancel"]
"""What happens at a fire time while the job of the one before is unfinished: ``allow`` both; ``skip`` the new one;
``queue`` the new one behind it, at most one at a time; ``cancel`` the one before."""
Coalesce: TypeAlias = Literal["latest", "one", "all"]
"""What becomes of several fire times that were missed: a job for the ``latest`` only; ``one`` job, for the first of
them; a job for ``all``, as far as `Policies.catch_up` goes."""

MAX_CATCH_UP = 1000


class Policies(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a schedule does where something is late, or comes together."""

    overlap: Overlap = "allow"
    coalesce: Coalesce = "latest"
    misfire_grace: Span | None = None
    """A fire time that is met later than this has no job; ``None``: however late."""
    catch_up: int = 100
    """With ``coalesce="all"``: the latest so many of those that were missed have a job; 1 to `MAX_CATCH_UP`."""
    max_jobs: int | None = None
    """After so many jobs the schedule ends; ``None``: never."""
    jitter: Span = 0
    """Each job is due up to so much later, by a part of it that depends on schedule and fire time alone."""

    def __post_init__(self) -> None:
        if not 1 <= self.catch_up <= MAX_CATCH_UP:
            raise InvalidOption(f"catch_up={self.catch_up}: expected 1 to {MAX_CATCH_UP}")
        if self.max_jobs is not None and self.max_jobs < 1:
            raise InvalidOption(f"max_jobs={self.max_jobs}: expected at least 1")
        for what, span in (("misfire_grace", self.misfire_grace), ("jitter", self.jitter)):
            if span is not None and not 0 <= span <= MAX_SPAN:
                raise InvalidOption(f"{what}: expected a span of up to ten years")


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a schedule fires, and what it enqueues then."""

    trigger: Trigger
    task: str
    payload: msgspec.Raw
    """The arguments: a JSON object."""
    queue: str = "default"
    requires: str = ""
    priority: int = DEFAULT_PRIORITY
    options: JobOptions = JobOptions()
    expires_in: Span | None = None
    unique: Unique | None = None
    limit_key: str | None = None
    policies: Policies = Policies()
    declared: str = ""
    """The fingerprint of its declaration in the application's code; empty: it was made at run time."""
    edited: bool = False
    """It was changed at run time since it was declared."""
    withdrawn: bool = False
    """It was deleted, and is still declared by some version of the code, whose workers must not make it again: nobody
    is shown it, and it does not fire."""

    def new_job(self, name: str, fire_time: Instant, *, behind: bytes | None = None, space: str = "") -> NewJob:
        """The job of a fire time, always the same. ``behind``: the job that it waits for. ``space``: of a backfill,
        whose jobs are others than those of the schedule."""
        seed, jitter = digest(name, space, fire_time), self.policies.jitter
        return NewJob(
            id=id_from(fire_time, seed),
            task=self.task,
            payload=bytes(self.payload),
            queue=self.queue,
            requires=self.requires,
            priority=self.priority,
            options=encode_options(msgspec.structs.replace(self.options, schedule=name, fire_time=fire_time)),
            at=fire_time + int.from_bytes(seed[-4:], "big") * jitter // 2**32 if jitter else None,
            expires_in=self.expires_in,
            unique=self._unique(name),
            limit_key=self.limit_key,
            parents=() if behind is None else (Parent(behind, EdgePolicy.DONE),),
        )

    @property
    def asks_for_last_job(self) -> bool:
        """Whether it matters if the schedule's last job is unfinished."""
        return self.policies.overlap in ("queue", "cancel")

    @property
    def is_always_stored(self) -> bool:
        """Whether no unique key can keep its jobs out."""
        return self.unique is None and self.policies.overlap in ("allow", "cancel")

    def _unique(self, name: str) -> Unique | None:
        match self.policies.overlap:
            case "skip":
                return Unique(f"schedule:{name}", UniqueUntil.FINISHED)
            case "queue":
                return Unique(f"schedule:{name}", UniqueUntil.STARTED)
        return self.unique


def digest(name: str, space: str, fire_time: Instant) -> bytes:
    """What looks random, and is the same for the same fire time of the same schedule."""
    said = b"\0".join((name.encode(), space.encode(), fire_time.to_bytes(8, "big", signed=True)))
    return hashlib.blake2b(said, digest_size=16).digest()


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Definition)


def encode(definition: Definition) -> bytes:
    """Encode a definition for the store."""
    return _ENCODER.encode(definition)


def decode(data: bytes) -> Definition:
    """Decode a stored definition. Raises `InvalidOption` for what this version of Windlass does not understand."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise InvalidOption(f"the definition is not understood: {error}") from None
