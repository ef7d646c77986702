"""What an app does with workflows: declares them, and finds their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from windlass import blocking
from windlass.choices import Seconds
from windlass.client import Client
from windlass.core.ids import from_text
from windlass.core.model import DEFAULT_PRIORITY
from windlass.registry import TaskDefaults

if TYPE_CHECKING:
    from windlass.workflows.run import Run
    from windlass.workflows.runs import RunInfo
    from windlass.workflows.step import Step
    from windlass.workflows.workflow import Workflow

P = ParamSpec("P")
R = TypeVar("R")


class WorkflowDecorator(Protocol):
    """What ``@app.workflow(...)`` is applied as."""

    @overload
    def __call__(self, function: Callable[P, Step[R]], /) -> Workflow[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, list[Step[R]]], /) -> Workflow[P, list[R]]: ...
    @overload
    def __call__(self, function: Callable[P, None], /) -> Workflow[P, None]: ...
    @overload
    def __call__(self, function: Callable[P, Any], /) -> Workflow[P, Any]: ...


class AppWorkflows:
    """A part of `windlass.App`."""

    _client: Client
    _defaults: TaskDefaults
    _workflows: dict[str, Workflow[..., Any]]

    @overload
    def workflow(self, function: Callable[P, Step[R]], /) -> Workflow[P, R]: ...
    @overload
    def workflow(self, function: Callable[P, list[Step[R]]], /) -> Workflow[P, list[R]]: ...
    @overload
    def workflow(self, function: Callable[P, None], /) -> Workflow[P, None]: ...
    @overload
    def workflow(self, function: Callable[P, Any], /) -> Workflow[P, Any]: ...
    @overload
    def workflow(
        self,
        *,
        name: str | None = None,
        queue: str = "default",
        priority: int = DEFAULT_PRIORITY,
        result_ttl: Seconds | None = None,
        secret: Iterable[str] = (),
    ) -> WorkflowDecorator: ...

    def workflow(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Declare a workflow: a function that composes steps, and is called once for each run, to trace its graph.

        It must make the same steps whenever it is called with the same arguments: it is called where a run is started,
        to find mistakes early, on the worker that starts it, and there again after a crash. What it returns, with
        results in place of steps, is the result of the run.

        Args:
            function: a plain ``def``.
            name: what runs carry; default ``module.qualname``.
            queue: where the two jobs wait that start and end a run; steps wait in the queues of their tasks.
            priority: of these two jobs.
            result_ttl: how long a run that has ended is kept; default: as the app says. Steps are kept as their tasks
                say, from when nothing waits for them any more.
            secret: names of parameters whose arguments nobody is shown, as of a task. What the workflow passes on to
                its steps is shown unless their tasks call it secret, too.

        Raises:
            InvalidName: the name is not allowed, or taken.
            InvalidOption: an option is impossible, or the function cannot be a workflow.
        """
        if function is None:
            return lambda function: self._register_workflow(function, **options)
        return self._register_workflow(function, **options)

    def _register_workflow(self, function: Callable[..., Any], **options: Any) -> Workflow[..., Any]:
        from windlass.workflows.declaring import declare

        workflow = declare(self._client, self._defaults, function, **options)
        self._workflows[workflow.name] = workflow
        return workflow

    @property
    def workflows(self) -> Mapping[str, Workflow[..., Any]]:
        """The declared workflows by name."""
        return dict(self._workflows)

    async def runs(
        self, workflow: Workflow[..., Any] | str | None = None, *, limit: int = 50, before: str | None = None
    ) -> list[RunInfo]:
        """List runs, the newest first.

        Args:
            workflow: runs of this one only.
            limit: how many, at most.
            before: those that are older than the run with this id.

        Raises `UsageError`.
        """
        from windlass.workflows.runs import list_runs

        name = None if workflow is None else workflow if isinstance(workflow, str) else workflow.name
        older = None if before is None else from_text(before)
        return await list_runs(self._client, workflow=name, limit=limit, before=older)

    def runs_sync(
        self, workflow: Workflow[..., Any] | str | None = None, *, limit: int = 50, before: str | None = None
    ) -> list[RunInfo]:
        """As `runs`, blocking."""
        return blocking.run(lambda: self.runs(workflow, limit=limit, before=before))

    def run(self, id: str) -> Run[Any]:
        """The run with this id; the store is not asked yet. Raises `UsageError` if it is no id of a run."""
        from windlass.workflows.run import Run

        return Run(self._client, from_text(id))
