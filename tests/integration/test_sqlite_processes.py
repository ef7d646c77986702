"""Several processes on one file: turns to write, hints, locks that nobody lets go of, forks."""

import asyncio
import fcntl
import json
import mmap
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.sqlite_harness import enqueue, new_job, open_session, process, request, said, say
from windlass.core.errors import StoreUnavailable
from windlass.core.lifecycle import Outcome
from windlass.core.model import Settlement
from windlass.store.sqlite import SQLiteStore, fork, turn, wake
from windlass.store.sqlite.lock import WriteLock

COUNTER = """
import mmap, sys
from windlass.store.sqlite.lock import WriteLock
lock = WriteLock(sys.argv[1])
with open(sys.argv[2], "r+b") as file:
    counter = mmap.mmap(file.fileno(), 1)
print("ready", flush=True)
while sys.stdin.readline():
    lock.acquire()
    counter[0] += 1
    lock.release()
"""

WRITER = """
import asyncio, json, sys
from tests.integration.sqlite_harness import enqueue, new_job, open_session, request
from windlass.core.lifecycle import Outcome
from windlass.core.model import Settlement
from windlass.store.sqlite import SQLiteStore

async def main(path, count):
    store = SQLiteStore(path)
    session = await open_session(store)
    done, stored, number = [], [], 0
    async def produce():
        for _ in range(count):
            job = new_job()
            await enqueue(store, job)
            stored.append(job.id.hex())
    producer = asyncio.ensure_future(produce())
    idle = 0
    while not producer.done() or idle < 3:
        number += 1
        jobs = (await store.claim(session, request(number, 7))).jobs
        idle = 0 if jobs else idle + 1
        ended = [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1") for job in jobs]
        answers = (await store.settle(session, ended)).answers
        done += [job.id.hex() for job, answer in zip(jobs, answers) if answer.name == "APPLIED"]
    await producer
    await store.close(session)
    await store.aclose()
    print(json.dumps([stored, done]), flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

HOLDER = """
import sys
from windlass.store.sqlite.lock import WriteLock
lock = WriteLock(sys.argv[1])
lock.acquire()
print("holds", flush=True)
sys.stdin.readline()
lock.release()
"""


def test_who_waits_for_the_lock_has_it_before_who_wants_it_again(tmp_path: Path) -> None:
    path, counted = str(tmp_path / "w.db"), tmp_path / "counter"
    counted.write_bytes(bytes(1))
    with counted.open("r+b") as file, process(COUNTER, path, str(counted)) as other:
        counter = mmap.mmap(file.fileno(), 1)
        assert said(other) == "ready"
        lock = WriteLock(path)
        lock.acquire()
        for turn_number in range(100):
            say(other)
            _wait_until_locked(f"{path}-turn")
            assert counter[0] == turn_number
            # `flock` alone would nearly always give it to us again: the other has to be woken first.
            lock.release()
            lock.acquire()
            assert counter[0] == turn_number + 1
        lock.close()
        counter.close()


def _wait_until_locked(path: str) -> None:
    """Wait until somebody stands in the turnstile (but not for ever)."""
    with Path(path).open("rb") as probe:
        for _ in range(5000):
            try:
                fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            fcntl.flock(probe, fcntl.LOCK_UN)
            time.sleep(0.001)


def test_the_lock_excludes_threads_and_objects_too(tmp_path: Path) -> None:
    one, other = WriteLock(str(tmp_path / "w.db")), WriteLock(str(tmp_path / "w.db"))
    assert one.try_acquire()
    assert not other.try_acquire()
    assert one.holder() == f"process {os.getpid()}"
    one.release()
    assert other.try_acquire()
    one.close()
    other.close()


def test_the_lock_of_a_process_that_dies_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / "w.db")
    lock = WriteLock(path)
    with process(HOLDER, path) as holder:
        assert said(holder) == "holds"
        assert not lock.try_acquire()
        holder.kill()
        holder.wait()
        assert lock.try_acquire()
    lock.close()


def test_the_mark_of_a_process_that_died_waiting_is_cleared(tmp_path: Path) -> None:
    path = str(tmp_path / "w.db")
    lock = WriteLock(path)
    lock.acquire()
    with process(HOLDER, path) as waiter:
        _wait_until_locked(f"{path}-turn")
        assert lock.page.waiting
        waiter.kill()
        waiter.wait()
    lock.release()
    assert not lock.try_acquire(), "whoever sees the mark goes through the turnstile"
    lock.acquire()
    lock.release()
    assert lock.try_acquire()
    assert lock.undisturbed
    other = WriteLock(path)
    lock.release()
    other.acquire()
    other.release()
    lock.acquire()
    assert not lock.undisturbed
    lock.close()
    other.close()


async def test_a_stopped_writer_is_named_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "PATIENCE", 0.0)
    monkeypatch.setattr(turn, "_LOOK", 0.01)
    path = tmp_path / "w.db"
    store = SQLiteStore(path)
    await store.connect()
    with process(HOLDER, str(path)) as holder:
        assert said(holder) == "holds"
        holder.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreUnavailable, match=f"process {holder.pid}, which is stopped"):
            await enqueue(store, new_job())
        late = SQLiteStore(path)
        with pytest.raises(StoreUnavailable, match=f"process {holder.pid}"):
            await late.connect()
        monkeypatch.setattr(turn, "PATIENCE", 60.0)
        holder.send_signal(signal.SIGCONT)
        say(holder)
        await enqueue(store, new_job())
        await enqueue(late, new_job())
    # What was given up was not done after all.
    assert sum((await store.counts()).values()) == 2
    await store.aclose()
    await late.aclose()


def test_four_processes_write_at_once(tmp_path: Path) -> None:
    path, count = str(tmp_path / "w.db"), 150
    with (
        process(WRITER, path, str(count)) as one,
        process(WRITER, path, str(count)) as two,
        process(WRITER, path, str(count)) as three,
        process(WRITER, path, str(count)) as four,
    ):
        answers = [json.loads(said(each)) for each in (one, two, three, four)]
    stored = [job for mine, _ in answers for job in mine]
    done = [job for _, mine in answers for job in mine]
    assert len(stored) == len(set(stored)) == 4 * count
    assert len(done) == len(set(done)), "two processes settled the same job"
    with sqlite3.connect(path) as db:
        states = db.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        left = dict(states).get(2, 0)
        assert len(done) + left == 4 * count
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        sequences = db.execute("SELECT count(*), count(DISTINCT seq), count(DISTINCT n) FROM jobs").fetchone()
        assert sequences == (4 * count,) * 3
    db.close()


# ------------------------------------------------------------------------------------------------------ hints

TELL = """
import asyncio, sys
from tests.integration.sqlite_harness import enqueue, new_job
from windlass.store.sqlite import SQLiteStore

