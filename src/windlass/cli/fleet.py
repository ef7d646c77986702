"""Workers that are told something: which they are, what they said, and whether they have ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from windlass.cli.arguments import guess
from windlass.cli.errors import CommandFailed, WrongUsage
from windlass.cli.output import note
from windlass.core.model import DRAIN
from windlass.progress_bar import bar, is_watched

if TYPE_CHECKING:
    from windlass.core.clock import Instant
    from windlass.core.records import SessionRecord
    from windlass.store.port import Store

LOOK = 0.25
"""Seconds between looks at who is still there."""


class Choice(NamedTuple):
    """Which workers are meant."""

    sessions: Sequence[str] = ()
    node: str | None = None
    pid: int | None = None
    everybody: bool = False

    def check(self) -> None:
        """Raise `WrongUsage` for what cannot be meant."""
        said = [bool(self.sessions), self.node is not None or self.pid is not None, self.everybody]
        if sum(said) == 0:
            raise WrongUsage("which workers? give sessions (see: windlass workers ls), --node, --pid or --all")
        if sum(said) > 1:
            raise WrongUsage("give sessions, or --node and --pid, or --all, not several of these")
        for text in self.sessions:
            if not text or set(text.lower()) - set("0123456789abcdef") or len(text) > 32:
                raise WrongUsage(
                    f"session {text[:40]!a}: expected some of the 32 hexadecimal digits that "
                    "`windlass workers ls` shows"
                )

    def choose(self, records: Sequence[SessionRecord], now: Instant) -> list[SessionRecord]:
        """Find them. Raises `CommandFailed` if one of those that are named is not there, or if there is none."""
        live = [record for record in records if _is_live(record, now)]
        if self.sessions:
            chosen = [_named(text.lower(), records, now) for text in self.sessions]
            return list({record.session.id: record for record in chosen}.values())
        if not live:
            raise CommandFailed("no worker is live")
        found = live
        if self.node is not None:
            found = [record for record in found if record.session.node == self.node]
            if not found:
                nodes = sorted({record.session.node for record in live})
                raise CommandFailed(f"no live worker is on node {self.node!a}{guess(self.node, nodes)}")
        if self.pid is not None:
            found = [one for one in found if self.pid in (one.session.pid, one.session.supervisor)]
            nodes = sorted({record.session.node for record in found})
            if not found:
                raise CommandFailed(f"no live worker is process {self.pid}, or was started by it")
            if len(nodes) > 1:
                raise CommandFailed(f"there is a process {self.pid} on {', '.join(nodes)}: say which with --node")
        return found


def _named(text: str, records: Sequence[SessionRecord], now: Instant) -> SessionRecord:
    found = [record for record in records if record.session.id.hex().startswith(text)]
    if not found:
        raise CommandFailed(f"no worker has a session that begins with {text}; see: windlass workers ls")
    if len(found) > 1:
        raise CommandFailed(f"{len(found)} workers have sessions that begin with {text}: give more digits")
    if not _is_live(found[0], now):
        raise CommandFailed(f"session {found[0].session.id.hex()} is not live: nobody hears")
    return found[0]


def _is_live(record: SessionRecord, now: Instant) -> bool:
    return not record.revoked and record.lease_until > now


class Fleet:
    """Those who are told, and what became of it."""

    def __init__(self, store: Store, word: str, records: Sequence[SessionRecord]) -> None:
        self._store = store
        self._word = word
        self._records = {record.session.id: record for record in records}
        self._told: set[bytes] = set()
        self._ended: set[bytes] = set()
        self.complaint = ""
        """What did not go as it should."""

    def answers(self) -> list[dict[str, object]]:
        """What became of each."""
        return [
            {
                "session": key.hex(),
                "node": record.session.node,
                "pid": record.session.pid,
                "answer": self._answer(key),
            }
            for key, record in self._records.items()
        ]

    def _answer(self, key: bytes) -> str:
        if key in self._ended:
            return "ended"
        return f"told to {self._word}" if key in self._told else "not live"

    async def tell(self) -> None:
        """Send the command to all of them."""
        for key in self._records:
            if await self._store.command(key, self._word):
                self._told.add(key)
        missed = len(self._records) - len(self._told)
        if missed:
            self.complaint = f"{missed} of {len(self._records)} could not be told: not live any more"

    async def wait(self, timeout: float | None) -> None:
        """Wait until all have ended, and say how far it has come."""
        until = None if timeout is None else time.monotonic() + timeout
        total = len(self._told)
        said = ""
        with bar(f"{self._word}ing" if self._word == DRAIN else "stopping", total) as show:
            while True:
                left = await self._look()
                show(total - len(left))
                held = sum(record.running for record in left)
                state = f"{total - len(left)} of {total} have ended, {held} jobs are still held"
                if not left:
                    return
                if not is_watched() and state != said:
                    note(state)
                    said = state
                if until is not None and time.monotonic() >= until:
                    self.complaint = f"not all have ended within {timeout:g} s: {state}"
                    return
                await asyncio.sleep(LOOK)

    async def _look(self) -> list[SessionRecord]:
        """Those of them who are still there."""
        present = {record.session.id: record for record in await self._store.sessions()}
        self._ended |= self._told - set(present)
        return [present[key] for key in self._told & set(present)]
