"""What a history of calls is made of: the stores, the clock, and what each worker believes to hold."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from windlass.core.model import (
    NewJob,
    SessionSign,
    Settings,
    Settlement,
)
from windlass.store.port import Store
from windlass.testing.duel import START, Duel, Interrupt, MakeStore, unchanged
from windlass.testing.faulty import Fault
from windlass.testing.machine.plans import Mishap
from windlass.testing.snapshot import Snapshot

T = TypeVar("T")

MAX_JOBS = 40
"""Jobs that one history enqueues at most: enough for everything to meet everything."""


JUDGED = -1
"""A mishap that is none: the store is judged as if it had been killed at each step, and goes on unhurt."""


@dataclass(slots=True)
class Worker:
    """What a worker knows of itself."""

    id: bytes
    number: int = 0
    """The last request number used."""
    answered: int = 0
    """The last request number whose answer came."""
    held: dict[bytes, int] = field(default_factory=dict)
    last_settle: list[Settlement] = field(default_factory=list)

    @property
    def name(self) -> int:
        """For people: the first is 1."""
        return int.from_bytes(self.id[:2], "big")


class Situation(RuleBasedStateMachine):
    """Two stores, and what the world around them knows. The rules are in the classes that inherit."""

    make_store: ClassVar[MakeStore]
    make_model: ClassVar[MakeStore | None] = None
    settings: ClassVar[Settings] = Settings()
    interrupt: ClassVar[Interrupt | None] = None
    drains: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.duel = Duel(self.make_store, self.make_model, self.settings, self.interrupt)
        self.sent: dict[bytes, NewJob] = {}
        self.workers: list[Worker] = []
        self.signs: list[SessionSign] = []
        self.proofs: list[tuple[bytes, bytes, int]] = []
        self.applied: set[tuple[bytes, int]] = set()
        self.given: set[tuple[bytes, int]] = set()
        self.stored: set[bytes] = set()
        self.edges_per_drain = 256
        self.verbs = 0

    def teardown(self) -> None:
        self.duel.close()

    def do(
        self,
        act: Callable[[Store], Awaitable[T]],
        mishap: Mishap,
        *,
        shape: Callable[[T], object] = unchanged,
        repeats_change_nothing: bool = True,
    ) -> T | None:
        """Carry out one verb with what goes wrong with it; answers ``None`` if no answer comes."""
        if mishap is Fault.NONE and self.interrupt is not None:
            self.verbs += 1
            mishap = JUDGED if self.verbs % 3 == 0 else mishap
        with self.duel.explained():
            if isinstance(mishap, Fault):
                return self.duel.call(act, mishap, shape=shape, repeats_change_nothing=repeats_change_nothing)
            return self.duel.call_torn(act, mishap, shape=shape)

    def say(self, what: str) -> None:
        self.duel.trace.append(what)

    @property
    def now(self) -> int:
        return self.duel.clock.now

    @property
    def ids(self) -> list[bytes]:
        return list(self.sent)

    def pick(self, positions: list[int], of: list[bytes] | None = None) -> list[bytes]:
        """Choose jobs, latest first, each once: of those given, or else of all; an unknown one if there are none."""
        known = of or self.ids or [bytes(16)]
        return list(dict.fromkeys(known[-1 - position % len(known)] for position in positions))

    def worker(self, position: int) -> Worker:
        return self.workers[-1 - position % len(self.workers)]

    def new_id(self) -> bytes:
        """Make an id as another machine would: ordered by time, but not strictly in the order of arrival."""
        number = len(self.sent) ^ 3
        return (START // 1000 + number).to_bytes(6, "big") + b"\x70\x00\x80" + number.to_bytes(7, "big")

    @initialize(limit=st.sampled_from([256, 1, 2]))
    def start(self, limit: int) -> None:
        self.edges_per_drain = limit

    @invariant()
    def sound(self) -> None:
        """Everything is in order, and the same in both."""
        with self.duel.explained():
            if self.drains:
                self.duel.drain(self.edges_per_drain)
            self.duel.look(self.learn_edges, pending=not self.drains)

    def learn_edges(self, snapshot: Snapshot) -> None:
        """Tell the watcher which edges came with jobs that are stored now, and which went with purged ones.

        An id that was purged may be stored anew, and then its tokens begin anew, too.
        """
        watcher = self.duel.watcher
        present = set(snapshot.jobs)
        gone = self.stored - present
        self.given = {proof for proof in self.given if proof[0] not in gone}
        self.applied = {proof for proof in self.applied if proof[0] not in gone}
        for parent, child in [edge for edge in watcher.edges if gone & set(edge)]:
            if child in gone or snapshot.jobs[child].state.is_finished:  # else it is wrong, and the watcher says so
                del watcher.edges[parent, child]
                watcher.unjudged.add(child)
        for new in present - self.stored:
            watcher.edges.update({(parent.id, new): parent.policy for parent in self.sent[new].parents})
            watcher.unjudged.discard(new)
        self.stored = present
