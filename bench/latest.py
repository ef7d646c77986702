"""``python -m bench.latest``: the latest full sample of each figure as a Markdown table, ratios first."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench.report import OUT, shown

Line = dict[str, Any]
_REFERENCE = " / reference"


def latest(path: Path) -> dict[tuple[str, str], Line]:
    """The last line of each name and store that was not measured with ``--quick``."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["name"], line["store"]): line for line in lines if not line["versions"]["quick"]}


def markdown(found: dict[tuple[str, str], Line]) -> str:
    """A row for each figure."""
    rows = [
        "| figure | store | of the floor | of the reference | value | floor | reference | spread |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for (name, store), line in found.items():
        if not name.endswith(_REFERENCE):
            rows.append(_row(line, found.get((name + _REFERENCE, store))))
    return "\n".join(rows)


def _row(line: Line, beside: Line | None) -> str:
    ratio, reference = (None, None) if beside is None else (beside["ratio"], beside["floor"])
    cells = (
        line["name"],
        line["store"],
        f"**{shown(line['ratio'])}**",
        f"**{shown(ratio)}**",
        f"{shown(line['value'])} {line['unit']}",
        shown(line["floor"]),
        shown(reference),
        f"{line['versions']['spread']:.2f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(markdown(latest(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)))
