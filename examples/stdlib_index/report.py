"""What the demo makes of its results: an audit, and tables for people."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tasks import FileIndex

from windlass import JobInfo


@dataclass(frozen=True)
class Ended:
    """How one job ended."""

    path: str
    """What the demo asked for."""
    state: str
    attempt: int
    """Number of the last attempt; above 1: it was run again."""
    losses: int
    """How often it was taken back from a worker that had died."""
    index: FileIndex | None
    """The result, if there is one."""

    @classmethod
    def of(cls, path: str, info: JobInfo, index: FileIndex | None) -> Ended:
        """Take what the audit needs from what the store knows of the job."""
        return cls(path, info.status, info.attempt, info.losses, index)


@dataclass
class Audit:
    """What a second look at the results found."""

    files: int
    jobs: int
    attempts: int
    again: int
    problems: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        if self.problems:
            return f"audit FAILED: {len(self.problems)} problems, the first: {self.problems[0]}"
        return (
            f"audit ok: {self.files} files, {self.jobs} jobs, every file in exactly one result; "
            f"{self.attempts} attempts, {self.again} jobs run again because of the kill"
        )


def audit(root: Path, wanted: Sequence[str], ended: Sequence[Ended], killed: bool) -> Audit:
    """Compare the results with the files themselves: each there once, with the hash that it has on this disk."""
    again = sum(1 for job in ended if job.losses)
    found = Audit(len(wanted), len(ended), sum(job.attempt for job in ended), again)
    problems = found.problems
    counted = Counter(job.index.path for job in ended if job.index is not None)
    problems += [f"{path} is missing" for path in wanted if counted[path] == 0]
    problems += [f"{path} is counted {count} times" for path, count in counted.items() if count > 1]
    problems += [f"{path} was never asked for" for path in counted.keys() - set(wanted)]
    problems += [f"{job.path} is {job.state}" for job in ended if job.state != "succeeded"]
    problems += [f"{job.path}: attempt {job.attempt} without a loss" for job in ended if job.attempt > 1 + job.losses]
    problems += [
        f"{job.path}: another hash" for job in ended if job.index and _hash(root, job.path) != job.index.sha256
    ]
    if killed and not again:
        problems.append("a worker was killed while it held jobs, and none was run again")
    return found


def _hash(root: Path, path: str) -> str:
    return hashlib.sha256((root / path).read_bytes()).hexdigest()


def print_packages(console: Console, results: Iterable[FileIndex]) -> None:
    """Show the largest packages, and the whole."""
    table = Table(title="The largest packages of the standard library")
    for heading in ("package", "files", "lines", "tokens", "functions"):
        table.add_column(heading, justify="left" if heading == "package" else "right")
    packages = _by_package(results)
    for name, rows in sorted(packages.items(), key=lambda item: -sum(row.lines for row in item[1]))[:10]:
        table.add_row(name, *_sums(rows))
    everything = [row for rows in packages.values() for row in rows]
    table.add_section()
    table.add_row("all", *_sums(everything), style="bold")
    console.print(table)
    longest = max(everything, key=lambda row: row.longest_lines)
    unreadable = [row for row in everything if row.problem]
    console.print(f"longest function: {longest.longest_function} in {longest.path}, {longest.longest_lines} lines")
    console.print(f"not valid Python, and said so as data: {len(unreadable)} files")


def _by_package(results: Iterable[FileIndex]) -> Mapping[str, list[FileIndex]]:
    packages: dict[str, list[FileIndex]] = {}
    for row in results:
        package, separator, _ = row.path.partition("/")
        packages.setdefault(package if separator else "(single modules)", []).append(row)
    return packages


def _sums(rows: Sequence[FileIndex]) -> list[str]:
    columns = (len(rows), *(sum(getattr(row, name) for row in rows) for name in ("lines", "tokens", "functions")))
    return [f"{number:,}" for number in columns]
