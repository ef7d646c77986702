"""Documents: small records by kind and key."""

from __future__ import annotations

import asyncio
from typing import Any

from windlass.core.clock import HOUR, MINUTE, SECOND
from windlass.core.documents import MAX_BODY, MAX_KEY, Document, NewDocument
from windlass.core.errors import UsageError
from windlass.core.model import MAX_BATCH
from windlass.testing.conformance.env import Env
from windlass.testing.conformance.expect import holds, raises, same


def _new(key: str = "k", body: bytes = b"1", *, kind: str = "note", **fields: Any) -> NewDocument:
    return NewDocument(kind=kind, key=key, body=body, **fields)


async def _put(env: Env, *documents: NewDocument) -> list[int | None]:
    return await env.store.put_documents(documents)


async def _read(env: Env, key: str = "k") -> Document | None:
    return (await env.store.get_documents("note", [key]))[0]


async def _listed(env: Env, **how: Any) -> list[str]:
    return [document.key for document in await env.store.list_documents("note", **how)]


async def check_what_is_put_is_read(env: Env) -> None:
    now = await env.now()
    body = bytes(range(256)) + b" 1 2 \0 \n"
    same(await _put(env, _new("a key: é", body), _new("b", b"", keep=HOUR)), [1, 1], "versions")
    first = Document(kind="note", key="a key: é", body=body, version=1)
    second = Document(kind="note", key="b", body=b"", version=1, expires_at=now + HOUR)
    same(await env.store.get_documents("note", ["b", "no", "a key: é"]), [second, None, first], "read")
    same(await env.store.list_documents("note"), [first, second], "listed")


async def check_kinds_know_nothing_of_each_other(env: Env) -> None:
    await _put(env, _new("k", b"1"), _new("k", b"2", kind="other"), _new("l", kind="other"))
    same([one.body for one in await env.store.list_documents("note")], [b"1"], "of one kind")
    same(await env.store.delete_documents("other", ["k"]), 1, "deleted of the other")
    holds(await _read(env) is not None, "that of the first is still there")


async def check_a_put_that_expects_nothing_replaces_whatever_is_there(env: Env) -> None:
    same(await _put(env, _new(keep=MINUTE)), [1], "the first")
    same(await _put(env, _new(body=b"2")), [2], "the second")
    same(await _read(env), Document(kind="note", key="k", body=b"2", version=2), "read")
    await env.advance(MINUTE)
    await env.store.purge()
    holds(await _read(env) is not None, "what was put without an end is kept")


async def check_a_put_names_the_version_that_it_replaces(env: Env) -> None:
    same(await _put(env, _new(expected=1)), [None], "a change of what is not there")
    same(await _read(env), None, "after that")
    same(await _put(env, _new(expected=0)), [1], "a new one")
    for expected in (0, 2, 7):
        same(await _put(env, _new(body=b"x", expected=expected)), [None], f"a change of version {expected}, it being 1")
    same(await _put(env, _new(body=b"2", expected=1)), [2], "a change of version 1")
    same(await _read(env), Document(kind="note", key="k", body=b"2", version=2), "read")


async def check_a_repeated_put_answers_the_same(env: Env) -> None:
    for expected, body in ((0, b"1"), (1, b"2")):
        for _ in range(2):
            same(await _put(env, _new(body=body, expected=expected)), [expected + 1], f"of version {expected}")
    same(await _put(env, _new(body=b"1", expected=0)), [None], "the first one again, after the second")
    same(
        (await env.store.get_documents("note", ["k"]))[0], Document(kind="note", key="k", body=b"2", version=2), "read"
    )


async def check_each_of_a_call_is_judged_alone(env: Env) -> None:
    await _put(env, _new("a"))
    same(await _put(env, _new("c"), _new("a", expected=0, body=b"x"), _new("b"), _new("c")), [1, None, 1, 2], "answers")
    same(await _listed(env), ["a", "b", "c"], "listed")


async def check_of_several_that_expect_the_same_one_comes_through(env: Env) -> None:
    await _put(env, _new())
    stores = [env.twin() for _ in range(8)]
    answers = await asyncio.gather(
        *(store.put_documents([_new(body=b"%d" % place, expected=1)]) for place, store in enumerate(stores))
    )
    same(sorted(answers, key=str), [[2], *[[None]] * 7], "answers")


