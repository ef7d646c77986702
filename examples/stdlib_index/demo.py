"""The demo: index this machine's Python standard library with a few worker processes, and kill one on the way.

    make demo                           or: python examples/stdlib_index/demo.py --limit 300

One job for each file: lines, tokens, functions, the longest function, a hash. On the way one worker process gets
SIGKILL. At the end an audit shows that no file is missing from the result, and that none is counted twice.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from windlass import App, Job, JobFailed, ResultTimeout

if TYPE_CHECKING:
    from report import Ended
    from tasks import FileIndex

HERE = Path(__file__).parent
ROOT = Path(sysconfig.get_path("stdlib"))
SLOTS = 4
"""Files that one worker process reads at once. The work is computing: more would not help."""
PATIENCE = 120.0
"""Seconds that the demo waits for results."""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run the demo; answers the exit code: 0 only if the audit found nothing wrong."""
    options = read_options()
    files = find_files(options.limit)
    console.print(f"{len(files):,} files of {ROOT}, {options.processes} worker processes")
    with temporary_store() as folder, supervisor(folder, options.processes) as log:
        ended, seconds = asyncio.run(index(files, kill=not options.no_kill))
        if any(job.index is None for job in ended):
            console.print(log.read_text(errors="replace")[-4000:], style="dim", markup=False)

    from report import audit, print_packages

    results = [job.index for job in ended if job.index is not None]
    print_packages(console, results)
    tokens = sum(result.tokens for result in results)
    console.print(f"{len(results) / seconds:,.0f} files/s, {tokens / seconds:,.0f} tokens/s, {seconds:.1f} s in all")
    verdict = audit(ROOT, files, ended, killed=not options.no_kill)
    console.print(verdict.line, style="bold red" if verdict.problems else "bold green")
    return 1 if verdict.problems else 0


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Index the standard library with Windlass, and kill a worker.")
    parser.add_argument("--limit", type=int, help="index only so many files, evenly chosen")
    parser.add_argument("--processes", type=int, default=3, help="worker processes (3)")
    parser.add_argument("--no-kill", action="store_true", help="let every worker live")
    return parser.parse_args()


def find_files(limit: int | None) -> list[str]:
    """List the standard library's source files, relative to its folder; with a limit, evenly chosen ones."""
    skipped = {"site-packages", "dist-packages"}
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    found = sorted(path.as_posix() for path in paths if skipped.isdisjoint(path.parts))
    if limit is None or limit >= len(found):
        return found
    return [found[i * len(found) // limit] for i in range(limit)]


@contextmanager
def temporary_store() -> Iterator[Path]:
    """Make a folder for the database, and set the URL that the app reads, here and in the workers."""
    folder = Path(tempfile.mkdtemp(prefix="windlass-demo-"))
    os.environ["WINDLASS_URL"] = url = f"sqlite:///{folder}/demo.db"
    console.print(f"store: {url}")
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def windlass(*arguments: str) -> list[str]:
    """Write a command for this environment's ``windlass``."""
    return [sys.executable, "-m", "windlass", *arguments]


@contextmanager
def supervisor(folder: Path, processes: int) -> Iterator[Path]:
    """Run ``windlass worker`` as anybody would, and stop it with SIGTERM. Yields the file that it logs to."""
    command = windlass("worker", "--app", "tasks:app", "--processes", f"{processes}", "--concurrency", f"{SLOTS}")
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=HERE, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield log
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def index(files: Sequence[str], *, kill: bool) -> tuple[list[Ended], float]:
    """Enqueue a job for each file, kill a worker when a third is done, and say how every job ended, and how long it
    took from the first enqueue to the last result."""
    from report import Ended
    from tasks import app, index_file

    async with app:
        began = time.perf_counter()
        jobs = await app.enqueue_many(index_file.bind(str(ROOT), path) for path in files)
        with progress_bar() as bar:
            row = bar.add_task("indexing", total=len(jobs))
            a_third = asyncio.Event()

            async def follow(job: Job[FileIndex]) -> FileIndex | None:
                result = None
                with suppress(JobFailed, ResultTimeout):  # the audit says so
                    result = await job.result(timeout=PATIENCE)
                bar.advance(row)
                if bar.tasks[0].completed * 3 >= len(jobs):
                    a_third.set()
                return result

            async def kill_midway() -> None:
                await a_third.wait()
                if kill:
                    await kill_a_worker(app, bar.console)

            results, _ = await asyncio.gather(asyncio.gather(*map(follow, jobs)), kill_midway())
        seconds = time.perf_counter() - began
        infos = await asyncio.gather(*(job.info() for job in jobs))
    return [Ended.of(*one) for one in zip(files, infos, results, strict=True)], seconds


def progress_bar() -> Progress:
    """Make the bar; where no terminal is, it is written once, at its end."""
    columns = (TextColumn("{task.description}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)


async def kill_a_worker(app: App, output: Console) -> None:
    """Send SIGKILL to the worker process that holds the most jobs (``windlass workers ls`` shows the same)."""
    store = await app.store()
    victim = max(await store.sessions(), key=lambda known: known.running)
    os.kill(victim.session.pid, signal.SIGKILL)
    text = f"SIGKILL to worker process {victim.session.pid}, which held {victim.running} jobs"
    output.print(text, style="bold yellow")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running then, either
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
