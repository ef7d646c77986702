"""Functions that are no tasks: they travel as pickles, signed, to workers that have the same key.

What travels is a function with rows of arguments, so that a batch of a map carries it once. Nothing is unpickled before
its signature was verified, in the process and thread that run it.
"""

from __future__ import annotations

import importlib.util
import inspect
import pickle
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windlass.call import Recipe
from windlass.choices import choose
from windlass.client import Client
from windlass.context import current
from windlass.core.clock import SECOND
from windlass.core.codec import Signature
from windlass.core.errors import Dead, InvalidArguments, InvalidSignature, MissingExtra, PayloadTooLarge, UsageError
from windlass.core.ids import from_text, new_id
from windlass.core.model import NewJob
from windlass.core.signing import CALLS, HOW, Purpose, Sealed, SigningKey, namespace_of
from windlass.core.task import ExecutorName, TaskSpec
from windlass.registry import TaskDefaults

LIFETIME = 24 * 3600
"""Seconds after which a call is not begun any more, and its signature is void."""
GRACE = 3600
"""Seconds for which a result is good beyond the time for which it is kept: clocks differ."""
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}".encode()
"""Before each pickled call: the code of a function is that of one version."""


def register(client: Client, defaults: TaskDefaults) -> None:
    """Make function calls known to an app that has a signing key, on either side. Idempotent.

    Raises `InvalidOption` for a key that is none, and `MissingExtra` without cloudpickle.
    """
    key = client.signing_key()
    if key is None or CALLS["thread"] in client.builtins:
        return
    if importlib.util.find_spec("cloudpickle") is None:
        raise MissingExtra("a signing key is set, and functions travel by cloudpickle: pip install windlass[compute]")

    async def in_loop(call: Sealed) -> Sealed:
        work = _Work(client, key, CALLS["async"], call)
        began = time.monotonic()
        values: list[Any] = []
        for row in work.rows:
            if work.fold and values:
                values[0] = await work.function(values[0], *row)
            else:
                values.append(row[0] if work.fold else await work.function(*row, **work.constants))
        return work.sealed_result(time.monotonic() - began, values, defaults)

    def in_thread(call: Sealed) -> Sealed:
        work = _Work(client, key, CALLS["thread"], call)
        attempt = current()
        began = time.monotonic()
        values: list[Any] = []
        for row in work.rows:
            attempt.raise_if_cancelled()
            if work.fold and values:
                values[0] = work.function(values[0], *row)
            else:
                values.append(row[0] if work.fold else work.function(*row, **work.constants))
        return work.sealed_result(time.monotonic() - began, values, defaults)

    kinds: Sequence[tuple[ExecutorName, Any]] = (("async", in_loop), ("thread", in_thread))
    for kind, function in kinds:
        name = CALLS[kind]
        spec = TaskSpec(
            name=name,
            function=function,
            signature=Signature(name, function, max_payload=defaults.max_payload, max_result=defaults.max_result),
            executor=kind,
            keep=defaults.keep,
            keep_dead=defaults.keep_dead,
            secret=("call",),
        )
        client.tasks[name] = spec
        client.builtins[name] = Recipe(client, spec, choose(expires=LIFETIME))


class _Work:
    """What a call says is to be done, at the worker. Raises `Dead` for one that is not signed for this job."""

    def __init__(self, client: Client, key: SigningKey, task: str, call: Sealed) -> None:
        self._key = key
        self._purpose = _purpose(client, from_text(current().job_id), task)
        try:
            body = key.open("to the worker", self._purpose, call, time.time())
        except InvalidSignature as error:
            raise Dead(f"function call refused: {error}") from None
        version, _, pickled = body.partition(b"\n")
        if version != _PYTHON:
            raise Dead(
                f"function call refused: it comes from Python {version.decode()}, and this worker runs "
                f"{_PYTHON.decode()}; code of a function is that of one version"
            )
        try:
            function, self.rows, self.constants, self.fold = _unpickled(pickled)
            self.function: Any = _unpickled(function)
        except Exception as error:
            raise Dead(
                f"the worker cannot load the function or its arguments: {type(error).__name__}: {error}; "
                "what they import must be installed there too"
            ) from error

    def sealed_result(self, seconds: float, values: list[Any], defaults: TaskDefaults) -> Sealed:
        """The results, signed for the way back. Raises `Dead` if they cannot be pickled: running again is no use."""
        try:
            body = _pickled((seconds, values))
        except Exception as error:
            raise Dead(f"the result cannot be pickled: {type(error).__name__}: {error}") from error
        expires = int(time.time() + defaults.keep / SECOND) + GRACE
        return self._key.seal("to the caller", self._purpose, expires, body)