async def main(path):
    store = SQLiteStore(path)
    await store.connect()
    print("ready", flush=True)
    while line := sys.stdin.readline().split():
        queue, delay = line
        await enqueue(store, new_job(queue=queue, delay=int(delay)))
        print("stored", flush=True)

asyncio.run(main(sys.argv[1]))
"""


async def _woken(event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(5):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True


@pytest.mark.parametrize("folder", ["short", "long" * 40])
async def test_another_process_wakes_us(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    store = SQLiteStore(tmp_path / folder / "w.db")
    await store.connect()
    woken, other = asyncio.Event(), asyncio.Event()
    subscription = store.subscribe(["ready/mail"], woken.set)
    store.subscribe(["ready/other", "finished/" + "00" * 16], other.set)
    with process(TELL, str(tmp_path / folder / "w.db")) as teller:
        assert said(teller) == "ready"
        say(teller, "mail 0")
        assert await _woken(woken)
        subscription.disarm()
        say(teller, "mail 0")
        assert said(teller) == said(teller) == "stored"
        # Sent, if at all, before the answer to this came: a datagram would be here.
        await enqueue(store, new_job(queue="nobody"))
        await asyncio.sleep(0)
        assert not woken.is_set()
        subscription.arm()
        say(teller, "mail 0")
        assert await _woken(woken)
    assert not other.is_set()
    subscription.close()
    subscription.close()
    await store.aclose()
    assert list((tmp_path / folder / "w.db-wake").iterdir()) == []


async def test_every_kind_of_hint_arrives(tmp_path: Path) -> None:
    store, listener = SQLiteStore(tmp_path / "w.db"), SQLiteStore(tmp_path / "w.db")
    session = await open_session(store)
    job = new_job()
    events = {
        channel: asyncio.Event()
        for channel in ("scheduled", "ready/default", f"finished/{job.id.hex()}", f"session/{session.hex()}")
    }
    for channel, event in events.items():
        listener.subscribe([channel], event.set)
    await enqueue(store, new_job(delay=60_000_000, queue="later"))
    assert await _woken(events["scheduled"])
    await enqueue(store, new_job(delay=90_000_000, queue="later"))
    await enqueue(store, job)
    assert await _woken(events["ready/default"])
    assert not events["scheduled"].is_set(), "nothing is due earlier than before"
    (claimed,) = (await store.claim(session, request(1))).jobs
    await store.cancel([job.id])
    assert await _woken(events[f"session/{session.hex()}"])
    await store.command(session, "drain")
    assert await _woken(events[f"session/{session.hex()}"])
    await store.settle(session, [Settlement(claimed.id, claimed.token, Outcome.SUCCEEDED, b"1")])
    assert await _woken(events[f"finished/{job.id.hex()}"])
    await store.aclose()
    await listener.aclose()


async def test_many_at_once_wake_everybody(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    session = await open_session(store)
    jobs = [new_job() for _ in range(500)]
    await enqueue(store, *jobs)
    event = asyncio.Event()
    store.subscribe([f"finished/{jobs[-1].id.hex()}"], event.set)
    claimed = (await store.claim(session, request(1))).jobs
    await store.settle(session, [Settlement(job.id, job.token, Outcome.SUCCEEDED, b"1") for job in claimed])
    assert await _woken(event)
    await store.aclose()


async def test_nobody_is_told_when_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    tell = wake.Sender._send_one

    def record(self: wake.Sender, folder: object, name: str, message: bytes) -> None:
        sent.append(name)
        tell(self, folder, name, message)  # type: ignore[arg-type]

    monkeypatch.setattr(wake.Sender, "_send_one", record)
    store = SQLiteStore(tmp_path / "w.db")
    subscription = store.subscribe(["ready/default"], lambda: None)
    subscription.disarm()
    await enqueue(store, new_job())
    await store.promote()
    assert sent == []
    subscription.arm()
    await enqueue(store, new_job())
    await store.promote()
    assert len(sent) == 1
    await store.aclose()


async def test_who_goes_to_sleep_again_is_woken_again(tmp_path: Path) -> None:
    store, listener = SQLiteStore(tmp_path / "w.db"), SQLiteStore(tmp_path / "w.db")
    await store.connect()
    woken = asyncio.Event()
    subscription = listener.subscribe(["ready/default"], woken.set)
    for busy in range(4):
        subscription.arm()
        await enqueue(store, new_job())
        assert await _woken(woken)
        subscription.disarm()
        # Meanwhile writers find out, one commit after the other, that nobody sleeps, and then do not look any more.
        for _ in range(busy):
            await enqueue(store, new_job())
    assert store._live is not None
    assert not store._live._lock.page.sleeping
    await store.aclose()
    await listener.aclose()


async def test_what_the_dead_leave_behind_is_cleared(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    await store.connect()
    dead = SQLiteStore(tmp_path / "w.db")
    dead.subscribe(["ready/default"], lambda: None)
    assert dead._mailbox is not None
    assert len(list((tmp_path / "w.db-wake").iterdir())) == 1
    dead._mailbox._loop.remove_reader(dead._mailbox._socket)  # type: ignore[union-attr,arg-type]
    dead._mailbox.abandon()
    await enqueue(store, new_job())
    await store.promote()
    assert list((tmp_path / "w.db-wake").iterdir()) == []
    await store.aclose()


async def test_without_a_place_for_sockets_there_is_polling(tmp_path: Path) -> None:
    (tmp_path / "w.db-wake").write_text("in the way")
    store = SQLiteStore(tmp_path / "w.db")
    subscription = store.subscribe(["ready/default"], lambda: None)
    await enqueue(store, new_job())
    subscription.disarm()
    subscription.arm()
    subscription.close()
    await store.aclose()


# ------------------------------------------------------------------------------------------------------ forks


def _in_child(work: object) -> int:
    """Run in a forked child; answers its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    for _ in range(500):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return -1


