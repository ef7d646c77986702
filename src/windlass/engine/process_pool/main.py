"""What a child process runs: it imports the app once, then one attempt after the other."""

from __future__ import annotations

import atexit
import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import traceback

from windlass.core.text import shorten
from windlass.engine.process_pool import confine
from windlass.engine.process_pool.performer import Performer
from windlass.engine.process_pool.place import load
from windlass.engine.process_pool.reporting import ChildLine, Notebook
from windlass.engine.process_pool.standard import StandardStreams
from windlass.engine.process_pool.wire import Ended, Ready, Refused, Setup
from windlass.engine.recycling import resident_memory

LAST_RESORT = 3.0
"""Seconds that the app's exit handlers have."""


def main() -> None:
    """Serve, until the worker hangs up. The arguments are the descriptors of the line, of the control pipe, and of a
    pipe for last words."""
    line_fd, control, crash = map(int, sys.argv[1:])
    sys.argv[1:] = []
    line = ChildLine(line_fd)
    setup = line.read_setup()
    for descriptor in (control, crash, line_fd):
        os.set_inheritable(descriptor, False)  # what tasks start has no business with them
    confine.die_with(setup.parent, line_fd)
    confine.become_expendable()
    faulthandler.enable(crash)
    faulthandler.register(signal.SIGQUIT, crash, all_threads=False)
    streams = StandardStreams()
    notebook = Notebook(line)
    performer = _prepare(setup, line, notebook, control)
    gc.freeze()  # what is there now stays: the collector need not look at it again
    line.send(Ready())
    _serve(line, performer, notebook, streams, report_memory=setup.max_memory is not None)
    _leave(performer)


def _prepare(setup: Setup, line: ChildLine, notebook: Notebook, control: int) -> Performer:
    """Import the app, or say why not and end."""
    if setup.log_level is not None:
        logging.basicConfig(level=setup.log_level, format="%(levelname)s %(name)s: %(message)s")
        if setup.log_level != "DEBUG":
            logging.getLogger("windlass").setLevel(logging.WARNING)  # a job's log is about the job
    sys.path[:] = map(os.fsdecode, setup.path)
    try:
        tasks, middleware = load(setup.place)
        if setup.max_memory is not None:
            confine.check_room("max_memory", setup.max_memory, resident_memory())
        if setup.memory_limit is not None:
            confine.limit_memory(setup.memory_limit)
    except BaseException as error:  # noqa: BLE001 - a module may even exit
        traceback.print_exc()
        sys.stderr.flush()
        modules = ", ".join(setup.place.modules)
        line.send(Refused(shorten(f"could not import {modules}: {type(error).__name__}: {error}", 1000)))
        os._exit(1)
    performer = Performer(tasks, middleware, notebook, control)
    performer.listen()
    return performer


def _serve(
    line: ChildLine, performer: Performer, notebook: Notebook, streams: StandardStreams, *, report_memory: bool
) -> None:
    while (job := line.next_job()) is not None:
        settlement = performer.perform(job)
        del job
        notebook.flush()
        streams.restore()
        line.send(Ended(settlement, resident_memory() if report_memory else 0))


def _leave(performer: Performer) -> None:
    """End, whatever threads are still there; the app's exit handlers have a moment."""
    last_resort = threading.Timer(LAST_RESORT, os._exit, (0,))
    last_resort.daemon = True
    last_resort.start()
    performer.close()
    atexit._run_exitfuncs()
    os._exit(0)
