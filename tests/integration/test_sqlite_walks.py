"""How SQLite lists jobs: a bounded number is looked at in each call, however few of them are meant."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.engine_harness import enqueue, new_job
from windlass.core.records import JobFilter
from windlass.store.sqlite import SQLiteStore

LOOK = 3
JOBS = 20


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SQLiteStore]:
    monkeypatch.setattr("windlass.store.sqlite.insights.MAX_LOOK", LOOK)
    made = SQLiteStore(tmp_path / "w.db")
    await made.connect()
    yield made
    await made.aclose()


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_a_page_may_be_empty_and_the_walk_go_on(store: SQLiteStore, oldest_first: bool, limit: int) -> None:
    ids = await enqueue(store, *(new_job("t", queue="rare" if i in (2, 3, 17) else "common") for i in range(JOBS)))
    rare = sorted(ids[i] for i in (2, 3, 17))
    pages = []
    cursor = None
    while True:
        page = await store.list_jobs(JobFilter(queue="rare"), limit=limit, cursor=cursor, oldest_first=oldest_first)
        pages.append([job.id for job in page.jobs])
        cursor = page.cursor
        if cursor is None:
            break
    assert [job_id for some in pages for job_id in some] == (rare if oldest_first else rare[::-1])
    assert len(pages) > JOBS // LOOK, "each looked at a few"
    assert [] in pages
    assert max(map(len, pages)) <= min(limit, LOOK)


async def test_a_filter_by_error_looks_at_no_more(store: SQLiteStore) -> None:
    await enqueue(store, *(new_job("t") for _ in range(JOBS)))
    page = await store.list_jobs(JobFilter(error="ValueError"))
    assert page.jobs == []
    assert page.cursor is not None


async def test_the_last_page_of_all_is_the_last(store: SQLiteStore) -> None:
    ids = await enqueue(store, *(new_job("t") for _ in range(LOOK)))
    page = await store.list_jobs(JobFilter())
    assert len(page.jobs) == len(ids)
    if page.cursor is not None:  # it could not know
        after = await store.list_jobs(JobFilter(), cursor=page.cursor)
        assert (after.jobs, after.cursor) == ([], None)
