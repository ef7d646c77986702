"""One worker process: ``python -m windlass.cli.child OPTIONS [--alone] STATUS-FD CONTROL-FD PAGE-FD [TALLY-FD]``,
for the supervisor to start.

Exit codes: 0 stopped as told (or, alone, nothing left to do), 78 it could not begin for a reason that starting again
does not change (the app, the store's URL or its layout), 1 anything else.
"""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import gc
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from windlass.cli.logs import configure_logs
from windlass.core.errors import SchemaMismatch, StoreError, UsageError
from windlass.engine.config import DEFAULT_CONCURRENCY, DEFAULT_GRACE, DEFAULT_LAG_WARNING, WorkerConfig
from windlass.engine.process_pool.config import ChildProcesses, usable_cores
from windlass.engine.processes import DRAIN, HUNG, MISCONFIGURED, QUIT, READY, RECYCLE, STOP, STOP_NOW, SUSPECTS, WORN
from windlass.engine.recycling import SPREAD, RecycleAt, resident_memory
from windlass.engine.supervisor import MARGIN
from windlass.engine.tally import Tally
from windlass.engine.vitals import Page

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.engine.worker import Worker

log = logging.getLogger("windlass.worker")

LAST_RESORT = 3.0
"""Seconds that the app's exit handlers have before the process ends regardless."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the command line says about each worker process; `windlass.cli.worker` writes it as JSON."""

    app: str
    queues: dict[str, int] | None = None
    """``None``: all that the tasks of the app name."""
    strict: bool = False
    concurrency: int = DEFAULT_CONCURRENCY
    grace: float = DEFAULT_GRACE
    log_level: str = "INFO"
    log_format: str = "plain"
    lag_warning: float = DEFAULT_LAG_WARNING
    recycle_jobs: int | None = None
    recycle_age: float | None = None
    recycle_memory: int | None = None
    processes: int = 1
    """How many such processes share the machine."""
    resources: dict[str, str] = {}
    labels: list[str] = []
    process_slots: int | None = None
    max_jobs_per_child: int | None = None
    max_memory_per_child: int | None = None
    memory_limit_per_child: int | None = None
    metrics: bool = False
    """Count what is done: there is a descriptor more."""


class Line:
    """The two pipes to the supervisor, and the memory that it reads."""

    def __init__(self, status: int, control: int, page: int, tally: int | None = None) -> None:
        self._status = status
        self.control = control
        self.page = Page(page)
        os.close(page)
        self.tally = None if tally is None else Tally(tally)
        if tally is not None:
            os.close(tally)
        for descriptor in (status, control):
            os.set_inheritable(descriptor, False)  # what tasks start has no business with it

    def say(self, word: bytes) -> None:
        """Tell the supervisor; one that is gone does not hear it. Callable from any thread."""
        try:
            os.write(self._status, word)
        except OSError:
            pass

    def hung(self) -> None:
        """Show where the loop stands, and ask to be killed."""
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        self.say(HUNG)


