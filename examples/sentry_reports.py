"""Failed attempts reported to Sentry: python sentry_reports.py (with SENTRY_DSN set; without it nothing is sent)."""

import asyncio
import logging
import os
from contextlib import ExitStack

import sentry_sdk
from sentry_sdk.integrations.logging import ignore_logger

from windlass import App, Current, Middleware, Retry

log = logging.getLogger("shop")


class Sentry(Middleware):
    """Reports each failure, with what was logged during that attempt and no other."""

    def __init__(self) -> None:
        self._scopes: dict[Current, ExitStack] = {}
        ignore_logger("windlass.engine")  # the worker logs failures as well: one report of each is enough

    def before(self, attempt: Current, headers: dict[str, str]) -> None:
        scopes = self._scopes[attempt] = ExitStack()
        scopes.enter_context(sentry_sdk.isolation_scope())

    def failed(self, attempt: Current, error: BaseException, *, dead: bool) -> None:
        with sentry_sdk.new_scope() as scope:
            scope.set_level("error" if dead else "warning")
            scope.set_transaction_name(attempt.task)
            scope.set_tag("queue", attempt.queue)
            scope.set_context("job", {"id": attempt.job_id, "attempt": attempt.attempt, "dead": dead})
            sentry_sdk.capture_exception(error)

    def after(self, attempt: Current, error: BaseException | None) -> None:
        self._scopes.pop(attempt, ExitStack()).close()


app = App("memory://shop", middleware=[Sentry()])


@app.task(retry=Retry(attempts=2, delay=0))
async def charge(order: int) -> None:
    """Fail, to have something to report."""
    log.info("charging order %d", order)
    await asyncio.sleep(0)
    raise ConnectionError("the bank does not answer")


async def main() -> None:
    """Run two jobs that fail, twice each."""
    async with app.worker():
        jobs = await app.enqueue_many(charge.bind(order) for order in (1, 2))
        for job in jobs:
            try:
                await job.result(timeout=30)
            except ConnectionError as error:
                print(f"{job.id}: {error}")


if __name__ == "__main__":
    sentry_sdk.init(os.environ.get("SENTRY_DSN"))
    asyncio.run(main())
    sentry_sdk.flush()
