"""What the tests of child processes share."""

from collections.abc import Iterator

import pytest


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
