"""A workflow over real files: extract, transform, load, with a branch, a clean-up, and a mistake that is mended.

``python examples/etl.py [FOLDER]``: files of orders are written to FOLDER/inbox, checked one by one, loaded into
FOLDER/orders.db, and moved to FOLDER/done. One of them is broken at first; it is mended, and only what failed runs
again.
"""

import asyncio
import csv
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from windlass import App, Step

app = App("memory://")


@app.task
def extract(inbox: str) -> list[str]:
    """Which files there are."""
    return sorted(str(file) for file in Path(inbox).glob("*.csv"))


@app.task
def transform(file: str) -> list[tuple[str, int]]:
    """Read and check one file: a customer and an amount in each line."""
    with Path(file).open(newline="") as lines:
        return [(customer, int(cents)) for customer, cents in csv.reader(lines)]


@app.task
def load(database: str, orders: list[list[tuple[str, int]]]) -> int:
    """Write all orders; again, if it is run again."""
    rows = [row for some in orders for row in some]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (customer TEXT, cents INTEGER)")
        connection.execute("DELETE FROM orders")
        connection.executemany("INSERT INTO orders VALUES (?, ?)", rows)
    return len(rows)


@app.task
def is_large(loaded: int) -> bool:
    return loaded >= 5


@app.task
def announce(loaded: int) -> str:
    return f"a large delivery: {loaded} orders"


@app.task
def archive(inbox: str, done: str) -> None:
    shutil.move(inbox, done)


@app.workflow
def etl(folder: str) -> Step[str]:
    inbox = f"{folder}/inbox"
    loaded = load.step(f"{folder}/orders.db", transform.map(extract.step(inbox)))
    archive.options(after=loaded).step(inbox, f"{folder}/done")
    return announce.options(when=is_large.step(loaded)).step(loaded)


async def main(folder: Path) -> None:
    inbox = folder / "inbox"
    inbox.mkdir()
    for number in range(3):
        (inbox / f"{number}.csv").write_text(f"ann,{number}00\nbob,{number}50\n")
    broken = inbox / "1.csv"
    broken.write_text("ann,much\n")
    async with app.worker():
        run = await etl.start(str(folder))
        try:
            await run.result(timeout=10)
        except ValueError as error:
            print(f"it failed: {error}")
        broken.write_text("ann,100\nbob,150\n")
        print(f"{await run.retry()} jobs go on")
        print(await run.result(timeout=10))
        for step in await run.steps():
            print(f"{step.name:10} {step.status:10} {step.items or ''}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as place:
            asyncio.run(main(Path(place)))
