"""Jobs that run a task over many items: each costs a job's trips once, whatever number of items it has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from windlass.call import Recipe
from windlass.choices import NONE
from windlass.client import Client
from windlass.context import current
from windlass.core.codec import Signature
from windlass.core.errors import Dead, InvalidOption
from windlass.core.ids import new_id
from windlass.core.model import NewJob
from windlass.core.options import encode_options
from windlass.core.requirements import PROCESS
from windlass.core.retry import NEVER, Retry
from windlass.core.task import ExecutorName, JobOptions, TaskSpec
from windlass.registry import TaskDefaults

BATCH: Mapping[ExecutorName, str] = {
    "async": "windlass.batch",
    "thread": "windlass.batch-in-thread",
    "process": "windlass.batch-in-process",
}
"""What runs the items of a task, by what runs the task."""


class BatchResult(msgspec.Struct, frozen=True):
    """The result of a batch."""

    seconds: float
    """How long its items took."""
    values: msgspec.Raw
    """The list of their results; with `Batch.fold`, of one."""


class Batch(msgspec.Struct, frozen=True):
    """What a batch runs: the task, and a column of arguments for each parameter that items fill."""

    task: str
    names: tuple[str, ...]
    columns: tuple[msgspec.Raw, ...]
    constants: msgspec.Raw
    fold: bool = False
    """Not over each item, but from the first to the last: ``task(task(a, b), c)``."""


def register(client: Client, defaults: TaskDefaults) -> None:
    """Make batches known to an app, on either side: those of processes only where a task runs in one. Idempotent."""

    async def in_loop(batch: Batch) -> BatchResult:
        return await _run_coroutines(client, batch)

    def in_thread(batch: Batch) -> BatchResult:
        return _run_functions(client, batch)

    def in_process(batch: Batch) -> BatchResult:
        spec = client.tasks.get(batch.task)
        if spec is not None and spec.is_coroutine:
            return asyncio.run(_run_coroutines(client, batch))
        return _run_functions(client, batch)

    kinds: Sequence[tuple[ExecutorName, Any]] = (("async", in_loop), ("thread", in_thread), ("process", in_process))
    has_processes = any(spec.executor == "process" for spec in client.tasks.values())
    for kind, function in kinds:
        name = BATCH[kind]
        if name in client.builtins or (kind == "process" and not has_processes):
            continue
        spec = TaskSpec(
            name=name,
            function=function,
            signature=Signature(name, function, max_payload=defaults.max_payload, max_result=defaults.max_result),
            executor=kind,
            requires=PROCESS if kind == "process" else "",
            keep=defaults.keep,
            keep_dead=defaults.keep_dead,
        )
        client.tasks[name] = spec
        client.builtins[name] = Recipe(client, spec, NONE)


async def _run_coroutines(client: Client, batch: Batch) -> BatchResult:
    spec, rows, call = _unpacked(client, batch)
    began = time.monotonic()
    if batch.fold:
        value = rows[0][0]
        for (one,) in rows[1:]:
            value = await spec.function(value, one)
        return _result(spec, [value], began)
    return _result(spec, [await call(row) for row in rows], began)


def _run_functions(client: Client, batch: Batch) -> BatchResult:
    spec, rows, call = _unpacked(client, batch)
    function, attempt = spec.function, current()
    began = time.monotonic()
    values: list[Any] = []
    for row in rows:
        attempt.raise_if_cancelled()
        if batch.fold and values:
            values[0] = function(values[0], *row)
        else:
            values.append(row[0] if batch.fold else call(row))
    return _result(spec, values, began)


def _unpacked(client: Client, batch: Batch) -> tuple[TaskSpec, list[tuple[Any, ...]], Callable[[tuple[Any, ...]], Any]]:
    """The task, the rows of items, and what calls the task with one."""
    spec = client.tasks.get(batch.task)
    if spec is None:
        raise Dead(f"task {batch.task!r} is not registered with this worker")
    columns = [spec.signature.decode_column(name, one) for name, one in zip(batch.names, batch.columns, strict=True)]
    constants = spec.signature.decode_some(batch.constants)
    function, names = spec.function, batch.names
    rows = list(zip(*columns, strict=True))
    if names == spec.signature.positional[: len(names)]:
        return spec, rows, lambda row: function(*row, **constants)
    return spec, rows, lambda row: function(**dict(zip(names, row, strict=True)), **constants)


def _result(spec: TaskSpec, values: list[Any], began: float) -> BatchResult:
    return BatchResult(time.monotonic() - began, msgspec.Raw(spec.signature.encode_results(values)))


def names_of(recipe: Recipe, count: int, constants: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters that so many items fill. Raises `InvalidOption`."""
    free = [name for name in recipe.spec.signature.positional if name not in constants]
    if len(free) < count:
        raise InvalidOption(
            f"task {recipe.spec.name!r} has {len(free)} parameters that items can fill, not {count}; "
            f"the task is {recipe.spec.signature.describe()}"
        )
    return tuple(free[:count])


class BatchMaker:
    """Makes batches of one task.

    Args:
        recipe: the task with its options.
        names: the parameters that items fill.
        constants: the arguments that all items share.
        fold: see `Batch.fold`.

    Raises `InvalidArguments` for constants that do not fit, and for a parameter that nothing fills.
    """

    def __init__(self, recipe: Recipe, names: tuple[str, ...], constants: Mapping[str, Any], *, fold: bool) -> None:
        self.spec = recipe.spec
        self._names = names
        self._fold = fold
        signature = recipe.spec.signature
        encoded = {name: msgspec.Raw(signature.encode_one(name, value)) for name, value in constants.items()}
        if not fold:
            signature.check_complete({*names, *constants})
        self._constants = msgspec.Raw(msgspec.json.encode(encoded))
        kind = recipe.spec.executor
        retry = recipe.choices.retry or recipe.spec.retry
        batch = recipe.client.builtins[BATCH[kind]]
        self._options = JobOptions(
            retry=retry if isinstance(retry, Retry) and retry is not NEVER else None,
            timeout=recipe.choices.timeout or recipe.spec.timeout,
            secret=("batch",) if recipe.spec.secret else (),
        )
        """With the timeout of one item."""
        self._template = msgspec.structs.replace(recipe.plain_job(b"{}", None), task=batch.spec.name, unique=None)

    def job(self, columns: Sequence[Sequence[Any]]) -> NewJob:
        """Make the job of a batch. Raises `InvalidArguments` for an item that does not fit, and `PayloadTooLarge`."""
        signature = self.spec.signature
        encoded = tuple(
            msgspec.Raw(signature.encode_column(name, column))
            for name, column in zip(self._names, columns, strict=True)
        )
        batch = Batch(self.spec.name, self._names, encoded, self._constants, self._fold)
        payload = b'{"batch":%s}' % msgspec.json.encode(batch)
        signature.check_size(payload)
        timeout = None if self._options.timeout is None else self._options.timeout * len(columns[0])
        options = encode_options(msgspec.structs.replace(self._options, timeout=timeout))
        return msgspec.structs.replace(self._template, id=new_id(), payload=payload, options=options)

    def values(self, _job_id: bytes, result: bytes) -> tuple[list[Any], float]:
        """The results of its items, and how long they took."""
        found = msgspec.json.decode(result, type=BatchResult)
        return self.spec.signature.decode_results(found.values), found.seconds
