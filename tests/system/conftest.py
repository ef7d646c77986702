"""What the tests of child processes share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.database import Database
from windlass.core.redis_url import RedisURL


@pytest.fixture(scope="session")
def process_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the store of `process_app` is: an app opens one store in its life."""
    return str(tmp_path_factory.mktemp("processes"))


@pytest.fixture(scope="module")
def process_url(process_folder: str) -> Iterator[str]:
    """Have `process_app` use that store, here and in every process that a test starts."""
    url = f"sqlite:///{process_folder}/jobs.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINDLASS_URL", url)
        yield url


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind that several processes can share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/w.db"
    if request.param == "redis":
        found: RedisURL = request.getfixturevalue("redis_url")
        return f"redis://{found.host}:{found.port}/0?namespace={found.namespace}"
    database: Database = request.getfixturevalue("postgres_database")
    database.store()
    return database.url
