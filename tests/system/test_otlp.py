"""Traces as a collector gets them: from a producer and real workers, over OTLP."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.system.supervised import Supervised, wait_until, worker_command
from windlass import App, Retry

SHOP = """\
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from windlass import App, Retry, current

provider = TracerProvider(resource=Resource.create({"service.name": "worker"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=100))
trace.set_tracer_provider(provider)

app = App("sqlite:///jobs.db", tracing=True)


@app.task(name="charge", queue="payments", retry=Retry(attempts=2, delay=0.01))
async def charge(order: int) -> None:
    if current().attempt == 1:
        raise TimeoutError("no answer")
    await mail.enqueue(order)


@app.task(name="mail", queue="mails")
def mail(order: int) -> None:
    with trace.get_tracer("shop").start_as_current_span("template"):
        pass
"""


FRAGILE = """\
import os
import signal

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from windlass import App, Retry, current

provider = TracerProvider(resource=Resource.create({"service.name": str(os.getpid())}))
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)

app = App("sqlite:///jobs.db", tracing=True)


@app.task(name="forge", executor="process", retry=Retry(attempts=4, delay=0))
def forge() -> None:
    if current().attempt in (1, 3):
        raise TimeoutError("no answer")
    if current().attempt == 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Collector:
    """Takes spans over OTLP, as protobuf over HTTP."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        """Each with the name of the service that sent it."""
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (service,) = (one.value.string_value for one in resource.resource.attributes if one.key == "service.name")
            with self._lock:
                self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        """The spans of that name, in the order in which they began."""
        with self._lock:
            found = [span for _, span in self.spans if span.name == name]
        return sorted(found, key=lambda span: span.start_time_unix_nano)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@contextmanager
def producing(collector: Collector, folder: Path) -> Iterator[tuple[App, TracerProvider]]:
    provider = TracerProvider(resource=Resource.create({"service.name": "site"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
    yield App(f"sqlite:///{folder}/jobs.db", tracing=provider), provider
    provider.shutdown()


def test_a_collector_sees_one_trace_from_the_request_to_what_its_jobs_enqueued(
    collector: Collector, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    with (
        Supervised(worker_command("--app", "shop:app"), tmp_path, environment) as worker,
        producing(collector, tmp_path) as (app, provider),
    ):
        worker.ready()

        @app.task(name="charge", queue="payments", retry=Retry(attempts=2, delay=0.01))
        async def charge(order: int) -> None: ...

        async def buy() -> None:
            with provider.get_tracer("site").start_as_current_span("checkout"):
                await charge.enqueue(7)
            await app.aclose()

        asyncio.run(buy())
        wait_until(lambda: len(collector.named("template")) == 1, "the last span of the trace")
        wait_until(lambda: len(collector.named("process mails")) == 1, "its parent")
        wait_until(lambda: len(collector.named("process payments")) == 2, "the attempts")
    (checkout,), (job,) = collector.named("checkout"), collector.named("create payments")
    failed, succeeded = collector.named("process payments")
    (mail,), (sent,), (template,) = (collector.named(name) for name in ("create mails", "process mails", "template"))
    parents = [(job, checkout), (failed, job), (succeeded, job), (mail, succeeded), (sent, mail), (template, sent)]
    for span, parent in parents:
        assert span.parent_span_id == parent.span_id
        assert span.trace_id == checkout.trace_id
    assert failed.status.code == failed.status.STATUS_CODE_ERROR
    assert [event.name for event in failed.events] == ["exception"]
    assert succeeded.status.code != succeeded.status.STATUS_CODE_ERROR
    services = {span.name: service for service, span in collector.spans}
    assert (services["create payments"], services["process payments"]) == ("site", "worker")


def test_a_retry_is_linked_to_the_attempt_that_failed_in_another_process(collector: Collector, tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(FRAGILE)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    command = worker_command("--app", "fragile:app", "--max-jobs-per-child", "1")
    with Supervised(command, tmp_path, environment) as worker, producing(collector, tmp_path) as (app, _):
        worker.ready()

        @app.task(name="forge")
        def forge() -> None: ...

        async def order() -> None:
            await forge.enqueue()
            await app.aclose()

        asyncio.run(order())
        wait_until(lambda: len(collector.named("process default")) == 4, "the attempts")
    attempts = collector.named("process default")
    links = [[link.span_id for link in span.links] for span in attempts]
    assert links == [[], *([span.span_id] for span in attempts[:3])]
    assert len({service for service, span in collector.spans if span.name == "process default"}) == 4
