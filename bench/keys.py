"""Calibration: what the choice of keys costs a store that is a B-tree. Nothing of ours is measured here."""

from __future__ import annotations

from pathlib import Path

from bench.figure import Group, Metric, Probe
from bench.floors.queue import drain

KEYS = {"rowid": "integer row ids, ordered unique ids", "ordered": "ordered 16-byte keys", "random": "random keys"}


def references(folder: Path, *, jobs: int) -> dict[str, float]:
    """Jobs per second that the reference drains with each kind of keys."""
    rates = {}
    for keys in KEYS:
        place = folder / keys
        place.mkdir()
        rates |= {keys: drain(place, floor=keys, jobs=jobs, slots=400)["drain"]}
    return rates


GROUPS = [
    Group(
        name="keys",
        store="sqlite",
        metrics=tuple(Metric(keys, f"reference drain: {words}", "jobs/s") for keys, words in KEYS.items()),
        ours=Probe("bench.keys:references"),
        scale={"jobs": 60_000},
        quick={"jobs": 5_000},
    )
]
