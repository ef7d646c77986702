"""Blocking code: the twins from threads, web frameworks, notebooks and forked children; workers in threads."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import skip_or_fail
from windlass import App, BlockingCallInLoop, InvalidArguments, InvalidOption, Job, blocking, current

SOON = 10.0


@pytest.fixture(params=["memory", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    app = App("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/w.db")
    yield app
    app.close_sync()


def double_of(app: App) -> Any:
    @app.task(name="double")
    async def double(n: int) -> int:
        current().progress(1, "done")
        return 2 * n

    return double


# -------------------------------------------------------------------------------------------------------- twins


def test_every_twin_works_without_a_loop(app: App) -> None:
    double = double_of(app)
    job = double.enqueue_sync(1)
    assert job.status_sync() == "ready"
    late = double.options(delay=3600).bind(2).enqueue_sync()
    assert late.cancel_sync()
    late.replay_sync()
    assert late.info_sync().status in ("ready", "scheduled")
    jobs = app.enqueue_many_sync(double.bind(n) for n in range(2500))
    with app.start_worker_thread() as worker:
        assert worker.running
        assert job.result_sync(SOON) == 2
        assert [one.result_sync(SOON) for one in jobs] == [2 * n for n in range(2500)]
        assert job.progress_sync().message in (None, "done")
    assert not worker.running


def test_the_source_of_enqueue_many_sync_runs_in_the_callers_thread(app: App) -> None:
    double = double_of(app)
    threads = set()

    def source() -> Iterator[Any]:
        for n in range(1200):
            threads.add(threading.get_ident())
            yield double.bind(n)

    assert len(app.enqueue_many_sync(source())) == 1200
    assert threads == {threading.get_ident()}


def test_errors_reach_the_blocking_caller(app: App) -> None:
    double = double_of(app)
    with pytest.raises(InvalidArguments):
        double.enqueue_sync("x")
    with pytest.raises(TimeoutError):
        double.enqueue_sync(1).result_sync(0)
    with pytest.raises(InvalidArguments):
        app.enqueue_many_sync(double.bind(n) for n in ("x",))


def test_many_threads_share_one_loop(app: App) -> None:
    double = double_of(app)
    jobs: list[Job[int]] = []
    threads = [threading.Thread(target=lambda n=n: jobs.append(double.enqueue_sync(n))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job in jobs}) == 20
    assert sum(thread.name == "windlass-blocking" for thread in threading.enumerate()) == 1


async def test_a_notebook_with_a_running_loop_may_block_it(app: App) -> None:
    double = double_of(app)
    with app.start_worker_thread():
        assert double.enqueue_sync(3).result_sync(SOON) == 6
        assert await (await double.enqueue(4)).result(SOON) == 8
    await app.aclose()


def test_a_web_app(app: App) -> None:
    try:
        from flask import Flask
    except ImportError:
        skip_or_fail("flask is not installed")
    double = double_of(app)
    web = Flask(__name__)

    @web.post("/double/<int:n>")
    def start(n: int) -> tuple[dict[str, str], int]:
        return {"job": double.enqueue_sync(n).id}, 202

    @web.get("/job/<job_id>")
    def show(job_id: str) -> dict[str, Any]:
        return {"result": app.job(job_id).result_sync(SOON)}

    with app.start_worker_thread():
        client = web.test_client()
        started = client.post("/double/21").get_json()
        assert client.get(f"/job/{started['job']}").get_json() == {"result": 42}


# --------------------------------------------------------------------------------------------- where it must not


async def test_a_blocking_call_on_a_workers_loop_is_refused_with_advice(app: App) -> None:
    double = double_of(app)

    @app.task
    async def stops_the_loop() -> None:
        double.enqueue_sync(1)

    @app.task
    def fine_in_a_thread() -> int:
        job: Job[int] = double.enqueue_sync(5)
        return job.result_sync(SOON)

    async with app.worker():
        with pytest.raises(Exception, match="await the async twin") as caught:
            await (await stops_the_loop.enqueue()).result(SOON)
        assert "BlockingCallInLoop" in str(caught.value)
        assert await (await fine_in_a_thread.enqueue()).result(SOON) == 10
    await app.aclose()


async def test_a_blocking_wait_beside_a_worker_on_the_same_loop_is_refused(app: App) -> None:
    double = double_of(app)
    async with app.worker():
        job = double.enqueue_sync(1)
        with pytest.raises(BlockingCallInLoop, match="start_worker_thread"):
            job.result_sync(SOON)
        assert await asyncio.to_thread(job.result_sync, SOON) == 2
    await app.aclose()


def test_a_blocking_call_on_the_facades_own_thread_is_refused(app: App) -> None:
    double = double_of(app)

    async def inside() -> None:
        double.enqueue_sync(1)

    with pytest.raises(BlockingCallInLoop):
        blocking.run(inside)


def test_an_interrupted_wait_cancels_what_it_waited_for() -> None:
    cancelled = threading.Event()
    started = threading.Event()

    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    class Interrupted(Exception):
        pass

    future = blocking.submit(waits)
    assert started.wait(SOON)
    future.result = lambda: (_ for _ in ()).throw(Interrupted())  # type: ignore[method-assign, assignment]
    with pytest.raises(Interrupted):
        blocking.wait_for(future)
    assert cancelled.wait(SOON)


# ----------------------------------------------------------------------------------------------- worker threads


def test_a_worker_thread_stops_twice_and_says_what_it_is(app: App) -> None:
    worker = app.start_worker_thread(["default"], concurrency=2)
    assert repr(worker) == "<WorkerThread running>"
    worker.stop()
    worker.stop()
    assert repr(worker) == "<WorkerThread stopped>"
    assert not [thread for thread in threading.enumerate() if thread.name == "windlass-worker"]


def test_a_worker_thread_that_cannot_start_says_why_and_leaves_no_thread(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path}/missing/w.db")
    with pytest.raises(Exception, match="missing"):
        app.start_worker_thread()
    with pytest.raises(InvalidOption, match="expected a list of names"):
        app.start_worker_thread("mail")
    with pytest.raises(InvalidOption, match="concurrency=0"):
        app.start_worker_thread(concurrency=0)
    assert not [thread for thread in threading.enumerate() if thread.name == "windlass-worker"]


def test_a_task_cannot_stop_the_worker_thread_that_runs_it(app: App) -> None:
    @app.task
    async def stop() -> None:
        worker.stop()

    with app.start_worker_thread() as worker, pytest.raises(Exception, match="cannot be stopped by a task"):
        stop.enqueue_sync().result_sync(SOON)


def test_a_hint_that_cannot_be_resolved_shows_when_a_worker_starts(app: App) -> None:
    def later(value: "NowhereToBeFound") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    app.task(later)
    with pytest.raises(InvalidOption, match="NowhereToBeFound"):
        app.start_worker_thread()


async def test_a_block_that_raises_gives_running_jobs_back_at_once(app: App) -> None:
    running = asyncio.Event()

    @app.task
    async def waits() -> None:
        running.set()
        await asyncio.sleep(3600)

    async def script() -> None:
        async with app.worker():
            await asyncio.wait_for(running.wait(), SOON)
            raise ZeroDivisionError

    job = await waits.enqueue()
    with pytest.raises(ZeroDivisionError):
        await script()
    assert await job.status() == "ready"
    assert (await job.info()).failures == 0
    await app.aclose()


# ------------------------------------------------------------------------------------------- loops and processes


def run_script(tmp_path: Path, code: str) -> str:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "WINDLASS_URL": f"sqlite:///{tmp_path}/w.db", "PYTHONASYNCIODEBUG": ""},
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def test_a_store_goes_with_its_event_loop(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        """
        import asyncio, gc, os, threading, time
        from windlass import App
        app = App()

        @app.task
        def double(n: int) -> int: return 2 * n

        async def main(n):
            return await double.enqueue(n)

        def open_files():
            found = []
            for name in os.listdir("/proc/self/fd"):
                try:
                    found.append(os.readlink(f"/proc/self/fd/{name}"))
                except OSError:
                    pass  # that of the listing itself
            return sorted(found)

        def held():
            gc.collect()
            return [thread.name for thread in threading.enumerate()], open_files()

        asyncio.run(main(0))
        for thread in threading.enumerate()[1:]:
            thread.join()
        before = held()
        jobs = [asyncio.run(main(n)) for n in range(20)]
        until = time.monotonic() + 10  # what was told to end needs a moment
        while (now := held()) != before and time.monotonic() < until:
            time.sleep(0.01)
        assert now == before, (before, now)
        with app.start_worker_thread():
            print(sum(job.result_sync(10) for job in jobs))
        """,
    )
    assert out == f"{2 * sum(range(20))}\n"


def test_children_of_a_fork_start_afresh_and_the_parent_goes_on(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        """
        import asyncio, os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what this test is about
        from windlass import App
        app = App()

        @app.task
        def double(n: int) -> int: return 2 * n

        first = double.enqueue_sync(1)

        async def in_a_loop():
            await double.enqueue(2)
            pid = os.fork()
            if pid == 0:
                job = double.enqueue_sync(3)
                assert job.status_sync() == "ready"
                print("child", flush=True)
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            await double.enqueue(4)

        asyncio.run(in_a_loop())
        pid = os.fork()
        if pid == 0:
            jobs = app.enqueue_many_sync(double.bind(n) for n in range(5, 8))
            with app.start_worker_thread():
                assert jobs[-1].result_sync(10) == 14
                assert first.result_sync(10) == 2
            print("grandchild", flush=True)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert first.result_sync(10) == 2
        async def total(): return await (await app.store()).counts()
        counts = asyncio.run(total())
        print(sum(counts.values()))
        """,
    )
    assert out == "child\ngrandchild\n7\n"


def test_a_forked_child_leaves_its_parents_worker_thread_alone(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        """
        import os, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: what this test is about
        from windlass import App
        app = App()

        @app.task
        def double(n: int) -> int: return 2 * n

        with app.start_worker_thread() as worker:
            assert double.enqueue_sync(1).result_sync(10) == 2
            pid = os.fork()
            if pid == 0:
                print(worker, flush=True)
                sys.exit(0)  # with the exit handlers that it inherited
            assert os.waitpid(pid, 0)[1] == 0
            print(worker, double.enqueue_sync(2).result_sync(10))
        """,
    )
    assert out == "<WorkerThread stopped>\n<WorkerThread running> 4\n"


def test_a_worker_thread_stops_when_the_script_ends(tmp_path: Path) -> None:
    run_script(
        tmp_path,
        """
        from windlass import App
        app = App()

        @app.task
        def double(n: int) -> int: return 2 * n

        app.start_worker_thread()
        assert double.enqueue_sync(4).result_sync(10) == 8
        """,
    )
    app = App(f"sqlite:///{tmp_path}/w.db")

    async def sessions() -> int:
        return len(await (await app.store()).sessions())

    assert asyncio.run(sessions()) == 0


def test_loops_that_are_closed_by_hand_leave_nothing_behind(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        """
        import asyncio, os, threading, time
        from windlass import App
        app = App()

        @app.task
        def work() -> None: ...

        def enqueue_on_a_loop_of_its_own():
            loop = asyncio.new_event_loop()
            loop.run_until_complete(work.enqueue())
            loop.close()

        def count():
            return threading.active_count() + len(os.listdir("/proc/self/fd"))

        for _ in range(3):
            enqueue_on_a_loop_of_its_own()
        before, until = count(), time.monotonic() + 10
        for _ in range(10):
            enqueue_on_a_loop_of_its_own()
        while count() >= before + 10 and time.monotonic() < until:
            time.sleep(0.01)  # what was told to end needs a moment
        print(count() - before)
        """,
    )
    assert int(out) < 10, "each loop had a thread and several descriptors"
