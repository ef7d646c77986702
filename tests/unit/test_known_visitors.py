"""Visitors who are let in for a moment without a look at the store."""

import asyncio
from collections.abc import Collection

import pytest

from windlass.web.access import known
from windlass.web.access.known import Credential, Known
from windlass.web.access.roles import Role, Visitor

ADA, BOB, EVE = (Credential("token", name) for name in ("ada", "bob", "eve"))


class Book:
    """Who may come in; and what it was asked."""

    def __init__(self) -> None:
        self.names = {"ada", "bob"}
        self.asked: list[set[str]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def read(self, wanted: Collection[Credential]) -> dict[Credential, Visitor]:
        self.asked.append({one.key for one in wanted})
        found = {one: _visitor(one.key) for one in wanted if one.key in self.names}
        await self.go_on.wait()
        return found


def _visitor(name: str) -> Visitor:
    return Visitor(name=name, role=Role.VIEWER, how="token")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, first of a list."""
    time = [100.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return time[0]

    monkeypatch.setattr(known, "time", Clock)
    return time


async def test_all_who_came_lately_are_looked_up_together(now: list[float]) -> None:
    book = Book()
    visitors = Known(book.read)
    for _ in range(3):
        assert [await visitors.visitor(one) for one in (ADA, BOB)] == [_visitor("ada"), _visitor("bob")]
    assert book.asked == [{"ada"}, {"bob"}]
    now[0] += known.FRESH
    await asyncio.gather(*(visitors.visitor(one) for one in (ADA, BOB) * 10))
    assert book.asked[2:] == [{"ada", "bob"}]
    now[0] += 60
    await visitors.visitor(ADA)
    assert book.asked[3:] == [{"ada"}], "bob has not come for a minute"


@pytest.mark.usefixtures("now")
async def test_who_is_not_known_is_asked_for_each_time() -> None:
    book = Book()
    visitors = Known(book.read)
    assert await visitors.visitor(EVE) is None
    book.names.add("eve")
    assert await visitors.visitor(EVE) == _visitor("eve")


@pytest.mark.usefixtures("now")
async def test_what_was_read_before_somebody_was_forgotten_lets_nobody_in_afterwards() -> None:
    book = Book()
    visitors = Known(book.read)
    book.go_on.clear()
    before = asyncio.create_task(visitors.visitor(ADA))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert book.asked == [{"ada"}]
    book.names.clear()
    visitors.forget()
    book.go_on.set()
    assert await before == _visitor("ada"), "who asked before it was deleted"
    assert await visitors.visitor(ADA) is None


async def test_who_is_no_longer_there_is_found_out(now: list[float]) -> None:
    book = Book()
    visitors = Known(book.read)
    assert await visitors.visitor(ADA)
    book.names.clear()
    assert await visitors.visitor(ADA), "for a moment"
    now[0] += known.FRESH
    assert await visitors.visitor(ADA) is None


@pytest.mark.usefixtures("now")
async def test_no_more_than_some_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_MOST", 2)
    book = Book()
    book.names |= {"cyd"}
    visitors = Known(book.read)
    for one in (ADA, BOB, Credential("token", "cyd"), ADA):
        await visitors.visitor(one)
    assert [one.key for one in visitors._found] == ["cyd", "ada"]
