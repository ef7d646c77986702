"""The command line, one module for each noun; and the worker process that it starts.

``main`` reads the command, ``target`` finds the app or store that it is about, ``output`` and ``errors`` speak to
people or, with ``--json``, to programs. ``child`` and ``loading`` are the worker process: they know nothing of the
command line, and this module imports nothing, so that its libraries take no memory there.
"""

from __future__ import annotations


def main() -> None:
    """Run the command that ``sys.argv`` says; the console script ``windlass``."""
    import sys

    from windlass.cli.main import run

    sys.exit(run(sys.argv[1:]))
