"""Users, their sessions, and tokens: documents of the store.

Nothing in there lets anybody in who reads it: passwords are there as argon2 hashes, tokens and sessions as SHA-256
hashes of 256 random bits.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from windlass.core.clock import DAY, Instant, Span
from windlass.core.documents import Document, NewDocument
from windlass.core.errors import InvalidName, InvalidOption, UsageError
from windlass.core.model import MAX_BATCH
from windlass.store.port import Store
from windlass.web.access.known import FRESH, Credential, Known
from windlass.web.access.roles import Role, Visitor, read_role
from windlass.web.refusals import AlreadyThere, NotThere
from windlass.web.shared import Shared

KEEP_SESSION: Span = 7 * DAY
LEAST_PASSWORD, MOST_PASSWORD = 8, 1000
"""Characters of a password."""
_USER, _TOKEN, _SESSION, _SECRET = "user", "token", "session", "secret"
_CLOSED = NewDocument(kind="closed", key="closed", body=b"{}")
"""Stored with the first user or token, and kept for good."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,59}")
_PREFIX = "wl_"
_ID, _IS_ID = 12, re.compile(r"[0-9a-f]{12}")
"""Digits of a token's key by which it is called."""
_BEHIND = "g"
"""Behind all digits."""
_PAGE = 500
_hasher = PasswordHasher()
_threads = ThreadPoolExecutor(2, "windlass-passwords")
"""Each hash takes 64 MiB for a moment: not as many at once as strangers like."""
T = TypeVar("T")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who logs in."""

    name: str
    role: str
    created_at: Instant


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A program that comes in."""

    id: str
    name: str
    role: str
    created_at: Instant
    expires_at: Instant | None


class _User(msgspec.Struct, frozen=True, kw_only=True):
    role: str
    password: str
    created_at: Instant


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    role: str
    created_at: Instant


class _Session(msgspec.Struct, frozen=True, kw_only=True):
    user: str
    csrf: str
    password: str
    """A hash of the password's hash: another password ends the session."""


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name[:60]!a}: expected 1 to 60 letters, digits and any of . _ @ + -, beginning with a letter or digit"
        )
    return name


