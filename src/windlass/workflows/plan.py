"""From a traced graph to the jobs of a run: each step numbered behind those that it depends on."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from windlass.call import Recipe
from windlass.core.errors import UsageError
from windlass.core.graph import EdgePolicy
from windlass.core.ids import Family
from windlass.core.model import Edge, NewJob, Parent
from windlass.core.steps import FINISH, Condition, Input, MapPlan, Path, StepInfo, put, stretches
from windlass.workflows.step import Draft, Items, Takes
from windlass.workflows.trace import Trace

MOST_PARENTS = 200
"""Edges with which a job is stored; further ones are added to it while it waits, so that no call is large."""


class Planned(NamedTuple):
    """A job, and edges that are added once it is stored: its own, and of the job that ends the run."""

    job: NewJob
    edges: list[Edge]


class Plan:
    """The steps of one run, in an order in which each comes behind those that it depends on."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        parents_of = {draft: draft.parents for draft in trace.drafts}
        self.order = _ordered(trace, parents_of)
        self.numbers: Mapping[Draft, int] = {draft: number for number, draft in enumerate(self.order, 1)}
        parents = [parents_of[draft] for draft in self.order]
        self._parents = [sorted(self.numbers[one] for one in found) for found in parents]
        self._dependants: dict[Draft, list[tuple[int, EdgePolicy]]] = {
            draft: [] for draft in self.order if draft.items is not None
        }
        has_dependants: set[Draft] = set()
        for draft, found in zip(self.order, parents, strict=True):
            has_dependants.update(found)
            for one in found:
                if one.items is not None:
                    self._dependants[one].append((self.numbers[draft], draft.needs))
        self.sinks = [self.numbers[draft] for draft in self.order if draft not in has_dependants]
        """The numbers of the steps on which no other depends."""
        for draft, dependants in self._dependants.items():
            if draft not in has_dependants:
                dependants.append((FINISH, EdgePolicy.DONE))

    def jobs(self, run: bytes, finish: Recipe) -> Iterator[Planned]:
        """The jobs of the run with this id: first the one that ends it, then the steps. All wait for the job that
        starts the run, be it behind others."""
        family = Family(run)
        gate = Parent(run)
        yield Planned(self._finish(run, family, finish), [])
        sinks = frozenset(self.sinks)
        for number, draft in enumerate(self.order, 1):
            numbers = self._parents[number - 1]
            parents = [Parent(family.id(one), draft.needs) for one in numbers]
            later = parents[MOST_PARENTS:]
            if not parents or later or draft.needs is not EdgePolicy.SUCCEEDED:
                parents = [gate, *parents[:MOST_PARENTS]]
            job = self._job(draft, run, family, tuple(parents))
            edges = [Edge(one.id, job.id, one.policy) for one in later]
            if number in sinks:
                edges.append(Edge(job.id, family.id(FINISH), EdgePolicy.DONE))
            yield Planned(job, edges)

    def info(self, draft: Draft, run: bytes) -> StepInfo:
        """What the job of a step knows of itself."""
        number = self.numbers[draft]
        when = draft.when
        return StepInfo(
            run=run,
            number=number,
            name=draft.name,
            parents=stretches(self._parents[number - 1]),
            inputs=self._inputs(draft.takes),
            when=None if when is None else Condition(self._input((), when.draft), when.equals, when.negated),
            needs=draft.needs,
            maps=None if draft.items is None else draft.items.recipe.spec.name,
        )

    def _job(self, draft: Draft, run: bytes, family: Family, parents: tuple[Parent, ...]) -> NewJob:
        number = self.numbers[draft]
        info = self.info(draft, run)
        if draft.items is None:
            return draft.recipe.step_job(family.id(number), draft.payload, draft.limit_key, parents, info)
        mapped = draft.items.recipe.plain_job(b"{}", None)
        plan = self._map_plan(draft, draft.items, mapped, run)
        payload = put(draft.payload, [(("items",), msgspec.json.encode(plan))])
        # The items' arguments are in both arguments of this job.
        secret = ("lists", "items") if draft.items.recipe.spec.secret else ()
        job = draft.recipe.step_job(family.id(number), payload, None, parents, info, secret=secret)
        return msgspec.structs.replace(
            job,
            queue=mapped.queue,
            priority=mapped.priority,
            delay=mapped.delay,
            at=mapped.at,
            expires_in=mapped.expires_in,
            expires_at=mapped.expires_at,
        )

    def _map_plan(self, draft: Draft, items: Items, mapped: NewJob, run: bytes) -> MapPlan:
        info = StepInfo(
            run=run,
            number=self.numbers[draft],
            name=draft.name,
            inputs=self._inputs(items.takes),
            needs=draft.needs,
            item=items.names,
        )
        return MapPlan(
            task=mapped.task,
            queue=mapped.queue,
            requires=mapped.requires,
            priority=mapped.priority,
            names=items.names,
            constants=msgspec.Raw(items.constants),
            options=msgspec.Raw(items.recipe.step_options(info) or b"null"),
            limit_key=mapped.limit_key,
            star=items.star,
            dependants=tuple(self._dependants[draft]),
        )

    def _inputs(self, takes: Takes) -> tuple[Input, ...]:
        return tuple(self._input(path, source) for path, source in takes)

    def _input(self, path: Path, source: Draft | tuple[Draft, ...]) -> Input:
        if isinstance(source, tuple):
            return Input(path, stretches(self.numbers[one] for one in source), "many")
        number = self.numbers[source]
        return Input(path, ((number, number),), "one" if source.items is None else "items")

    def _finish(self, run: bytes, family: Family, finish: Recipe) -> NewJob:
        assert self._trace.result is not None
        payload, takes = self._trace.result
        info = StepInfo(
            run=run,
            number=FINISH,
            name=self._trace.workflow,
            parents=stretches(self.sinks),
            inputs=self._inputs(takes),
            needs=EdgePolicy.DONE,
            mapped=stretches(number for number in self.sinks if self.order[number - 1].items is not None),
        )
        return finish.step_job(family.id(FINISH), payload, None, (Parent(run),), info)


