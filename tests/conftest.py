"""What every test may count on: servers are there or said to be missing, and nothing outlives the session.

A helper is imported (`from tests.conftest import skip_or_fail`); a fixture is asked for by name.
"""

import logging
import os
import random
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import psutil
import pytest

if TYPE_CHECKING:
    from tests.servers.database import Database
    from tests.servers.redis import RedisServer
    from windlass.core.redis_url import RedisURL

SESSION_MARK = "WINDLASS_TEST_SESSION"


def skip_or_fail(reason: str) -> NoReturn:
    """Skip this test because something on the machine is missing; where CI is set, fail instead.

    So that a test which never runs anywhere cannot pass for one that does.
    """
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail(f"must not be skipped in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, help="repeat a run of randomised tests with the seed that it printed")
    parser.addoption("--minutes", type=float, default=2, help="how long a soak of mixed faults goes on (2)")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = random.randrange(2**32)
    os.environ[SESSION_MARK] = uuid.uuid4().hex


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (--seed={config.option.seed} repeats it)"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """A generator that depends on the session's seed and the test's name alone, not on the order of tests."""
    return random.Random(f"{request.config.option.seed}:{request.node.nodeid}")


@pytest.fixture(scope="session")
def redis_server() -> Iterator["RedisServer"]:
    """One server for all tests that do it no harm."""
    from tests.servers.redis import RedisServer

    with RedisServer("--appendfsync", "no") as server:
        yield server


@pytest.fixture
def redis_url(redis_server: "RedisServer") -> Iterator["RedisURL"]:
    """A namespace there that nobody else uses; all are emptied afterwards."""
    from windlass.core.redis_url import RedisURL

    yield RedisURL(host="127.0.0.1", port=redis_server.port, namespace=f"test-{uuid.uuid4().hex}")
    redis_server.flush()


@pytest.fixture(scope="session")
def valkey_server() -> Iterator["RedisServer"]:
    """As `redis_server`, of Valkey."""
    from tests.servers.redis import ValkeyServer

    with ValkeyServer("--appendfsync", "no") as server:
        yield server


@pytest.fixture
def valkey_url(valkey_server: "RedisServer") -> Iterator["RedisURL"]:
    """As `redis_url`, of Valkey."""
    from windlass.core.redis_url import RedisURL

    yield RedisURL(host="127.0.0.1", port=valkey_server.port, namespace=f"test-{uuid.uuid4().hex}")
    valkey_server.flush()


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(self.format(record))


@pytest.fixture(scope="session")
def _asyncio_complaints() -> Iterator[list[str]]:
    handler = _Complaints()
    logging.getLogger("asyncio").addHandler(handler)
    yield handler.messages
    logging.getLogger("asyncio").removeHandler(handler)


@pytest.fixture(autouse=True)
def _asyncio_hygiene(_asyncio_complaints: list[str]) -> Iterator[None]:
    """Fail where asyncio only logs: a task destroyed while pending, an exception that nobody retrieved.

    A complaint that comes when garbage is collected may be counted against the test after its cause.
    """
    yield
    said = list(_asyncio_complaints)
    _asyncio_complaints.clear()
    if said:
        pytest.fail("asyncio complained:\n" + "\n".join(said), pytrace=False)


def _started_by_us(process: psutil.Process) -> bool:
    try:
        return process.environ().get(SESSION_MARK) == os.environ[SESSION_MARK]
    except psutil.Error:
        return False


def _is_python_helper(process: psutil.Process) -> bool:
    """Say whether this is multiprocessing's own tracker or fork server, which ends with us, and serves nobody now."""
    command = " ".join(process.cmdline())
    ours = process.ppid() == os.getpid() and not process.children()
    return ours and ("multiprocessing.resource_tracker" in command or "multiprocessing.forkserver" in command)


def _survivors() -> dict[int, tuple[psutil.Process, str]]:
    """Find this session's processes by parentage and, where their parents died, by the mark in their environment."""
    children = psutil.Process().children(recursive=True)
    orphans = [p for p in psutil.process_iter() if p.pid != os.getpid() and _started_by_us(p)]
    found = {}
    for process in [*children, *orphans]:
        try:
            if process.status() != psutil.STATUS_ZOMBIE and not _is_python_helper(process):
                found[process.pid] = (process, " ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture(scope="session", autouse=True)
def _no_process_survives() -> Iterator[None]:
    """Fail the session, and clean up, when a process that it started is still there at its end."""
    yield
    survivors = _survivors()
    for process, _ in survivors.values():
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    if survivors:
        lines = [f"  {pid}: {command}" for pid, (_, command) in survivors.items()]
        pytest.fail("processes that outlived the tests, killed now:\n" + "\n".join(lines), pytrace=False)


@pytest.fixture(scope="session")
def postgres_database() -> Iterator["Database"]:
    """A PostgreSQL without fsync, for tests of what a store says rather than of what it survives."""
    from tests.servers.database import migrated
    from tests.servers.postgres import PostgresServer

    with migrated(PostgresServer(fsync="off", synchronous_commit="off", full_page_writes="off")) as database:
        yield database
