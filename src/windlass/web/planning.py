"""Tracing a workflow for a visitor: the app's own code, with arguments that come from outside."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from windlass.core.errors import UsageError, WindlassError
from windlass.workflows.plan import Plan
from windlass.workflows.run import Run
from windlass.workflows.workflow import Workflow

MOST_DRAWN = 2000
PATIENCE = 10.0
"""Seconds that a workflow function may take."""
_busy = threading.Lock()
T = TypeVar("T")


async def plan(workflow: Workflow[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Plan:
    """Trace it. Raises `UsageError`, also for whatever the function raises, and for more than `MOST_DRAWN`."""
    return await _traced(workflow, lambda: workflow.plan_within(MOST_DRAWN, args, kwargs))


async def start(workflow: Workflow[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Run[Any]:
    """Start a run, whose function is traced in the same way. Raises `UsageError` and `StoreError`."""
    return await workflow.start_checked(await _traced(workflow, lambda: workflow.check(args, kwargs)))


async def _traced(workflow: Workflow[..., Any], trace: Callable[[], T]) -> T:
    """Do it in a thread, one at a time: what does not come to an end there is left to itself, and holds up nobody but
    those who want to have another one traced."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not _busy.acquire(blocking=False):  # noqa: ASYNC110 - a lock of threads
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise UsageError("another workflow is being traced, which takes long: try again later") from None
    loop = asyncio.get_running_loop()
    found: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        result: T | BaseException
        try:
            result = trace()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is wanted
            result = error
        _busy.release()
        with suppress(RuntimeError):  # the server has stopped
            loop.call_soon_threadsafe(_answer, found, result)

    try:
        threading.Thread(target=work, name="windlass-trace", daemon=True).start()
    except RuntimeError as error:
        _busy.release()
        raise UsageError(f"no thread could be started in which to trace workflow {workflow.name!r}: {error}") from None
    try:
        async with asyncio.timeout(PATIENCE):
            return await found
    except TimeoutError:
        raise UsageError(f"workflow {workflow.name!r} was not traced within {PATIENCE:g} s") from None
    except WindlassError:
        raise
    except Exception as error:
        said = "".join(traceback.format_exception_only(error)).strip()  # which bears an error whose own text fails
        raise UsageError(f"workflow {workflow.name!r} raised {said[:500]}") from error


def _answer(found: asyncio.Future[T], result: T | BaseException) -> None:
    if found.done():
        return  # nobody waits any more
    if not isinstance(result, BaseException):
        found.set_result(result)
    elif isinstance(result, Exception) and not isinstance(result, (StopIteration, TimeoutError)):
        found.set_exception(result)
    else:  # one that a future does not bear, that would end the server, or be taken for our own
        found.set_exception(UsageError(f"it raised {type(result).__name__}"))
