"""What a small service does at certain times: back up, clean up, refresh, report.

``python examples/operations.py FOLDER`` lets two days pass in a moment, to show what comes of it. As a module it does
so for good: ``windlass worker --app operations:app``.
"""

import gzip
import os
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from windlass import App, Daily, Every, current

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPERATIONS_FOLDER", "."))
KEEP = 7
"""Backups and old logs that stay."""

app = App("sqlite:///operations.db", timezone="Europe/Berlin")
cache: dict[str, float] = {}


@app.scheduled(Daily("03:00"), coalesce="one")
def back_up() -> str:
    """A copy of the database while others use it, complete or not there at all. Running twice makes the same file."""
    at = current().fire_time or datetime.now(UTC)
    target = FOLDER / f"backup-{at:%Y-%m-%d}.db"
    part = target.with_suffix(".part")
    with closing(sqlite3.connect(FOLDER / "shop.db")) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
    part.replace(target)
    for old in sorted(FOLDER.glob("backup-*.db"))[:-KEEP]:
        old.unlink()
    return target.name


@app.scheduled(Daily("00:00"), overlap="queue")
def rotate_logs() -> int:
    """The log of yesterday, compressed; the oldest go."""
    log = FOLDER / "service.log"
    if log.exists() and log.stat().st_size:
        target = FOLDER / f"service-{current().fire_time or datetime.now(UTC):%Y-%m-%d}.log.gz"
        moved = log.rename(log.with_suffix(".moved"))
        with moved.open("rb") as source, gzip.open(target, "wb") as compressed:
            shutil.copyfileobj(source, compressed)
        moved.unlink()
    for old in sorted(FOLDER.glob("service-*.log.gz"))[:-KEEP]:
        old.unlink()
    return len(list(FOLDER.glob("service-*.log.gz")))


@app.scheduled(Every(minutes=1), overlap="skip", misfire_grace=30)
def refresh_cache() -> None:
    """Never two at once; one that comes too late is of no use."""
    cache["refreshed"] = time.monotonic()


@app.task
def report(to: str) -> str:
    """At noon in Seoul, whatever the clocks do here."""
    at = current().fire_time or datetime.now(UTC)
    with closing(sqlite3.connect(FOLDER / "shop.db")) as db:
        (orders,) = db.execute("SELECT count(*) FROM orders").fetchone()
    (FOLDER / f"report-{at:%Y-%m-%d}.txt").write_text(f"to {to}: {orders} orders\n")
    return f"{orders} orders"


app.schedule("noon-report", report.bind("ops@example.org"), Daily("12:00", tz="Asia/Seoul"), jitter=60)


def main() -> None:
    from windlass.testing import Harness

    with closing(sqlite3.connect(FOLDER / "shop.db")) as db:
        db.execute("CREATE TABLE IF NOT EXISTS orders (n INTEGER)")
        db.executemany("INSERT INTO orders VALUES (?)", [(n,) for n in range(3)])
        db.commit()
    (FOLDER / "service.log").write_text("started\n")
    with Harness(app, max_steps=20_000) as harness:
        harness.run_for_sync(days=2)
        for schedule in app.schedules.all_sync():
            print(f"{schedule.name}: {schedule.description}; {schedule.fired} jobs")
    print(*sorted(file.name for file in FOLDER.iterdir()), sep="\n")


if __name__ == "__main__":
    main()
