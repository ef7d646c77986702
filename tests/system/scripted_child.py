"""A child for the supervisor that does what a test tells it: ``python -m tests.system.scripted_child FOLDER ...``.

It reads ``FOLDER/mode`` when it starts (``ready``, ``silent``, or a number: exit with it at once). Then it waits for
lines in the pipe ``FOLDER/<pid>``: ``say X`` (to the supervisor), ``exit N``, ``kill N`` (itself), ``deaf`` (hear,
and stop obeying), ``close`` (its line to the supervisor), ``show NAME=NUMBER ...`` (vitals; an age for each ``*_at``).
"""

import os
import select
import signal
import sys
import time
from pathlib import Path

from windlass.engine.processes import DRAIN, READY, STOP, STOP_NOW
from windlass.engine.vitals import Page, Vitals


class Child:
    def __init__(self, folder: Path, status: int, control: int, page: int) -> None:
        self.folder = folder
        self.status = status
        self.control = control
        self.page = Page(page)
        self.deaf = False

    def run(self) -> None:
        mode = (self.folder / "mode").read_text()
        if mode.isdigit():
            os._exit(int(mode))
        fifo = self.folder / str(os.getpid())
        os.mkfifo(fifo)
        orders = os.open(fifo, os.O_RDWR)
        if mode == "ready":
            self.say(READY)
        while True:
            for descriptor in select.select([orders, self.control], [], [])[0]:
                if descriptor == orders:
                    for line in os.read(orders, 4096).decode().splitlines():
                        self.obey(line)
                else:
                    self.hear(os.read(self.control, 16))

    def obey(self, line: str) -> None:
        verb, _, argument = line.partition(" ")
        if verb == "say":
            self.say(argument.encode())
        elif verb == "exit":
            os._exit(int(argument))
        elif verb == "kill":
            os.kill(os.getpid(), int(argument))
        elif verb == "close":
            os.close(self.status)
        elif verb == "show":
            self.show(dict(word.split("=") for word in argument.split()))
        else:
            self.deaf = True

    def say(self, word: bytes) -> None:
        if READY in word:
            self.show({"ticked_at": "0", "answered_at": "0", "turned_at": "0"})  # as a worker does before it says so
        os.write(self.status, word)

    def show(self, numbers: dict[str, str]) -> None:
        now = time.monotonic()
        told = {name: now - float(age) for name, age in numbers.items() if name.endswith("_at")}
        told |= {name: float(number) for name, number in numbers.items() if name not in told}
        self.page.write(Vitals(**told))

    def hear(self, word: bytes) -> None:
        names = {STOP_NOW: "now", STOP: "stop", DRAIN: "drain", b"": "orphan"}
        heard = next(name for spoken, name in names.items() if spoken in word)
        (self.folder / f"{os.getpid()}.heard").write_text(heard)
        if not word or not self.deaf:
            os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Child(Path(sys.argv[1]), *map(int, sys.argv[-3:])).run()
