"""What both spikes share: ids, the report file, medians, percentiles."""

from __future__ import annotations

import datetime as dt
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import uuid_utils

HERE = Path(__file__).parent
PAYLOAD = b'{"args":["a@example.org","hi"],"kwargs":{}}'
RESULT = b"42"


def new_id() -> bytes:
    return uuid_utils.uuid7().bytes


class Report:
    """Prints lines and, unless only checks were asked for, keeps them in output/<name>-<date>.txt."""

    def __init__(self, name: str, *versions: str) -> None:
        path = HERE / "output" / f"{name}-{dt.date.today():%Y-%m-%d}.txt"
        path.parent.mkdir(exist_ok=True)
        self.file = Path(os.devnull if "--check" in sys.argv or "--quick" in sys.argv else path).open("w", encoding="utf-8")
        self(f"{name}: {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, Python {platform.python_version()}, {os.cpu_count()} cores, "
             f"load {os.getloadavg()[0]:.1f}; {'; '.join(versions)}")

    def __call__(self, line: str) -> None:
        print(line, file=self.file, flush=True)
        print(line, file=sys.stderr, flush=True)


def med(values: Sequence[float]) -> float:
    return statistics.median(values)


def pct(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
