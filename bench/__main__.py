"""``python -m bench [NAME ...] [--quick] [--rounds N] [--patience S] [--list]``: measure, print, append to the results.

A NAME is that of a group, or what several begin with (`--list` names them); without names all are measured.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
from pathlib import Path

from bench.figure import Group
from bench.quiet import wait_for_quiet
from bench.report import OUT, Found, append, circumstances, table
from bench.sample import ProbeFailed, compile_modules, take

MODULES = (
    "keys",
    "drain",
    "recycle",
    "enqueue",
    "roundtrip",
    "executors",
    "sleepers",
    "depth",
    "on_postgres",
    "herd",
    "start",
    "idle",
    "schedules",
    "workflows",
    "imports",
    "memory",
    "pages",
    "on_redis",
    "watched",
)
"""In the order in which they run."""

Samples = dict[str, list[dict[str, float]]]
"""By kind of probe."""


def groups() -> list[Group]:
    """Everything that can be measured."""
    return [group for name in MODULES for group in importlib.import_module(f"bench.{name}").GROUPS]


def chosen(names: list[str]) -> list[Group]:
    """Those with one of these names; where nothing is called so, those whose names begin so."""
    everything = groups()
    known = [group.name for group in everything]
    wanted = set()
    for name in names:
        found = {name} if name in known else {label for label in known if label.startswith(name)}
        if not found:
            raise SystemExit(f"no figure is called {name}; there are: {', '.join(known)}")
        wanted |= found
    return [group for group in everything if group.name in wanted] if names else everything


def sample(group: Group, rounds: int, *, quick: bool, patience: float) -> tuple[Samples, float]:
    """Take a sample of each probe in turn, ``rounds`` times, so that a change of weather meets all of them; answers
    also how busy others kept the machine, at the worst."""
    arguments = {**group.scale, **(group.quick if quick else {})}
    samples: Samples = {kind: [] for kind in group.probes()}
    busy = 0.0
    for round_ in range(min(rounds, group.rounds or rounds)):
        for kind, probe in group.probes().items():
            _say(f"{group.name} ({group.store}), round {round_ + 1}: {kind}")
            busy = max(busy, wait_for_quiet(patience))
            samples[kind].append(take(probe, arguments))
    _say("")
    return samples, busy


def _say(text: str) -> None:
    """Say in one line of the terminal what goes on; nothing where nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def medians(group: Group, samples: Samples) -> list[Found]:
    """Boil the samples down."""

    def median(kind: str, key: str) -> float | None:
        numbers = [one[key] for one in samples.get(kind, ()) if key in one]
        return statistics.median(numbers) if numbers else None

    found = []
    for metric in group.metrics:
        value = median("ours", metric.key)
        assert value is not None, f"{group.name}: the probe gave no {metric.key}"
        ours = [one[metric.key] for one in samples["ours"]]
        spread = max(ours) / min(ours) if min(ours) > 0 else 1.0
        found.append(
            Found(group.store, metric, value, median("floor", metric.key), median("reference", metric.key), spread)
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for; answers 1 if a probe failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a group, or the beginning of several; default: all")
    parser.add_argument("--quick", action="store_true", help="small numbers and one round: does it run at all?")
    parser.add_argument("--rounds", type=int, default=None, help="samples of each probe (3; with --quick 1)")
    parser.add_argument("--patience", type=float, default=0.0, help="seconds to wait for others to be quiet (0)")
    parser.add_argument("--list", action="store_true", help="name the figures and stop")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON lines are appended here (%(default)s)")
    options = parser.parse_args(arguments)
    if options.list:
        for group in groups():
            print(f"{group.name} ({group.store}): " + ", ".join(metric.name for metric in group.metrics))
        return 0
    rounds = options.rounds or (1 if options.quick else 3)
    everything: list[Found] = []
    failed = 0
    compile_modules()
    for group in chosen(options.names):
        versions = circumstances(rounds, quick=options.quick)
        try:
            samples, busy = sample(group, rounds, quick=options.quick, patience=options.patience)
        except ProbeFailed as error:
            failed = 1
            print(f"\n{group.name} ({group.store}) could not be measured: {error}", file=sys.stderr)
            continue
        found = medians(group, samples)
        for one in found:
            append(one, {**versions, "busy": round(busy, 2)}, options.out)
        everything += found
    print(table(everything))
    return failed


if __name__ == "__main__":
    sys.exit(main())
