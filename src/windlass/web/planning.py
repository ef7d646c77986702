"""Tracing a workflow for a visitor: the app's own code, with arguments that come from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from windlass.core.errors import UsageError, WindlassError
from windlass.workflows.plan import Plan
from windlass.workflows.workflow import Workflow

MOST_STEPS = 2000
PATIENCE = 10.0
"""Seconds that a workflow function may take."""
_busy = threading.Lock()


async def plan(workflow: Workflow[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Plan:
    """Trace it in a thread, one at a time: what does not come to an end there is left to itself, and holds up nobody
    but those who want to have another one traced. Raises `UsageError`, also for whatever the function raises."""
    if not _busy.acquire(blocking=False):
        raise UsageError("another workflow is being traced, which takes long: try again later")
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Plan] = loop.create_future()

    def trace() -> None:
        try:
            result: Plan | BaseException = workflow.plan_within(MOST_STEPS, args, kwargs)
        except BaseException as error:  # noqa: BLE001 - it is raised where the plan is wanted
            result = error
        _busy.release()
        with suppress(RuntimeError):  # the server has stopped
            loop.call_soon_threadsafe(_answer, found, result)

    threading.Thread(target=trace, name="windlass-trace", daemon=True).start()
    try:
        async with asyncio.timeout(PATIENCE):
            return await found
    except TimeoutError:
        raise UsageError(f"workflow {workflow.name!r} was not traced within {PATIENCE:g} s") from None
    except WindlassError:
        raise
    except Exception as error:
        raise raised(workflow, error) from error


def raised(workflow: Workflow[..., Any], error: Exception) -> UsageError:
    """What to say of a workflow function that raised something of its own."""
    return UsageError(f"workflow {workflow.name!r} raised {type(error).__name__}: {error!s:.500}")


def _answer(found: asyncio.Future[Plan], result: Plan | BaseException) -> None:
    if found.done():
        return  # nobody waits any more
    if isinstance(result, Plan):
        found.set_result(result)
    elif isinstance(result, Exception) and not isinstance(result, StopIteration):
        found.set_exception(result)
    else:  # one that a future does not bear, or that would end the server
        found.set_exception(UsageError(f"it raised {type(result).__name__}"))
