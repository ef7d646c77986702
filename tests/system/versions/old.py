"""The application as it was. The store is ``WINDLASS_URL``; each start of an attempt is a line in ``VERSIONS_LOG``."""

import asyncio
import os
from pathlib import Path

from windlass import App, Current, Middleware

app = App(lease=1, version="old")


class Log(Middleware):
    """Says which version ran which attempt."""

    def before(self, attempt: Current, headers: dict[str, str]) -> None:
        with Path(os.environ["VERSIONS_LOG"]).open("a") as log:
            log.write(f"{app.version} {attempt.job_id} {attempt.attempt}\n")


app.middleware(Log())


class CardRefused(Exception):
    """Only this version has it."""


@app.task(name="greet")
async def greet(name: str, seconds: float = 0.0) -> str:
    """The same in both."""
    await asyncio.sleep(seconds)
    return f"old: hello {name}"


@app.task(name="send")
def send(to: str) -> str:
    """Called `deliver` in the new one."""
    return f"old: sent to {to}"


@app.task(name="resize")
def resize(image: str, quality: int = 80) -> str:
    """Has another parameter in the new one, and another default."""
    return f"old: {image} at {quality} %"


@app.task(name="notify")
def notify(user: int, urgent: bool = False, channel: str = "mail") -> str:
    """Knows no channels in the new one."""
    return f"old: {user} by {channel}{' urgently' if urgent else ''}"


@app.task(name="charge")
def charge(cents: int) -> str:
    """Takes something else in the new one."""
    return f"old: {cents}"


@app.task(name="total")
def total() -> int:
    """Returns something else in the new one."""
    return 3


@app.task(name="pay")
def pay() -> None:
    """Raises something else in the new one."""
    raise CardRefused("no money")


@app.task(name="archive", queue="files")
def archive(name: str) -> str:
    """Waits in another queue in the new one."""
    return f"old: {name}"
