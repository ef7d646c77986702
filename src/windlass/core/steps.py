"""What a job that is a step of a run carries with it: where it stands, and what it takes from other steps.

It travels with the job's options, as JSON: stores keep it and never read it. A step names others of its run by their
number, which makes their ids (`windlass.core.ids.Family`); their results stay where they are, and whoever runs the step
puts them into its arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from windlass.core.errors import PayloadTooLarge, UnknownParent
from windlass.core.graph import EdgePolicy
from windlass.core.ids import Family

FINISH = 0
"""The number of the job that ends a run; its steps are numbered from 1."""
MAX_INPUTS = 64 * 1024 * 1024
"""Bytes of results that one step takes from others, at most."""
OMITTED = b"null "
"""The result of a step whose condition did not hold: JSON's null, written as no encoder writes it. Such a step has
succeeded, so that nobody waits for it; what takes its result knows by these bytes that there is none."""

Path: TypeAlias = tuple[str | int, ...]
"""Where in the arguments a value goes: the parameter, then keys and positions inside it."""
Numbers: TypeAlias = tuple[tuple[int, int], ...]
"""Numbers of steps, as stretches from the first to the last: few, where thousands follow one another."""


class Input(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A place in the arguments that results of other steps fill."""

    path: Path
    steps: Numbers
    kind: Literal["one", "many", "items"] = "one"
    """``one``: the result of the step. ``many``: the list of the results of the steps. ``items``: the list of the
    results of the items of the step, which is a map."""


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a step runs at all, by the result of another one."""

    step: int
    equals: str | None = None
    """JSON that the result must equal; ``None``: it must be something, as Python's ``bool`` has it."""
    negated: bool = False

    def holds(self, result: bytes) -> bool:
        """Judge a result."""
        value = msgspec.json.decode(result)
        held = bool(value) if self.equals is None else value == msgspec.json.decode(self.equals)
        return held is not self.negated


class StepInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step, as its job knows itself."""

    run: bytes
    number: int
    """Within the run; an item of a map has the number of the map."""
    name: str
    parents: Numbers = ()
    """The steps that it depends on: by their results, or in order only."""
    inputs: tuple[Input, ...] = ()
    when: Condition | None = None
    needs: EdgePolicy = EdgePolicy.SUCCEEDED
    """What it asks of its parents. Unless that is success, what has no result is ``None`` to it."""
    mapped: Numbers = ()
    """Of the job that ends a run: which of its parents are maps."""
    maps: str | None = None
    """It makes the items of a map of this task."""
    item: tuple[str, ...] = ()
    """Of an item of a map: the parameters that it fills."""

    @property
    def filled(self) -> set[str]:
        """The parameters in whose arguments there are results of others."""
        return {*self.item, *(str(one.path[0]) for one in self.inputs)}

    @property
    def takes(self) -> bool:
        """Whether results of others are needed to run it."""
        return bool(self.inputs) or self.when is not None


class MapPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the items of a map are made: all that their jobs have in common."""

    task: str
    queue: str
    requires: str
    priority: int
    names: tuple[str, ...]
    """The parameters that an item fills."""
    constants: msgspec.Raw
    """The arguments that they share."""
    options: msgspec.Raw
    limit_key: str | None = None
    star: bool = False
    dependants: tuple[tuple[int, EdgePolicy], ...] = ()
    """Numbers of the jobs that wait for the items, and what they ask of them."""


class MapResult(msgspec.Struct, frozen=True):
    """The result of a step that makes the items of a map."""

    items: int


