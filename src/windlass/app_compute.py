"""What an app does with many items: an executor, map and reduce over the workers."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sized
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from windlass.client import Client
from windlass.progress_bar import Bar
from windlass.registry import TaskDefaults
from windlass.task import Task

if TYPE_CHECKING:
    from windlass.compute.executor import Executor
    from windlass.compute.mapping import Mapping, Reduction, Source

R = TypeVar("R")


class AppCompute:
    """A part of `windlass.App`."""

    _client: Client
    _defaults: TaskDefaults

    def executor(self) -> Executor:
        """An executor of ``concurrent.futures`` over the workers: ``with app.executor() as pool: ...``.

        ``pool.submit(task, ...)`` gives a future, ``pool.map(task, items)`` the results; see `Executor`.
        """
        from windlass.compute.executor import Executor, recipe_of

        return Executor(self._computing(), partial(recipe_of, self._client))

    @overload
    def map(
        self,
        function: Callable[..., Coroutine[Any, Any, R]],
        /,
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
        window: int | None = None,
        timeout: float | None = None,
        progress: Callable[[int], object] | bool = False,
        **constants: Any,
    ) -> Iterator[R]: ...
    @overload
    def map(
        self,
        function: Task[..., R] | Callable[..., R],
        /,
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
        window: int | None = None,
        timeout: float | None = None,
        progress: Callable[[int], object] | bool = False,
        **constants: Any,
    ) -> Iterator[R]: ...
    def map(
        self,
        function: Any,
        /,
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
        window: int | None = None,
        timeout: float | None = None,
        progress: Callable[[int], object] | bool = False,
        **constants: Any,
    ) -> Iterator[R]:
        """Run a task or a function on the workers for each item, and yield the results:
        ``for y in app.map(square, numbers): ...``.

        Items travel in batches, which are jobs; the source is read a few of them ahead, however long it is.

        Args:
            function: a task of this app, whose limits and unique key hold for jobs, not for items of batches; or any
                function, if this app and its workers have the same signing key.
            iterables: with several, of which the shortest ends it, the task gets an item of each.
            chunksize: items of a batch; default: as many as take a tenth of a second, as measured.
            ordered: whether results come in the order of the items, or as they are there.
            window: batches on their way at once; default: 32, or more if they have few items.
            timeout: seconds until the last result is to be there.
            progress: called with the number of items that are done, after each batch; ``True``: a bar is shown, where
                standard error is a terminal.
            constants: arguments by name, the same for all items.

        If an item fails, so does its batch, as often as the task's retry policy says; what it died of is raised here,
        and the batches that are on their way are cancelled, as they are if the caller stops iterating.

        Raises:
            InvalidOption, InvalidArguments, PayloadTooLarge: what is mapped does not fit the task, or cannot travel.
            UsageError: it is no task, and the app has no signing key.
            InvalidSignature: a result comes from who does not have the key.
            TimeoutError: not all results were there in time.
            RemoteError, JobLost, JobCancelled: as `Job.result`.
        """
        from windlass.compute.mapping import mapped_sync

        told = _told(progress, function, iterables)
        options = {"chunksize": chunksize, "window": window, "progress": told, "ordered": ordered}
        make = partial(self._mapping, function, constants, options)
        return mapped_sync(self._client, iterables, make, timeout)

    @overload
    def amap(
        self,
        function: Callable[..., Coroutine[Any, Any, R]],
        /,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
        window: int | None = None,
        progress: Callable[[int], object] | bool = False,
        **constants: Any,
    ) -> AsyncIterator[R]: ...
    @overload
    def amap(
        self,
        function: Task[..., R] | Callable[..., R],
        /,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
        window: int | None = None,
        progress: Callable[[int], object] | bool = False,
        **constants: Any,
    ) -> AsyncIterator[R]: ...
    def amap(
        self,
        function: Any,
        /,
        *iterables: Iterable[Any] | AsyncIterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
        window: int | None = None,
        progress: Callable[[int], object] | bool = False,
        **constants: Any,
    ) -> AsyncIterator[R]:
        """As `map`, for coroutines: ``async for y in app.amap(square, numbers): ...``; sources may be asynchronous."""
        from windlass.compute.mapping import Items, mapped

        told = _told(progress, function, iterables)
        options = {"chunksize": chunksize, "window": window, "progress": told, "ordered": ordered}
        return mapped(self._mapping(function, constants, options, Items(iterables)))

    def _mapping(self, function: Any, constants: dict[str, Any], options: dict[str, Any], source: Source) -> Mapping:
        from windlass.compute.executor import recipe_of
        from windlass.compute.mapping import Mapping

        return Mapping(recipe_of(self._computing(), function), source, constants, **options)

    @overload
    async def reduce(
        self,
        function: Callable[..., Coroutine[Any, Any, R]],
        /,
        items: Iterable[R] | AsyncIterable[R],
        *,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> R: ...
    @overload
    async def reduce(
        self,
        function: Task[..., R] | Callable[..., R],
        /,
        items: Iterable[R] | AsyncIterable[R],
        *,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> R: ...
    async def reduce(
        self,
        function: Any,
        /,
        items: Iterable[R] | AsyncIterable[R],
        *,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> R:
        """Reduce items to one, in a tree: ``await app.reduce(add, numbers)``.

        The task takes two arguments, and must be associative: neighbours are put together, in their order, but in any
        grouping. Raises ``TypeError`` if there are no items; otherwise as `map`.
        """
        found: R = await self._reduction(function, chunksize, window).run(items)
        return found

    @overload
    def reduce_sync(
        self,
        function: Callable[..., Coroutine[Any, Any, R]],
        /,
        items: Iterable[R],
        *,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> R: ...
    @overload
    def reduce_sync(
        self,
        function: Task[..., R] | Callable[..., R],
        /,
        items: Iterable[R],
        *,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> R: ...
    def reduce_sync(
        self,
        function: Any,
        /,
        items: Iterable[R],
        *,
        chunksize: int | None = None,
        window: int | None = None,
    ) -> R:
        """As `reduce`, blocking; the source is iterated in the caller's own thread."""
        found: R = self._reduction(function, chunksize, window).run_sync(self._client, items)
        return found

    def _reduction(self, function: Any, chunksize: int | None, window: int | None) -> Reduction:
        from windlass.compute.executor import recipe_of
        from windlass.compute.mapping import Reduction

        return Reduction(recipe_of(self._computing(), function), chunksize=chunksize, window=window)

    def _computing(self) -> Client:
        """The client, with batches and function calls known to it."""
        from windlass.compute import batches

        batches.register(self._client, self._defaults)
        if self._client.signing_key() is not None:
            from windlass.compute import functions

            functions.register(self._client, self._defaults)
        return self._client


def _told(
    progress: Callable[[int], object] | bool, function: Any, iterables: tuple[Any, ...]
) -> Callable[[int], object] | Bar | None:
    """Who hears of progress."""
    if not isinstance(progress, bool):
        return progress
    lengths = [len(one) for one in iterables if isinstance(one, Sized)]
    total = min(lengths, default=0) if len(lengths) == len(iterables) else None
    return Bar(getattr(function, "__name__", "map"), total) if progress else None
