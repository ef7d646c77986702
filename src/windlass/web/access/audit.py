"""The log of what was done through the site: a document for each request that changes anything, kept for 90 days."""

from __future__ import annotations

import msgspec

from windlass.core.clock import DAY, Instant, Span
from windlass.core.documents import NewDocument
from windlass.core.ids import new_id
from windlass.core.text import shorten
from windlass.store.port import Store

KEEP: Span = 90 * DAY
_KIND = "audit"
_MOST = 2000
"""Characters of what is said of a request."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did."""

    at: Instant
    who: str
    how: str
    method: str
    path: str
    what: str = ""
    """What was asked for beside the path, such as which jobs a bulk action was about."""
    status: int = 0
    """Of the answer; 0: there was none, since the process that serves ended before."""


async def begin(store: Store, entry: Entry) -> str:
    """Write down that somebody is about to do something; answers the entry's key."""
    key = new_id().hex()
    await _put(store, key, entry)
    return key


async def end(store: Store, key: str, entry: Entry) -> None:
    """Write down how it went."""
    await _put(store, key, entry)


async def _put(store: Store, key: str, entry: Entry) -> None:
    said = msgspec.structs.replace(entry, what=shorten(entry.what, _MOST), path=shorten(entry.path, _MOST))
    await store.put_documents([NewDocument(kind=_KIND, key=key, body=msgspec.json.encode(said), keep=KEEP)])


async def read(store: Store, *, limit: int = 100, before: str | None = None) -> list[tuple[str, Entry]]:
    """The newest entries first, with their keys; ``before``: those that are older than this one."""
    found = await store.list_documents(_KIND, below=before, limit=limit, descending=True)
    return [(one.key, msgspec.json.decode(one.body, type=Entry)) for one in found]
