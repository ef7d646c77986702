"""Running scripts on the server: by their digests, in pipelines, wherever in a cluster the namespace is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from redis.exceptions import ResponseError

from windlass.core.errors import StoreUnavailable
from windlass.store.redis.connections import Argument, Connections, pack
from windlass.store.redis.failures import Disconnected, is_read_only, is_unknown_script, moved_to, refused
from windlass.store.scripts import Script, script

Arguments: TypeAlias = Sequence[Argument]
_MOST_TURNS = 5
"""How often one call is sent: once, again with the script, and wherever a cluster that changes says that it belongs."""


class Caller:
    """Runs the scripts of one namespace."""

    def __init__(self, connections: Connections, namespace: str) -> None:
        self.connections = connections
        self.key = f"{{{namespace}}}".encode()

    async def run(self, verb: str, calls: Sequence[Arguments], *, repeatable: bool) -> list[Any]:
        """Run a script once for each of these arguments, in one trip; give the answers.

        ``repeatable``: nothing is done twice if a call is, so that one whose connection ended is sent again.
        """
        try:
            return await self._run(script(verb), calls)
        except Disconnected:
            if not repeatable:
                raise
            return await self._run(script(verb), calls)

    async def command(self, *arguments: Argument) -> Any:
        """Send one plain command, to whichever node answers; an error that it answers is given back."""
        return (await self.connections.send(pack(*arguments), 1))[0]

    async def _run(self, which: Script, calls: Sequence[Arguments]) -> list[Any]:
        answers: list[Any] = [None] * len(calls)
        left = list(range(len(calls)))
        loading = b""
        looked_again = False
        for _ in range(_MOST_TURNS):
            packed = loading + b"".join(self._pack(which, calls[at]) for at in left)
            found = await self.connections.send(packed, len(left) + bool(loading))
            for at, answer in zip(left, found[bool(loading) :], strict=True):
                answers[at] = answer
            # None of these answers says that anything was done.
            left = [at for at in left if is_unknown_script(answers[at]) or moved_to(answers[at])]
            refused_here = [at for at, answer in enumerate(answers) if is_read_only(answer)]
            if refused_here and not looked_again:
                looked_again = True
                self.connections.look_again()
                left = sorted({*left, *refused_here})
            if not left:
                break
            loading = self._prepare([answers[at] for at in left], which)
        for answer in answers:
            if isinstance(answer, ResponseError):
                self._complain(answer, bool(left))
        return answers

    def _prepare(self, answers: Sequence[object], which: Script) -> bytes:
        """Turn to the node that was named, if one was; give what has to be sent before the call is sent again."""
        node = next(filter(None, map(moved_to, answers)), None)
        if node is not None:
            self.connections.move_to(*node)
        return pack("SCRIPT", "LOAD", which.text) if any(map(is_unknown_script, answers)) else b""

    def _pack(self, which: Script, arguments: Arguments) -> bytes:
        return pack("EVALSHA", which.digest, 1, self.key, *arguments)

    def _complain(self, answer: ResponseError, gave_up: bool) -> None:
        url = self.connections.shown
        if gave_up:
            raise StoreUnavailable(f"{url} cannot serve just now: {answer}")
        error = refused(answer, url)
        if isinstance(error, StoreUnavailable):
            self.connections.drop_idle()  # the address may mean another server by now
        raise error