class Vault:
    """Who may come in. ``find``: gives the store, opened."""

    def __init__(self, find: Callable[[], Awaitable[Store]]) -> None:
        self._find = find
        self._secret: bytes | None = None
        self._known = Known(self._look_up)
        self._shared = Shared(FRESH)
        self._closed = False

    async def is_open(self) -> bool:
        """Whether there has never been a user or a token. What expires or is deleted opens nothing."""
        if not self._closed and await self._shared.read("closed", self._is_closed):
            self._closed = True
        return not self._closed

    async def _is_closed(self) -> bool:
        (mark,) = await (await self._find()).get_documents(_CLOSED.kind, [_CLOSED.key])
        return mark is not None or not await self.is_empty()

    async def is_empty(self) -> bool:
        """Whether there is neither a user nor a token."""
        store = await self._find()
        return not (await store.list_documents(_USER, limit=1) or await store.list_documents(_TOKEN, limit=1))

    # ------------------------------------------------------------------------------------------------ users

    async def users(self, above: str = "", limit: int = 1000) -> list[User]:
        """Users by name, those behind ``above``, at most so many."""
        found = []
        for document in await self._list(_USER, above, limit):
            user = msgspec.json.decode(document.body, type=_User)
            found.append(User(name=document.key, role=user.role, created_at=user.created_at))
        return found

    async def _list(self, kind: str, above: str, limit: int) -> list[Document]:
        store = await self._find()
        found: list[Document] = []
        while len(found) < limit:
            asked = min(_PAGE, limit - len(found))
            some = await store.list_documents(kind, above=above, limit=asked)
            found += some
            if len(some) < asked:
                break
            above = some[-1].key
        return found

    async def add_user(self, name: str, password: str, role: Role) -> None:
        """Let somebody in. Raises `InvalidName`, `InvalidOption`, and `AlreadyThere`."""
        store = await self._find()
        hashed = await self._hash(password)
        body = msgspec.json.encode(_User(role=role.word, password=hashed, created_at=await store.now()))
        user = NewDocument(kind=_USER, key=_check_name(name), body=body, expected=0)
        _, stored = await store.put_documents([_CLOSED, user])
        self._closed = True
        if stored is None:
            raise AlreadyThere(f"there is a user {name!a} already")

    async def change_user(self, name: str, *, password: str | None = None, role: Role | None = None) -> None:
        """Give a user another password, which ends their sessions, or another role. Raises `NotThere`, and as
        `add_user`."""
        store = await self._find()
        hashed = None if password is None else await self._hash(password)
        for _ in range(20):
            (document,) = await store.get_documents(_USER, [_check_name(name)])
            if document is None:
                raise NotThere(f"there is no user {name!a}")
            user = msgspec.json.decode(document.body, type=_User)
            changed = msgspec.structs.replace(
                user, password=hashed or user.password, role=role.word if role else user.role
            )
            new = NewDocument(kind=_USER, key=name, body=msgspec.json.encode(changed), expected=document.version)
            if await store.put_documents([new]) != [None]:
                self._known.forget()
                return
        raise UsageError(f"user {name!a} is changed by others all the time")

    async def remove_user(self, name: str) -> None:
        """Let somebody in no more; their sessions end. Raises `NotThere`."""
        if not await (await self._find()).delete_documents(_USER, [_check_name(name)]):
            raise NotThere(f"there is no user {name!a}")
        self._known.forget()

    @staticmethod
    async def _hash(password: str) -> str:
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise InvalidOption(f"password: expected {LEAST_PASSWORD} to {MOST_PASSWORD} characters")
        return await _in_thread(_hasher.hash, password)

    # ---------------------------------------------------------------------------------------------- sessions

    async def log_in(self, name: str, password: str) -> str | None:
        """Begin a session: what the browser is to keep as a cookie. ``None``: no such user, or another password."""
        store = await self._find()
        (document,) = await store.get_documents(_USER, [name]) if _NAME.fullmatch(name) else [None]
        user = None if document is None else msgspec.json.decode(document.body, type=_User)
        hashed = None if user is None else user.password
        good = len(password) <= MOST_PASSWORD and await _in_thread(_verify, hashed, password)
        if not good or user is None:
            return None
        cookie = secrets.token_urlsafe(32)
        session = _Session(user=name, csrf=secrets.token_urlsafe(32), password=_digest(user.password))
        await store.put_documents(
            [NewDocument(kind=_SESSION, key=_digest(cookie), body=msgspec.json.encode(session), keep=KEEP_SESSION)]
        )
        return cookie

    async def session(self, cookie: str) -> Visitor | None:
        """Whose session this is."""
        return await self._known.visitor(Credential(_SESSION, _digest(cookie)))

    async def log_out(self, cookie: str) -> None:
        """End a session."""
        await (await self._find()).delete_documents(_SESSION, [_digest(cookie)])
        self._known.forget()

    async def csrf(self, name: str) -> str:
        """What the pages of somebody send along who has no session here: the same word from every process."""
        if self._secret is None:
            store = await self._find()
            new = NewDocument(kind=_SECRET, key="csrf", body=secrets.token_bytes(32), expected=0)
            (document,) = await store.get_documents(_SECRET, [new.key])
            if document is None:
                await store.put_documents([new])
                (document,) = await store.get_documents(_SECRET, [new.key])
            self._secret = new.body if document is None else document.body
        return hmac.new(self._secret, name.encode(), "sha256").hexdigest()

    # ------------------------------------------------------------------------------------------------ tokens

    async def tokens(self, above: str = "", limit: int = 1000) -> list[Token]:
        """Tokens by id, those behind ``above``, at most so many; without what lets anybody in."""
        found = []
        for document in await self._list(_TOKEN, above and above + _BEHIND, limit):
            token = msgspec.json.decode(document.body, type=_Token)
            found.append(
                Token(
                    id=document.key[:_ID],
                    name=token.name,
                    role=token.role,
                    created_at=token.created_at,
                    expires_at=document.expires_at,
                )
            )
        return found

    async def add_token(self, name: str, role: Role, keep: Span | None = None) -> str:
        """Make a token, and answer it: nobody can read it again. ``keep``: how long it is good."""
        store = await self._find()
        secret = _PREFIX + secrets.token_urlsafe(32)
        body = msgspec.json.encode(_Token(name=_check_name(name), role=role.word, created_at=await store.now()))
        await store.put_documents([_CLOSED, NewDocument(kind=_TOKEN, key=_digest(secret), body=body, keep=keep)])
        self._closed = True
        return secret

    async def remove_token(self, id: str) -> None:
        """Let nobody in with a token any more; ``id`` as `tokens` says it. Raises `NotThere`."""
        store = await self._find()
        some = await store.list_documents(_TOKEN, above=id, below=id + _BEHIND) if _IS_ID.fullmatch(id) else []
        keys = [one.key for one in some]
        if not keys:
            raise NotThere(f"there is no token {id[:40]!a}")
        await store.delete_documents(_TOKEN, keys)
        self._known.forget()

    async def token(self, secret: str) -> Visitor | None:
        """Whose token this is."""
        return await self._known.visitor(Credential(_TOKEN, _digest(secret)))

    async def _look_up(self, wanted: Collection[Credential]) -> dict[Credential, Visitor]:
        """Who may come in with these: a reading of each kind of document, however many there are."""
        found: dict[Credential, Visitor] = {}
        for key, body in (await self._bodies(_TOKEN, [key for kind, key in wanted if kind == _TOKEN])).items():
            token = msgspec.json.decode(body, type=_Token)
            found[Credential(_TOKEN, key)] = Visitor(name=token.name, role=read_role(token.role), how="token")
        bodies = await self._bodies(_SESSION, [key for kind, key in wanted if kind == _SESSION])
        sessions = {key: msgspec.json.decode(body, type=_Session) for key, body in bodies.items()}
        users = {
            name: msgspec.json.decode(body, type=_User)
            for name, body in (await self._bodies(_USER, {one.user for one in sessions.values()})).items()
        }
        for key, session in sessions.items():
            user = users.get(session.user)
            if user is not None and hmac.compare_digest(_digest(user.password), session.password):
                visitor = Visitor(name=session.user, role=read_role(user.role), how="session", csrf=session.csrf)
                found[Credential(_SESSION, key)] = visitor
        return found

    async def _bodies(self, kind: str, keys: Collection[str]) -> dict[str, bytes]:
        store, asked = await self._find(), list(keys)
        found: list[Document | None] = []
        for start in range(0, len(asked), MAX_BATCH):  # as many as strangers like may come at once
            found += await store.get_documents(kind, asked[start : start + MAX_BATCH])
        return {one.key: one.body for one in found if one is not None}


@cache
def _nobodys() -> str:
    return _hasher.hash(secrets.token_hex())


def _verify(hashed: str | None, password: str) -> bool:
    """Whether this is the password; ``None``: there is no such user, which takes as long to find out."""
    nobodys = _nobodys()
    try:
        return _hasher.verify(nobodys if hashed is None else hashed, password)
    except (VerificationError, InvalidHashError, UnicodeError):
        return False


async def _in_thread(function: Callable[..., T], *arguments: str | None) -> T:
    return await asyncio.get_running_loop().run_in_executor(_threads, function, *arguments)
