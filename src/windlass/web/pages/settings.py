"""Who may come in, and what was done."""

from __future__ import annotations

from litestar import Response, get, post

from windlass.core.clock import DAY
from windlass.core.errors import InvalidOption
from windlass.web.access import audit
from windlass.web.access.roles import Role, read_role
from windlass.web.api.access import AuditEntry, TokenView, UserView, audit_entry, token_view, user_view
from windlass.web.api.common import LOOK, RULE, AnyRequest, TheConsole, note, visitor_of
from windlass.web.pages.frame import Form, changed, page

MOST_DAYS = 3650
MOST = 500
"""Tokens, and users."""
ENTRIES = 50
"""Of the audit log."""


@get("/settings", guards=LOOK, include_in_schema=False)
async def settings(console: TheConsole, request: AnyRequest) -> Response[str]:
    """You; and for admins, everybody."""
    tokens: list[TokenView] = []
    users: list[UserView] = []
    entries: list[AuditEntry] = []
    if visitor_of(request).role >= Role.ADMIN:
        tokens = [token_view(one) for one in await console.vault.tokens(limit=MOST + 1)]
        users = [user_view(one) for one in await console.vault.users(limit=MOST + 1)]
        entries = [audit_entry(key, one) for key, one in await audit.read(await console.store(), limit=ENTRIES)]
    return page(
        request,
        "settings.html",
        store=console.app.url,
        tokens=sorted(tokens[:MOST], key=lambda one: (one.name, one.id)),
        more_tokens=len(tokens) > MOST,
        users=users[:MOST],
        more_users=len(users) > MOST,
        entries=entries,
        most=ENTRIES,
    )


@post("/settings/tokens", guards=RULE, include_in_schema=False, status_code=200)
async def add_token(console: TheConsole, request: AnyRequest, data: Form) -> Response[str]:
    """Make a token, and show it this once."""
    name, role = data.get("name", "").strip(), read_role(data.get("role", ""))
    note(request, f"{name} {role.word}")
    days = data.get("days", "").strip()
    if days and not (days.isdecimal() and 1 <= int(days[:6]) <= MOST_DAYS):
        raise InvalidOption(f"days {days[:40]!a}: expected 1 to {MOST_DAYS}")
    token = await console.vault.add_token(name, role, int(days) * DAY if days else None)
    return page(request, "token.html", token=token)


@post("/settings/users", guards=RULE, include_in_schema=False, status_code=204)
async def add_user(console: TheConsole, request: AnyRequest, data: Form) -> Response[None]:
    """Let a user in."""
    name, role = data.get("name", "").strip(), read_role(data.get("role", ""))
    note(request, f"{name} {role.word}")
    await console.vault.add_user(name, data.get("password", ""), role)
    return changed(f"user {name}: {role.word}")


HANDLERS = (settings, add_token, add_user)
