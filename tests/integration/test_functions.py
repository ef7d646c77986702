"""Functions that are no tasks, signed, on every store: what they can do, and what is refused unseen."""

from __future__ import annotations

import asyncio
import os
import pickle
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.integration.test_workflows import url_of
from windlass import App, InvalidArguments, InvalidSignature, PayloadTooLarge, RemoteError, UsageError, blocking
from windlass.call import send
from windlass.compute import functions
from windlass.compute.functions import Function
from windlass.core.ids import new_id, to_text
from windlass.core.model import NewJob
from windlass.core.signing import CALLS, Purpose, Sealed, SigningKey, namespace_of

WAIT = 20.0
KEY = secrets.token_urlsafe(32)


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    """An app with a key, on a store of its own, with a worker in a thread."""
    made = App(url_of(request, tmp_path), signing_key=KEY)
    with made.start_worker_thread(["default"], concurrency=8):
        yield made
    made.close_sync()


# ------------------------------------------------------------------------------------------------ what they can do


def test_lambdas_closures_and_coroutines_run_on_workers(app: App) -> None:
    offset = {3: "three"}

    async def later(n: int) -> set[int]:
        await asyncio.sleep(0)
        return {n}

    class Doubling:
        async def __call__(self, n: int) -> int:
            return 2 * n

    with app.executor() as pool:
        assert pool.submit(lambda a, *, b: (a, b, offset), 1, b={2}).result(WAIT) == (1, {2}, offset)
        assert pool.submit(later, 5).result(WAIT) == {5}
        assert pool.submit(Doubling(), 5).result(WAIT) == 10
        assert pool.submit(threading.get_ident).result(WAIT) != threading.get_ident()
        assert list(pool.map(lambda n: n + 1, range(100), chunksize=7)) == list(range(1, 101))
        assert pool.submit(lambda: None).result(WAIT) is None


def test_map_and_reduce_take_functions(app: App) -> None:
    async def total(a: int, b: int) -> int:
        return a + b

    assert list(app.map(lambda n: n * n, range(5000))) == [n * n for n in range(5000)]
    assert list(app.map(lambda a, b, *, c: (a, b, c), [1, 2], ["x", "y"], c=3)) == [(1, "x", 3), (2, "y", 3)]
    assert sorted(app.map(lambda n: n, range(50), chunksize=3, ordered=False)) == list(range(50))
    assert app.reduce_sync(lambda a, b: a + b, [chr(97 + n % 26) for n in range(200)], chunksize=3) == "".join(
        chr(97 + n % 26) for n in range(200)
    )
    assert app.reduce_sync(total, range(1000)) == sum(range(1000))
    with pytest.raises(TypeError, match="nothing to reduce"):
        app.reduce_sync(lambda a, b: a + b, [])


async def test_functions_from_coroutines(app: App) -> None:
    assert [n async for n in app.amap(lambda n: [n], range(40))] == [[n] for n in range(40)]
    assert await app.reduce(lambda a, b: a + b, range(100)) == sum(range(100))
    await app.aclose()


def test_a_function_is_pickled_once_for_a_map(app: App) -> None:
    class Counted:
        pickled = 0

        def __call__(self, n: int) -> int:
            return n

        def __reduce__(self) -> Any:
            Counted.pickled += 1
            return str, ()

    with pytest.raises(RemoteError, match="'str' object is not callable"):
        list(app.map(Counted(), range(100), chunksize=5))
    assert Counted.pickled == 1


def test_exceptions_are_data_as_those_of_tasks(app: App) -> None:
    def fails(n: int) -> int:
        if n == 7:
            raise ValueError("seven")
        return n

    with app.executor() as pool:
        error = pool.submit(fails, 7).exception(WAIT)
        assert isinstance(error, ValueError)
        assert isinstance(error, RemoteError)
        assert "in fails" in "".join(error.__notes__)
    results = app.map(fails, range(100), chunksize=2)
    assert [next(results) for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="seven"):
        next(results)


