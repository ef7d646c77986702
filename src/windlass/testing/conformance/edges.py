"""When a dependant may run, and when it never will."""

from __future__ import annotations

import random
from collections.abc import Sequence

from windlass.core.clock import MINUTE, SECOND
from windlass.core.errors import UsageError
from windlass.core.graph import EdgePolicy
from windlass.core.lifecycle import Outcome, State
from windlass.core.model import MAX_BATCH, STORED, Edge, EdgeAnswer, Lane, NewJob, Parent, Settled, Unique
from windlass.core.records import Reason
from windlass.testing.conformance.env import Env, ended
from windlass.testing.conformance.expect import raises, same

DONE, FAILED = EdgePolicy.DONE, EdgePolicy.FAILED


async def _add(env: Env, *edges: Edge) -> list[EdgeAnswer]:
    return (await env.store.enqueue([], edges, first_sent=await env.store.now())).edges


async def check_a_dependant_waits_for_all_its_parents(env: Env) -> None:
    parents = [await env.put() for _ in range(3)]
    child = await env.put(parents=parents, queue="later")
    worker = await env.worker()
    for left in (3, 2, 1):
        record = await env.expect(child, State.WAITING, f"{left} parents are unfinished")
        same(record.parents_open, left, "parents_open")
        await worker.end(await worker.claim_one())
    record = await env.expect(child, State.READY, "all its parents have succeeded")
    same(record.parents_open, 0, "parents_open")
    same(await env.claim_ids(lanes=[Lane("later")]), [child], "claimed")


async def check_parents_that_end_in_one_call_count_each(env: Env) -> None:
    parents = [await env.put() for _ in range(3)]
    child = await env.put(parents=parents, queue="later")
    worker = await env.worker()
    await worker.settle_all(*map(ended, await worker.claim()))
    await env.expect(child, State.READY, "all its parents succeeded in one settle")


async def check_a_repeated_settle_releases_once(env: Env) -> None:
    """Edges are a set: counting down twice would start the child beside its other parent."""
    parents = [await env.put() for _ in range(2)]
    child = await env.put(parents=parents, queue="later")
    worker = await env.worker()
    job = await worker.claim_one()
    await worker.end(job)
    same(await worker.settle(job, Outcome.SUCCEEDED), Settled.ALREADY, "the same settlement again")
    record = await env.expect(child, State.WAITING, "one of its two parents is still ready")
    same(record.parents_open, 1, "parents_open")


async def check_by_default_a_parent_that_fails_cancels(env: Env) -> None:
    for end in (State.DEAD, State.CANCELLED):
        parent, other = await env.put(), await env.put(queue="elsewhere")
        child = await env.put(parents=[parent, other], queue="later")
        if end is State.DEAD:
            worker = await env.worker()
            await worker.end(await worker.claim_one(), Outcome.DEAD)
        else:
            await env.store.cancel([parent])
        record = await env.expect(child, State.CANCELLED, f"a parent is {end.word}; it does not wait for the other")
        same((record.reason, record.finished_at), (Reason.PARENT, await env.now()), "reason, finished_at")
        same(await env.store.results([other]), [None], "the other parent's result: it goes on")


async def check_done_waits_for_any_end(env: Env) -> None:
    for outcome in (Outcome.SUCCEEDED, Outcome.DEAD, Outcome.CANCELLED):
        child = await env.put(parents=[Parent(await env.put(), DONE)], queue="later")
        await env.expect(child, State.WAITING, "its parent is ready")
        worker = await env.worker()
        await worker.end(await worker.claim_one(), outcome)
        await env.expect(child, State.READY, f"its parent ended as {outcome.name}, and any end will do")


