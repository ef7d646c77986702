"""``windlass tokens``: which programs use the HTTP API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from windlass.cli.arguments import Argument, Group, between, command
from windlass.cli.output import note, say, say_json, say_table
from windlass.cli.target import STORE
from windlass.cli.users import EVERYBODY, ROLE, with_vault
from windlass.core.clock import DAY
from windlass.views import iso

if TYPE_CHECKING:
    from windlass.web.access.vault import Vault


@command(
    Argument("name", metavar="NAME", help="What it is for."),
    ROLE,
    Argument("--days", type=between(1, 3650), metavar="N", help="How long it is good. Default: until it is deleted."),
    *STORE,
    examples=[("windlass tokens add deploy --role operator --days 90", "The answer is the token; keep it.")],
)
def add(*, name: str, role: str, days: int | None, app: str | None, url: str | None, as_json: bool) -> None:
    """Make a token for a program. It is shown this once; programs send it as `Authorization: Bearer`."""

    async def act(vault: Vault) -> str:
        from windlass.web.access.roles import read_role

        return await vault.add_token(name, read_role(role), None if days is None else days * DAY)

    token = with_vault(app, url, act)
    say_json({"name": name, "role": role, "token": token}) if as_json else say(token)


@command(*STORE, examples=[("windlass tokens ls", "Which there are.")])
def list_tokens(*, app: str | None, url: str | None, as_json: bool) -> None:
    """List tokens, without what lets anybody in."""
    found = with_vault(app, url, lambda vault: vault.tokens(limit=EVERYBODY))
    tokens = sorted(found, key=lambda one: (one.name, one.id))
    if as_json:
        say_json(
            [
                msgspec.structs.asdict(one) | {"created_at": iso(one.created_at), "expires_at": iso(one.expires_at)}
                for one in tokens
            ]
        )
    elif tokens:
        say_table(
            ("id", "name", "role", "created", "expires"),
            ((one.id, one.name, one.role, iso(one.created_at), iso(one.expires_at)) for one in tokens),
            whole=("id",),
        )
    else:
        note("no tokens")


@command(
    Argument("id", metavar="ID", help="Id of the token, as `windlass tokens ls` shows it."),
    *STORE,
    examples=[("windlass tokens rm 3f2a9c01b7de", "Nobody comes in with it any more.")],
)
def remove(*, id: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Delete a token."""
    with_vault(app, url, lambda vault: vault.remove_token(id))
    say_json({"id": id, "deleted": True}) if as_json else say(f"token {id}: deleted")


COMMAND = Group("Make and delete tokens of the HTTP API.", add=add, ls=list_tokens, rm=remove)
