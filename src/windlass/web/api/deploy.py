"""Making the stored schedules those that the app declares."""

from __future__ import annotations

import msgspec
from litestar import post
from litestar.params import JSONBody

from windlass.deploying import Action
from windlass.web.api.common import RULE, TheConsole


class Declared(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether what was changed at run time is undone, too."""

    force: bool = False


class DeployedView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one schedule."""

    name: str
    action: Action


@post("/deploy", summary="Make the stored schedules those that the app declares", guards=RULE, status_code=200)
async def deploy(console: TheConsole, data: JSONBody[Declared]) -> list[DeployedView]:
    """As ``windlass deploy`` does; the app is the one that this server has loaded."""
    deployed = await console.app.schedules.deploy(console.app.declared, force=data.force)
    return [DeployedView(name=one.name, action=one.action) for one in deployed]


HANDLERS = (deploy,)
