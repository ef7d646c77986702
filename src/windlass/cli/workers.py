"""``windlass workers``: who is there; and telling them to drain or to stop."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.cli.arguments import Argument, Group, between, command, seconds
from windlass.cli.errors import CommandFailed
from windlass.cli.fleet import Choice, Fleet
from windlass.cli.output import ago, note, say_json, say_table
from windlass.cli.target import STORE, with_store
from windlass.core.model import DRAIN, STOP
from windlass.views import queues_of, worker_view

if TYPE_CHECKING:
    from windlass.core.records import SessionRecord
    from windlass.store.port import Store


@command(
    *STORE,
    examples=[
        ("windlass workers ls", "Who is there, who is silent, who drains."),
        ("windlass workers ls --json | jq -r '.[] | select(.state == \"live\") | .node' | sort -u", "Live machines."),
    ],
)
def list_workers(*, app: str | None, url: str | None, as_json: bool) -> None:
    """List the workers that the store knows, oldest first."""

    async def act(store: Store) -> tuple[list[SessionRecord], int]:
        return await store.sessions(), await store.now()

    sessions, now = with_store(app, url, act)
    if as_json:
        say_json([msgspec.to_builtins(worker_view(session, now)) for session in sessions])
        return
    if not sessions:
        note("no workers")
        return
    say_table(
        ("session", "node", "#pid", "state", "queues", "#slots", "#running", "#age"),
        (
            (
                record.session.id.hex(),
                record.session.node,
                record.session.pid,
                record.state_at(now),
                ", ".join(queues_of(record)),
                record.session.slots,
                record.running,
                ago(now - record.opened_at),
            )
            for record in sessions
        ),
        whole=("session", "state"),
    )


WHO = (
    Argument(
        "sessions",
        nargs="*",
        metavar="SESSION",
        help="Sessions, as `windlass workers ls` shows them; or how each begins.",
    ),
    *STORE,
    Argument("--node", metavar="NAME", help="All workers of this machine."),
    Argument(
        "--pid",
        type=between(1, 2**31 - 1),
        metavar="PID",
        help="The worker process of this number, or all that this supervisor (`windlass worker`) has started.",
    ),
    Argument("--all", action="store_true", dest="everybody", help="All workers."),
    Argument("--wait", action="store_true", help="Wait until they have ended."),
    Argument(
        "--timeout",
        type=seconds(0, 10**7),
        metavar="SECONDS",
        help="With --wait: no longer than this. Default: as long as it takes.",
    ),
)
_EXITS = {
    1: "Some could not be told, or had not ended by the timeout; standard error says which.",
    130: "Interrupted; those that were told go on ending.",
}


@command(
    *WHO,
    examples=[
        ("windlass workers drain --node app-3 --wait", "Before the machine goes down."),
        ("windlass workers drain --pid 4242", "One `windlass worker`, with all its processes."),
        ("windlass workers drain 3f2a", "One process, named by how its session begins."),
    ],
    exits=_EXITS,
)
def drain(**given: Any) -> None:
    """Drain workers. They claim nothing more, finish what they hold, however long that takes, and end.

    A worker that was drained stays down: its supervisor does not replace it, and ends with exit code 0 when it has no
    process left. What starts supervisors is not told: systemd with Restart=always, or a Kubernetes deployment, starts
    another one. A signal to stop, or `windlass workers stop`, hurries a worker that drains.
    """
    _tell(DRAIN, **given)


@command(
    *WHO,
    examples=[
        ("windlass workers stop --node app-3 --wait", "All on a machine, within their grace times."),
        ("windlass workers stop --all --wait --timeout 60", "Everybody; and a failure if somebody does not."),
    ],
    exits=_EXITS,
)
def stop(**given: Any) -> None:
    """Stop workers. They claim nothing more, finish what they can within their grace time, and give the rest back.

    As SIGTERM to each of them; but one that was stopped so stays down: see `windlass workers drain --help`.
    """
    _tell(STOP, **given)


def _tell(
    word: str,
    *,
    sessions: list[str],
    app: str | None,
    url: str | None,
    as_json: bool,
    node: str | None,
    pid: int | None,
    everybody: bool,
    wait: bool,
    timeout: float | None,
) -> None:
    choice = Choice(sessions, node, pid, everybody)
    choice.check()
    fleet = with_store(app, url, partial(_tell_all, word, choice, wait=wait, timeout=timeout))
    if as_json:
        say_json(fleet.answers())
    else:
        say_table(
            ("session", "node", "#pid", "answer"),
            (tuple(answer.values()) for answer in fleet.answers()),
            whole=("session",),
        )
    if fleet.complaint:
        raise CommandFailed(fleet.complaint)


async def _tell_all(word: str, choice: Choice, store: Store, *, wait: bool, timeout: float | None) -> Fleet:
    fleet = Fleet(store, word, choice.choose(await store.sessions(), await store.now()))
    await fleet.tell()
    if wait:
        await fleet.wait(timeout)
    return fleet


COMMAND = Group("List, drain and stop workers.", ls=list_workers, drain=drain, stop=stop)