def test_a_forked_child_opens_anew_and_the_parent_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "w.db"
    loop = asyncio.new_event_loop()
    store = SQLiteStore(path)
    loop.run_until_complete(enqueue(store, new_job()))

    async def write_much() -> None:
        await asyncio.gather(*(enqueue(store, new_job()) for _ in range(50)))
        assert sum((await store.counts()).values()) >= 51
        await store.aclose()

    assert _in_child(lambda: asyncio.run(write_much())) == 0
    loop.run_until_complete(enqueue(store, new_job()))
    assert sum(loop.run_until_complete(store.counts()).values()) == 52
    loop.run_until_complete(store.aclose())
    loop.close()


def test_a_fork_in_the_middle_of_writing_leaves_nobody_stuck(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")

    async def fork_while_writing() -> list[int]:
        await store.connect()
        codes = []
        for _ in range(10):
            verbs = [asyncio.ensure_future(enqueue(store, *[new_job() for _ in range(200)])) for _ in range(3)]
            await asyncio.sleep(0)
            codes.append(_in_child(lambda: None))
            await asyncio.gather(*verbs)
        assert sum((await store.counts()).values()) == 6000
        await store.aclose()
        return codes

    assert asyncio.run(fork_while_writing()) == [0] * 10


def test_the_childs_death_does_not_free_the_parents_lock(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "w.db")
    lock = WriteLock(str(tmp_path / "w.db"))

    async def main() -> None:
        await store.connect()
        writer = store._live
        assert writer is not None
        held = asyncio.ensure_future(writer.put(lambda tx: tx.execute("SELECT 1").fetchone()))
        await held
        assert writer._lock.try_acquire()
        assert _in_child(lambda: None) == 0
        assert not lock.try_acquire(), "the child gave the parent's lock up"
        writer._lock.release()
        assert lock.try_acquire()
        lock.release()
        await store.aclose()

    asyncio.run(main())
    lock.close()


def test_a_child_keeps_the_file_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last other process to close the file must not remove the log that the child writes to."""
    lock_shared = fork._lock_shared

    def lock_late(*what: Any) -> None:
        time.sleep(0.05)
        lock_shared(*what)

    monkeypatch.setattr(fork, "_lock_shared", lock_late)
    path = tmp_path / "w.db"
    loop = asyncio.new_event_loop()
    store = SQLiteStore(path)
    loop.run_until_complete(enqueue(store, new_job()))
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:

            async def child() -> None:
                await enqueue(store, new_job())
                os.read(reading, 1)
                for _ in range(20):
                    await enqueue(store, new_job())

            asyncio.run(child())
            code = 0
        finally:
            os._exit(code)
    loop.run_until_complete(enqueue(store, new_job()))
    loop.run_until_complete(store.aclose())
    loop.close()
    os.write(writing, b"x")
    assert os.waitpid(pid, 0)[1] == 0
    os.close(reading)
    os.close(writing)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM jobs").fetchone() == (23,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
