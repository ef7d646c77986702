"""The pytest plugin in projects of its own: sync, pytest-asyncio, anyio, unittest, and such as know nothing of it."""

import re

import pytest

pytest_plugins = ["pytester"]

TASKS = """
from windlass import App

app = App("sqlite:////nowhere/at/all.db")

@app.task
async def send(to: str, body: str) -> int:
    return len(body)

@app.task
def fails() -> None:
    raise ValueError("of the task")
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project whose app is named in its ini-file."""
    pytester.makepyfile(shop=TASKS)
    settings(pytester)
    return pytester


def settings(pytester: pytest.Pytester, *lines: str) -> None:
    pytester.makepyprojecttoml(
        "\n".join(["[tool.pytest.ini_options]", 'windlass_app = "shop:app"', 'pythonpath = "."', *lines])
    )


def run(pytester: pytest.Pytester, *args: str, plugin: str = "") -> pytest.RunResult:
    others = [f"no:{name}" for name in ("asyncio", "anyio", "cacheprovider") if name != plugin]
    return pytester.runpytest_subprocess("-W", "error", *(f"-p{other}" for other in others), *args)


def test_plain_tests(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from shop import app, send

        def test_one(windlass_harness):
            job = send.enqueue_sync("a", "hi")
            windlass_harness.assert_enqueued(send, "a", "hi")
            windlass_harness.run_sync()
            assert job.result_sync() == 2

        def test_each_begins_empty(windlass_harness, windlass_app):
            assert windlass_app is app
            windlass_harness.assert_not_enqueued()

        def test_and_afterwards_the_app_is_as_before():
            assert "nowhere" in app.url
        """
    )
    run(project).assert_outcomes(passed=3)


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_pytest_asyncio(project: pytest.Pytester, mode: str) -> None:
    settings(project, f'asyncio_mode = "{mode}"', 'asyncio_default_fixture_loop_scope = "function"')
    project.makepyfile(
        """
        import asyncio, pytest, pytest_asyncio
        from shop import app, fails, send

        pytestmark = pytest.mark.asyncio

        @pytest_asyncio.fixture
        async def sent(windlass_harness):
            return await send.enqueue("a", "hi")

        async def test_one(windlass_harness, sent):
            await windlass_harness.run()
            assert await sent.result() == 2

        async def test_death(windlass_harness):
            await fails.enqueue()
            with pytest.raises(ValueError, match="of the task"):
                await windlass_harness.run()

        async def test_inline(windlass_harness):
            windlass_harness.inline = True
            assert await (await send.enqueue("a", "hello")).result() == 5

        async def test_worker(windlass_harness):
            async with app.worker():
                assert await (await send.enqueue("a", "hello")).result(timeout=10) == 5

        async def test_somebody_still_waits(windlass_harness):
            asyncio.create_task((await send.enqueue("a", "hello")).result())
        """
    )
    run(project, plugin="asyncio").assert_outcomes(passed=5)


@pytest.mark.parametrize("scope", ["function", "session"])
def test_loops_of_any_scope(project: pytest.Pytester, scope: str) -> None:
    settings(
        project,
        'asyncio_mode = "auto"',
        'asyncio_default_fixture_loop_scope = "session"',
        f'asyncio_default_test_loop_scope = "{scope}"',
    )
    project.makepyfile(
        """
        import pytest
        from shop import send

        @pytest.mark.parametrize("n", range(5))
        async def test_one(windlass_harness, n):
            job = await send.enqueue("a", "hi" * n)
            await windlass_harness.run()
            assert await job.result() == 2 * n

        def test_blocking(windlass_harness):
            send.enqueue_sync("a", "b")
            assert len(windlass_harness.run_sync()) == 1
        """
    )
    run(project, plugin="asyncio").assert_outcomes(passed=6)


def test_anyio(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from shop import send

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_one(windlass_harness):
            job = await send.enqueue("a", "hi")
            await windlass_harness.run()
            assert await job.result() == 2
        """
    )
    run(project, plugin="anyio").assert_outcomes(passed=1)


