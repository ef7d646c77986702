"""Two stores on one clock that are told the same and must answer the same: the heart of the state machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from windlass.core.clock import Instant
from windlass.core.errors import WindlassError
from windlass.core.model import Progress, Settings
from windlass.store.port import Store
from windlass.testing.clock import START, ManualClock
from windlass.testing.faulty import Fault, FaultyStore, Script
from windlass.testing.invariants import Watcher
from windlass.testing.snapshot import Snapshot, comparable, differences, take

__all__ = ["START", "Act", "Divergence", "Duel", "Interrupt", "MakeStore", "ManualClock", "unchanged"]

T = TypeVar("T")

MOST_CALLS = 10_000
"""Far more calls of a bounded verb than any history leaves work for."""


class MakeStore(Protocol):
    """Makes an empty store on its own data, with an injected clock."""

    def __call__(self, settings: Settings, clock: Callable[[], Instant]) -> Store: ...


class Interrupt(Protocol):
    """Kills the store inside its next write, as ``kill -9`` would: at every inner step (statement) of it.

    Within the context the verb is carried out as ever; what the context gives answers, afterwards, the stores as other
    processes would find them after a kill before each step, in order.
    """

    def __call__(self, store: Store) -> AbstractContextManager[Callable[[], list[Store]]]: ...


class Divergence(AssertionError):
    """The two stores differ, and no contract allows it."""


Act: TypeAlias = Callable[[Store], Awaitable[T]]


def unchanged(answer: T) -> object:
    """Compare the whole answer."""
    return answer


@dataclass(slots=True)
class _LateCall:
    act: Act[object]
    shape: Callable[[object], object]


@dataclass(slots=True)
class Duel:
    """Drives a store and, if there is one, a model of it; compares answers, and then all that they will tell.

    Without a model only the invariants judge.
    """

    make_store: MakeStore
    make_model: MakeStore | None
    settings: Settings
    interrupt: Interrupt | None = None
    clock: ManualClock = field(default_factory=ManualClock)
    watcher: Watcher = field(default_factory=Watcher)
    trace: list[str] = field(default_factory=list)
    """What was done and answered, for whoever has to find out why."""
    late: list[_LateCall] = field(default_factory=list)
    """Calls on their way, oldest first."""
    _script: Script = field(default_factory=Script)
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    _store: FaultyStore = field(init=False)
    _model: Store | None = field(init=False)
    _replayed: set[bytes] = field(default_factory=set)
    _last: Snapshot | None = None

    def __post_init__(self) -> None:
        self._store = FaultyStore(self.make_store(self.settings, self.clock), self._script)
        self._model = None if self.make_model is None else self.make_model(self.settings, self.clock)

    def close(self) -> None:
        """Close both stores and the private event loop."""
        try:
            self._run(self._store.aclose())
            if self._model is not None:
                self._run(self._model.aclose())
        finally:
            self._runner.close()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add what was done and answered to whatever goes wrong in here."""
        try:
            yield
        except Exception as error:
            error.add_note("\n".join(["what was done and answered:", *self.trace]))
            raise

    # ------------------------------------------------------------------------------------------------------ calls

    def call(
        self,
        act: Act[T],
        fault: Fault = Fault.NONE,
        *,
        shape: Callable[[T], object] = unchanged,
        repeats_change_nothing: bool = True,
    ) -> T | None:
        """Let both do ``act``, with ``fault``; answer what the caller hears, or ``None`` if it hears nothing.

        Args:
            act: calls one verb of the store that it is given.
            fault: what goes wrong.
            shape: reduces an answer to what both must agree on.
            repeats_change_nothing: if the fault is a repetition, the verb's contract says that the second call changes
                nothing at all, which is then compared with a model that was asked once.
        """
        if fault is Fault.CRASH:
            self._heard(act, Fault.CRASH)
            return None
        if fault is Fault.LATE:
            self._heard(act, Fault.LATE)
            self.late.append(_LateCall(act, shape))  # type: ignore[arg-type]  # a list of calls of any type
            return None
        if fault is Fault.LOST:
            self._heard(act, Fault.LOST)
            self._ask_model(act)
            return None
        if fault is Fault.REPEATED:
            return self._repeated(act, shape, repeats_change_nothing)
        answer = self._heard(act, Fault.NONE)
        self._agree(answer, self._ask_model(act), shape)
        return None if isinstance(answer, WindlassError) else answer

    def deliver(self, index: int) -> None:
        """Let a late call arrive at both."""
        late = self.late.pop(index)
        self._script.then(Fault.NONE)
        answer = self._answer(self._store.deliver(index))
        self._note("arrives late", answer)
        self._agree(answer, self._ask_model(late.act), late.shape)

    def call_torn(self, act: Act[T], at: int, *, shape: Callable[[T], object] = unchanged) -> T | None:
        """Kill the store at every step inside the verb: each time it must have happened wholly or not at all.

        Then go on with what was left at step ``at`` (modulo their number); without a kill, if that is negative or there
        was no step.
        """
        if self.interrupt is None:
            return self.call(act, Fault.LOST)
        before = comparable(self._snapshot())
        with self.interrupt(self._store.inner) as wrecks:
            answer = self._heard(act, Fault.NONE)
        left = wrecks()
        after = comparable(self._snapshot()) if left else before
        found = [self._judge_wreck(wreck, step, before, after) for step, wreck in enumerate(left)]
        chosen = at % len(left) if left and at >= 0 else len(left)
        left.append(self._store.inner)
        self._store.inner = left.pop(chosen)
        for store in left:
            self._run(store.aclose())
        if chosen == len(found):
            self._agree(answer, self._ask_model(act), shape)
            return None if isinstance(answer, WindlassError) else answer
        happened = found[chosen] != before
        self.trace.append(f"  killed at step {chosen}: {'it had' if happened else 'nothing'} happened")
        if happened:
            self._ask_model(act)
        return None

    def _judge_wreck(
        self, wreck: Store, step: int, before: dict[str, object], after: dict[str, object]
    ) -> dict[str, object]:
        found = comparable(self._run(take(wreck)))
        if found not in (before, after):
            lines = [f"a kill at step {step} leaves half of it. Since before:", *differences(before, found)]
            raise Divergence("\n".join([*lines, "and still to come:", *differences(found, after)]))
        return found

    def _repeated(self, act: Act[T], shape: Callable[[T], object], changes_nothing: bool) -> T | None:
        answer = self._heard(act, Fault.REPEATED)
        self._ask_model(act)
        if changes_nothing:
            self.compare()
        self._agree(answer, self._ask_model(act), shape)
        return None if isinstance(answer, WindlassError) else answer

    def _heard(self, act: Act[T], fault: Fault) -> T | WindlassError:
        self._script.then(fault)
        answer = self._answer(act(self._store))
        self._note(fault.value, answer)
        return answer

    def _note(self, what: str, answer: object) -> None:
        self.trace.append(f"  {what}: {answer!r}")

    def _ask_model(self, act: Act[T]) -> T | WindlassError | None:
        return None if self._model is None else self._answer(act(self._model))

    def _answer(self, call: Awaitable[T]) -> T | WindlassError:
        try:
            return self._run(call)
        except WindlassError as error:
            return error

    def _run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self._runner.run(wait())

    def _agree(self, mine: T | WindlassError, theirs: T | WindlassError | None, shape: Callable[[T], object]) -> None:
        if self._model is None:
            return
        if isinstance(mine, WindlassError) or isinstance(theirs, WindlassError):
            if type(mine) is not type(theirs):
                raise Divergence(f"answers differ: {mine!r} != {theirs!r}")
        elif shape(mine) != (None if theirs is None else shape(theirs)):
            raise Divergence(f"answers differ:\n  store {mine!r}\n  model {theirs!r}")

    # ------------------------------------------------------------------------------------------------------ looks

    def replaying(self, ids: list[bytes]) -> None:
        """Say that these jobs may be found replayed by the next look."""
        self._replayed |= set(ids)

    def look(self, tell: Callable[[Snapshot], None], *, pending: bool = False) -> Snapshot:
        """Judge the store by the model and by the invariants; answer what it says.

        ``tell`` is shown the snapshot before the watcher is, and may tell the watcher what it should know.
        ``pending``: edges may wait behind a cursor.
        """
        snapshot = self.compare()
        tell(snapshot)
        self.watcher.see(snapshot, replayed=self._replayed, pending=pending)
        self._replayed.clear()
        self._last = snapshot
        return snapshot

    @property
    def last(self) -> Snapshot:
        """What the store said when it was looked at last."""
        assert self._last is not None
        return self._last

    def compare(self) -> Snapshot:
        """Compare all that the two will tell; answer what the store says."""
        snapshot = self._snapshot()
        if self._model is not None:
            lines = differences(comparable(snapshot), comparable(self._run(take(self._model))))
            if lines:
                raise Divergence("store != model:\n" + "\n".join(lines))
        return snapshot

    def drain(self, limit: int) -> None:
        """Let the cursors of both catch up, ``limit`` edges at a time."""
        self.finish(lambda store: store.release_edges(limit))

    def finish(self, act: Act[Progress]) -> None:
        """Let both do a bounded verb until there is no more to do."""
        self._run(_finish(self._store.inner, act))
        if self._model is not None:
            self._run(_finish(self._model, act))

    def _snapshot(self) -> Snapshot:
        return self._run(take(self._store))

    def reopen(self) -> None:
        """Go on with another store object on the same data."""
        twin = self._store.inner.twin()
        self._run(self._store.inner.aclose())
        self._store.inner = twin


async def _finish(store: Store, act: Act[Progress]) -> None:
    for _ in range(MOST_CALLS):
        if not (await act(store)).more:
            return
    raise Divergence(f"a bounded verb has had more to do {MOST_CALLS} times: it does not get on")