async def check_failed_goes_at_the_first_failure(env: Env) -> None:
    parents = [Parent(await env.put(), FAILED) for _ in range(3)]
    child = await env.put(parents=parents, queue="later")
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await env.expect(child, State.WAITING, "one parent succeeded, two may still fail")
    await worker.end(await worker.claim_one(), Outcome.DEAD)
    await env.expect(child, State.READY, "one parent is dead")
    await worker.end(await worker.claim_one())
    await env.expect(child, State.READY, "the last parent changes nothing")


async def check_failed_is_cancelled_where_nothing_failed(env: Env) -> None:
    parents = [Parent(await env.put(), FAILED) for _ in range(2)]
    child = await env.put(parents=parents, queue="later")
    worker = await env.worker()
    for what in (State.WAITING, State.CANCELLED):
        await worker.end(await worker.claim_one())
        await env.expect(child, what, "its parents succeed one by one")
    same((await env.read(child)).reason, Reason.PARENT, "reason")


async def check_policies_can_be_mixed(env: Env) -> None:
    must, may, fails = await env.put(queue="a"), await env.put(queue="b"), await env.put(queue="c")
    child = await env.put(parents=[Parent(must), Parent(may, DONE), Parent(fails, FAILED)], queue="later")
    worker = await env.worker()
    await worker.end(await worker.claim_one(lanes=[Lane("c")]), Outcome.DEAD)
    await worker.end(await worker.claim_one(lanes=[Lane("b")]), Outcome.DEAD)
    await env.expect(child, State.WAITING, "one of three parents is ready, and must succeed")
    await worker.end(await worker.claim_one(lanes=[Lane("a")]))
    await env.expect(child, State.READY, "all its edges are satisfied")


async def check_every_way_to_finish_reaches_dependants(env: Env) -> None:
    """Whatever verb ends the parent."""
    skipped, cancelled, expired = await env.put(), await env.put(), await env.put(expires_in=SECOND)
    replaced, lost = await env.put(unique=Unique("k")), await env.put(queue="lost")
    children = {
        what: await env.put(parents=[parent], queue="later")
        for what, parent in [
            ("skipped", skipped),
            ("cancelled", cancelled),
            ("expired", expired),
            ("replaced", replaced),
            ("lost", lost),
        ]
    }
    await env.store.skip(skipped, b"1")
    await env.store.cancel([cancelled])
    await env.advance(SECOND)
    await env.store.promote()
    await env.put(unique=Unique("k", replace=True))
    await env.lose(lost, 2 + env.settings.max_lost)
    await env.expect(children.pop("skipped"), State.READY, "its parent was skipped: that is success")
    for what, child in children.items():
        record = await env.expect(child, State.CANCELLED, f"its parent was {what}")
        same(record.reason, Reason.PARENT, f"reason, the parent being {what}")


async def check_an_unstarted_end_of_the_dependant_stands(env: Env) -> None:
    """Its parent's success does not revive a dependant that was cancelled or skipped meanwhile."""
    parent = await env.put()
    cancelled, skipped = await env.put(parents=[parent]), await env.put(parents=[parent])
    await env.store.cancel([cancelled])
    await env.store.skip(skipped, b"1")
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    same(await env.states([cancelled, skipped]), [State.CANCELLED, State.SUCCEEDED], "states")
    same(await worker.claim(), [], "claimed")


async def check_a_delay_holds_beyond_the_parents(env: Env) -> None:
    parent = await env.put()
    soon, late = await env.put(parents=[parent], delay=SECOND), await env.put(parents=[parent], delay=MINUTE)
    due = await env.now() + MINUTE
    await env.advance(SECOND)
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await env.expect(soon, State.READY, "its delay is over")
    record = await env.expect(late, State.SCHEDULED, "its parent has succeeded, and it is due later")
    same(record.due_at, due, "due_at: counted from the enqueue")


async def check_dependants_line_up_behind_what_is_ready(env: Env) -> None:
    parent = await env.put(priority=9)
    children = [await env.put(parents=[parent]) for _ in range(3)]
    before = await env.put()
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    got = await env.claim_ids()
    same((got[0], set(got[1:])), (before, set(children)), "order of claiming: position is given on becoming ready")


