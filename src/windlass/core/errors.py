"""The one tree of errors.

::

    WindlassError
    ├── UsageError                 the caller asked for something that cannot be
    │   ├── UnknownTask            no task with this name is registered
    │   ├── InvalidArguments       arguments do not fit the task's signature or type hints
    │   ├── InvalidResult          a result does not fit the return hint, or JSON cannot say it
    │   ├── InvalidName            a queue, task or key name that the grammar refuses
    │   ├── InvalidOption          an option with an impossible value, or two that contradict each other
    │   │   └── InvalidCron        a cron expression that is wrong, or can never fire
    │   ├── PayloadTooLarge        arguments or result beyond the limit
    │   ├── DuplicateJob           a unique key is held by an unfinished job (``on_conflict="raise"``)
    │   ├── ScheduleExists         a schedule with this name is there already
    │   ├── UnknownParent          an edge names a job that the store does not have
    │   ├── InvalidURL             a store URL that nobody can serve
    │   ├── MissingExtra           an optional dependency is not installed
    │   ├── CapabilityMissing      this store does not promise what was asked of it
    │   └── BlockingCallInLoop     a ``*_sync`` call on the thread of a running event loop
    ├── StoreError                 the store could not do it
    │   ├── StoreUnavailable       not reachable, or did not answer in time
    │   ├── StoreFull              no room left (disk, memory)
    │   ├── StoreReadOnly          the store may not be written to
    │   ├── SchemaMismatch         the stored layout is too old or too new
    │   ├── UndecodablePayload     stored arguments that no version of the task could read
    │   ├── StaleEnqueue           a repeated enqueue that was first sent too long ago
    │   └── EnqueueUnknown         it is not known whether these jobs were stored
    ├── JobNotFound                the store has no job with this id (never had, or it was purged)
    ├── ScheduleNotFound           the store has no schedule with this name
    ├── IllegalTransition          the lifecycle has no such edge
    ├── InvalidSignature           a function call or its result is not signed with our key for this job, or has expired
    ├── ProcessDied                the child process that ran the attempt died: killed, crashed, or exited
    ├── ResultTimeout              the job did not finish in the time given (also a ``TimeoutError``)
    ├── JobFailed                  the job finished without a result
    │   ├── RemoteError            it is dead: its last attempt raised
    │   ├── JobLost                it is dead: its workers died while they ran it
    │   └── JobCancelled           it was cancelled
    └── Directive                  raised by task code to say how the attempt ends
        ├── RetryLater             failed; try again after ``delay``
        ├── Snooze                 not now; try again after ``delay``, no failure counted
        └── Dead                   give up, whatever the retry policy says

The docstring of a class is its message where none is given.
"""

from __future__ import annotations

from collections.abc import Sequence


class WindlassError(Exception):
    """Something went wrong in Windlass."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message if message is not None else (type(self).__doc__ or "").strip())


class UsageError(WindlassError):
    """The call cannot be carried out as it was made."""


class UnknownTask(UsageError):
    """No task with this name is registered."""


class InvalidArguments(UsageError, TypeError):
    """The arguments do not fit the task."""

    argument: str | None = None
    """The parameter whose argument does not fit, where it is one."""


class InvalidResult(UsageError, TypeError):
    """The result does not fit the task's return hint."""


class InvalidName(UsageError, ValueError):
    """The name is not allowed."""


class InvalidOption(UsageError, ValueError):
    """The option has an impossible value."""


class InvalidCron(InvalidOption):
    """The cron expression is wrong."""

    def __init__(self, expression: str, position: int, what: str) -> None:
        line = "".join(" " if letter.isspace() else letter for letter in expression)
        super().__init__(f"cron expression {expression!r}: {what}\n  {line}\n  {' ' * position}^")
        self.expression = expression
        self.position = position
        """Where in the expression, in characters from 0."""


class PayloadTooLarge(UsageError, ValueError):
    """The encoded arguments or result are larger than the limit."""


class DuplicateJob(UsageError):
    """An unfinished job holds this unique key."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id
        """Id of the job that holds the key."""


class ScheduleExists(UsageError):
    """A schedule with this name is there already."""


class UnknownParent(UsageError):
    """An edge names a job that the store does not have."""


class InvalidURL(UsageError, ValueError):
    """The store URL is not understood."""


class MissingExtra(UsageError, ImportError):
    """An optional dependency is not installed."""


class CapabilityMissing(UsageError):
    """The store does not have this capability."""


class BlockingCallInLoop(UsageError, RuntimeError):
    """A blocking call was made on the thread of a running event loop; use the async twin and await it."""


class StoreError(WindlassError):
    """The store could not carry this out."""


class StoreUnavailable(StoreError):
    """The store cannot be reached."""


class StoreFull(StoreError):
    """The store has no room left."""


class StoreReadOnly(StoreError):
    """The store may not be written to."""


class SchemaMismatch(StoreError):
    """The stored layout does not fit this version of Windlass."""


class UndecodablePayload(StoreError):
    """The stored arguments are no JSON object that anybody could read."""


class StaleEnqueue(StoreError):
    """The enqueue was first sent too long ago to be repeated safely."""


class EnqueueUnknown(StoreError):
    """It is not known whether these jobs were stored; look them up by id before enqueueing them anew."""

    def __init__(self, message: str | None = None, *, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)
        """Ids of the jobs in doubt."""


class ScheduleNotFound(WindlassError, LookupError):
    """The store has no schedule with this name."""


class JobNotFound(WindlassError, LookupError):
    """The store has no job with this id."""


class IllegalTransition(WindlassError):
    """The lifecycle has no such edge."""


class InvalidSignature(WindlassError):
    """The signature of a function call, or of its result, does not fit."""


class ProcessDied(WindlassError):
    """The child process that ran the attempt died."""


class ResultTimeout(WindlassError, TimeoutError):
    """The job did not finish in time."""


class JobFailed(WindlassError):
    """The job finished without a result."""


class RemoteError(JobFailed):
    """The job is dead: its last attempt raised.

    Where the remote type is one of a closed table of built-ins, or a class named in ``@app.task(errors=[...])``,
    the raised object is an instance of that class too, so that ``except ValueError`` works across processes.
    """

    def __init__(self, message: str | None = None, *, type_name: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        """Name of the remote exception's type, for example ``"ValueError"``."""
        self.traceback = traceback
        """The remote traceback as text."""


class JobLost(JobFailed):
    """The job is dead: its workers died while they ran it."""


class JobCancelled(JobFailed):
    """The job was cancelled."""

    def __init__(self, message: str | None = None, *, reason: str = "cancelled") -> None:
        super().__init__(message)
        self.reason = reason
        """``"cancelled"`` (somebody asked), ``"expired"``, ``"parent"`` or ``"replaced"``."""


class Directive(WindlassError):
    """Raised by task code to say how the attempt ends."""


class RetryLater(Directive):
    """The attempt failed; run the job again after a delay, if its retry budget allows."""

    def __init__(self, delay: float | None = None, reason: str | None = None) -> None:
        super().__init__(reason)
        self.delay = delay
        """Seconds until the next attempt; ``None``: as the retry policy says."""


class Snooze(Directive):
    """Not now: run the job again after a delay, without counting a failure."""

    def __init__(self, delay: float, reason: str | None = None) -> None:
        super().__init__(reason)
        self.delay = delay
        """Seconds until the next attempt."""


class Dead(Directive):
    """Give up: the job is dead, whatever its retry policy says."""
