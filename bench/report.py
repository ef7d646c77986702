"""What a run found, as a table for people and as JSON lines for programs."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.figure import Metric

OUT = Path(__file__).parent / "out" / "results.jsonl"


@dataclass(frozen=True)
class Found:
    """The medians of one metric."""

    store: str
    metric: Metric
    value: float
    floor: float | None
    reference: float | None
    spread: float
    """Largest sample over smallest: how far to trust it."""


def circumstances(rounds: int, *, quick: bool) -> dict[str, object]:
    """What the numbers depend on besides the code."""
    packages = {name: _version(name) for name in ("windlass", "msgspec", "uvloop", "uuid-utils")}
    return {
        **packages,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
        "commit": _commit(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rounds": rounds,
        "quick": quick,
    }


def lines(found: Found, versions: dict[str, object]) -> list[dict[str, object]]:
    """One line against the floor with the same promises, and one against the reference, if there is one."""
    name = found.metric.name
    compared = [(name, found.floor)] + ([(f"{name} / reference", found.reference)] if found.reference else [])
    return [
        {
            "name": label,
            "store": found.store,
            "value": _rounded(found.value),
            "unit": found.metric.unit,
            "floor": None if beside is None else _rounded(beside),
            "ratio": _ratio(found.value, beside),
            "versions": {**versions, "spread": round(found.spread, 3)},
        }
        for label, beside in compared
    ]


def append(found: Found, versions: dict[str, object], path: Path = OUT) -> None:
    """Add the lines of one metric to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines(found, versions))


def table(everything: Iterable[Found]) -> str:
    """All that was found, a row each."""
    head = ("figure", "store", "value", "unit", "floor", "ratio", "reference", "ratio", "aim", "")
    rows = [head, *(_row(found) for found in everything)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    left = {0, 1, 3, 8, 9}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def shown(number: float | None) -> str:
    """Three digits, or thousands with commas."""
    if number is None:
        return "-"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _row(found: Found) -> tuple[str, ...]:
    aim = found.metric.aim
    met = None if aim is None else aim.met(found.value, found.floor, found.reference)
    return (
        found.metric.name,
        found.store,
        shown(found.value),
        found.metric.unit,
        shown(found.floor),
        shown(_ratio(found.value, found.floor)),
        shown(found.reference),
        shown(_ratio(found.value, found.reference)),
        "" if aim is None else str(aim),
        {None: "", True: "met", False: "MISSED"}[met],
    )


def _ratio(value: float, beside: float | None) -> float | None:
    return None if not beside else round(value / beside, 3)


def _rounded(number: float) -> float:
    return round(number, 4 if abs(number) < 100 else 1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or None
