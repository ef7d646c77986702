"""Random graphs of steps: a workflow that builds one, and a plain evaluation, step by step, to compare with.

The graph is made of a seed and a size alone, so that any process can build the same. ``GRAPH_URL`` is the store.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from windlass import App, Retry, current
from windlass.workflows.step import Step

app = App(os.environ.get("GRAPH_URL", "memory://graphs"), lease=1.0, max_lost=1000)

Kind = Literal["value", "list", "map", "fail", "flaky"]
Needs = Literal["succeeded", "done", "failed"]


def interrupt(number: int) -> None:
    """Called in each step with its number; tests put deaths here."""


@dataclass(frozen=True)
class Node:
    """A step, drawn at random."""

    kind: Kind
    sources: tuple[int, ...] = ()
    """Whose results it takes; a map takes one list."""
    after: tuple[int, ...] = ()
    needs: Needs = "succeeded"
    when: int | None = None


@dataclass
class Outcome:
    """How a step must end."""

    status: Literal["succeeded", "dead", "cancelled", "omitted"]
    value: Any = None
    items: list[int | None] = field(default_factory=list)
    """Of a map: the results of its items; ``None`` for one that died."""

    @property
    def failed(self) -> bool:
        """What an edge takes for a failure."""
        return self.status in ("dead", "cancelled")


def draw(seed: int, size: int) -> list[Node]:
    """Draw a graph of so many steps."""
    rng = random.Random(seed)
    trouble = rng.choice([0.0, 0.01, 0.1])
    nodes: list[Node] = []
    for number in range(size):
        near = range(max(0, number - rng.choice([3, 30, size])), number)
        kind: Kind = rng.choices(("value", "list", "flaky", "fail"), (6, 2, 1, 20 * trouble))[0]
        lists = [one for one in near if nodes[one].kind == "list"]
        if lists and rng.random() < 0.1:
            nodes.append(Node("map", (rng.choice(lists),), needs=rng.choices(("succeeded", "done"), (9, 1))[0]))
            continue
        sources = tuple(rng.sample(near, min(len(near), rng.choice([0, 1, 1, 2, 3, 8]))))
        after = tuple(rng.sample(near, min(len(near), rng.choice([0, 0, 0, 1, 2]))))
        needs: Needs = rng.choices(("succeeded", "done", "failed"), (12, 2, 1))[0]
        when = rng.choice(near) if near and rng.random() < 0.1 else None
        if needs == "failed":  # it runs as soon as one has failed: what the others will be is not known then
            sources, when, after = (), None, after or tuple(near[-1:])
            needs = "failed" if after else "succeeded"
        nodes.append(Node(kind, sources, after, needs, when))
    return nodes


def work(number: int, inputs: Sequence[Any]) -> int:
    """What a step makes of what it takes."""
    return zlib.crc32(json.dumps([number, inputs], separators=(",", ":")).encode()) % 1000


def fails(item: int) -> bool:
    """Whether an item of a map is one that dies."""
    return item % 97 == 96


def evaluate(nodes: Sequence[Node]) -> list[Outcome]:
    """Go through the graph, one step after the other."""
    found: list[Outcome] = []
    for number, node in enumerate(nodes):
        found.append(_outcome(number, node, found))
    return found


def _outcome(number: int, node: Node, before: Sequence[Outcome]) -> Outcome:
    parents = [before[one] for one in {*node.sources, *node.after, *([] if node.when is None else [node.when])}]
    if node.needs == "succeeded" and any(one.failed for one in parents):
        return Outcome("cancelled")
    if node.needs == "failed" and not any(one.failed for one in parents):
        return Outcome("cancelled")
    if node.when is not None and not before[node.when].value:
        return Outcome("omitted")
    taken = [before[one] for one in node.sources]
    if node.needs == "succeeded" and any(one.status == "omitted" for one in taken):
        return Outcome("omitted")
    values = [one.value for one in taken]
    if node.kind == "map":
        return _mapped(number, values[0])
    if node.kind == "fail":
        return Outcome("dead")
    value = work(number, values)
    return Outcome("succeeded", [value + n for n in range(value % 5)] if node.kind == "list" else value)


def _mapped(number: int, items: list[int] | None) -> Outcome:
    if items is None:
        return Outcome("dead")  # null is no list
    values = [None if fails(item) else work(number, [item]) for item in items]
    return Outcome("dead" if None in values else "succeeded", values, values)


def has_failed(nodes: Sequence[Node], outcomes: Sequence[Outcome]) -> bool:
    """Whether the run must fail: for a step on which none depends, or for which such a step was cancelled."""
    parents = [{*node.sources, *node.after, *([] if node.when is None else [node.when])} for node in nodes]
    depended_on = set().union(*parents)
    look = [number for number in range(len(nodes)) if number not in depended_on]
    looked = set()
    while look:
        number = look.pop()
        if number in looked:
            continue
        looked.add(number)
        if outcomes[number].status == "dead":
            return True
        if outcomes[number].status == "cancelled":
            look.extend(parents[number])
    return False


# ------------------------------------------------------------------------------------------------------ the app


@app.task(name="value")
async def value(number: int, inputs: list[Any], pause: float = 0.0) -> int:
    interrupt(number)
    await asyncio.sleep(pause)
    return work(number, inputs)


@app.task(name="several")
async def several(number: int, inputs: list[Any], pause: float = 0.0) -> list[int]:
    interrupt(number)
    await asyncio.sleep(pause)
    found = work(number, inputs)
    return [found + n for n in range(found % 5)]


@app.task(name="flaky", retry=Retry(attempts=3, delay=0))
async def flaky(number: int, inputs: list[Any], pause: float = 0.0) -> int:
    interrupt(number)
    if current().failures < number % 3:
        raise ConnectionError
    return work(number, inputs)


@app.task(name="fail")
async def fail(number: int, inputs: list[Any], pause: float = 0.0) -> int:
    interrupt(number)
    raise ValueError(number)


@app.task(name="item")
async def item(one: int, number: int, pause: float = 0.0) -> int:
    interrupt(number)
    await asyncio.sleep(pause)
    if fails(one):
        raise ValueError(one)
    return work(number, [one])


@app.workflow(name="graph")
def graph(seed: int, size: int, pause: float = 0.0) -> None:
    """Build the graph that `draw` draws."""
    tasks = {"value": value, "list": several, "flaky": flaky, "fail": fail}
    steps: list[Step[Any]] = []
    for number, node in enumerate(draw(seed, size)):
        chosen: dict[str, Any] = {
            "step_name": str(number),
            "needs": node.needs,
            "after": [steps[n] for n in node.after],
        }
        if node.when is not None:
            chosen["when"] = steps[node.when]
        if node.kind == "map":
            steps.append(item.options(**chosen).map(steps[node.sources[0]], number=number, pause=pause))
        else:
            inputs = [steps[n] for n in node.sources]
            steps.append(tasks[node.kind].options(**chosen).step(number, inputs, pause=pause))
