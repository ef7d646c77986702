"""A workflow: the words of Python's standard library, counted by a step for each of its folders.

``python examples/word_count.py [FOLDER]``, where FOLDER is what is counted; default: the standard library.
"""

import asyncio
import re
import sys
import sysconfig
from collections import Counter
from pathlib import Path

from windlass import App, Step

app = App("memory://")

MOST = 200
"""Different words that a step passes on: results are to be small."""


@app.task
def find_folders(root: str) -> list[str]:
    return sorted({str(file.parent) for file in Path(root).glob("*/*.py") if "test" not in file.parent.name})


@app.task
def count(folder: str) -> dict[str, int]:
    words: Counter[str] = Counter()
    for file in Path(folder).glob("*.py"):
        words.update(re.findall(r"[a-z]{4,}", file.read_text(encoding="utf-8", errors="replace").lower()))
    return dict(words.most_common(MOST))


@app.task
def add_up(counts: list[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total.most_common(10))


@app.workflow
def word_count(root: str) -> Step[dict[str, int]]:
    return add_up.step(count.map(find_folders.step(root)))


async def main(root: str) -> None:
    async with app.worker(concurrency=4):
        run = await word_count.start(root)
        async for progress in run.watch(0.1):
            print(f"{progress.done} of {progress.total} steps")
        for word, times in (await run.result()).items():
            print(f"{times:8} {word}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("stdlib")))