def test_unittest(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import unittest
        from shop import app, send
        from windlass.testing import Harness

        class Blocking(unittest.TestCase):
            def setUp(self):
                self.harness = self.enterContext(Harness(app, inline=True))

            def test_one(self):
                self.assertEqual(send.enqueue_sync("a", "hi").result_sync(), 2)

        class Coroutines(unittest.IsolatedAsyncioTestCase):
            async def test_one(self):
                with Harness(app) as harness:
                    job = await send.enqueue("a", "hi")
                    await harness.run()
                    self.assertEqual(await job.result(), 2)
        """
    )
    run(project).assert_outcomes(passed=2)


def test_a_failing_test_shows_its_jobs(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from shop import send, fails

        def test_one(windlass_harness):
            windlass_harness.raising = False
            fails.enqueue_sync()
            windlass_harness.run_sync()
            send.enqueue_sync("b", "hi")
            windlass_harness.assert_enqueued(send, "a", "hi")

        def test_two(windlass_harness):
            fails.enqueue_sync()
            windlass_harness.run_sync()
        """
    )
    result = run(project)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "*no job of 'shop.send' was enqueued with to='a', body='hi'",
            "*to: expected 'a', got 'b'",
            "*test_a_failing_test_shows_its_jobs.py:8: AssertionError",
            "*Windlass jobs*",
            "shop.fails(): #1 dead (ValueError: of the task)",
            "shop.send(to='b', body='hi'): has not run",
            "*windlass_harness.run_sync()",
            "",
            "*test_a_failing_test_shows_its_jobs.py:12:*",
            "*_ _ _*",
            "*@app.task*",
            "*ValueError: of the task",
            "",
            "shop.py:11: ValueError",
        ]
    )


def test_an_app_from_a_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(shop=TASKS)
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def windlass_app():
            import shop
            return shop.app

        @pytest.fixture(autouse=True)
        def harness(windlass_harness):
            return windlass_harness
        """
    )
    pytester.makepyfile(
        """
        from shop import send

        def test_one(harness):
            send.enqueue_sync("a", "hi")
            harness.assert_enqueued(send)

        def test_two():
            send.enqueue_sync("a", "hi")  # in memory too: there is no such file
        """
    )
    run(pytester).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("", "*say which app to test*"),
        ("shop", "*expected module:attribute, such as shop.tasks:app*"),
        ("shop:nothing", "*AttributeError*nothing*"),
        ("nowhere:app", "*ModuleNotFoundError: No module named 'nowhere'*"),
        ("shop:send", "*it is of type CoroutineTask, not an App*"),
    ],
)
def test_wrong_settings_are_said_to_be_wrong(project: pytest.Pytester, place: str, told: str) -> None:
    project.makepyprojecttoml(f'[tool.pytest.ini_options]\nwindlass_app = "{place}"\npythonpath = "."')
    project.makepyfile("def test_one(windlass_harness): ...\ndef test_two(): ...")
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([told])


def test_a_fixture_that_gives_no_app(project: pytest.Pytester) -> None:
    project.makeconftest("import pytest\n@pytest.fixture\ndef windlass_app(): return 'shop:app'")
    project.makepyfile("def test_one(windlass_harness): ...")
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the fixture windlass_app gave an object of type str, not an App*"])


def test_a_project_without_it_pays_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_what_was_imported(request):
            assert request.config.pluginmanager.has_plugin("windlass")
            ours = {name for name in sys.modules if name.partition(".")[0] in ("windlass", "msgspec", "uuid_utils")}
            assert ours == {"windlass", "windlass.testing", "windlass.testing.pytest_plugin"}
        """
    )
    run(pytester).assert_outcomes(passed=1)
    pytester.makepyfile("def test_one(request): assert not request.config.pluginmanager.has_plugin('windlass')")
    run(pytester, "-pno:windlass").assert_outcomes(passed=1)


def test_the_fixtures_are_listed(pytester: pytest.Pytester) -> None:
    said = run(pytester, "--fixtures", "-q").stdout.str()
    assert re.search(r"windlass_app -- .*\n    The Windlass app under test", said)
    assert re.search(r"windlass_harness -- .*\n    A `windlass.testing.Harness` of the app", said)


def test_in_parallel_processes_nothing_is_shared(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import os, pytest
        from shop import send

        @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
        def test_a_child_cannot_enqueue_into_memory_that_is_not_its_own(windlass_harness):
            child = os.fork()
            if child == 0:
                try:
                    send.enqueue_sync("a", "hi")
                except BaseException as error:
                    os._exit(7 if "memory of another process" in str(error) else 1)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            windlass_harness.assert_not_enqueued()
        """
    )
    run(project).assert_outcomes(passed=1)