class WorkerProcess:
    """One worker, and those who may stop it: the supervisor, its absence, and signals sent to this process alone."""

    def __init__(self, app: App, config: WorkerConfig, line: Line) -> None:
        self._app = app
        self.store_is_local = app.url.startswith("sqlite:")
        self._config = config
        self._line = line
        self._starting: asyncio.Task[Worker] | None = None
        self._stops: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Run the worker until it has stopped."""
        loop = asyncio.get_running_loop()
        self._starting = loop.create_task(self._start())
        main_thread = threading.get_ident()

        def leave_fork() -> None:
            # A process forked by a coroutine that awaits something afterwards would go on as a second worker.
            if threading.get_ident() == main_thread:
                loop.call_soon(os._exit, 0)

        os.register_at_fork(after_in_child=leave_fork)
        loop.add_reader(self._line.control, self._hear)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            worker = await self._starting
        except asyncio.CancelledError:
            return
        self._line.say(READY)
        await worker.wait()
        if self._stops:
            await asyncio.wait(self._stops)

    async def _start(self) -> Worker:
        worker = self._app.new_worker(self._config)
        await worker.start()
        store = worker.store
        if getattr(store, "created", False):
            log.warning("%s did not exist and was created: is that the database you meant?", store.url)
        slots = 1 if self._config.alone else self._config.concurrency
        log.info("claims jobs of %s: %d slots, %s", ", ".join(self._config.queues), slots, store.url)
        return worker

    def _hear(self) -> None:
        word = os.read(self._line.control, 16)
        if not word:
            asyncio.get_running_loop().remove_reader(self._line.control)
            log.error("the supervisor is gone: stopping")
            # Nobody is left to kill this process if it cannot stop. The kernel will.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, self._config.grace + MARGIN)
            self._stop()
        elif STOP_NOW in word:
            self._stop(0.0)
        elif STOP in word:
            self._stop()
        elif DRAIN in word:
            self._stop(math.inf)

    def _stop(self, grace: float | None = None) -> None:
        """Stop; told so again, go on stopping, but not for longer than it says now."""
        assert self._starting is not None
        if not self._starting.done():
            self._starting.cancel()
        elif not self._starting.cancelled():
            stop = self._starting.result().stop(grace)
            self._stops.append(asyncio.get_running_loop().create_task(stop))


def main(arguments: list[str]) -> int:
    """Run one worker process; answers its exit code."""
    options = msgspec.json.decode(arguments[0], type=Options)
    line = Line(*map(int, arguments[-4 if options.metrics else -3 :]))
    configure_logs(options.log_level, options.log_format)
    try:
        app = _load(options.app)
        config = _configure(app, options, line, alone="--alone" in arguments)
        _check_memory(options.recycle_memory)
    except UsageError as error:
        return _refuse(error)
    gc.freeze()  # what is there now stays: the collector need not look at it again
    return _run(WorkerProcess(app, config, line))


def _run(process: WorkerProcess) -> int:
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(process.run())
    except (UsageError, SchemaMismatch) as error:
        return _refuse(error)
    except StoreError as error:
        if process.store_is_local:
            return _refuse(error)  # a server may come up later; a file that cannot be opened stays so
        log.error("the worker could not start: %s", error)  # noqa: TRY400 - the message says it all
        return 1
    except Exception:
        log.exception("the worker failed")
        return 1
    return 0


def _load(place: str) -> App:
    from windlass.cli.loading import load_app

    app = load_app(place)
    if app.url.startswith("memory:"):
        raise UsageError(
            f"app {place!r}: its store is {app.url}, which no other process can enqueue to; use sqlite:///path, "
            "or run the worker in your own process with app.worker()"
        )
    return app


def _children(options: Options) -> ChildProcesses:
    return ChildProcesses(
        slots=options.process_slots or usable_cores(),
        max_jobs=options.max_jobs_per_child,
        max_memory=options.max_memory_per_child,
        memory_limit=options.memory_limit_per_child,
        log_level=options.log_level,
    )


def _configure(app: App, options: Options, line: Line, *, alone: bool) -> WorkerConfig:
    return app.worker_config(
        options.queues,
        strict=options.strict,
        concurrency=options.concurrency,
        grace=options.grace,
        children=_children(options),
        resources=options.resources,
        labels=options.labels,
        share=options.processes,
        known_as=options.app,
        alone=alone,
        supervisor=os.getppid(),
        on_told=lambda: line.say(QUIT),
        on_suspects=lambda: line.say(SUSPECTS),
        on_hung=line.hung,
        on_recycle=lambda: line.say(RECYCLE),
        lag_warning=options.lag_warning,
        on_vitals=line.page.write,
        tally=line.tally,
        # One that runs suspects alone lives too shortly to wear out.
        recycle=RecycleAt(jobs=options.recycle_jobs, age=options.recycle_age, memory=options.recycle_memory),
        on_worn=None if alone else lambda: line.say(WORN),
    )


def _check_memory(limit: int | None) -> None:
    """Refuse a limit that a process reaches before its first job: each would be replaced at once."""
    if limit is not None and (used := resident_memory()) >= limit * (1 - SPREAD):
        raise UsageError(
            f"--recycle-memory {limit / 2**20:.0f}MiB: a worker process of this app uses {used / 2**20:.0f} MiB "
            "before its first job; give it room for its jobs beside that"
        )


def _new_loop() -> asyncio.AbstractEventLoop:
    new: Callable[[], asyncio.AbstractEventLoop]
    try:
        from uvloop import new_event_loop as new
    except ImportError:
        new = asyncio.new_event_loop
    return new()


def _refuse(error: Exception) -> int:
    log.error("%s", error)
    return MISCONFIGURED


def _leave(code: int) -> None:
    """End this process, whatever threads are stuck in it; the app's exit handlers have a moment."""
    last_resort = threading.Timer(LAST_RESORT, os._exit, (code,))
    last_resort.daemon = True
    last_resort.start()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # closed, by a task or by nobody being there
    os._exit(code)


if __name__ == "__main__":
    _leave(main(sys.argv[1:]))
