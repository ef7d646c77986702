"""Rules for workers: sessions, claims, settlements, renewals; honest ones, forgetful ones and zombies."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from windlass.core.clock import SECOND
from windlass.core.lifecycle import Outcome
from windlass.core.model import (
    ClaimAnswer,
    ClaimRequest,
    Note,
    Renewal,
    Session,
    Settled,
    Settlement,
)
from windlass.testing.claims import check_claim
from windlass.testing.faulty import Fault
from windlass.testing.invariants import InvariantBroken
from windlass.testing.machine import plans
from windlass.testing.machine.janitors import JanitorRules
from windlass.testing.machine.plans import ClaimPlan, Mishap, SettlePlan, mishaps
from windlass.testing.machine.situation import Worker


class WorkerRules(JanitorRules):
    """What workers do."""

    @initialize(count=st.integers(1, 3))
    def begin_with_workers(self, count: int) -> None:
        for _ in range(count):
            self.open(Fault.NONE)

    @rule(
        what=st.sampled_from(["open", "open", "close", "drain", "stop"]),
        who=plans.positions,
        mishap=mishaps(Fault.REPEATED, Fault.LATE),
    )
    def session(self, what: str, who: int, mishap: Mishap) -> None:
        """Sessions come and go, and are sent commands."""
        worker = self.worker(who)
        if what == "open":
            self.open(mishap)
        elif what == "close":
            self.say(f"close {worker.name}")
            self.do(lambda store: store.close(worker.id), mishap)
        else:
            self.say(f"command {worker.name} {what}")
            self.do(lambda store: store.command(worker.id, what), mishap)

    def open(self, mishap: Mishap) -> None:
        worker = Worker((len(self.workers) + 1).to_bytes(2, "big") * 8)
        self.workers.append(worker)
        session = Session(id=worker.id, node="n", pid=1, lanes=plans.EVERYWHERE, tasks=plans.TASKS, slots=4)
        self.say(f"open {worker.name}")
        self.do(lambda store: store.open(session), mishap)

    @rule(who=plans.positions, plan=plans.claims, mishap=mishaps(Fault.LATE))
    def claim(self, who: int, plan: ClaimPlan, mishap: Mishap) -> None:
        worker = self.worker(who)
        request = self.request(worker, plan)
        self.say(f"claim {worker.name} {request}")
        before = self.duel.look(self.learn_edges, pending=True)
        answer = self.do(lambda store: store.claim(worker.id, request), mishap)
        if answer is not None:
            check_claim(before, request, answer)
            self.receive(worker, request, answer)

    @rule(who=plans.positions, alone=st.sampled_from([False, False, True]), until=st.sampled_from([1, 2, 1000]))
    def claim_well(self, who: int, alone: bool, until: int) -> None:
        """As in good times, so that histories get somewhere."""
        self.claim(who, ClaimPlan(plans.everywhere(until), alone), Fault.NONE)

    @rule(
        who=plans.positions,
        until=st.sampled_from([1, 2, 1000]),
        mishap=st.sampled_from([Fault.LOST, Fault.LATE, Fault.CRASH]),
        arrives=st.booleans(),
    )
    def claim_in_doubt(self, who: int, until: int, mishap: Fault, arrives: bool) -> None:
        """No answer comes, and the worker does as it should; then the claim may still arrive."""
        self.claim(who, ClaimPlan(plans.everywhere(until)), mishap)
        self.unclaim(who, 0, Fault.NONE)
        if mishap is Fault.LATE and arrives:
            self.arrives_late(len(self.duel.late) - 1)

    @rule(who=plans.positions)
    def work_off(self, who: int) -> None:
        """Everything held succeeds, and the worker claims more in the same trip."""
        worker = self.worker(who)
        plan = SettlePlan(0, Outcome.SUCCEEDED)
        worker.last_settle = [plan.settlement(*pair) for pair in worker.held.items()]
        self.settle_now(worker, worker.last_settle, self.request(worker, ClaimPlan(plans.EVERYWHERE)), Fault.NONE)

    def request(self, worker: Worker, plan: ClaimPlan) -> ClaimRequest:
        if not plan.stale:
            worker.number += 1
        return ClaimRequest(worker.number, plan.lanes, plan.alone, plan.max_bytes)

    def receive(self, worker: Worker, request: ClaimRequest, answer: ClaimAnswer) -> None:
        worker.answered = max(worker.answered, request.number)
        for job in answer.jobs:
            if (job.id, job.token) in self.given:
                raise InvariantBroken(f"{job.id.hex()} was given twice with token {job.token}")
            self.given.add((job.id, job.token))
            worker.held[job.id] = job.token
            self.proofs.append((worker.id, job.id, job.token))

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(
        who=plans.positions,
        wanted=st.lists(plans.settles, min_size=1, max_size=3, unique_by=lambda plan: plan.position),
        then=st.none() | plans.claims,
        mishap=mishaps(Fault.LATE),
    )
    def settle(self, who: int, wanted: list[SettlePlan], then: ClaimPlan | None, mishap: Mishap) -> None:
        holders = [worker for worker in self.workers if worker.held]
        worker = holders[who % len(holders)]
        held = list(worker.held.items())
        worker.last_settle = [plan.settlement(*held[plan.position % len(held)]) for plan in wanted]
        request = None if then is None else self.request(worker, then)
        self.settle_now(worker, worker.last_settle, request, mishap)

    @precondition(lambda self: any(worker.last_settle for worker in self.workers))
    @rule(who=plans.positions, mishap=mishaps(Fault.REPEATED, Fault.LATE))
    def settle_again(self, who: int, mishap: Mishap) -> None:
        """The answer to a settle was lost, so the worker repeats it: now, or after whatever happened meanwhile."""
        settlers = [worker for worker in self.workers if worker.last_settle]
        worker = settlers[who % len(settlers)]
        self.settle_now(worker, worker.last_settle, None, mishap)

    @precondition(lambda self: self.proofs)
    @rule(which=plans.positions, plan=plans.settles, shift=st.sampled_from([0, 0, 0, 1, -1]), who=plans.positions)
    def settle_as_zombie(self, which: int, plan: SettlePlan, shift: int, who: int) -> None:
        """A proof that may be long void; with ``shift`` it never was one."""
        proofs = self.void_proofs() or self.proofs
        session, job, token = proofs[-1 - which % len(proofs)]
        worker = next(worker for worker in self.workers if worker.id == session)
        if shift < 0:
            worker = self.worker(who)
        self.settle_now(worker, [plan.settlement(job, token + max(shift, 0))], None, Fault.NONE)

    @rule(
        who=plans.positions, until=st.sampled_from([1, 2, 1000]), outcome=st.sampled_from([Outcome.SUCCEEDED, *Outcome])
    )
    def old_attempt_ends(self, who: int, until: int, outcome: Outcome) -> None:
        """What was claimed and given back is claimed again, and then the first attempt, which lived on, ends."""
        worker = self.worker(who)
        self.claim(who, ClaimPlan(plans.everywhere(until)), Fault.NONE)
        first = [SettlePlan(0, outcome).settlement(*pair) for pair in worker.held.items()]
        self.unclaim(who, 0, Fault.NONE)
        self.renew_now(worker, [], Fault.NONE)
        self.claim(who, ClaimPlan(plans.everywhere(until)), Fault.NONE)
        self.settle_now(worker, first, None, Fault.NONE)

    def void_proofs(self) -> list[tuple[bytes, bytes, int]]:
        """Proofs of jobs that were claimed again since: by the same session, if there are any, since only the token
        tells those apart."""
        running = {job.id: job for job in self.duel.last.running()}
        void = [proof for proof in self.proofs if proof[1] in running and running[proof[1]].token != proof[2]]
        return [proof for proof in void if running[proof[1]].session == proof[0]] or void

    def settle_now(
        self, worker: Worker, settlements: list[Settlement], request: ClaimRequest | None, mishap: Mishap
    ) -> None:
        self.say(f"settle {worker.name} {settlements} {request}")
        answer = self.do(lambda store: store.settle(worker.id, settlements, request), mishap)
        if answer is None:
            return
        for settlement, said in zip(settlements, answer.answers, strict=True):
            if worker.held.get(settlement.id) == settlement.token:
                del worker.held[settlement.id]
            proof = (settlement.id, settlement.token)
            if said is Settled.APPLIED and mishap is Fault.NONE:
                if proof in self.applied:
                    raise InvariantBroken(f"{proof[0].hex()} was settled twice with token {proof[1]}")
                self.applied.add(proof)
        if request is not None and answer.claim is not None:
            self.receive(worker, request, answer.claim)

    @rule(
        who=plans.positions,
        ahead=st.sampled_from([0, 0, 0, 1, -1]),
        mishap=mishaps(Fault.REPEATED, Fault.LATE),
    )
    def unclaim(self, who: int, ahead: int, mishap: Mishap) -> None:
        """As after a lost answer; or for a number that never was, or that was answered."""
        worker = self.worker(who)
        number = max(worker.number + ahead, 1)
        self.say(f"unclaim {worker.name} {number}")
        self.do(lambda store: store.unclaim(worker.id, number), mishap)

    @rule(
        who=plans.positions,
        forgets=st.sampled_from([(), (), (0,), (0, 1)]),
        invents=st.booleans(),
        mishap=mishaps(Fault.REPEATED, Fault.LATE),
    )
    def renew(self, who: int, forgets: tuple[int, ...], invents: bool, mishap: Mishap) -> None:
        """What it forgets is given back; what it invents is lost."""
        worker = self.worker(who)
        held = [pair for position, pair in enumerate(worker.held.items()) if position not in forgets]
        if invents:
            held += [(job, token) for _, job, token in self.proofs[-3:] if job not in dict(held)]
        self.renew_now(worker, held, mishap)

    def renew_now(self, worker: Worker, held: list[tuple[bytes, int]], mishap: Mishap) -> None:
        answered = worker.answered
        self.say(f"renew {worker.name} {held} {answered}")
        # The renewal counter goes on with every repetition: it is one more sign of life.
        answer = self.do(
            lambda store: store.renew(worker.id, held, answered), mishap, shape=_renewal, repeats_change_nothing=False
        )
        if answer is not None:
            kept = [] if answer.revoked else [pair for pair in held if pair in worker.held.items()]
            worker.held = {job: token for job, token in kept if job not in answer.lost}

    @rule(who=plans.positions, limit=st.sampled_from([200, 200, 1]))
    def dies(self, who: int, limit: int) -> None:
        """One worker falls silent while the others renew; a lease later it is reaped."""
        dead = self.worker(who)
        self.say(f"worker {dead.name} dies")
        self.duel.clock.move(self.settings.lease + SECOND)
        for worker in self.workers:
            if worker is not dead:
                self.renew_now(worker, list(worker.held.items()), Fault.NONE)
        self.reap_now(limit, Fault.NONE)

    @rule(deaths=st.integers(2, 5), limit=st.sampled_from([200, 1]))
    def crash_loop(self, deaths: int, limit: int) -> None:
        """Every worker that takes a job dies of it: suspects, then jobs that are lost."""
        for death in range(deaths):
            self.open(Fault.NONE)
            self.claim(0, ClaimPlan(plans.EVERYWHERE, alone=death >= 2), Fault.NONE)
            self.dies(0, limit)

    @precondition(lambda self: self.proofs)
    @rule(which=plans.positions, progress=st.sampled_from([None, 0.5]), log=st.sampled_from(["", "x\n"]))
    def annotate(self, which: int, progress: float | None, log: str) -> None:
        session, job, token = self.proofs[-1 - which % len(self.proofs)]
        note = Note(job, token, progress=progress, message="m" if progress else None, log=log)
        self.say(f"annotate {note}")
        self.do(lambda store: store.annotate(session, [note]), Fault.NONE)


def _renewal(answer: Renewal) -> object:
    """Without the duty, which is a hint, and in any order."""
    return (answer.revoked, sorted(answer.lost), sorted(answer.cancel), sorted(answer.commands), answer.suspects)
