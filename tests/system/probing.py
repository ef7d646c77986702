"""A supervisor with a health endpoint, and who asks there."""

import http.client
import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.system.supervised import PATIENCE, Supervised, wait_until

ROOT = Path(__file__).parents[2]

Answer = tuple[int, dict[str, Any]]


class Endpoint:
    """Where a supervisor answers probes."""

    def __init__(self, supervisor: Supervised) -> None:
        found = supervisor.next(r"answers http://(\S+):(\d+)/healthz and /readyz")
        self.host, self.port = found[1], int(found[2])

    def connect(self) -> socket.socket:
        line = socket.create_connection((self.host.strip("[]"), self.port), timeout=PATIENCE)
        line.settimeout(PATIENCE)
        return line

    def ask(self, path: str, method: str = "GET") -> Answer:
        """Ask as a probe does."""
        connection = http.client.HTTPConnection(self.host.strip("[]"), self.port, timeout=PATIENCE)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            assert answer.headers["Connection"] == "close"
            body = answer.read()
            return answer.status, json.loads(body) if body else {}
        finally:
            connection.close()

    def wait_for(self, path: str, status: int, reason: str = "") -> dict[str, Any]:
        """Ask until that is the answer."""
        answers: list[Answer] = []

        def answered() -> bool:
            answers.append(self.ask(path))
            return answers[-1][0] == status and any(reason in one for one in answers[-1][1]["reasons"] or [""])

        wait_until(answered, f"{path} to say {status} {reason}")
        return answers[-1][1]

    def say(self, text: bytes) -> bytes:
        """Send bytes, and hear all that comes back."""
        with self.connect() as line:
            line.sendall(text)
            heard = b""
            try:
                while block := line.recv(4096):
                    heard += block
            except ConnectionResetError:
                pass  # it had not read all that we sent
            return heard


@contextmanager
def probed(
    folder: Path, processes: int = 1, mode: str = "ready", health: str = "127.0.0.1:0", patch: str = ""
) -> Iterator[tuple[Supervised, Endpoint]]:
    """A supervisor of scripted children with an endpoint."""
    (folder / "mode").write_text(mode)
    arguments = [str(processes), "5", f"--health={health}", "tests.system.scripted_child", str(folder)]
    program = f"import sys, windlass.engine.supervisor as s\n{patch}\nsys.exit(s.main({arguments!r}))"
    with Supervised([sys.executable, "-c", program], ROOT) as supervisor:
        yield supervisor, Endpoint(supervisor)
