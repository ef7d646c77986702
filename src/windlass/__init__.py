"""Windlass: distributed task scheduling.

This is the one public door. Names are imported when they are first used, so that ``import windlass`` costs next to
nothing and the supervisor of worker processes stays small.
"""

from __future__ import annotations

from importlib import import_module

# Not typing's own: importing that would cost the supervisor 2 MiB and every start 5 ms. Type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from windlass.app import App
    from windlass.background import WorkerThread
    from windlass.bulk import Bulk, BulkProgress, JobSelection
    from windlass.call import Call
    from windlass.compute.executor import Executor, JobFuture
    from windlass.context import Current, Middleware, current
    from windlass.core.errors import (
        BlockingCallInLoop,
        CapabilityMissing,
        Dead,
        Directive,
        DuplicateJob,
        EnqueueUnknown,
        IllegalTransition,
        InvalidArguments,
        InvalidCron,
        InvalidName,
        InvalidOption,
        InvalidResult,
        InvalidSignature,
        InvalidURL,
        JobCancelled,
        JobFailed,
        JobLost,
        JobNotFound,
        MissingExtra,
        PayloadTooLarge,
        ProcessDied,
        RemoteError,
        ResultTimeout,
        RetryLater,
        ScheduleExists,
        ScheduleNotFound,
        SchemaMismatch,
        Snooze,
        StaleEnqueue,
        StoreError,
        StoreFull,
        StoreReadOnly,
        StoreUnavailable,
        UndecodablePayload,
        UnknownParent,
        UnknownTask,
        UsageError,
        WindlassError,
    )
    from windlass.core.retry import Retry
    from windlass.core.triggers import (
        AnyOf,
        At,
        Calendar,
        Cron,
        Daily,
        Every,
        Excluding,
        Monthly,
        Trigger,
        Weekly,
        Within,
    )
    from windlass.engine.process_pool.config import ChildProcesses
    from windlass.job import Job, JobInfo, JobProgress, Status
    from windlass.limits import LimitInfo
    from windlass.many import EnqueueMany
    from windlass.schedules import ScheduleInfo, Schedules
    from windlass.task import CoroutineTask, FunctionTask, Task
    from windlass.workflows.compose import chain, chord, group
    from windlass.workflows.run import Run, RunProgress, RunStatus, StepStatus
    from windlass.workflows.runs import RunInfo
    from windlass.workflows.step import MappedStep, Step, When
    from windlass.workflows.workflow import Workflow

__all__ = [
    "AnyOf",
    "App",
    "At",
    "BlockingCallInLoop",
    "Bulk",
    "BulkProgress",
    "Calendar",
    "Call",
    "CapabilityMissing",
    "ChildProcesses",
    "CoroutineTask",
    "Cron",
    "Current",
    "Daily",
    "Dead",
    "Directive",
    "DuplicateJob",
    "EnqueueMany",
    "EnqueueUnknown",
    "Every",
    "Excluding",
    "Executor",
    "FunctionTask",
    "IllegalTransition",
    "InvalidArguments",
    "InvalidCron",
    "InvalidName",
    "InvalidOption",
    "InvalidResult",
    "InvalidSignature",
    "InvalidURL",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobFuture",
    "JobInfo",
    "JobLost",
    "JobNotFound",
    "JobProgress",
    "JobSelection",
    "LimitInfo",
    "MappedStep",
    "Middleware",
    "MissingExtra",
    "Monthly",
    "PayloadTooLarge",
    "ProcessDied",
    "RemoteError",
    "ResultTimeout",
    "Retry",
    "RetryLater",
    "Run",
    "RunInfo",
    "RunProgress",
    "RunStatus",
    "ScheduleExists",
    "ScheduleInfo",
    "ScheduleNotFound",
    "Schedules",
    "SchemaMismatch",
    "Snooze",
    "StaleEnqueue",
    "Status",
    "Step",
    "StepStatus",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
    "Task",
    "Trigger",
    "UndecodablePayload",
    "UnknownParent",
    "UnknownTask",
    "UsageError",
    "Weekly",
    "When",
    "WindlassError",
    "Within",
    "WorkerThread",
    "Workflow",
    "chain",
    "chord",
    "current",
    "group",
]

_HOMES = {
    name: home
    for home, names in {
        "windlass.app": "App",
        "windlass.background": "WorkerThread",
        "windlass.bulk": "Bulk BulkProgress JobSelection",
        "windlass.call": "Call",
        "windlass.compute.executor": "Executor JobFuture",
        "windlass.context": "Current Middleware current",
        "windlass.core.errors": (
            "BlockingCallInLoop CapabilityMissing Dead Directive DuplicateJob EnqueueUnknown "
            "IllegalTransition InvalidArguments InvalidCron InvalidName InvalidOption InvalidResult InvalidURL "
            "JobCancelled JobFailed JobLost JobNotFound MissingExtra PayloadTooLarge ProcessDied RemoteError "
            "ResultTimeout RetryLater ScheduleExists ScheduleNotFound SchemaMismatch Snooze StaleEnqueue StoreError "
            "InvalidSignature StoreFull StoreReadOnly "
            "StoreUnavailable UndecodablePayload UnknownParent UnknownTask UsageError WindlassError"
        ),
        "windlass.core.retry": "Retry",
        "windlass.core.triggers": ("AnyOf At Calendar Cron Daily Every Excluding Monthly Trigger Weekly Within"),
        "windlass.engine.process_pool.config": "ChildProcesses",
        "windlass.job": "Job JobInfo JobProgress Status",
        "windlass.limits": "LimitInfo",
        "windlass.many": "EnqueueMany",
        "windlass.schedules": "ScheduleInfo Schedules",
        "windlass.task": "CoroutineTask FunctionTask Task",
        "windlass.workflows.compose": "chain chord group",
        "windlass.workflows.run": "Run RunProgress RunStatus StepStatus",
        "windlass.workflows.runs": "RunInfo",
        "windlass.workflows.step": "MappedStep Step When",
        "windlass.workflows.workflow": "Workflow",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
