"""Spans of OpenTelemetry: for each job that is enqueued, each attempt, and what they ask of the store.

Names are those of the semantic conventions for messaging and databases (opentelemetry-semantic-conventions 0.66b2).
They are written out here, since that package is no dependency of the API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from windlass.context import Current, Middleware
from windlass.core.ids import to_text
from windlass.engine.wrapped_store import Verb, WrappedStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextvars import Token

    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from windlass.store.port import Store

MOST_LINKS = 100
"""Of a step to those that it waits for; beyond some more the SDK drops them."""
MOST_REMEMBERED = 10_000
"""Steps whose spans are remembered for those that are linked to them."""
MOST_BAGGAGE = 1024
"""Bytes of baggage that travel with a job; what is larger stays behind, and the trace goes on without it."""
_SYSTEMS = {"postgres": "postgresql", "rediss": "redis", "unix": "redis", "valkey": "redis", "valkeys": "redis"}
"""URL schemes whose database has another name in the conventions."""
_W3C = TraceContextTextMapPropagator()
_NOWHERE = Context()
"""No span and no baggage. Contexts are never changed, so one is enough."""


class Here(NamedTuple):
    """The context in which somebody enqueues, and how it stands to traces."""

    context: Context
    in_trace: bool
    sampled: bool


class Came(NamedTuple):
    """What a job brought along."""

    headers: dict[str, str]
    context: Context
    unsampled: Span | None
    """Who enqueued it, if that trace is not sampled: then so are the attempts, as samplers decide that heed their
    parents. To ask them costs more than many tasks."""


_NOTHING = Came({}, _NOWHERE, None)


class Tracing(Middleware):
    """Makes the spans of one app. It is the first of the middleware, so that the other hooks run inside the span.

    Args:
        provider: makes the tracer; ``None``: the global one, whenever it is set.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("windlass", tracer_provider=provider)
        self._open: dict[Current, tuple[Span, Token[Context]]] = {}
        self._steps: dict[bytes, SpanContext] = {}
        """Spans of steps that were created lately, by job: a run's steps are stored one after the other."""
        self._here = Here(_NOWHERE, in_trace=False, sampled=False)
        self._came = _NOTHING

    def here(self) -> Here:
        """How a job that is enqueued here and now stands to traces: the same object for as long as nobody enters or
        leaves a span, or changes the baggage, since contexts are never changed."""
        context = get_current()
        here = self._here
        if here.context is not context:
            said = trace.get_current_span(context).get_span_context()
            here = self._here = Here(context, in_trace=said.is_valid, sampled=said.trace_flags.sampled)
        return here

    def created(
        self, task: str, queue: str, job_id: bytes | None, headers: dict[str, str], parents: Sequence[bytes] = ()
    ) -> None:
        """Make the span of a job that is about to be stored, and have its context travel in ``headers``. It has links
        to the spans of its ``parents``, which a step of a workflow waits for. Where the trace is not sampled there is
        only the context, the same for all jobs. Only in a trace."""
        if not self.here().sampled:
            _inject(headers, None)
            return
        attributes = _messaging("create", task, queue)
        if job_id is not None:
            attributes["messaging.message.id"] = to_text(job_id)
        links = [Link(self._steps[one]) for one in parents if one in self._steps][:MOST_LINKS]
        span = self._tracer.start_span(f"create {queue}", kind=SpanKind.PRODUCER, attributes=attributes, links=links)
        if job_id is not None and parents:
            if len(self._steps) >= MOST_REMEMBERED:
                self._steps.clear()
            self._steps[job_id] = span.get_span_context()
        _inject(headers, trace.set_span_in_context(span))
        span.end()

    def before(self, attempt: Current, headers: dict[str, str]) -> None:
        """Begin the span of an attempt, as a child of the job's: whatever context the worker itself was started in."""
        came = self._read(headers) if headers else _NOTHING
        span = self._begin(attempt, came)
        context = came.context if span is came.unsampled else trace.set_span_in_context(span, came.context)
        self._open[attempt] = span, attach(context)

    def _read(self, headers: dict[str, str]) -> Came:
        """What propagators make of them. The last answer is remembered: to read them takes longer than the rest, and
        jobs that were enqueued together in a trace that is not sampled have all the same."""
        came = self._came
        if came.headers != headers:
            context = propagate.extract(headers, _NOWHERE)
            parent = trace.get_current_span(context)
            said = parent.get_span_context()
            unsampled = said.is_valid and not said.trace_flags.sampled
            came = self._came = Came(headers.copy(), context, parent if unsampled else None)
        return came

    def _begin(self, attempt: Current, came: Came) -> Span:
        if came.unsampled is not None:
            return came.unsampled
        links = () if attempt.failed_span is None else _links_to(attempt.failed_span)
        span = self._tracer.start_span(f"process {attempt.queue}", came.context, SpanKind.CONSUMER, links=links)
        if span.is_recording():
            attempt.span = _traceparent(span.get_span_context())
            span.set_attributes(_messaging("process", attempt.task, attempt.queue))
            span.set_attributes({"messaging.message.id": attempt.job_id, "windlass.attempt": attempt.attempt})
            if (run := attempt.run) is not None:
                span.set_attribute("messaging.message.conversation_id", run)
        return span

    def failed(self, attempt: Current, error: BaseException, *, dead: bool) -> None:
        """Say in the span why the attempt failed. One whose process died has left no span: it gets one now."""
        opened = self._open.get(attempt)
        span = self._begin(attempt, self._read(attempt.headers)) if opened is None else opened[0]
        if span.is_recording():
            kind = type(error)
            span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))
            span.set_attribute("windlass.dead", dead)
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, str(error)))
        if opened is None:
            span.end()

    def after(self, attempt: Current, error: BaseException | None) -> None:  # noqa: ARG002 - `failed` has said it
        """End the span."""
        opened = self._open.pop(attempt, None)
        if opened is not None:  # it was cancelled before its first step
            span, token = opened
            span.end()
            detach(token)

    def traced(self, store: Store) -> Store:
        """The same store, with a span for each verb that is called where a span is being recorded."""
        return cast("Store", _TracedStore(store, self._tracer))