class Function:
    """A function that is no task, on the side of the caller.

    Raises `UsageError` if the app has no key, and `InvalidArguments` if the function cannot be pickled.
    """

    def __init__(self, client: Client, function: Callable[..., Any]) -> None:
        key = client.signing_key()
        if key is None:
            raise UsageError(
                f"{_name(function)} is no task of this app: decorate it with @app.task; or, to send functions that are "
                f"no tasks, set a signing key: {HOW}"
            )
        self._key = key
        self.name = _name(function)
        self.client = client
        kind = "async" if _is_coroutine_function(function) else "thread"
        self._recipe: Recipe = client.builtins[CALLS[kind]]
        self._pickled = self._checked("the function", function)

    @property
    def spec(self) -> TaskSpec:
        """The task that calls it."""
        return self._recipe.spec

    def work(self, rows: Sequence[tuple[Any, ...]], constants: Mapping[str, Any], *, fold: bool = False) -> bytes:
        """What is to be done. Raises `InvalidArguments` if it cannot be pickled, and `PayloadTooLarge`."""
        body = b"%s\n%s" % (_PYTHON, self._checked("arguments", (self._pickled, list(rows), dict(constants), fold)))
        travels, limit = len(body) * 4 // 3, self.spec.signature.max_payload
        if travels > limit:
            raise PayloadTooLarge(
                f"{self.name}: the function and its arguments make {travels} bytes, and the limit is {limit}; "
                "store large data elsewhere and pass a reference to it, or raise the limit"
            )
        return body

    def job(self, job_id: bytes, body: bytes) -> NewJob:
        """The job that does it. Raises `PayloadTooLarge`."""
        purpose = _purpose(self.client, job_id, self.spec.name)
        sealed = self._key.seal("to the worker", purpose, int(time.time()) + LIFETIME, body)
        return self._recipe.new_job(self.spec.signature.encode((sealed,), {}), id=job_id)

    def values(self, job_id: bytes, result: bytes) -> tuple[list[Any], float]:
        """The results of the rows, and how long they took. Raises `InvalidSignature`, having unpickled nothing."""
        sealed = self.spec.signature.decode_result(result)
        purpose = _purpose(self.client, job_id, self.spec.name)
        seconds, values = _unpickled(self._key.open("to the caller", purpose, sealed, time.time()))
        return values, seconds

    def value(self, job_id: bytes, result: bytes) -> Any:
        """The result of the only row. Raises as `values`."""
        return self.values(job_id, result)[0][0]

    def _checked(self, what: str, value: Any) -> bytes:
        try:
            return _pickled(value)
        except Exception as error:
            raise InvalidArguments(
                f"{self.name}: {what} cannot be pickled: {type(error).__name__}: {error}; "
                "what belongs to this process (locks, connections, an App) cannot travel: make it inside the function"
            ) from error


class FunctionBatches:
    """Makes batches of one function: see `windlass.compute.batches.BatchMaker`."""

    def __init__(self, function: Function, constants: Mapping[str, Any], *, fold: bool) -> None:
        self.spec = function.spec
        self._function = function
        self._constants = constants
        self._fold = fold

    def job(self, columns: Sequence[Sequence[Any]]) -> NewJob:
        """Make the job of a batch. Raises as `Function.work`."""
        rows = list(zip(*columns, strict=True))
        return self._function.job(new_id(), self._function.work(rows, self._constants, fold=self._fold))

    def values(self, job_id: bytes, result: bytes) -> tuple[list[Any], float]:
        """See `Function.values`."""
        return self._function.values(job_id, result)


def _purpose(client: Client, job_id: bytes, task: str) -> Purpose:
    return Purpose(namespace_of(client.origin.url), job_id, task)


def _pickled(value: Any) -> bytes:
    import cloudpickle

    pickled: bytes = cloudpickle.dumps(value)
    return pickled


def _unpickled(verified: bytes) -> Any:
    """The only place that unpickles: what `SigningKey.open` gave, or a part of it, and nothing else."""
    return pickle.loads(verified)  # noqa: S301 - its signature is right


def _is_coroutine_function(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