def stretches(numbers: Iterable[int]) -> Numbers:
    """Write numbers, in rising order, as stretches."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] + 1 == number:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)


def each(numbers: Numbers) -> Iterator[int]:
    """The numbers in stretches."""
    for first, last in numbers:
        yield from range(first, last + 1)


def is_step(options: bytes | None) -> bool:
    """Whether a job is a step, by its encoded options. (Text inside JSON has its quotes escaped: only a key can look
    like this.)"""
    return options is not None and b'"step":{' in options


class Unfinished(Exception):
    """Not all that is needed is known: these ids are missing."""

    def __init__(self, ids: Sequence[bytes]) -> None:
        super().__init__(f"{len(ids)} results are not known yet")
        self.ids = ids


def fill(info: StepInfo, payload: bytes, known: Mapping[bytes, bytes | None]) -> bytes | None:
    """Put the results that a step takes into its arguments.

    Args:
        info: the step.
        payload: its arguments, with ``null`` where results go.
        known: results by job id; ``None`` where there is none, since the job did not succeed.

    Returns the arguments, or ``None`` if the step is omitted: its condition does not hold, or what it takes was omitted
    and it asks for the success of its parents.

    Raises:
        Unfinished: results are missing that may be there.
        UnknownParent: it asks for the success of its parents, and a result is not there any more.
        PayloadTooLarge: the results are more than `MAX_INPUTS` bytes.
    """
    family = Family(info.run)
    missing = [job_id for job_id in _wanted(info, family) if job_id not in known]
    if not missing:
        missing = [item for job_id in _maps(info, family) for item in _items(job_id, known) if item not in known]
    if missing:
        raise Unfinished(missing)
    if info.when is not None and not _holds(info.when, known[family.id(info.when.step)]):
        return None
    strict = info.needs is EdgePolicy.SUCCEEDED
    values: list[tuple[Path, bytes]] = []
    size = 0
    for one in info.inputs:
        results = [known[job_id] for job_id in _sources(one, family, known)]
        if strict and OMITTED in results:
            return None
        if strict and None in results:
            raise UnknownParent(f"step {info.name!r}: a result that it takes is not there any more")
        size += sum(map(len, filter(None, results)))
        if size > MAX_INPUTS:
            raise PayloadTooLarge(
                f"step {info.name!r}: the results that it takes exceed {MAX_INPUTS} bytes together; have steps store "
                "large data elsewhere, and pass on references to it"
            )
        written = [b"null" if result is None else result for result in results]
        values.append((one.path, b"[%s]" % b",".join(written) if _is_list(one, family, known) else written[0]))
    return put(payload, values)


def _wanted(info: StepInfo, family: Family) -> Iterator[bytes]:
    """The steps whose results are needed first."""
    if info.when is not None:
        yield family.id(info.when.step)
    for one in info.inputs:
        yield from map(family.id, each(one.steps))


def _maps(info: StepInfo, family: Family) -> list[bytes]:
    return [family.id(one.steps[0][0]) for one in info.inputs if one.kind == "items"]


def _items(job_id: bytes, known: Mapping[bytes, bytes | None]) -> list[bytes]:
    """The ids of the items of a map; none, if the map did not succeed, or was omitted."""
    return item_ids(job_id, known[job_id])


def item_ids(job_id: bytes, result: bytes | None) -> list[bytes]:
    """The ids of the items of a map, by its result; none, if it has none."""
    if result is None or result == OMITTED:
        return []
    family = Family(job_id)
    return [family.id(number) for number in range(msgspec.json.decode(result, type=MapResult).items)]


def _sources(one: Input, family: Family, known: Mapping[bytes, bytes | None]) -> list[bytes]:
    ids = [family.id(number) for number in each(one.steps)]
    if one.kind != "items":
        return ids
    (job_id,) = ids
    return ids if known[job_id] in (None, OMITTED) else _items(job_id, known)


def _is_list(one: Input, family: Family, known: Mapping[bytes, bytes | None]) -> bool:
    """Whether a list goes to the place; a map that was omitted, or that failed, has none."""
    if one.kind == "items":
        return known[family.id(one.steps[0][0])] not in (None, OMITTED)
    return one.kind == "many"


def _holds(condition: Condition, result: bytes | None) -> bool:
    return result is not None and result != OMITTED and condition.holds(result)


def put(payload: bytes, values: Sequence[tuple[Path, bytes]]) -> bytes:
    """Put values, encoded as JSON, into an object."""
    if not values:
        return payload
    whole: dict[str, Any] = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    for path, value in values:
        first, *rest = path
        raw = msgspec.Raw(value)
        if not rest:
            whole[str(first)] = raw
            continue
        inside = whole[str(first)]
        if isinstance(inside, msgspec.Raw):
            inside = whole[str(first)] = msgspec.json.decode(inside)
        for key in rest[:-1]:
            inside = inside[key]
        inside[rest[-1]] = raw
    return msgspec.json.encode(whole)
