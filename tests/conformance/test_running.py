"""The suite as other people run it: check by check, or from the command line; and it finds what is wrong."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from windlass.core.model import Settings
from windlass.store.memory import MemoryStore
from windlass.store.port import Store
from windlass.testing import conformance
from windlass.testing.conformance.expect import same

MAKER = """
from msgspec.structs import replace
from windlass.store.memory import MemoryStore

class Forgetful(MemoryStore):
    async def enqueue(self, jobs, edges=(), *, first_sent):
        return await super().enqueue([replace(job, priority=5) for job in jobs], edges, first_sent=first_sent)

class Unfinished(MemoryStore):
    async def claim(self, session, request):
        raise NotImplementedError("claim")

def memory(settings, clock): return MemoryStore(settings=settings, clock=clock)
def forgetful(settings, clock): return Forgetful(settings=settings, clock=clock)
def unfinished(settings, clock): return Unfinished(settings=settings, clock=clock)
def takes_nothing(): return MemoryStore()
async def opens_it(settings, clock): return MemoryStore()
def makes_none(settings, clock): pass
"""


class Wrapper:
    """A store of somebody else's: it inherits from nothing of ours."""

    def __init__(self, inner: MemoryStore) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def twin(self) -> "Wrapper":
        return type(self)(self._inner.twin())


class Forgetful(Wrapper):
    async def enqueue(self, jobs: Any, edges: Any = (), *, first_sent: int) -> Any:
        return await self._inner.enqueue([replace(job, priority=5) for job in jobs], edges, first_sent=first_sent)


def make(kind: type[Wrapper]) -> conformance.MakeStore:
    def make_store(settings: Settings, clock: Callable[[], int]) -> Store:
        return kind(MemoryStore(settings=settings, clock=clock))  # type: ignore[return-value]

    return make_store


async def failing(make_store: conformance.MakeStore, settings: Settings | None = None) -> list[str]:
    failed = []
    for check in conformance.checks():
        try:
            await conformance.run(check, make_store, settings)
        except AssertionError:
            failed.append(check.name)
    return failed


async def test_a_good_store_passes() -> None:
    assert await failing(make(Wrapper)) == []


async def test_a_broken_one_is_caught_by_name() -> None:
    failed = await failing(make(Forgetful))
    assert "claim/higher_priorities_come_first" in failed
    assert "enqueue/a_job_is_stored_as_given" in failed
    assert len(failed) < len(conformance.checks()) / 10  # and those that have nothing to do with it pass


async def test_a_check_is_left_out_for_want_of_a_capability() -> None:
    done = {check.name: await conformance.run(check, make(Wrapper)) for check in conformance.checks() if check.needs}
    assert done
    assert not any(done.values())


async def test_settings_reach_the_store() -> None:
    seen: list[Settings] = []

    def make_store(settings: Settings, clock: Callable[[], int]) -> Store:
        seen.append(settings)
        return MemoryStore(settings=settings, clock=clock)

    check = conformance.checks()[0]
    await conformance.run(check, make_store)
    await conformance.run(check, make_store, Settings(lease=5_000_000))
    assert seen == [Settings(), Settings(lease=5_000_000)]


def test_of_two_records_only_what_differs_is_said() -> None:
    with pytest.raises(AssertionError, match=r"^the settings: lease: expected 5, got 9000000$"):
        same(Settings(), Settings(lease=5), "the settings")
    with pytest.raises(AssertionError, match=r"^ids: expected \[<id \.\.00000001>\], got \[\]$"):
        same([], [bytes(15) + b"\x01"], "ids")


# --------------------------------------------------------------------------------------- the command line


def told(folder: Path, *arguments: str) -> tuple[int, str]:
    (folder / "stores.py").write_text(MAKER)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "windlass.testing.conformance", *arguments],
        cwd=folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return ended.returncode, ended.stdout


def test_all_is_well(tmp_path: Path) -> None:
    code, said = told(tmp_path, "stores:memory")
    assert code == 0
    assert said.splitlines()[-1].startswith("1 not for this store, ")
    assert said.count("\n") == 1


def test_what_fails_is_printed(tmp_path: Path) -> None:
    code, said = told(tmp_path, "stores:forgetful", "--only", "claim/")
    assert code == 1
    assert "claim/higher_priorities_come_first: order of claiming: expected [<id .." in said
    assert "Traceback" not in said
    code, said = told(tmp_path, "stores:unfinished", "--only", "claim/higher", "--traceback")
    assert code == 1
    assert "claim/higher_priorities_come_first: NotImplementedError: claim\n" in said
    assert "Traceback" in said
    assert said.endswith("1 failed\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["stores:nothing"], "has no attribute 'nothing'; expected module:function"),
        (["nowhere:memory"], "No module named 'nowhere'"),
        (["stores:memory", "--only", "clam"], "no check's name begins so; the nouns are cancel, "),
        ([], "the following arguments are required: module:function"),
        (["stores:takes_nothing"], "it raised TypeError: "),
        (["stores:opens_it"], "it is a coroutine function; expected a function that takes settings and a clock"),
        (["stores:makes_none"], "it returned a NoneType, which has no enqueue; expected"),
    ],
)
def test_what_cannot_be_tried(tmp_path: Path, arguments: list[str], why: str) -> None:
    code, said = told(tmp_path, *arguments)
    assert code == 2
    assert why in said
