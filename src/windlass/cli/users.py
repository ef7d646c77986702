"""``windlass users``: who logs in to the web UI."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from windlass.cli.arguments import Argument, Group, command
from windlass.cli.errors import WrongUsage
from windlass.cli.output import note, say, say_json, say_table
from windlass.cli.target import STORE, with_store
from windlass.cli.ui import check_extra
from windlass.views import iso

if TYPE_CHECKING:
    from windlass.store.port import Store
    from windlass.web.access.vault import Vault

T = TypeVar("T")

NAME = Argument("name", metavar="NAME", help="Name of the user.")
EVERYBODY = 1_000_000
"""Users, or tokens, that a list shows: as many as there may be."""
ROLE = Argument(
    "--role",
    choices=("viewer", "operator", "admin"),
    default="viewer",
    help="viewer: look; operator: steer what runs; admin: delete, and let others in. Default: viewer.",
)


def with_vault(app: str | None, url: str | None, act: Callable[[Vault], Awaitable[T]]) -> T:
    """Let ``act`` use what decides who may come in."""
    check_extra()

    async def use(store: Store) -> T:
        from windlass.web.access.vault import Vault

        async def found() -> Store:
            return store

        return await act(Vault(found))

    return with_store(app, url, use)


def _password() -> str:
    """Ask for a password, or read a line where nobody can be asked."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    given = getpass.getpass("password: ")
    if getpass.getpass("again: ") != given:
        raise WrongUsage("the two passwords differ")
    return given


@command(
    NAME,
    ROLE,
    *STORE,
    examples=[
        ("windlass users add ada --role admin", "Asks for a password."),
        ("windlass users add ada < password.txt", "Reads it from a file."),
    ],
)
def add(*, name: str, role: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Let a user log in to the web UI. The password, of 8 characters or more, is asked for, or read from standard
    input."""
    password = _password()

    async def act(vault: Vault) -> None:
        from windlass.web.access.roles import read_role

        await vault.add_user(name, password, read_role(role))

    with_vault(app, url, act)
    say_json({"name": name, "role": role}) if as_json else say(f"user {name}: {role}")


@command(*STORE, examples=[("windlass users ls", "Who may log in.")])
def list_users(*, app: str | None, url: str | None, as_json: bool) -> None:
    """List users."""
    users = with_vault(app, url, lambda vault: vault.users(limit=EVERYBODY))
    if as_json:
        say_json([msgspec.structs.asdict(user) | {"created_at": iso(user.created_at)} for user in users])
    elif users:
        say_table(("name", "role", "created"), ((user.name, user.role, iso(user.created_at)) for user in users))
    else:
        note("no users")


@command(NAME, *STORE, examples=[("windlass users passwd ada", "Another password; sessions with the old one end.")])
def passwd(*, name: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Give a user another password. What was logged in with the old one is logged out."""
    password = _password()
    with_vault(app, url, lambda vault: vault.change_user(name, password=password))
    say_json({"name": name}) if as_json else say(f"user {name}: password changed")


@command(NAME, *STORE, examples=[("windlass users rm ada", "And end all sessions.")])
def remove(*, name: str, app: str | None, url: str | None, as_json: bool) -> None:
    """Let a user log in no more. Sessions end."""
    with_vault(app, url, lambda vault: vault.remove_user(name))
    say_json({"name": name, "deleted": True}) if as_json else say(f"user {name}: deleted")


COMMAND = Group("Say who logs in to the web UI.", add=add, ls=list_users, passwd=passwd, rm=remove)
