"""``windlass doctor``: why jobs do not run, each cause in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from windlass.cli.arguments import Argument, command, seconds
from windlass.cli.errors import CommandFailed
from windlass.cli.ids import parse_ids
from windlass.cli.output import say, say_json, say_table
from windlass.cli.target import STORE, with_store
from windlass.core.clock import SECOND
from windlass.core.errors import JobNotFound
from windlass.core.ids import to_text

if TYPE_CHECKING:
    from windlass.doctor import Finding
    from windlass.store.port import Store


@command(
    Argument("ids", nargs="*", metavar="ID", help="Jobs to explain. Default: all that is stuck."),
    *STORE,
    Argument(
        "--patience",
        type=seconds(0, 60),
        default=2.0,
        metavar="SECONDS",
        help="How long to watch jobs that a worker ought to claim at once, before it is called stalled. Default: 2.",
    ),
    examples=[
        ("windlass doctor", "What keeps jobs from running?"),
        ("windlass doctor 0198c5a6-5a2e-7b1c-9d0e-3f4a5b6c7d8e", "Why does this job not run?"),
        ("windlass doctor --json | jq -r '.[] | select(.stuck) | .sentence'", "For programs."),
    ],
    exits={
        0: "Nothing is stuck: what waits will go on by itself.",
        1: "Something is stuck; or the store could not be asked.",
    },
)
def doctor(*, ids: list[str], app: str | None, url: str | None, as_json: bool, patience: float) -> None:
    """Explain what is stuck. Each cause in a sentence, with what to do about it.

    Without ids it looks at the first jobs in each line: ready jobs that no worker takes, undeliverable ones, those
    whose parents or whose worker are gone, paused queues, limits that are reached, and whether the store itself can be
    written to. It changes nothing.
    """
    wanted = parse_ids(ids)
    span = round(patience * SECOND)

    async def act(store: Store) -> list[Finding]:
        from windlass.doctor import examine, examine_job

        if not wanted:
            return await examine(store, patience=span)
        findings = []
        for job_id in wanted:
            finding = await examine_job(store, job_id, patience=span)
            if finding is None:
                raise JobNotFound(f"there is no job {to_text(job_id)}: it never was, or its retention is over")
            findings.append(finding)
        return findings

    findings = with_store(app, url, act)
    _say(findings, as_json=as_json)
    stuck = sum(finding.stuck for finding in findings)
    if stuck:
        raise CommandFailed("something is stuck" if stuck == 1 else f"{stuck} things are stuck")


def _say(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        say_json([msgspec.to_builtins(finding) for finding in findings])
    elif findings:
        say_table(("", ""), ((_word(finding), finding.sentence) for finding in findings))
    else:
        say("nothing is stuck")


def _word(finding: Finding) -> str:
    return "stuck" if finding.stuck else "ok" if finding.jobs == 1 else "waits"


COMMAND = doctor