# --------------------------------------------------------------------------------------------- what is said at once


def test_what_cannot_travel_is_said_at_once(app: App) -> None:
    lock = threading.Lock()
    with app.executor() as pool:
        with pytest.raises(InvalidArguments, match=r"<lambda>: the function cannot be pickled: .*lock"):
            pool.submit(lambda: lock)
        with pytest.raises(InvalidArguments, match=r"id: arguments cannot be pickled: .*lock"):
            pool.submit(id, lock)
        with pytest.raises(InvalidArguments, match="the function cannot be pickled"):
            pool.submit(lambda: app)
        with pytest.raises(PayloadTooLarge, match=r"len: the function and its arguments make \d+ bytes"):
            pool.submit(len, "x" * 300_000)
        with pytest.raises(UsageError, match="int is no function"):
            pool.submit(3)  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="takes no futures"):
            pool.submit(len, [Future()])
    assert app.jobs(everything=True).count_sync() == 0
    texts = ["x" * 100_000] * 10
    assert list(app.map(len, texts)) == [100_000] * 10  # in batches that are small enough


def test_futures_of_functions_are_no_arguments(app: App) -> None:
    @app.task(name="double")
    def double(n: int) -> int:
        return 2 * n

    with app.executor() as pool:
        future = pool.submit(abs, -3)
        with pytest.raises(UsageError, match="abs is no task, and its future no argument"):
            pool.submit(double, future)
        with pytest.raises(UsageError, match="takes no futures"):
            pool.submit(abs, pool.submit(double, 1))
        assert pool.submit(double, future.result(WAIT)).result(WAIT) == 6


def test_results_that_cannot_travel_make_the_job_dead(app: App) -> None:
    with app.executor() as pool:
        with pytest.raises(RemoteError, match=r"the result cannot be pickled: .*lock"):
            pool.submit(threading.Lock).result(WAIT)
        with pytest.raises(PayloadTooLarge, match=r"result of [0-9]+ bytes exceed the limit of 1048576"):
            pool.submit(lambda: os.urandom(1024 * 1024)).result(WAIT)