async def check_edges_can_be_added_while_the_dependant_waits(env: Env) -> None:
    """How a map over a run-time value expands: the expander is itself a parent of the fan-in."""
    expander = await env.put()
    fan_in = await env.put(parents=[expander], queue="later")
    worker = await env.worker()
    running = await worker.claim_one()
    parts = env.jobs(3)
    edges = [Edge(part.id, fan_in) for part in parts]
    result = await env.store.enqueue(parts, edges, first_sent=await env.now())
    same(result.edges, [EdgeAnswer.ADDED] * 3, "answers")
    await worker.end(running)
    record = await env.expect(fan_in, State.WAITING, "the expander has succeeded, its parts have not")
    same(record.parents_open, 3, "parents_open")
    for job in await worker.claim():
        await worker.end(job)
    await env.expect(fan_in, State.READY, "expander and parts have succeeded")


async def check_an_added_edge_to_a_finished_parent_counts_at_once(env: Env) -> None:
    done, dead = await env.put_in(State.SUCCEEDED), await env.put_in(State.DEAD)
    other = await env.put(queue="elsewhere")
    child = await env.put(parents=[other], queue="later")
    same(await _add(env, Edge(done, child)), [EdgeAnswer.ADDED], "answer for a parent that has succeeded")
    record = await env.expect(child, State.WAITING, "its first parent is ready")
    same(record.parents_open, 1, "parents_open")
    same(
        await _add(env, Edge(dead, child, DONE)), [EdgeAnswer.ADDED], "answer for a dead parent that need only be done"
    )
    await env.expect(child, State.WAITING, "its first parent is ready")
    same(await _add(env, Edge(dead, await env.put(parents=[other]))), [EdgeAnswer.ADDED], "answer for a dead parent")
    failing = await env.put(parents=[other], queue="later")
    await _add(env, Edge(dead, failing))
    record = await env.expect(failing, State.CANCELLED, "an edge was added to a dead parent")
    same(record.reason, Reason.PARENT, "reason")


async def check_an_added_edge_can_let_a_dependant_go(env: Env) -> None:
    dead, open_still = await env.put_in(State.DEAD), await env.put(queue="elsewhere")
    child = await env.put(parents=[Parent(open_still, FAILED)], queue="later")
    await _add(env, Edge(dead, child, FAILED))
    await env.expect(child, State.READY, "one of its parents has failed, as it asks")


async def check_edges_are_not_added_to_what_has_gone_on(env: Env) -> None:
    parent, waiting = await env.put(queue="elsewhere"), await env.put_in(State.WAITING)
    gone_on = [await env.put_in(state) for state in State if state is not State.WAITING]
    answers = await _add(env, *(Edge(parent, job_id) for job_id in [*gone_on, env.id()]))
    same(answers, [EdgeAnswer.NOT_WAITING] * 7, "answers for dependants in other states, and an unknown one")
    same([(await env.read(job_id)).parents_open for job_id in gone_on], [0] * 6, "parents_open of those")
    same(await _add(env, Edge(env.id(), waiting)), [EdgeAnswer.UNKNOWN_PARENT], "answer for an unknown parent")
    same((await env.read(waiting)).parents_open, 1, "parents_open after a refused edge")


async def check_edges_do_not_depend_on_each_other(env: Env) -> None:
    waiting, parent = await env.put_in(State.WAITING), await env.put(queue="elsewhere")
    answers = await _add(env, Edge(env.id(), waiting), Edge(parent, env.id()), Edge(parent, waiting))
    expected = [EdgeAnswer.UNKNOWN_PARENT, EdgeAnswer.NOT_WAITING, EdgeAnswer.ADDED]
    same(answers, expected, "answers, in the order of the call")


