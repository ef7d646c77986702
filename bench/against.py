"""``python -m bench.against REV [NAME ...]``: this checkout beside an older one, in pairs, one right after the other.

What a feature costs where nobody uses it, say: compare with the commit before it. Which of a pair is first alternates,
and the ratio is of each pair, so that the machine's weather meets both alike; the median of them is what counts.
"""

from __future__ import annotations

import argparse
import io
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.__main__ import chosen
from bench.figure import Group
from bench.report import shown
from bench.sample import ROOT, compile_modules, take

Pair = tuple[dict[str, float], dict[str, float]]


@contextmanager
def checkout_of(revision: str) -> Iterator[Path]:
    """Unpack the package, its benchmarks and its tests (for their servers) as they were, as long as the block runs."""
    git = ["git", "-C", str(ROOT), "archive", revision, "src", "bench", "tests"]
    archive = subprocess.run(git, stdout=subprocess.PIPE, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="windlass-against-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def pairs(group: Group, older: Path, rounds: int) -> list[Pair]:
    """Sample both, so many times; answers (older, this)."""
    found = []
    for number in range(rounds):
        order = (older, ROOT) if number % 2 else (ROOT, older)
        taken = {root: take(group.ours, dict(group.scale), root) for root in order}
        found.append((taken[older], taken[ROOT]))
    return found


def row(group: Group, key: str, found: list[Pair]) -> str:
    """What one metric says: median ratio of this to the older one, its quartiles, and both medians."""
    ratios = sorted(this[key] / older[key] for older, this in found)
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    older, this = (shown(statistics.median(pair[which][key] for pair in found)) for which in (0, 1))
    return f"{group.name} {key}: {middle:.3f} (quartiles {low:.3f} and {high:.3f}); {this} beside {older}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.against", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("revision", help="a commit, a tag, a branch")
    parser.add_argument("names", nargs="*", metavar="NAME", default=["drain"], help="groups, as in python -m bench")
    parser.add_argument("--rounds", type=int, default=9, help="pairs (%(default)s)")
    options = parser.parse_args()
    with checkout_of(options.revision) as older:
        compile_modules()
        compile_modules(older)
        for group in chosen(options.names):
            found = pairs(group, older, options.rounds)
            for metric in group.metrics:
                print(row(group, metric.key, found), flush=True)


if __name__ == "__main__":
    main()
