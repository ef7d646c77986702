"""How jobs finish, and what follows along their edges."""

from __future__ import annotations

from collections import deque

from windlass.core.clock import Span
from windlass.core.graph import MAX_EDGES_PER_CALL, Verdict, verdict
from windlass.core.lifecycle import Event, State, after
from windlass.core.model import KEEP_AT_LEAST
from windlass.core.records import Reason
from windlass.store.memory.data import Step
from windlass.store.memory.records import Job, Link


class Cascade:
    """Ends jobs within one call of a verb, and carries on along their edges until its budget is spent.

    What remains stays behind the cursor (`Data.behind`), where `release_edges` goes on. A dependant that is cancelled
    on the way queues up like any other finished job, so that a long chain is work in bounded parts, too.
    """

    def __init__(self, step: Step, budget: int = MAX_EDGES_PER_CALL) -> None:
        self._step = step
        self._data = step.data
        self._budget = budget
        self._finished: deque[Job] = deque()
        self.moved = 0
        """Edges marked and closed so far."""

    def cancel(self, job: Job, event: Event, reason: Reason) -> None:
        """Cancel an unstarted job."""
        self.finish(job, after(job.state, event), self._step.settings.keep, reason)

    def finish(
        self, job: Job, state: State, keep: Span, reason: Reason = Reason.NONE, result: bytes | None = None
    ) -> None:
        """Put a job into a final state. Its edges follow in `run`."""
        self._step.move(job, state)
        job.reason, job.result, job.keep = reason, result, keep
        job.finished_at = self._step.now
        self._free_key(job)
        job.marking, job.armed = job.armed, {}
        self._step.hints.add(f"finished/{job.id.hex()}")
        self.follow(job)

    def follow(self, job: Job) -> None:
        """Queue up a finished job for `run`."""
        self._data.behind[job.id] = job
        self._finished.append(job)

    def _free_key(self, job: Job) -> None:
        if job.unique is not None and self._data.keys.get((job.task, job.unique.key)) is job:
            del self._data.keys[job.task, job.unique.key]

    def run(self) -> bool:
        """Mark and close edges until all is done or the budget is spent; say whether something was left behind."""
        while self._finished:
            if not self._carry_on(self._finished[0]):
                return True
            job = self._finished.popleft()
            self._data.behind.pop(job.id, None)
            self._start_retention(job)
        return False

    def _carry_on(self, job: Job) -> bool:
        """Mark what depends on the job, then close its own edges; say whether that is all."""
        while job.marking:
            if self.moved >= self._budget:
                return False
            self.moved += 1
            dependant, link = next(iter(job.marking.items()))
            del job.marking[dependant]
            job.marked[dependant] = link
            set_mark(self._data.jobs[dependant], link, job.state)
            self.judge(self._data.jobs[dependant])
        while job.unclosed:
            if self.moved >= self._budget:
                return False
            self.moved += 1
            self.close(job, next(iter(job.unclosed.values())))
        return True

    def judge(self, job: Job) -> None:
        """Let a waiting job go, or cancel it, if its edges say so."""
        if job.state is not State.WAITING:
            return
        says = verdict(job.tally)
        if says is Verdict.CANCEL:
            self.cancel(job, Event.PARENT_FAILED, Reason.PARENT)
        elif says is Verdict.GO:
            later = job.due_at is not None and job.due_at > self._step.now
            self._step.make_later_or_ready(job, after(job.state, Event.PARENTS_SETTLED, later=later))

    def close(self, job: Job, link: Link) -> None:
        """Note that a dependant has finished: its parent need not be kept for it."""
        del job.unclosed[link.parent]
        parent = self._data.jobs.get(link.parent)
        if parent is not None:
            parent.kept_for.remove(job.id)
            self._start_retention(parent)

    def _start_retention(self, job: Job) -> None:
        """Let a job's time in the store run, once nobody needs it any more."""
        if job.state.is_finished and not job.kept_for and job.id not in self._data.behind:
            job.purge_at = self._step.now + max(job.keep, KEEP_AT_LEAST)
            self._data.purgeable.put(job, (job.purge_at, job.number))


def add_link(step: Step, job: Job, link: Link) -> None:
    """Store an edge, marked if its parent has ended. If its dependant is unfinished, the parent is kept for it."""
    job.parents[link.parent] = link
    _count(job, link, 1)
    parent = step.data.jobs[link.parent]
    (parent.armed if link.mark is None else parent.marked)[job.id] = link
    if not job.state.is_finished:
        hold_parent(step, job, link)


def set_mark(job: Job, link: Link, mark: State | None) -> None:
    """Mark an edge of a dependant, or unmark it."""
    _count(job, link, -1)
    link.mark = mark
    _count(job, link, 1)


def _count(job: Job, link: Link, change: int) -> None:
    kind = link.policy, link.mark
    job.tally[kind] = job.tally.get(kind, 0) + change
    if not job.tally[kind]:
        del job.tally[kind]


def hold_parent(step: Step, job: Job, link: Link) -> None:
    """Keep a parent for an unfinished dependant."""
    job.unclosed[link.parent] = link
    parent = step.data.jobs[link.parent]
    parent.kept_for.add(job.id)
    parent.purge_at = None
    step.data.purgeable.discard(parent)


def remove_job(step: Step, job: Job) -> None:
    """Delete a finished job. Its edges to dependants stay with those."""
    data = step.data
    for parent_id in job.parents:
        parent = data.jobs.get(parent_id)
        if parent is not None:
            for links in (parent.armed, parent.marking, parent.marked):
                links.pop(job.id, None)
    data.purgeable.discard(job)
    del data.jobs[job.id]
