"""What a server must be, and what it should be: looked at when a store is opened."""

from __future__ import annotations

import logging
import re
from typing import Any

from redis.exceptions import ResponseError

from windlass.core.errors import StoreUnavailable
from windlass.store.redis.caller import Caller
from windlass.store.redis.failures import moved_to, refused

OLDEST = 7
"""The first version whose scripts can say that they may run when memory is short."""
_log = logging.getLogger("windlass.store.redis")
_NODES = 20
_given: set[tuple[str, str]] = set()
"""Warnings that this process has given: a worker has several store objects."""


async def look_at(caller: Caller) -> None:
    """Refuse what cannot serve, warn of what may lose jobs, and find the node of a cluster. Raises `StoreError`."""
    info = await _info(caller)
    version = info.get("redis_version", "0")
    if int(re.match(r"\d*", version)[0] or 0) < OLDEST:  # type: ignore[index]
        raise StoreUnavailable(
            f"{caller.connections.shown} is Redis {version}; Windlass needs Redis {OLDEST} or later, or Valkey"
        )
    if info.get("cluster_enabled") == "1":
        await _find_node(caller)
        info = await _info(caller)
    for risk in risks(info):
        warning = caller.connections.shown, risk
        if warning not in _given:
            _given.add(warning)
            _log.warning("%s: %s", *warning)


def risks(info: dict[str, str]) -> list[str]:
    """Say in words what may be lost with a server that is set up so."""
    found = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"maxmemory-policy is {policy}: when its memory is full, the server throws jobs away, and nobody is told; "
            "set it to noeviction"
        )
    if info.get("aof_enabled") == "0":
        found.append(
            "no append-only file (appendonly no): if the server stops, what was stored since its last snapshot is "
            "lost, jobs that were acknowledged included, and jobs that were done are run again; set appendonly to yes"
        )
    return found


async def _info(caller: Caller) -> dict[str, str]:
    answer = await caller.command("INFO")
    if isinstance(answer, ResponseError):
        raise refused(answer, caller.connections.shown)
    lines = (line.partition(":") for line in answer.decode("utf-8", "replace").splitlines())
    return {name: value for name, _, value in lines if value}


async def _find_node(caller: Caller) -> None:
    slots: Any = await caller.command("CLUSTER", "SLOTS")
    if isinstance(slots, list):
        nodes = [(node[0].decode(), int(node[1])) for _, _, *found in slots for node in found if node[0]]
        caller.connections.others = list(dict.fromkeys(nodes))[:_NODES]
    node = moved_to(await caller.command("EXISTS", caller.key))
    if node is not None:
        caller.connections.move_to(*node)