async def check_a_document_ends_when_its_time_is_over(env: Env) -> None:
    await _put(env, _new("a", keep=MINUTE), _new("b", keep=HOUR), _new("c"))
    await env.advance(MINUTE - 1)
    same(await _listed(env), ["a", "b", "c"], "a microsecond before")
    await env.advance(1)
    same(await _listed(env), ["b", "c"], "at its end")
    same(await _listed(env, limit=1), ["b"], "a page, behind one that is over")
    same(await _read(env, "a"), None, "read")
    same(await env.store.delete_documents("note", ["a"]), 0, "deleted")
    same(await _put(env, _new("a", expected=1)), [None], "a change of it")
    same(await _put(env, _new("a", expected=0)), [1], "a new one in its place")


async def check_purge_deletes_what_is_over(env: Env) -> None:
    await _put(env, *(_new(f"{n}", keep=SECOND) for n in range(5)), _new("stays"))
    await env.advance(SECOND)
    progress = await env.store.purge(limit=3)
    same((progress.done, progress.more), (0, True), "progress; documents are no jobs")
    same((await env.store.purge(limit=3)).more, False, "whether there is more to do")
    same(await _listed(env), ["stays"], "listed")


async def check_keys_are_listed_in_the_order_of_their_bytes(env: Env) -> None:
    keys = ["Z", "a", "aa", "b", "z", "é", "\uffff", "\U0001f600"]
    await _put(env, *(_new(key) for key in reversed(keys)))
    same(await _listed(env), keys, "upwards")
    same(await _listed(env, descending=True), keys[::-1], "downwards")
    same(await _listed(env, above="a", below="z"), ["aa", "b"], "between two keys")
    same(await _listed(env, above="a", below="z", descending=True), ["b", "aa"], "between two keys, downwards")
    same(await _listed(env, above="z", below="a"), [], "between no keys")


async def check_pages_meet_each_document_once(env: Env) -> None:
    keys = [f"{n:03}" for n in range(25)]
    await _put(env, *(_new(key, keep=None if int(key) % 3 else SECOND) for key in keys))
    await env.advance(SECOND)
    left = [key for key in keys if int(key) % 3]
    up: list[str] = []
    down: list[str] = []
    while page := await _listed(env, limit=4, above=up[-1] if up else ""):
        up += page
    while page := await _listed(env, limit=4, below=down[-1] if down else None, descending=True):
        down += page
    same(up, left, "upwards")
    same(down, left[::-1], "downwards")


async def check_many_and_large_ones(env: Env) -> None:
    many = [_new(f"{n:04}", bytes(1000)) for n in range(MAX_BATCH)]
    same(await _put(env, *many), [1] * MAX_BATCH, "as many as a call may carry")
    same(len(await env.store.get_documents("note", [new.key for new in many])), MAX_BATCH, "read")
    same(len(await _listed(env, limit=MAX_BATCH)), MAX_BATCH, "listed")
    same(await env.store.delete_documents("note", [new.key for new in many]), MAX_BATCH, "deleted")
    same(await env.store.delete_documents("note", [new.key for new in many]), 0, "deleted again")
    large = [_new(f"{n}", bytes(MAX_BODY)) for n in range(50)]
    same(await _put(env, *large), [1] * 50, "large ones")
    same({len(one.body) for one in await env.store.list_documents("note")}, {MAX_BODY}, "bodies")


async def check_what_is_no_document_is_refused(env: Env) -> None:
    for bad in (
        _new(kind=""), _new(kind="Note"), _new(kind="a b"), _new(kind="n" * 41), _new(""), _new("a\0b"), _new("\ud800"),
        _new("x" * (MAX_KEY + 1)), _new("é" * MAX_KEY), _new(body=bytes(MAX_BODY + 1)), _new(keep=-1),
        _new(expected=-1),
    ):  # fmt: skip
        await raises(UsageError, env.store.put_documents([_new("good"), bad]), "what is no document, or no call")
    same(await _listed(env), [], "stored")
    await raises(UsageError, env.store.get_documents("Note", ["k"]), "what is no document, or no call")
    await raises(UsageError, env.store.delete_documents("note", [""]), "what is no document, or no call")
    await raises(UsageError, env.store.list_documents("note", above="\0"), "what is no document, or no call")
    await raises(UsageError, env.store.list_documents("note", limit=0), "what is no document, or no call")
    await raises(UsageError, env.store.list_documents("note", limit=MAX_BATCH + 1), "what is no document, or no call")
