"""The checks on a store of your own: ``python -m windlass.testing.conformance mystore:make_store``."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import sys
import traceback
from collections import Counter
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from windlass.core.model import Settings
from windlass.testing.conformance.running import run
from windlass.testing.conformance.suite import Check, checks
from windlass.testing.duel import MakeStore


def main() -> int:
    """Print what fails; exit code 0 if nothing does, 1 if something does, 2 if nothing can be tried."""
    arguments = _parser().parse_args()
    sys.path.insert(0, str(Path.cwd()))
    try:
        make_store = resolve_name(arguments.store)
    except (ImportError, AttributeError, ValueError) as error:
        return _cannot(f"{arguments.store!r}: {type(error).__name__}: {error}; expected module:function")
    chosen = [check for check in checks() if check.name.startswith(arguments.only)]
    if not chosen:
        return _cannot(f"--only {arguments.only}: no check's name begins so; the nouns are {_nouns()}")
    if why := _no_maker(make_store):
        return _cannot(f"{arguments.store!r}: {why}")
    return asyncio.run(_run_all(chosen, make_store, verbose=arguments.traceback))


def _no_maker(make_store: Any) -> str:
    """Say why this makes no stores, if it does not, by having it make one."""
    expected = "expected a function that takes settings and a clock and returns a store that is not open yet"
    try:
        made = make_store(Settings(), lambda: 0)
    except Exception as error:  # noqa: BLE001 - it may raise anything
        return f"it raised {type(error).__name__}: {error}; {expected}"
    if inspect.iscoroutine(made):
        made.close()
        return f"it is a coroutine function; {expected}"
    missing = [
        verb for verb in ("enqueue", "claim", "settle", "connect", "aclose", "capabilities") if not hasattr(made, verb)
    ]
    return f"it returned a {type(made).__name__}, which has no {missing[0]}; {expected}" if missing else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m windlass.testing.conformance", description="Holds a store to the contracts of the store port."
    )
    parser.add_argument("store", metavar="module:function", help="makes an empty store, from settings and a clock")
    parser.add_argument("--only", default="", metavar="NAME", help="the checks whose names begin so: claim, claim/fifo")
    parser.add_argument("--traceback", action="store_true", help="show where a check failed")
    return parser


def _cannot(why: str) -> int:
    sys.stderr.write(f"conformance: {why}\n")
    return 2


def _nouns() -> str:
    return ", ".join(sorted({check.name.partition("/")[0] for check in checks()}))


async def _run_all(chosen: list[Check], make_store: MakeStore, *, verbose: bool) -> int:
    counts: Counter[str] = Counter()
    for check in chosen:
        try:
            done = await run(check, make_store)
        except Exception as error:  # noqa: BLE001 - a store that is not finished may raise anything
            counts["failed"] += 1
            sys.stdout.write(f"{check.name}: {_told(error)}\n")
            if verbose:
                traceback.print_exception(error)
        else:
            counts["passed" if done else "not for this store"] += 1
    sys.stdout.write(", ".join(f"{count} {what}" for what, count in sorted(counts.items())) + "\n")
    return 1 if counts["failed"] else 0


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
