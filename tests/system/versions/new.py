"""What became of `tests.system.versions.old`."""

import asyncio
import os
from pathlib import Path

from windlass import App, Current, Middleware

app = App(lease=1, version="new")


class Log(Middleware):
    """Says which version ran which attempt."""

    def before(self, attempt: Current, headers: dict[str, str]) -> None:
        with Path(os.environ["VERSIONS_LOG"]).open("a") as log:
            log.write(f"{app.version} {attempt.job_id} {attempt.attempt}\n")


app.middleware(Log())


class ShopClosed(Exception):
    """Only this version has it."""


@app.task(name="greet")
async def greet(name: str, seconds: float = 0.0) -> str:
    """The same in both."""
    await asyncio.sleep(seconds)
    return f"new: hello {name}"


@app.task(name="refund")
def refund(cents: int) -> str:
    """Only this version has it."""
    return f"new: {cents} back"


@app.task(name="deliver", aliases=["send"])
def deliver(to: str) -> str:
    """Was called `send`."""
    return f"new: delivered to {to}"


@app.task(name="resize")
def resize(image: str, quality: int = 90, width: int | None = None) -> str:
    """Has a parameter more, and another default."""
    return f"new: {image} at {quality} %, {width or 'as it is'}"


@app.task(name="notify")
def notify(user: int, urgent: bool = False) -> str:
    """Knew channels once."""
    return f"new: {user}{' urgently' if urgent else ''}"


@app.task(name="charge")
def charge(cents: str) -> str:
    """Took an ``int``."""
    return f"new: {cents}"


@app.task(name="total")
def total() -> list[int]:
    """Returned an ``int``."""
    return [1, 2]


@app.task(name="pay")
def pay() -> None:
    """Raised something else."""
    raise ShopClosed("come back tomorrow")


@app.task(name="archive", queue="cold")
def archive(name: str) -> str:
    """Waited in another queue."""
    return f"new: {name}"
