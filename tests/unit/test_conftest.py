"""The suite's own safety net, tried on small sessions of its own."""

import pytest

from tests import conftest
from tests.conftest import skip_or_fail

pytest_plugins = ["pytester"]


@pytest.fixture
def inner(pytester: pytest.Pytester) -> pytest.Pytester:
    """A session in a temporary folder with our conftest and settings."""
    pytester.makeconftest(conftest.__loader__.get_data(conftest.__file__).decode())  # type: ignore[union-attr]
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


@pytest.mark.parametrize("value", ["", "0", "false"])
def test_a_missing_server_skips(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CI", value)
    with pytest.raises(pytest.skip.Exception, match="no redis-server"):
        skip_or_fail("no redis-server")


def test_a_missing_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no redis-server"):
        skip_or_fail("no redis-server")


def test_a_surviving_child_and_a_surviving_orphan_fail_the_session(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import subprocess, sys

        def test_child():
            subprocess.Popen(["sleep", "61"])

        def test_orphan():
            subprocess.run(["sh", "-c", "sleep 62 >/dev/null 2>&1 &"], check=True)
        """
    )
    result = inner.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*processes that outlived the tests*", "*sleep 61*", "*sleep 62*"])


def test_a_lost_task_exception_fails_its_test(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import asyncio, gc

        async def fail():
            raise ValueError("lost")

        async def test_lost():
            task = asyncio.ensure_future(fail())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del task
            gc.collect()
        """
    )
    result = inner.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*asyncio complained*", "*exception was never retrieved*"])