async def check_a_job_may_get_edges_in_the_call_that_stores_it(env: Env) -> None:
    one, two = env.job(), env.job()
    child = env.job(parents=[one.id])
    result = await env.store.enqueue([one, two, child], [Edge(two.id, child.id)], first_sent=await env.now())
    same(result.edges, [EdgeAnswer.ADDED], "answer")
    same((await env.read(child.id)).parents_open, 2, "parents_open")


async def check_a_graph_can_be_stored_in_one_call(env: Env) -> None:
    """With what may be said of its jobs besides: stores may put such a call into few statements."""
    outside = await env.put(queue="elsewhere")
    root, plain, keyed = env.job(), env.job(), env.job(limit_key="k")
    late = env.job(delay=MINUTE)
    expired = env.job(parents=[outside], expires_in=0, queue="later")
    under = {"queue": "later"}
    child = env.job(parents=[root.id, Parent(root.id, FAILED), outside], **under)
    late_child = env.job(parents=[root.id], delay=MINUTE, **under)
    keyed_child = env.job(parents=[root.id], limit_key="k", **under)
    grandchild = env.job(parents=[child.id, late.id], **under)
    orphan = env.job(parents=[expired.id], **under)
    heir = env.job(parents=[Parent(expired.id, FAILED)], **under)
    jobs = [root, child, plain, late, late_child, keyed, keyed_child, grandchild, expired, orphan, heir]
    waiting, cancelled, ready, scheduled = State.WAITING, State.CANCELLED, State.READY, State.SCHEDULED
    states = [ready, waiting, ready, scheduled, waiting, ready, waiting, waiting, cancelled, cancelled, ready]
    for said in ("stored", "sent again"):
        same(await env.enqueue(jobs), [STORED] * len(jobs), f"answers, {said}")
        same(await env.states([job.id for job in jobs]), states, f"states, {said}")
    opened = [(await env.read(job.id)).parents_open for job in (child, grandchild, orphan, heir)]
    same(opened, [2, 2, 0, 0], "parents_open: of two edges to the same parent, the first counts")
    same((await env.read(orphan.id)).reason, Reason.PARENT, "reason of one whose parent had expired")
    got = await env.claim_ids()
    same(sorted(got), sorted([root.id, plain.id, keyed.id]), "claimed")
    same([one for one in got if one != keyed.id], [root.id, plain.id], "those without a limit key, in their order")


async def check_a_success_with_dependants_frees_its_key(env: Env) -> None:
    parent = await env.put(unique=Unique("k"))
    await env.put(parents=[parent], queue="later")
    worker = await env.worker()
    await worker.end(await worker.claim_one())
    await env.put(unique=Unique("k"))


async def check_a_large_graph_is_stored_in_one_call_as_it_is_job_by_job(env: Env) -> None:
    """Stores may put many jobs with parents, and many edges, into few statements: with the same answers and states."""
    ended = [await env.put_in(state, queue="ended") for state in (State.SUCCEEDED, State.DEAD, State.CANCELLED)]
    open_ = [await env.put(queue="elsewhere") for _ in range(3)]
    unknown = [env.id() for _ in range(2)]
    graphs = [_Drawn(env, seed=11, ended=ended, unfinished=open_, unknown=unknown) for _ in range(2)]
    first, second = graphs
    at_once = await env.store.enqueue(first.jobs, first.edges, first_sent=await env.store.now())
    jobs = [answer for job in second.jobs for answer in await env.enqueue([job])]
    edges = [answer for edge in second.edges for answer in await _add(env, edge)]
    same(at_once.jobs, jobs, "answers to the jobs")
    same(at_once.edges, edges, "answers to the edges")
    seen = [await _seen(env, [job.id for job in graph.jobs]) for graph in graphs]
    for number, (one, other) in enumerate(zip(*seen, strict=True)):
        same(one, other, f"state, reason, open parents and limit key of job {number}")


