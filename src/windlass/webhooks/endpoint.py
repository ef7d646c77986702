"""Where webhooks go, and which."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from windlass.core.errors import InvalidOption
from windlass.webhooks.signing import decode_secret

JOB_DEAD = "job.dead"
SCHEDULE_MISSED = "schedule.missed"
QUEUE_AGE = "queue.age"
_AGE = re.compile(r"queue\.age>([1-9][0-9]{0,8})")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One receiver of webhooks.

    Args:
        url: ``https://...``; ``http`` to this machine only.
        secret: what messages are signed with, as Standard Webhooks has it: ``whsec_`` and 24 to 64 random bytes in
            base64.
        on: what it is told of: ``"job.dead"``, ``"schedule.missed"`` (a fire time passed without a job), and
            ``"queue.age>300"`` (the oldest ready job of a queue was enqueued more than so many seconds ago).

    Raises:
        InvalidOption: an argument is impossible.
    """

    url: str = field(repr=False)
    secret: str = field(repr=False)
    on: Iterable[str] = (JOB_DEAD,)
    name: str = field(init=False)
    """What jobs call it: the URL, which may hold a secret, is not stored."""
    key: bytes = field(init=False, repr=False)
    ages: tuple[int, ...] = field(init=False)
    """Seconds of each ``queue.age>``."""

    def __post_init__(self) -> None:
        on = (self.on,) if isinstance(self.on, str) else tuple(self.on)
        ages = [int(found[1]) for one in on if (found := _AGE.fullmatch(one))]
        for one in on:
            if one not in (JOB_DEAD, SCHEDULE_MISSED) and not _AGE.fullmatch(one):
                raise InvalidOption(f"on: {one!r}: expected 'job.dead', 'schedule.missed' or such as 'queue.age>300'")
        if not on:
            raise InvalidOption("on: names nothing")
        for name, value in (
            ("on", on),
            ("ages", tuple(sorted(set(ages)))),
            ("key", decode_secret(self.secret)),
            ("name", hashlib.sha256(_checked(self.url).encode()).hexdigest()[:16]),
        ):
            object.__setattr__(self, name, value)


def _checked(url: object) -> str:
    parts = urlsplit(url) if isinstance(url, str) else None
    is_local = parts is not None and parts.scheme == "http" and parts.hostname in _LOOPBACK
    if parts is None or not parts.hostname or not (parts.scheme == "https" or is_local):
        raise InvalidOption("url: expected https://..., or http:// to this machine")
    return str(url)