def _ordered(trace: Trace, parents: Mapping[Draft, Mapping[Draft, None]]) -> list[Draft]:
    """Order steps behind those that they depend on, otherwise as they were made. Raises `UsageError` for a circle."""
    place = {draft: at for at, draft in enumerate(trace.drafts)}
    if all(place[one] < place[draft] for draft, found in parents.items() for one in found):
        return trace.drafts
    dependants: dict[Draft, list[Draft]] = {draft: [] for draft in trace.drafts}
    open_parents = {}
    for draft, found in parents.items():
        open_parents[draft] = len(found)
        for one in found:
            dependants[one].append(draft)
    ready = [place[draft] for draft, count in open_parents.items() if not count]
    ordered = []
    while ready:
        draft = trace.drafts[heapq.heappop(ready)]
        ordered.append(draft)
        for one in dependants[draft]:
            open_parents[one] -= 1
            if not open_parents[one]:
                heapq.heappush(ready, place[one])
    if len(ordered) < len(trace.drafts):
        left = {draft for draft, count in open_parents.items() if count}
        raise UsageError(
            f"workflow {trace.workflow!r}: steps wait for each other in a circle: {_circle(parents, left, place)}"
        )
    return ordered


def _circle(parents: Mapping[Draft, Mapping[Draft, None]], left: set[Draft], place: Mapping[Draft, int]) -> str:
    """Walk from parent to parent among steps each of which has one that is left, until one comes again; show the circle
    from the step that was made first."""
    draft = next(iter(left))
    walked: list[Draft] = []
    while draft not in walked:
        walked.append(draft)
        draft = next(one for one in parents[draft] if one in left)
    circle = walked[walked.index(draft) :][::-1]
    first = min(range(len(circle)), key=lambda at: place[circle[at]])
    return " -> ".join(repr(one.name) for one in (*circle[first:], *circle[:first], circle[first]))
