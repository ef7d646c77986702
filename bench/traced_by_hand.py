"""Tracing as a user would write it: the SDK's own calls for each attempt, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import SpanKind, set_span_in_context

from windlass import Current, Middleware

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.trace import Span, TracerProvider

_NOWHERE = Context()


class ByHand(Middleware):
    """Begins a trace with each attempt. It reads no headers, and says nothing of the job."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("bench")
        self._open: dict[Current, tuple[Span, Token[Context]]] = {}

    def before(self, attempt: Current, headers: dict[str, str]) -> None:  # noqa: ARG002 - it does without
        """Ask the SDK for a span, and make it the current one."""
        span = self._tracer.start_span("process default", _NOWHERE, SpanKind.CONSUMER)
        self._open[attempt] = span, attach(set_span_in_context(span, _NOWHERE))

    def after(self, attempt: Current, error: BaseException | None) -> None:  # noqa: ARG002 - it does without
        """End it."""
        span, token = self._open.pop(attempt)
        span.end()
        detach(token)