class _Drawn:
    """A graph of random jobs and edges, the same for each seed but for its own ids."""

    def __init__(
        self, env: Env, *, seed: int, ended: list[bytes], unfinished: list[bytes], unknown: list[bytes]
    ) -> None:
        dice = random.Random(seed)  # noqa: S311 - no secret
        self.jobs: list[NewJob] = []
        for _ in range(60):
            earlier = [job.id for job in self.jobs[-20:]]
            pools = dice.choices((earlier, unfinished, ended, unknown), (60, 12, 10, 1), k=dice.randrange(5))
            parents = [Parent(dice.choice(pool), dice.choice((*EdgePolicy, DONE))) for pool in pools if pool]
            self.jobs.append(env.job(parents=parents, queue="later", limit_key=dice.choice((None, None, "k"))))
            if dice.random() < 0.1:
                self.jobs.append(dice.choice(self.jobs))
        # No edge to what has ended: it would be marked, and the order in which that is seen to is the store's.
        sources = [*unfinished, *unfinished, unknown[0]]
        ids = [*(job.id for job in self.jobs), unknown[1]]
        self.edges = [Edge(dice.choice(sources), dice.choice(ids), dice.choice([*EdgePolicy])) for _ in range(80)]


async def _seen(env: Env, ids: Sequence[bytes]) -> list[tuple[State, Reason, int, str | None] | None]:
    found = await env.store.get_jobs(ids)
    return [None if job is None else (job.state, job.reason, job.parents_open, job.limit_key) for job in found]


async def check_a_batch_of_edges_is_bounded(env: Env) -> None:
    parent, waiting = await env.put(queue="elsewhere"), await env.put_in(State.WAITING)
    many = [Edge(parent, waiting)] * (MAX_BATCH + 1)
    await raises(UsageError, _add(env, *many), f"adding {MAX_BATCH + 1} edges")
    same((await env.read(waiting)).parents_open, 1, "parents_open after the refusal")
    same(await _add(env, *many[1:]), [EdgeAnswer.ADDED] * MAX_BATCH, "answers to the largest batch, all the same edge")
    same((await env.read(waiting)).parents_open, 2, "parents_open")


async def check_a_job_that_replaces_its_own_parent_is_cancelled(env: Env) -> None:
    """Found by the state machine: its edge was judged before its parent was cancelled, and it waited for ever."""
    holder = await env.put(unique=Unique("k"))
    job_id = await env.put(unique=Unique("k", replace=True), parents=[holder], queue="later")
    await env.expect(holder, State.CANCELLED, "replaced")
    record = await env.expect(job_id, State.CANCELLED, "it replaced its own parent, and so can never run")
    same(record.reason, Reason.PARENT, "reason")


async def check_a_parent_that_runs_already_releases_those_who_come_meanwhile(env: Env) -> None:
    """By a new job, and by an edge to a waiting one; the parent had no edges when it was claimed."""
    ids = await env.put_all(env.jobs(2))
    worker = await env.worker()
    one, other = await worker.claim()
    child = await env.put(parents=[one.id], queue="later")
    waiting = await env.put(parents=[one.id], queue="later")
    await env.enqueue(edges=[Edge(other.id, waiting)])
    same(await env.states([child, waiting]), [State.WAITING] * 2, "states while the parents run")
    await worker.settle_all(ended(one), ended(other))
    same(await env.states([child, waiting]), [State.READY] * 2, "states once the parents have succeeded")
    records = [await env.read(parent) for parent in ids]
    same([record.purge_at for record in records], [None, None], "retention of the parents, others waiting for it")


async def check_an_edge_from_a_job_to_itself_is_refused(env: Env) -> None:
    parent = await env.put()
    waiting = await env.put(parents=[parent])
    other = env.job()
    await raises(UsageError, env.enqueue([other], [Edge(waiting, waiting)]), "an edge to itself")
    same(await env.store.get_jobs([other.id]), [None], "a job of the same call")
