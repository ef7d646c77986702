"""A child for the supervisor that does what a test tells it: ``python -m tests.system.scripted_child FOLDER ...``.

It reads ``FOLDER/mode`` when it starts (``ready``, ``silent``, or a number: exit with it at once). Then it waits for
lines in the pipe ``FOLDER/<pid>``: ``say X`` (to the supervisor), ``exit N``, ``kill N`` (itself), ``deaf`` (stop
obeying), ``close`` (its line to the supervisor).
"""

import os
import select
import signal
import sys
from pathlib import Path

from windlass.engine.processes import READY, STOP_NOW


class Child:
    def __init__(self, folder: Path, status: int, control: int) -> None:
        self.folder = folder
        self.status = status
        self.control = control
        self.deaf = False

    def run(self) -> None:
        mode = (self.folder / "mode").read_text()
        if mode.isdigit():
            os._exit(int(mode))
        fifo = self.folder / str(os.getpid())
        os.mkfifo(fifo)
        orders = os.open(fifo, os.O_RDWR)
        if mode == "ready":
            os.write(self.status, READY)
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
            os.write(self.status, argument.encode())
        elif verb == "exit":
            os._exit(int(argument))
        elif verb == "kill":
            os.kill(os.getpid(), int(argument))
        elif verb == "close":
            os.close(self.status)
        else:
            self.deaf = True

    def hear(self, word: bytes) -> None:
        if not word or not self.deaf:
            heard = "now" if STOP_NOW in word else "stop" if word else "orphan"
            (self.folder / f"{os.getpid()}.heard").write_text(heard)
            os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Child(Path(sys.argv[1]), int(sys.argv[-2]), int(sys.argv[-1])).run()
