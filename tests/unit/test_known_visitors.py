"""Visitors who are let in for a moment without a look at the store."""

import asyncio
from collections.abc import Collection

import pytest

from windlass.core.errors import StoreUnavailable
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
        self.away = False

    async def read(self, wanted: Collection[Credential]) -> dict[Credential, Visitor]:
        self.asked.append({one.key for one in wanted})
        found = {one: _visitor(one.key) for one in wanted if one.key in self.names}
        away = self.away
        await self.go_on.wait()
        if away:
            raise StoreUnavailable("away")
        return found

    async def has_been_asked(self, times: int) -> None:
        """Wait until it was asked so often; and then whether it is not asked once more."""
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(self.asked) == times


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
    for one in (ADA, BOB) * 10:
        await visitors.visitor(one)
    assert book.asked[2:] == [{"ada", "bob"}], "bob before he comes again"
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
async def test_who_comes_while_others_are_looked_up_is_looked_up_with_all_who_come_meanwhile() -> None:
    book = Book()
    book.go_on.clear()
    visitors = Known(book.read)
    names = [Credential("token", str(n)) for n in range(50)]
    book.names |= {one.key for one in names}
    first = asyncio.create_task(visitors.visitor(ADA))
    await book.has_been_asked(1)
    rest = []
    for one in (*names, ADA):
        rest.append(asyncio.create_task(visitors.visitor(one)))
        await asyncio.sleep(0)
    await book.has_been_asked(1)
    book.go_on.set()
    assert await first == _visitor("ada")
    assert await asyncio.gather(*rest) == [_visitor(one.key) for one in (*names, ADA)]
    assert book.asked == [{"ada"}, {one.key for one in names}]


@pytest.mark.usefixtures("now")
async def test_who_come_at_once_are_looked_up_at_once() -> None:
    book = Book()
    visitors = Known(book.read)
    assert await asyncio.gather(*map(visitors.visitor, (ADA, BOB, EVE))) == [_visitor("ada"), _visitor("bob"), None]
    assert book.asked == [{"ada", "bob", "eve"}]


@pytest.mark.usefixtures("now")
async def test_a_reading_that_fails_fails_those_who_wait_for_it_and_nobody_else() -> None:
    book = Book()
    book.go_on.clear()
    visitors = Known(book.read)
    book.away = True
    first = asyncio.create_task(visitors.visitor(ADA))
    await book.has_been_asked(1)
    book.away = False
    second = asyncio.create_task(visitors.visitor(BOB))
    await book.has_been_asked(1)
    book.go_on.set()
    with pytest.raises(StoreUnavailable):
        await first
    assert await second == _visitor("bob")
    assert await visitors.visitor(ADA) == _visitor("ada")
    assert book.asked == [{"ada"}, {"bob"}, {"ada"}]


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("gone", [0, 1, 2])
async def test_who_waits_no_more_leaves_the_others_waiting(gone: int) -> None:
    book = Book()
    book.go_on.clear()
    visitors = Known(book.read)
    waiting = [asyncio.create_task(visitors.visitor(ADA))]
    await book.has_been_asked(1)
    waiting += [asyncio.create_task(visitors.visitor(one)) for one in (BOB, ADA, BOB)]
    await book.has_been_asked(1)
    waiting.pop(gone).cancel()
    await book.has_been_asked(1)
    book.go_on.set()
    assert {one and one.name for one in await asyncio.gather(*waiting)} == {"ada", "bob"}
    assert book.asked == [{"ada"}, {"bob"}]


@pytest.mark.usefixtures("now")
async def test_who_was_to_be_looked_up_next_when_somebody_was_forgotten_is_looked_up_after_it() -> None:
    book = Book()
    book.go_on.clear()
    visitors = Known(book.read)
    first = asyncio.create_task(visitors.visitor(ADA))
    await book.has_been_asked(1)
    second = asyncio.create_task(visitors.visitor(BOB))
    await asyncio.sleep(0)
    book.names.clear()
    visitors.forget()
    third = asyncio.create_task(visitors.visitor(ADA))
    await book.has_been_asked(1)
    book.go_on.set()
    assert await asyncio.gather(first, second, third) == [_visitor("ada"), None, None]
    assert book.asked == [{"ada"}, {"ada", "bob"}]
    assert await visitors.visitor(ADA) is None, "and what was read before is not remembered"


@pytest.mark.usefixtures("now")
def test_what_another_event_loop_never_finished_is_not_waited_for() -> None:
    book = Book()
    visitors = Known(book.read)

    async def leave() -> None:
        book.go_on = asyncio.Event()
        left.append(asyncio.create_task(visitors.visitor(ADA)))
        await book.has_been_asked(1)
        left.append(asyncio.create_task(visitors.visitor(BOB)))
        await book.has_been_asked(1)

    async def come() -> None:
        book.go_on.set()
        found = await asyncio.wait_for(asyncio.gather(*map(visitors.visitor, (ADA, BOB))), 5)
        assert found == [_visitor("ada"), _visitor("bob")]
        assert await visitors.visitor(EVE) is None

    left: list[asyncio.Task[Visitor | None]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    asyncio.run(come())  # while the other one stands still
    assert book.asked == [{"ada"}, {"ada", "bob"}, {"eve"}]
    loop.run_until_complete(asyncio.wait_for(asyncio.gather(*left), 5))
    loop.close()


@pytest.mark.usefixtures("now")
async def test_a_reading_that_was_ended_from_outside_is_not_waited_for_again() -> None:
    book = Book()
    book.go_on.clear()
    visitors = Known(book.read)
    waiting = [asyncio.create_task(visitors.visitor(ADA))]
    await book.has_been_asked(1)
    waiting.append(asyncio.create_task(visitors.visitor(BOB)))
    await book.has_been_asked(1)
    for task in asyncio.all_tasks():
        if task.get_name() == "windlass-known":
            task.cancel()
    assert all(
        isinstance(one, asyncio.CancelledError) for one in await asyncio.gather(*waiting, return_exceptions=True)
    )
    book.go_on.set()
    assert await asyncio.gather(*map(visitors.visitor, (ADA, BOB))) == [_visitor("ada"), _visitor("bob")]


@pytest.mark.usefixtures("now")
async def test_no_more_than_some_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_MOST", 2)
    book = Book()
    book.names |= {"cyd"}
    visitors = Known(book.read)
    for one in (ADA, BOB, Credential("token", "cyd"), ADA):
        await visitors.visitor(one)
    assert [one.key for one in visitors._found] == ["cyd", "ada"]
