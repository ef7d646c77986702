"""Who may come in, and what they have done: users, tokens, the audit log."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import JSONBody

from windlass.core.clock import DAY
from windlass.views import iso
from windlass.web.access import audit
from windlass.web.access.roles import read_role
from windlass.web.access.vault import Token, User
from windlass.web.api.common import LOOK, RULE, Above, AnyRequest, Count, InPath, TheConsole, TheVisitor, Word, note


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Whose request it is."""

    name: str
    role: str
    how: str
    csrf: str
    """What a page sends as ``X-CSRF-Token`` with whatever changes anything; empty with a token."""


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who logs in."""

    name: str
    role: str
    created_at: str | None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A program that comes in."""

    id: str
    name: str
    role: str
    created_at: str | None
    expires_at: str | None


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody did through the site."""

    id: str
    at: str | None
    who: str
    how: str
    method: str
    path: str
    what: str
    status: int
    """Of the answer; 0: there was none."""


def user_view(one: User) -> UserView:
    """A user, as they are shown."""
    return UserView(name=one.name, role=one.role, created_at=iso(one.created_at))


def token_view(one: Token) -> TokenView:
    """A token, as it is shown."""
    created_at, expires_at = iso(one.created_at), iso(one.expires_at)
    return TokenView(id=one.id, name=one.name, role=one.role, created_at=created_at, expires_at=expires_at)


def audit_entry(key: str, one: audit.Entry) -> AuditEntry:
    """An entry of the log, as it is shown."""
    return AuditEntry(
        id=key, at=iso(one.at), who=one.who, how=one.how, method=one.method, path=one.path, what=one.what,
        status=one.status,
    )  # fmt: skip


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to be made."""

    name: Name
    password: Annotated[str, msgspec.Meta(max_length=1000)]
    role: str = "viewer"


class ChangedUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be different about a user."""

    password: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    role: str | None = None


class NewToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made."""

    name: Name
    role: str = "viewer"
    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    """How long it is good; null: until it is deleted."""


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A new token. It is shown this once."""

    token: str


@get("/me", summary="Say who is asking", guards=LOOK)
async def me(visitor: TheVisitor) -> Me:
    """Name and role."""
    return Me(name=visitor.name, role=visitor.role.word, how=visitor.how, csrf=visitor.csrf)


@get("/users", summary="List users", guards=RULE)
async def list_users(console: TheConsole, limit: Count = 1000, above: Above = None) -> list[UserView]:
    """By name."""
    return [user_view(one) for one in await console.vault.users(above or "", limit)]


@post("/users", summary="Let a user in", guards=RULE, status_code=204)
async def add_user(console: TheConsole, request: AnyRequest, data: JSONBody[NewUser]) -> None:
    """With a password of 8 characters or more."""
    note(request, f"{data.name} {data.role}")
    await console.vault.add_user(data.name, data.password, read_role(data.role))


@post("/users/{name:str}/change", summary="Give a user another password or role", guards=RULE, status_code=204)
async def change_user(console: TheConsole, request: AnyRequest, name: InPath, data: JSONBody[ChangedUser]) -> None:
    """Another password ends what was logged in with the old one."""
    note(request, f"role {data.role}" if data.password is None else f"role {data.role}, password")
    role = None if data.role is None else read_role(data.role)
    await console.vault.change_user(name, password=data.password, role=role)


@delete("/users/{name:str}", summary="Let a user in no more", guards=RULE, status_code=204)
async def remove_user(console: TheConsole, name: InPath) -> None:
    """Their sessions end."""
    await console.vault.remove_user(name)


@get("/tokens", summary="List tokens", guards=RULE)
async def list_tokens(console: TheConsole, limit: Count = 1000, above: Above = None) -> list[TokenView]:
    """By id, without what lets anybody in."""
    return [token_view(one) for one in await console.vault.tokens(above or "", limit)]


@post("/tokens", summary="Make a token", guards=RULE, status_code=201)
async def add_token(console: TheConsole, request: AnyRequest, data: JSONBody[NewToken]) -> Secret:
    """Programs send it as ``Authorization: Bearer``."""
    note(request, f"{data.name} {data.role}")
    keep = None if data.days is None else data.days * DAY
    return Secret(token=await console.vault.add_token(data.name, read_role(data.role), keep))


@delete("/tokens/{id:str}", summary="Delete a token", guards=RULE, status_code=204)
async def remove_token(console: TheConsole, id: InPath) -> None:
    """Nobody comes in with it any more."""
    await console.vault.remove_token(id)


@get("/audit", summary="List what was done through the site, newest first", guards=RULE)
async def list_audit(console: TheConsole, limit: Count = 100, before: Word = None) -> list[AuditEntry]:
    """``before``: entries that are older than this one."""
    entries = await audit.read(await console.store(), limit=limit, before=before)
    return [audit_entry(key, one) for key, one in entries]


HANDLERS = (me, list_users, add_user, change_user, remove_user, list_tokens, add_token, remove_token, list_audit)
