"""What an app says of how much runs: limits and pauses."""

from __future__ import annotations

from typing import Any

from windlass import blocking
from windlass.client import Client
from windlass.limits import LimitInfo, limit_record, pausable, read_limits
from windlass.store.port import Store
from windlass.task import Task, name_of


class AppLimits:
    """A part of `windlass.App`."""

    _client: Client

    async def set_limit(
        self,
        *,
        queue: str | None = None,
        task: Task[..., Any] | str | None = None,
        key: str | None = None,
        concurrency: int | None = None,
        rate: str | None = None,
        burst: int | None = None,
    ) -> None:
        """Limit how much runs, for all workers together: ``await app.set_limit(queue="mail", concurrency=5)``.

        In force from the next claim on: what runs already goes on. The limits of one thing replace those that it had,
        and what is left out is not limited; with neither concurrency nor rate it has none any more. A pause stays.

        Args:
            queue: a queue.
            task: a task, or the name under which its jobs are stored (its aliases have limits of their own).
            key: a limit key such as ``customer:42``, or ``customer`` for each key of this group that has no limits of
                its own. Give one of queue, task and key; a job has to keep to those of all three.
            concurrency: at most so many run at once. A dead worker's jobs count until they are taken back.
            rate: at most so many start in a time: ``"10/s"``, ``"100/m"``, ``"1000/h"``, ``"5/10s"``.
            burst: with a rate: so many may start at once when none has for long enough (1: evenly spaced).

        Raises:
            InvalidOption, InvalidName: an argument is impossible.
        """
        record = limit_record(queue=queue, task=name_of(task), key=key, concurrency=concurrency, rate=rate, burst=burst)
        await (await self._store()).put_limit(record)

    def set_limit_sync(
        self,
        *,
        queue: str | None = None,
        task: Task[..., Any] | str | None = None,
        key: str | None = None,
        concurrency: int | None = None,
        rate: str | None = None,
        burst: int | None = None,
    ) -> None:
        """As `set_limit`, blocking."""
        blocking.run(
            lambda: self.set_limit(queue=queue, task=task, key=key, concurrency=concurrency, rate=rate, burst=burst)
        )

    async def pause(self, *, queue: str | None = None, task: Task[..., Any] | str | None = None) -> None:
        """Pause a queue or a task: ``await app.pause(queue="mail")``. Workers claim nothing more of it, and give back
        what they have not started; what runs goes on, and jobs can still be enqueued. Limits stay as they are.

        Raises `InvalidOption` unless one of the two is given, and `InvalidName`.
        """
        await self._set_paused(queue, task, paused=True)

    def pause_sync(self, *, queue: str | None = None, task: Task[..., Any] | str | None = None) -> None:
        """As `pause`, blocking."""
        blocking.run(lambda: self.pause(queue=queue, task=task))

    async def resume(self, *, queue: str | None = None, task: Task[..., Any] | str | None = None) -> None:
        """Let a queue or a task go on that was paused. Raises as `pause`."""
        await self._set_paused(queue, task, paused=False)

    def resume_sync(self, *, queue: str | None = None, task: Task[..., Any] | str | None = None) -> None:
        """As `resume`, blocking."""
        blocking.run(lambda: self.resume(queue=queue, task=task))

    async def _store(self) -> Store:
        return (await self._client.opened()).store

    async def _set_paused(self, queue: str | None, task: Task[..., Any] | str | None, *, paused: bool) -> None:
        scope, name = pausable(queue=queue, task=name_of(task))
        await (await self._store()).pause(scope, name, paused=paused)

    async def limits(self) -> list[LimitInfo]:
        """The limits that the store has, and what is paused: queues, then tasks, then limit keys, by name."""
        return await read_limits(await self._store())

    def limits_sync(self) -> list[LimitInfo]:
        """As `limits`, blocking."""
        return blocking.run(self.limits)
