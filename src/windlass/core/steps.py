"""What a job that is a step of a run carries with it: where it stands, and what it takes from other steps.

It travels with the job's options, as JSON: stores keep it and never read it. A step names others of its run by their
number, which makes their ids (`windlass.core.ids.Family`); their results stay where they are, and whoever runs the step
puts them into its arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from windlass.core.clock import MINUTE, Span
from windlass.core.errors import PayloadTooLarge, UnknownParent, UsageError
from windlass.core.graph import EdgePolicy
from windlass.core.ids import Family, family, from_text, to_text

FINISH = 0
"""The number of the job that ends a run; its steps are numbered from 1."""
MAP = "windlass.map"
"""The task that makes the items of a map."""
FINISH_RUN = "windlass.finish"
"""The task that ends a run."""
MOST_INPUTS = 1_000_000
"""Results that one step takes from others, at most."""
MAX_INPUTS = 64 * 1024 * 1024
"""Bytes of results that one step takes from others, at most."""
OMITTED = b"null "
"""The result of a step whose condition did not hold: JSON's null, written as no encoder writes it. Such a step has
succeeded, so that nobody waits for it; what takes its result knows by these bytes that there is none."""
UNFINISHED = b""
"""In place of the result of a job that has not finished."""

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

    of: Input
    """Where that comes from; its path is empty."""
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


PAUSED_FOR: Span = MINUTE
"""What a worker claims of a paused run, it puts back for so long at most."""
_PAUSED = "run:"


def pause_name(run: bytes) -> str:
    """The name under which it is noted that a run is paused."""
    return _PAUSED + to_text(run)


def paused_run(name: str) -> bytes | None:
    """The run of such a name; ``None``: it is the name of something else."""
    try:
        return from_text(name[len(_PAUSED) :]) if name.startswith(_PAUSED) else None
    except UsageError:
        return None


class TooEarly(Exception):
    """A step was let go before one that it takes the result of had finished. Edges to what has been cancelled are not
    stored; so a step that goes on after that does not wait for all that it waited for before."""


class NotKnown(Exception):
    """Not all that is needed is known: these ids are missing."""

    def __init__(self, ids: Sequence[bytes]) -> None:
        super().__init__(f"{len(ids)} results are not known yet")
        self.ids = ids


def fill(info: StepInfo, payload: bytes, known: Mapping[bytes, bytes | None]) -> bytes | None:
    """Put the results that a step takes into its arguments.

    Args:
        info: the step.
        payload: its arguments, with ``null`` where results go.
        known: results by job id; ``None`` where there is none, since the job did not succeed; or `UNFINISHED`.

    Returns the arguments, or ``None`` if the step is omitted: its condition does not hold, or what it takes was omitted
    and it asks for the success of its parents.

    Raises:
        NotKnown: results are missing that may be there.
        TooEarly: a result that it takes is not there yet.
        UnknownParent: it asks for the success of its parents, and a result is not there any more.
        PayloadTooLarge: the results are more than `MAX_INPUTS` bytes.
    """
    plain = _plain_values(info, known)
    if plain is not None:
        return put(payload, plain)
    there = _Results(info, known)
    if info.when is not None:
        results = there.of(info.when.of)
        if results in ([None], [OMITTED]) or not info.when.holds(there.written(info.when.of, results)):
            return None
    strict = info.needs is EdgePolicy.SUCCEEDED
    values: list[tuple[Path, bytes]] = []
    size = 0
    for one in info.inputs:
        results = there.of(one)
        if strict and OMITTED in results:
            return None
        size += sum(map(len, filter(None, results)))
        if size > MAX_INPUTS:
            raise PayloadTooLarge(
                f"step {info.name!r}: the results that it takes exceed {MAX_INPUTS} bytes together; have steps store "
                "large data elsewhere, and pass on references to it"
            )
        values.append((one.path, there.written(one, results)))
    return put(payload, values)


def _plain_values(info: StepInfo, known: Mapping[bytes, bytes | None]) -> list[tuple[Path, bytes]] | None:
    """What goes where, in the ordinary case: all is known, and each place takes the result of one step, which is there.
    ``None`` in all other cases."""
    if info.when is not None:
        return None
    number_to_id = family(info.run).id
    values: list[tuple[Path, bytes]] = []
    size = 0
    for one in info.inputs:
        if one.kind != "one" or (job_id := number_to_id(one.steps[0][0])) not in known:
            return None
        result = known[job_id]
        if not result or result == OMITTED:
            return None
        size += len(result)
        values.append((one.path, result))
    return values if size <= MAX_INPUTS else None


class _Results:
    """Results that a step needs. Raises `NotKnown` unless all are known."""

    def __init__(self, info: StepInfo, known: Mapping[bytes, bytes | None]) -> None:
        self._info = info
        self._known = known
        self._family = family(info.run)
        sources = [*info.inputs, *([] if info.when is None else [info.when.of])]
        self._check_count(sum(max(0, last - first + 1) for one in sources for first, last in one.steps))
        ids = [job_id for one in sources for job_id in self._ids(one)]
        self._find(ids)
        self._find(item for one in sources if one.kind == "items" for item in self._items(one))

    def _check_count(self, count: int) -> None:
        if count > MOST_INPUTS:
            raise PayloadTooLarge(f"step {self._info.name!r} takes {count} results; {MOST_INPUTS:_} are the most")

    def _find(self, ids: Iterable[bytes]) -> None:
        missing = [job_id for job_id in ids if job_id not in self._known]
        if missing:
            raise NotKnown(missing)

    def _ids(self, one: Input) -> list[bytes]:
        return [self._family.id(number) for number in each(one.steps)]

    def _items(self, one: Input) -> list[bytes]:
        """The items of a map; none, if it has not succeeded, or was omitted."""
        (job_id,) = self._ids(one)
        result = self._known[job_id]
        if result is None or result in (OMITTED, UNFINISHED):
            return []
        self._check_count(items_of(result))
        return item_ids(job_id, result)

    def of(self, one: Input) -> list[bytes | None]:
        """What goes to one place. Raises `UnknownParent` for what must be there and is not."""
        ids = self._ids(one) if not self._is_map(one) else self._items(one)
        found = [self._known[job_id] for job_id in ids]
        if UNFINISHED in found:
            if self._info.needs is not EdgePolicy.FAILED:
                raise TooEarly
            found = [None if result == UNFINISHED else result for result in found]
        if None in found and self._info.needs is EdgePolicy.SUCCEEDED:
            raise UnknownParent(f"step {self._info.name!r}: a result that it takes is not there any more")
        return found

    def _is_map(self, one: Input) -> bool:
        """Whether the items of a map go there: there are none of one that has failed, or was omitted."""
        return one.kind == "items" and self._known[self._ids(one)[0]] not in (None, OMITTED, UNFINISHED)

    def written(self, one: Input, results: Sequence[bytes | None]) -> bytes:
        """The JSON that goes to the place."""
        written = [b"null" if result is None else result for result in results]
        return b"[%s]" % b",".join(written) if one.kind == "many" or self._is_map(one) else written[0]


def items_of(result: bytes) -> int:
    """How many items a map has, by its result. Raises ``ValueError`` for what is none."""
    return msgspec.json.decode(result, type=MapResult).items


def item_ids(job_id: bytes, result: bytes | None) -> list[bytes]:
    """The ids of the items of a map, by its result; none, if it has none."""
    if result is None or result == OMITTED:
        return []
    family = Family(job_id)
    return [family.id(number) for number in range(items_of(result))]


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