class _TracedStore(WrappedStore):
    """A store whose verbs make spans."""

    def __init__(self, store: Store, tracer: Tracer) -> None:
        super().__init__(store)
        self._tracer = tracer
        scheme = store.url.partition(":")[0]
        self._system = _SYSTEMS.get(scheme, scheme)

    def around(self, name: str, verb: Verb) -> Verb:
        """Make a span of it, where one is being recorded."""
        attributes: dict[str, AttributeValue] = {"db.system.name": self._system, "db.operation.name": name}

        async def traced(*args: Any, **kwargs: Any) -> Any:
            if not trace.get_current_span().is_recording():
                return await verb(*args, **kwargs)
            kind, said = SpanKind.CLIENT, f"{name} {self._system}"
            with self._tracer.start_as_current_span(said, kind=kind, attributes=attributes):
                return await verb(*args, **kwargs)

        return traced


def _traceparent(span: SpanContext) -> str:
    return f"00-{trace.format_trace_id(span.trace_id)}-{trace.format_span_id(span.span_id)}-{span.trace_flags:02x}"


def _links_to(traceparent: str) -> list[Link]:
    context = _W3C.extract({"traceparent": traceparent}, _NOWHERE)
    span = trace.get_current_span(context).get_span_context()
    return [Link(span)] if span.is_valid else []


def _inject(headers: dict[str, str], context: Context | None) -> None:
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    if len(carrier.get("baggage", "")) > MOST_BAGGAGE:
        del carrier["baggage"]
    headers.update(carrier)


def _messaging(operation: str, task: str, queue: str) -> dict[str, AttributeValue]:
    return {
        "messaging.system": "windlass",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": queue,
        "windlass.task": task,
    }
