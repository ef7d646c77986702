"""Rules for producers, operators and readers."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from windlass.core.clock import MINUTE, SECOND, Span
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import State
from windlass.core.model import Edge, EdgeAnswer, Enqueued, NewJob, UniqueUntil
from windlass.core.records import JobFilter, JobPage, Limit, LimitScope
from windlass.testing.faulty import Fault
from windlass.testing.machine import plans
from windlass.testing.machine.plans import JobPlan, Mishap, mishaps
from windlass.testing.machine.situation import MAX_JOBS, Situation


class CallerRules(Situation):
    """What producers, operators and readers do."""

    @precondition(lambda self: len(self.sent) < MAX_JOBS)
    @rule(
        wanted=st.lists(plans.jobs | plans.plain_jobs, min_size=1, max_size=4),
        age=st.sampled_from([0, 0, 0, 3 * MINUTE, 5 * MINUTE]),
        mishap=mishaps(Fault.REPEATED, Fault.LATE),
    )
    def enqueue(self, wanted: list[JobPlan], age: Span, mishap: Mishap) -> None:
        self.send([self.new_job(plan) for plan in wanted], age, mishap)

    @initialize(wanted=st.lists(plans.jobs | plans.plain_jobs, min_size=1, max_size=4))
    def begin_with_jobs(self, wanted: list[JobPlan]) -> None:
        self.send([self.new_job(plan) for plan in wanted], 0, Fault.NONE)

    def new_job(self, plan: JobPlan) -> NewJob:
        new = plan.job(self.new_id(), self.ids, self.now)
        self.sent[new.id] = new
        if new.unique is not None and new.unique.until is UniqueUntil.STARTED:
            self.duel.watcher.until_started.add(new.id)
        return new

    @precondition(lambda self: self.sent)
    @rule(which=plans.some_positions, priority=st.integers(0, 9), mishap=mishaps(Fault.REPEATED, Fault.LATE))
    def enqueue_again(self, which: list[int], priority: int, mishap: Mishap) -> None:
        """A repeated call, years later or at once, and one that does not even say the same. Parents come first, as
        always: a job that comes before its parent is refused, and stored by the next call."""
        chosen = self.pick(which)
        known = [job for job in self.sent.values() if job.id in chosen]
        self.send([msgspec.structs.replace(job, priority=priority) for job in known], 0, mishap)

    def send(self, batch: list[NewJob], age: Span, mishap: Mishap) -> None:
        first_sent = self.now - age
        self.say(f"enqueue {batch}")
        answer = self.do(lambda store: store.enqueue(batch, first_sent=first_sent), mishap)
        if answer is not None:
            stored = (job.id for job, said in zip(batch, answer.jobs, strict=True) if said.status is Enqueued.STORED)
            self.duel.watcher.acknowledged |= set(stored)

    @precondition(lambda self: len(self.sent) > 1)
    @rule(
        ends=st.lists(st.tuples(plans.positions, plans.positions), min_size=1, max_size=3),
        policy=st.sampled_from(EdgePolicy),
        mishap=st.sampled_from([Fault.NONE, Fault.NONE, Fault.CRASH, Fault.REPEATED]),
    )
    def add_edges(self, ends: list[tuple[int, int]], policy: EdgePolicy, mishap: Fault) -> None:
        """Edges point from earlier to later jobs, as everywhere: a circle would wait for ever."""
        known = self.ids
        pairs = {tuple(sorted((one % len(known), other % len(known)))) for one, other in ends}
        edges = [Edge(known[one], known[other], policy) for one, other in sorted(pairs) if one != other]
        self.say(f"add edges {edges}")
        answer = self.do(lambda store: store.enqueue([], edges, first_sent=self.now), mishap)
        for edge, said in zip(edges, answer.edges if answer else [], strict=answer is not None):
            if said is EdgeAnswer.ADDED:
                self.duel.watcher.edges.setdefault((edge.parent, edge.dependant), edge.policy)

    @precondition(lambda self: self.sent)
    @rule(
        what=st.sampled_from(["cancel", "cancel", "replay", "replay", "skip", "delete", "reschedule"]),
        which=plans.some_positions,
        mishap=mishaps(Fault.REPEATED, Fault.LATE),
    )
    def operate(self, what: str, which: list[int], mishap: Mishap) -> None:
        ids = self.pick(which, of=self.replayable() if what == "replay" else None)
        self.say(f"{what} {[job.hex() for job in ids]}")
        if what == "cancel":
            self.do(lambda store: store.cancel(ids), mishap)
        elif what == "replay":
            self.duel.replaying(ids)
            self.do(lambda store: store.replay(ids), Fault.LOST if mishap is Fault.LATE else mishap)
        elif what == "reschedule":
            self.do(lambda store: store.reschedule(ids, self.now + len(ids) * SECOND), mishap)
        elif what == "skip":
            self.do(lambda store: store.skip(ids[0], b"2"), mishap)
        else:
            self.do(lambda store: store.delete(ids), mishap)

    def replayable(self) -> list[bytes]:
        return [job.id for job in self.duel.last.jobs.values() if job.state in {State.DEAD, State.CANCELLED}]

    @rule(limit=plans.limits, mishap=mishaps(Fault.REPEATED))
    def put_limit(self, limit: Limit, mishap: Mishap) -> None:
        self.say(f"put_limit {limit}")
        self.do(lambda store: store.put_limit(limit), mishap)

    @rule(named=plans.pausable, paused=st.booleans(), mishap=mishaps(Fault.REPEATED))
    def pause(self, named: tuple[LimitScope, str], paused: bool, mishap: Mishap) -> None:
        scope, name = named
        self.say(f"pause {scope.name} {name}: {paused}")
        self.do(lambda store: store.pause(scope, name, paused=paused), mishap)

    @rule(states=st.none() | st.sets(st.sampled_from(State), min_size=1), queue=st.sampled_from([None, "q", "r"]))
    def look_closer(self, states: set[State] | None, queue: str | None) -> None:
        """Ask what the snapshots do not: results, filters, unknown ids; and that of another store object."""
        wanted = JobFilter(states=None if states is None else tuple(sorted(states)), queue=queue, task="t")
        ids = [*self.ids, bytes(16)]
        self.say(f"read {wanted}")
        self.do(lambda store: store.list_jobs(wanted, limit=2), Fault.NONE, shape=_ids_of)
        self.do(lambda store: store.results(ids), Fault.NONE)
        self.do(lambda store: store.get_jobs([bytes(16)]), Fault.NONE)
        self.do(lambda store: store.running(), Fault.NONE)
        self.duel.reopen()


def _ids_of(page: JobPage) -> object:
    return [job.id for job in page.jobs]
