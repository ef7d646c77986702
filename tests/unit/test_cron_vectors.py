"""Cron expressions against facts from the test tables of six other projects, each confirmed by two of them at least."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from windlass.core.errors import InvalidCron
from windlass.core.triggers import Cron

VECTORS = Path(__file__).parents[1] / "vectors" / "cron"
INSTANT = timedelta(microseconds=1)

REFUSED = {
    "croniter-1953": "Apr-Mar/2: others go on with February, this one with March",
}
OTHERWISE = {
    # Asked within the first 01:00 to 02:00, but after 01:30, this project's table wants the second 01:30, which would
    # fire twice whoever was late; ours is the rule of cron(8), once and the first time (decision 0031).
    "robfig-1494": "2013-11-04T01:30:00-05:00",
}


def vectors(name: str, op: str) -> list[Any]:
    lines = [json.loads(line) for line in (VECTORS / f"{name}.jsonl").read_text().splitlines()]
    return [pytest.param(line, id=line["id"]) for line in lines if line["op"] == op]


def fire_times(cron: Cron, start: datetime, count: int) -> list[datetime]:
    found = []
    while len(found) < count and (fire_time := cron.next(start)) is not None:
        found.append(fire_time)
        start = fire_time
    return found


@pytest.mark.parametrize(
    "vector",
    [*vectors("core", "next"), *vectors("dst_common", "next"), *vectors("extended", "next")],
)
def test_fire_times(vector: dict[str, Any]) -> None:
    start = datetime.fromisoformat(vector["start"])
    if vector["inclusive"]:
        start -= INSTANT
    if vector["id"] in REFUSED:
        with pytest.raises(InvalidCron):
            Cron(vector["expr"])
        return
    wanted = [OTHERWISE[vector["id"]]] if vector["id"] in OTHERWISE else vector["expect"]
    expected = [datetime.fromisoformat(when).astimezone(UTC) for when in wanted]
    assert fire_times(Cron(vector["expr"], tz=vector["tz"]), start, len(expected)) == expected


@pytest.mark.parametrize("vector", [*vectors("match", "match"), *vectors("extended", "match")])
def test_matches(vector: dict[str, Any]) -> None:
    at = datetime.fromisoformat(vector["at"])
    fires = Cron(vector["expr"], tz=vector["tz"]).next(at - INSTANT) == at.astimezone(UTC)
    assert fires == vector["expect"]


@pytest.mark.parametrize("vector", [*vectors("errors", "parse_error"), *vectors("never", "next")])
def test_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidCron) as caught:
        Cron(vector["expr"])
    assert 0 <= caught.value.position <= len(vector["expr"])
