"""A store object's link to its server, and what it knows from one call to the next. Of one event loop at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from windlass.core.errors import StoreUnavailable, UsageError
from windlass.core.model import ClaimRequest
from windlass.store.postgres import schema
from windlass.store.postgres.address import Address
from windlass.store.postgres.beside import Order
from windlass.store.postgres.floors import Floors
from windlass.store.postgres.names import lane_number
from windlass.store.postgres.pool import LONG_PATIENCE, PATIENCE, Pool
from windlass.store.postgres.statements import statements_of
from windlass.store.postgres.teller import Teller
from windlass.store.postgres.wake import Listener

EVERY_LANE = ("*", "")
"""What to tell `Link.ready` of where it is not known in which lanes there may be something to do."""
_REFUSED, _STANDS = 3, 5
"""Places in the head of a claim's answer."""
_MOST = 64
"""Names of which one hint tells; more are all there are."""


class Link:
    """Opened by the first call, for the loop on which that is made."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.sql = statements_of(address.schema)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.pool: Pool | None = None
        self.listener: Listener | None = None
        self._opening: asyncio.Future[None] | None = None
        self._closed = False
        self._let_go()

    def _let_go(self) -> None:
        self.pool = self.listener = self.loop = self._opening = None
        self.floors, self.order = Floors(), Order()
        self.idle: set[bytes] = set()
        """Sessions that may stand among the idle, as far as is known here."""
        self.ready: Teller[tuple[str, str]] = Teller(self._tell_ready)
        self.finished: Teller[str] = Teller(self._tell_finished)

    async def call(self, name: str, *arguments: Any, patience: float = PATIENCE) -> list[Any]:
        """Carry out a named statement, and return its rows."""
        pool = self.pool
        if pool is None or self.loop is not asyncio.get_running_loop():
            pool = await self.connected()
        return await pool.fetch(self.sql[name], arguments, patience)

    async def ask(self, name: str, *arguments: Any) -> list[Any]:
        """As `call`, for what may read whole tables."""
        pool = await self.connected()
        return await pool.fetch(self.sql[name], arguments, LONG_PATIENCE, at_leisure=True)

    async def _tell_finished(self, ids: Counter[str]) -> None:
        said = sorted(ids) if len(ids) <= _MOST else ["*"]
        await self.call("tell", ["finished"] * len(said), said)

    async def _tell_ready(self, jobs: Counter[tuple[str, str]]) -> None:
        if EVERY_LANE in jobs or len(jobs) > _MOST:
            await self.call("tell", ["ready"], ["*"])
        else:
            lanes = sorted(jobs)
            await self.call(
                "tell_lanes", [lane_number(*lane) for lane in lanes], [queue for queue, _ in lanes],
                [jobs[lane] for lane in lanes],
            )  # fmt: skip

    def idling(self, session: bytes, request: ClaimRequest | None) -> tuple[int | None, bool]:
        """By which listener a claim's session hears of jobs in all of its lanes, if it does; and whether it may stand
        among the idle already."""
        if request is None:
            return None, False
        key = None if self.listener is None else self.listener.hears({lane.queue for lane in request.lanes})
        stands = session in self.idle
        if key is not None:
            self.idle.add(session)  # should the answer be lost
        return key, stands

    def stands(self, session: bytes, rows: Sequence[Any]) -> None:
        """Take note of what a claim's answer says of that."""
        if rows[-1][_REFUSED] is None and not rows[-1][_STANDS]:
            self.idle.discard(session)

    def listening(self) -> Listener:
        """What listens for hints, on the running loop; begins to, if need be."""
        self._check_loop()
        if self.listener is None:
            self.loop = asyncio.get_running_loop()
            self.listener = Listener(self.address)
            self.listener.start()
        return self.listener

    async def connected(self) -> Pool:
        """The pool, on the running loop, after a look at the layout."""
        self._check_loop()
        if self.pool is not None:
            return self.pool
        if self._opening is None:
            self.loop = asyncio.get_running_loop()
            self._opening = self.loop.create_task(self._open(), name="windlass-postgres-connect")
        opening = self._opening
        try:
            await asyncio.shield(opening)
        finally:
            if opening.done() and self._opening is opening:
                self._opening = None  # it may be tried again
        if self.pool is None:
            raise self._was_closed()
        return self.pool

    def _check_loop(self) -> None:
        if self._closed:
            raise self._was_closed()
        if self.loop is None or self.loop is asyncio.get_running_loop():
            return
        if not self.loop.is_closed():
            raise UsageError(
                f"{self.address.shown}: this store object belongs to another event loop; make a twin() for this one"
            )
        # Its loop ended without closing it: what belonged to that loop goes, and all is opened anew.
        self.drop()

    def _was_closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self.address.shown}: this store object was closed")

    async def _open(self) -> None:
        pool = Pool(self.address)
        try:
            if not (await pool.fetch(self.sql["has_meta"], ()))[0][0]:
                raise schema.no_layout(self.address.shown, self.address.schema)
            rows = await pool.fetch(self.sql["read_version"], ())
            version, oldest = rows[0] if rows else (0, 0)
            schema.check_version(version, oldest, self.address.shown)
        except BaseException:
            await pool.close()
            raise
        if self._closed:
            await pool.close()
            return
        self.pool = pool

    async def close(self) -> None:
        """Tell what is still to be told, and let go of everything, for good."""
        self._closed = True
        if self.loop is not None and self.loop is not asyncio.get_running_loop():
            self.drop()
            return
        for teller in (self.ready, self.finished):
            await teller.close()
        if self.listener is not None:
            await self.listener.close()
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self.pool is not None:
            await self.pool.close()
        self._let_go()

    def drop(self) -> object:
        """Forget what belongs to another loop or process, without a word to the server; answers it, to be kept."""
        dropped = (self.pool, self.listener, self._opening, self.loop, self.ready, self.finished)
        for one in (self.pool, self.listener, self.ready, self.finished):
            if one is not None:
                one.abandon()
        self._let_go()
        return dropped