def test_what_the_worker_cannot_load_is_said(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere:
        def __reduce__(self) -> Any:
            return __import__, ("no_such_module_anywhere",)

    with app.executor() as pool:
        with pytest.raises(RemoteError, match=r"cannot load the function .*no_such_module_anywhere.* installed"):
            pool.submit(id, Nowhere()).result(WAIT)
        monkeypatch.setattr(functions, "_PYTHON", b"2.7")
        body = Function(app._client, abs).work([(1,)], {})
        monkeypatch.undo()
        job = Function(app._client, abs).job(new_id(), body)
        with pytest.raises(RemoteError, match=r"comes from Python 2\.7, and this worker runs 3\."):
            run(app, job)


def test_without_a_key_a_function_is_refused_by_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINDLASS_SIGNING_KEY", raising=False)
    app = App("memory://")
    with app.executor() as pool, pytest.raises(UsageError, match=r"no task of this app.*signing key: App\(signing_key"):
        pool.submit(abs, 1)
    monkeypatch.setenv("WINDLASS_SIGNING_KEY", KEY + "\n")
    with app.start_worker_thread(), app.executor() as pool:
        assert pool.submit(abs, -1).result(WAIT) == 1
    app.close_sync()


def test_without_cloudpickle_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    app = App("memory://", signing_key=KEY)
    with pytest.raises(ImportError, match=r"pip install windlass\[compute\]"):
        app.executor()
    with pytest.raises(ImportError, match=r"pip install windlass\[compute\]"):
        app.start_worker_thread()


# -------------------------------------------------------------------------------------------- what is refused unseen


class Evil:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def evil_body(folder: Path) -> bytes:
    version = f"{sys.version_info.major}.{sys.version_info.minor}\n".encode()
    return version + pickle.dumps((pickle.dumps(Evil(folder)), [()], {}, False))


def evil_job(app: App, folder: Path, **other: Any) -> NewJob:
    """A job whose body makes a folder when it is unpickled; signed right, but for what ``other`` says."""
    said: dict[str, Any] = {
        "key": KEY,
        "namespace": namespace_of(app._client.origin.url),
        "job_id": new_id(),
        "task": CALLS["thread"],
        "expires": int(time.time()) + 60,
        "direction": "to the worker",
    } | other
    job_id = other.get("stored_as", said["job_id"])
    purpose = Purpose(said["namespace"], said["job_id"], said["task"])
    sealed = SigningKey(said["key"], "key").seal(said["direction"], purpose, said["expires"], evil_body(folder))
    app.executor()
    spec = app._client.tasks[CALLS["thread"]]
    return NewJob(id=job_id, task=spec.name, payload=spec.signature.encode((sealed,), {}))


def run(app: App, job: NewJob) -> Any:
    blocking.run(lambda: send(app._client, (job,), len(job.payload)))
    return app.job(to_text(job.id)).result_sync(timeout=WAIT)


@pytest.mark.parametrize(
    "other",
    [
        {"key": secrets.token_urlsafe(32)},
        {"namespace": "elsewhere"},
        {"stored_as": new_id()},
        {"task": CALLS["async"]},
        {"direction": "to the caller"},
        {"expires": 1_000_000_000},
    ],
    ids=lambda other: next(iter(other)),
)
def test_nothing_is_unpickled_that_is_not_signed_for_this_job(app: App, tmp_path: Path, other: dict[str, Any]) -> None:
    folder = tmp_path / "made"
    if "stored_as" in other:
        other = {"stored_as": new_id()}  # each store has its own
    job = evil_job(app, folder, **other)
    with pytest.raises(RemoteError, match=r"function call refused: the signature .*nothing"):
        run(app, job)
    assert app.job(to_text(job.id)).status_sync() == "dead"
    assert not folder.exists()


def test_a_body_that_is_signed_right_is_unpickled(app: App, tmp_path: Path) -> None:
    """That the tests around this one would see it."""
    with pytest.raises(RemoteError, match="'NoneType' object is not callable"):
        run(app, evil_job(app, tmp_path / "made"))
    assert (tmp_path / "made").exists()


def test_a_retry_policy_in_the_record_does_not_help(app: App, tmp_path: Path) -> None:
    job = evil_job(app, tmp_path / "made", namespace="elsewhere")
    job = replace(job, options=b'{"retry":{"attempts":100,"delay":0}}')
    with pytest.raises(RemoteError, match="function call refused"):
        run(app, job)
    assert app.job(to_text(job.id)).status_sync() == "dead"


def test_no_result_is_unpickled_that_the_worker_has_not_signed_for_it(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A worker, or whoever writes to the store, that has no key answers with pickles of his own."""
    request.param = "sqlite"
    url = url_of(request, tmp_path)
    folder = tmp_path / "made"
    hostile, app = App(url), App(url, signing_key=KEY)

    @hostile.task(name=CALLS["thread"])
    def answer(call: Sealed) -> Sealed:
        return Sealed(pickle.dumps((0.1, [Evil(folder)])), 2**40, call.signature)

    with hostile.start_worker_thread(), app.executor() as pool:
        with pytest.raises(InvalidSignature, match="nothing of it was unpickled"):
            pool.submit(abs, 1).result(WAIT)
        with pytest.raises(InvalidSignature):
            list(pool.map(abs, [1, 2]))
    assert not folder.exists()
    hostile.close_sync()
    app.close_sync()


def test_nobody_is_shown_what_travels(app: App) -> None:
    with app.executor() as pool:
        future = pool.submit(abs, -3)
        assert future.result(WAIT) == 3

        async def options() -> bytes:
            job = (await (await app.store()).get_jobs([future.job_id]))[0]
            assert job is not None
            return job.options or b""

        assert b'"secret":["call"]' in blocking.run(options)
