"""Reads a page of documentation as steps that can be carried out.

A fenced block is a step if its language is ``python`` or ``console``. A comment on the line before says more:

    <!-- file: tasks.py -->        write the block to this file instead of running it
    <!-- background -->            start the command and go on; it is stopped (SIGTERM) at the end of the page
    <!-- fails -->                 the command must end with a failure
    <!-- from: examples/a.py -->   do not run the block: it is quoted from a file that another test runs
    <!-- skip: reason -->          do not run the block; the reason is not optional

Of a console block the lines after ``$`` are run; the others show what a reader will see, and are not compared. What a
line such as ``export WINDLASS_APP=tasks:app`` says holds for the rest of the page.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>python|console)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"(?P<word>file|from|skip): (?P<what>\S.*)|(?P<bare>background|fails)")


@dataclass(frozen=True)
class Step:
    """One block."""

    language: str
    text: str
    line: int
    """Of the page, where its first line stands."""
    word: str = ""
    """``file``, ``from``, ``skip``, ``background``, ``fails`` or nothing."""
    what: str = ""

    @property
    def commands(self) -> list[str]:
        """The lines of a console block that somebody types."""
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]


def pages() -> list[Path]:
    """Every page that the project shows."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read_steps(text: str) -> list[Step]:
    """Find the steps of a page. Raises ``ValueError`` for a mark that nobody understands."""
    return [_step(text, found) for found in _BLOCK.finditer(text)]


def _step(text: str, found: re.Match[str]) -> Step:
    line = text.count("\n", 0, found.start("text")) + 1
    mark = found["mark"]
    if mark is None:
        return Step(found["language"], found["text"], line)
    meaning = _MARK.fullmatch(mark)
    if meaning is None:
        raise ValueError(f"line {line}: the mark {mark!r} is not understood (a skip needs its reason)")
    return Step(found["language"], found["text"], line, meaning["word"] or meaning["bare"], meaning["what"] or "")
