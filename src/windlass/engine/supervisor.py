"""The parent of the worker processes: ``python -m windlass.engine.supervisor PROCESSES GRACE [--log-level=LEVEL]
[--log-format=FORM] [--health=HOST:PORT [--metrics=MODULE]] CHILD-MODULE [ARG ...]``.

It starts worker processes and starts them again when they die, and knows neither the app nor the store. It sleeps in
one system call until a signal, a word from a child, a visitor or a deadline comes.

* **Start.** The first process starts alone; the others when it is ready. So a mistake in the configuration is reported
  once, and one process alone creates the store's layout. `MISCONFIGURED` before any process was ever ready ends it all.
* **Restart** after 0.1 s, then twice as long each time, up to 30 s; from the beginning once a process was ready for
  10 s. Whatever exit code: a task may call ``os._exit(0)``.
* **SIGTERM, SIGINT**: stop, with the grace time; a process that is still there `MARGIN` seconds after it is killed. The
  second signal: give everything back now. The third: kill.
* **Replacing** a process: its successor starts, and only when that is ready the old one stops. One at a time; the first
  successor that fails ends it, and the old ones work on.
  SIGHUP replaces all; started from a terminal, it means that the terminal is gone: stop.
  A process whose threads are stuck asks for it (and asks again if nothing comes of it). So does one that is worn out,
  and that one stops without a time limit: being replaced interrupts no job. A slot has one such process at most.
* **Suspects**: one more process with ``--alone`` once a worker says that suspects wait; it ends by itself when there
  have been none for a while. One that dies of them is started again like any other: what it left is suspect still.
* **Figures**: with ``--metrics`` the children count what they do, and the endpoint shows it, made up by the function
  ``answer`` of that module. What a child has counted is kept when it is gone.
* **Death of the supervisor** ends the pipe that each child watches: they stop, with the grace time.

Exit codes: 0 after a clean stop, 1 if a process had to be killed or failed while stopping, 2 for a configuration that
cannot work.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from windlass.engine.notify import VARIABLES
from windlass.engine.processes import (
    DRAIN,
    HUNG,
    MISCONFIGURED,
    QUIT,
    READY,
    RECYCLE,
    STOP,
    STOP_NOW,
    SUSPECTS,
    WORN,
    Process,
    describe_end,
)
from windlass.engine.report import Report
from windlass.engine.slots import Slot
from windlass.engine.unix import (
    ERROR,
    INFO,
    WARNING,
    log,
    occupy_standard_descriptors,
    pending_signals,
    set_log_form,
    set_log_level,
    watch_signals,
)

MARGIN = 15.0
"""Seconds beyond its grace time that a process has for its last words to a store that may not answer."""


class Supervisor:
    """Keeps ``processes`` children running until told to stop."""

    def __init__(self, processes: int, grace: float, command: list[str], *, terminal: bool = False) -> None:
        self._slots = [Slot() for _ in range(processes)]
        self._alone = Slot(alone=True)
        self._rolling: list[Slot] = []
        """Still to be replaced."""
        self._grace = grace
        self._command = command
        self._terminal = terminal
        self._environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        self._poll = select.poll()
        self._by_status: dict[int, tuple[Slot, Process]] = {}
        self._asked_to_stop = 0
        self._was_ready = False
        self._report = Report(self._slots, self._alone)
        self._exit_code = 0

    def answer_probes(self, host: str, port: int) -> None:
        """Open the health endpoint. Raises `OSError`."""
        self._report.listen(host, port, self._poll)

    def show_figures(self, module: str) -> None:
        """Have the processes count what they do, and show it at the endpoint. Before `answer_probes`."""
        from importlib import import_module

        self._report.show_figures(import_module(module).Page().answer)

    def run(self) -> int:
        """Supervise until everything has ended; answers the exit code."""
        self._wake = watch_signals()
        self._poll.register(self._wake, select.POLLIN)
        self._slots[0].start_at = time.monotonic()
        while True:
            self._meet_deadlines()
            if not self._by_status and all(slot.start_at is None for slot in self._all_slots()):
                log(0, "stopped")
                return self._exit_code
            self._wait()

    def _all_slots(self) -> list[Slot]:
        return [*self._slots, self._alone]

    # ------------------------------------------------------------------------------------------- waiting

    def _wait(self) -> None:
        """Sleep until something happens, and hear it: signals first, then words, then deaths."""
        deadlines = [self._report.due, *(slot.start_at for slot in self._all_slots())]
        deadlines += [process.kill_at for _, process in self._by_status.values()]
        due = min((at for at in deadlines if at is not None), default=None)
        pause = None if due is None else max(0, due - time.monotonic()) * 1000 + 1
        spoken = [descriptor for descriptor, _ in self._poll.poll(pause)]
        signals = pending_signals(self._wake)
        for number in signals:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGHUP:
                self._hang_up()
        for descriptor in spoken:
            if descriptor in self._by_status:
                self._hear(*self._by_status[descriptor])
        if signal.SIGCHLD in signals:
            self._collect()
        self._report.tell(spoken)

    def _meet_deadlines(self) -> None:
        now = time.monotonic()
        for slot in self._all_slots():
            if slot.start_at is not None and slot.start_at <= now:
                slot.start_at = None
                slot.process = self._start(slot)
        for _, process in self._by_status.values():
            if process.kill_at is not None and process.kill_at <= now:
                log(process.pid, "did not stop in time: killed", ERROR)
                process.kill_at = None
                process.kill()
                self._was_unclean()

    def _start(self, slot: Slot) -> Process | None:
        try:
            command = [*self._command, *(["--alone"] if slot.alone else [])]
            process = Process(command, self._environment, counts=self._report.counts)
        except OSError as error:
            pause = slot.back_off(time.monotonic(), None)
            log(0, f"a worker could not be started ({error.strerror}); again in {pause:g} s", ERROR)
            if slot.process is None:
                slot.start_at = slot.not_before
            return None
        log(process.pid, "started, for suspects alone" if slot.alone else "started")
        self._by_status[process.status] = (slot, process)
        self._poll.register(process.status, select.POLLIN)
        return process

    # ------------------------------------------------------------------------------------- words and deaths

    def _hear(self, slot: Slot, process: Process) -> None:
        words = process.read()
        if words is None:
            # It closed its end, or a task did: its death, if it is that, comes as a signal.
            self._unwatch(process)
            return
        self._take_note(slot, process, words)
        if HUNG in words:
            log(process.pid, "its event loop is hung: killed", ERROR)
            process.kill()
        if not self._asked_to_stop:
            if RECYCLE in words:
                self._replace_stuck(slot, process)
            elif WORN in words:
                self._replace_worn(slot, process)

    def _take_note(self, slot: Slot, process: Process, words: bytes) -> None:
        """Heed what is worth hearing even from the dead."""
        if QUIT in words:
            # It says so before it begins to stop: whatever ends it then, it is not replaced.
            process.quits = True
            self._rolling = [other for other in self._rolling if other is not slot]
        if READY in words:
            self._became_ready(slot, process)
        if SUSPECTS in words and not self._asked_to_stop:
            self._call_for_suspects()

    def _unwatch(self, process: Process) -> None:
        try:
            self._poll.unregister(process.status)
        except KeyError:
            pass

    def _became_ready(self, slot: Slot, process: Process) -> None:
        process.ready_at = time.monotonic()
        if slot.alone or self._asked_to_stop:
            return
        if not self._was_ready:
            self._was_ready = True
            for other in self._slots[1:]:
                other.start_at = process.ready_at
        if slot.incoming is process:
            if slot.process is not None:
                log(process.pid, f"takes the place of worker {slot.process.pid}")
                self._leave(slot)
            slot.process, slot.incoming = process, None
            self._roll_on()

    def _call_for_suspects(self) -> None:
        if self._alone.process is None and self._alone.start_at is None:
            self._alone.start_at = max(time.monotonic(), self._alone.not_before)

    def _collect(self) -> None:
        """Collect the dead; as process 1 of a container also those that are not ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for slot, process in list(self._by_status.values()):
                if process.pid == pid:
                    self._take_note(slot, process, process.read() or b"")
                    self._bury(slot, process, os.waitstatus_to_exitcode(status))

    def _bury(self, slot: Slot, process: Process, code: int) -> None:
        del self._by_status[process.status]
        self._unwatch(process)
        told = process in slot.leaving or self._asked_to_stop or process.quits or (slot.alone and code == 0)
        self._report.gone(process, died=not told)
        process.close()
        if process in slot.leaving or self._asked_to_stop:
            self._ended_as_told(slot, process, code)
        elif process is slot.incoming:
            log(process.pid, f"ended before it was ready ({describe_end(code)}): the others are not replaced", ERROR)
            self._rolling.clear()
        elif slot.alone and code == 0:
            log(process.pid, "ended: no more suspects")
            slot.failures = 0
        elif process.quits:
            log(process.pid, "ended, as an operator told it")
        elif code == MISCONFIGURED and not self._was_ready:
            self._exit_code = 2
            self._asked_to_stop = 1
        else:
            self._died(slot, process, code)
        if process is slot.incoming:
            slot.incoming = None
            if slot.process is None and not self._asked_to_stop:
                slot.start_at = time.monotonic()
        if process is slot.process:
            slot.process = None
        self._roll_on()

    def _ended_as_told(self, slot: Slot, process: Process, code: int) -> None:
        if process in slot.leaving:
            slot.leaving.remove(process)
        if code == 0:
            log(process.pid, "stopped")
        else:
            log(process.pid, f"ended while stopping: {describe_end(code)}", ERROR)
            if process.ready_at is not None:
                self._was_unclean()

    def _was_unclean(self) -> None:
        """Say so at the end, if it is the end: a process that was replaced long ago does not count."""
        if self._asked_to_stop:
            self._exit_code = self._exit_code or 1

    def _died(self, slot: Slot, process: Process, code: int) -> None:
        pause = slot.back_off(time.monotonic(), process.ready_at)
        if slot.incoming is not None:
            log(process.pid, f"died: {describe_end(code)}; its successor is on its way", ERROR)
        else:
            log(process.pid, f"died: {describe_end(code)}; a new one starts in {pause:g} s", ERROR)
            slot.start_at = slot.not_before

    # ------------------------------------------------------------------------------------ stop and replace

    def _stop(self) -> None:
        self._asked_to_stop += 1
        for slot in self._all_slots():
            slot.start_at = None
        self._rolling.clear()
        if self._asked_to_stop == 1:
            self._report.stop()
            log(0, f"stopping, with {self._grace:g} s of grace; a second signal gives everything back now")
        elif self._asked_to_stop == 2:
            log(0, "stopping now")
        for _, process in self._by_status.values():
            if self._asked_to_stop == 1:
                self._ask_to_stop(process)
            elif self._asked_to_stop == 2:
                process.tell(STOP_NOW)
                process.kill_at = time.monotonic() + MARGIN
            else:
                process.kill()

    def _ask_to_stop(self, process: Process) -> None:
        process.tell(STOP)
        process.kill_at = time.monotonic() + self._grace + MARGIN

    def _leave(self, slot: Slot) -> None:
        """Have the slot's process stop, and free the slot."""
        assert slot.process is not None
        slot.leaving.append(slot.process)
        if slot.process.drains:
            slot.process.tell(DRAIN)
        else:
            self._ask_to_stop(slot.process)
        slot.process = None

    def _hang_up(self) -> None:
        """Replace whatever was started before now, also what is about to take another's place, or takes its time."""
        if self._terminal:
            self._stop()
        if self._asked_to_stop:
            return
        log(0, "replacing the workers, one after the other")
        self._rolling = [slot for slot in self._slots if slot.process is not None and not slot.process.quits]
        for slot in self._all_slots():
            self._hurry(slot)
        self._roll_on()

    def _hurry(self, slot: Slot) -> None:
        if slot.alone and slot.process is not None:
            self._leave(slot)
        if slot.process is not None:
            slot.process.drains = False
        for process in slot.leaving:
            if process.kill_at is None:
                self._ask_to_stop(process)
        if slot.incoming is not None:
            slot.leaving.append(slot.incoming)
            self._ask_to_stop(slot.incoming)
            slot.incoming = None
            if slot.process is None:
                slot.start_at = time.monotonic()

    def _replace_stuck(self, slot: Slot, process: Process) -> None:
        if process.quits and process.kill_at is None:
            log(process.pid, "cannot finish: its threads are stuck", WARNING)
            self._ask_to_stop(process)
        elif slot.process is process and not process.quits:
            log(process.pid, "asks to be replaced: its threads are stuck", WARNING)
            process.drains = False
            if slot.alone:
                self._leave(slot)
                slot.start_at = time.monotonic()
            else:
                self._roll(slot)
        elif process in slot.leaving and process.kill_at is None:
            log(process.pid, "cannot finish: its threads are stuck", WARNING)
            self._ask_to_stop(process)

    def _replace_worn(self, slot: Slot, process: Process) -> None:
        if slot.process is process and slot not in self._rolling and slot.incoming is None:
            log(process.pid, "asks to be replaced: it is worn out")
            process.drains = True
            self._roll(slot)

    def _roll(self, slot: Slot) -> None:
        if slot not in self._rolling and slot.incoming is None:
            self._rolling.append(slot)
        self._roll_on()

    def _roll_on(self) -> None:
        """Start the next successor, unless one is under way. An empty slot is filled anyway."""
        if any(slot.incoming is not None for slot in self._slots):
            return
        self._rolling = [slot for slot in self._rolling if slot.process is not None]
        slot = next((slot for slot in self._rolling if not slot.has_to_wait), None)
        if slot is not None:
            self._rolling.remove(slot)
            slot.incoming = self._start(slot)
            if slot.incoming is None:
                self._rolling.clear()


def main(arguments: list[str]) -> int:
    """Supervise, as the arguments say."""
    occupy_standard_descriptors()
    terminal = any(os.isatty(descriptor) for descriptor in (0, 1, 2))
    processes, grace, *command = arguments
    set_log_level(_taken(command, "--log-level=") or INFO)
    set_log_form(_taken(command, "--log-format="))
    endpoint = _taken(command, "--health=")
    module = _taken(command, "--metrics=")
    supervisor = Supervisor(int(processes), float(grace), command, terminal=terminal)
    if module:
        supervisor.show_figures(module)
    if endpoint:
        host, _, port = endpoint.rpartition(":")
        try:
            supervisor.answer_probes(host, int(port))
        except OSError as error:
            log(0, f"--health {endpoint}: cannot listen there: {error.strerror}", ERROR)
            return 2
    return supervisor.run()


def _taken(command: list[str], option: str) -> str:
    """The value of the option with which the rest of the arguments begins, and which is taken from it; or nothing."""
    return command.pop(0).removeprefix(option) if command[0].startswith(option) else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
