"""Rules for time and for janitors: reaping by old and new signs, promotion, purging, cursors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from windlass.core.clock import Span
from windlass.core.model import (
    Progress,
    SessionSign,
)
from windlass.store.port import Store
from windlass.testing.faulty import Fault
from windlass.testing.machine import plans
from windlass.testing.machine.plans import Mishap, mishaps
from windlass.testing.machine.situation import Situation


class JanitorRules(Situation):
    """What time and janitors do."""

    @rule(by=plans.forward | plans.back)
    def clock_moves(self, by: Span) -> None:
        """Time passes, or somebody sets the clock."""
        self.say(f"clock += {by}")
        self.duel.clock.move(by)

    @precondition(lambda self: self.duel.late)
    @rule(which=st.integers(0, 3))
    def arrives_late(self, which: int) -> None:
        with self.duel.explained():
            self.duel.deliver(which % len(self.duel.late))

    @rule(mishap=mishaps(Fault.REPEATED))
    def observe(self, mishap: Mishap) -> None:
        self.say("observe")
        signs = self.do(lambda store: store.observe(), mishap, shape=_signs)
        self.signs = [*self.signs, *(signs or [])][-12:]

    @precondition(lambda self: self.signs)
    @rule(
        which=st.lists(plans.positions, min_size=1, max_size=3),
        limit=st.sampled_from([200, 1, 2]),
        mishap=mishaps(),
    )
    def reap(self, which: list[int], limit: int, mishap: Mishap) -> None:
        """By signs that may be long out of date."""
        signs = list({sign.id: sign for sign in (self.signs[-1 - n % len(self.signs)] for n in which)}.values())
        self.say(f"reap {signs} {limit}")
        self.go_on(lambda store: store.reap(signs, limit), mishap)

    @precondition(lambda self: self.signs)
    @rule(which=plans.positions)
    def reap_late(self, which: int) -> None:
        """A reaper that was stopped between looking and acting."""
        sign = self.signs[-1 - which % len(self.signs)]
        self.say(f"reap {sign}, late")
        self.do(lambda store: store.reap([sign]), Fault.LATE)

    def reap_now(self, limit: int, mishap: Mishap) -> None:
        """By fresh signs, as a reaper would that had watched for long enough."""
        self.say("observe, reap")
        signs = self.do(lambda store: store.observe(), Fault.NONE, shape=_signs) or []
        self.go_on(lambda store: store.reap(signs, limit), mishap)

    def go_on(self, act: Callable[[Store], Awaitable[Progress]], mishap: Mishap) -> None:
        """Carry out a bounded verb. Which jobs it takes first is free where its contract does not say, so that two
        stores agree only once it is through."""
        self.do(act, mishap, shape=_nothing, repeats_change_nothing=False)
        if self.drains:
            self.duel.finish(act)

    @rule(
        what=st.sampled_from(["promote", "purge", "release_edges", "reap"]),
        limit=st.sampled_from([200, 200, 1, 2]),
        mishap=mishaps(),
    )
    def janitor(self, what: str, limit: int, mishap: Mishap) -> None:
        self.say(f"{what} {limit}")
        if what == "promote":
            self.do(lambda store: store.promote(limit), mishap)
        elif what == "purge":
            self.go_on(lambda store: store.purge(limit), mishap)
        elif what == "reap":
            self.reap_now(limit, mishap)
        else:
            self.go_on(lambda store: store.release_edges(limit), mishap)

    @rule(mishap=st.sampled_from([Fault.CRASH, Fault.LOST, Fault.REPEATED]))
    def everything_due(self, mishap: Fault) -> None:
        """A janitor's whole round, each verb of which is then lost or repeated."""
        self.say("janitor")
        for act in _ROUND:
            done = self.do(act, Fault.NONE)
            if done is not None and not done.more:
                self.do(act, mishap)

    @precondition(lambda self: not self.drains)
    @rule(limit=st.sampled_from([256, 1, 2]))
    def quiesce(self, limit: int) -> None:
        """Let the cursors catch up: then nobody may have been forgotten."""
        self.say("drain")
        with self.duel.explained():
            self.duel.drain(limit)
            self.duel.look(self.learn_edges)


_ROUND: list[Callable[[Store], Awaitable[Progress]]] = [lambda store: store.promote(), lambda store: store.purge()]


def _signs(answer: list[SessionSign]) -> object:
    return sorted(answer, key=lambda sign: sign.id)


def _nothing(answer: object) -> object:
    """A store may choose what it leaves behind a cursor."""
    del answer
    return None
