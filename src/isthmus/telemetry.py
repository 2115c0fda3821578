"""Traces by OpenTelemetry: spans of `kernel.tracing`, sent where `OTEL_EXPORTER_OTLP_ENDPOINT` says (OTLP over HTTP).

Off unless that variable is set. It needs the extra `otel`; without it the process says so once and goes on. The other
variables of OpenTelemetry (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` …) are read by its own library. Contexts
of callers are followed; none is ever sent to a vendor.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from isthmus.kernel.tracing import ALLOWED, Kind, Parent, Span, Value, shown, traced_by

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"

EXPORT_TIMEOUT_S: Final = 5
"""A collector that is away holds up the end of a process for no longer."""

QUEUE_MAX: Final = 4_096
"""Spans that wait to be sent; later ones are dropped, because traces must never slow the work."""

_log = logging.getLogger(__name__)


@contextmanager
def telemetry(environ: Mapping[str, str]) -> Iterator[None]:
    """Traces are taken until the block ends, if the environment asks for them."""
    provider = _provider(environ)
    if provider is None:
        yield
        return
    from isthmus.kernel.version import VERSION

    try:
        with traced_by(OpenTelemetryTracer(provider.get_tracer("isthmus", VERSION))):
            yield
    finally:
        provider.shutdown()


def _provider(environ: Mapping[str, str]) -> TracerProvider | None:
    if not (environ.get(ENDPOINT) or environ.get(TRACES_ENDPOINT)):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("%s is set, but the extra is missing: pip install 'isthmus[otel]'. No traces are sent.", ENDPOINT)
        return None
    from isthmus.kernel.version import VERSION

    service = {"service.name": environ.get("OTEL_SERVICE_NAME") or "isthmus", "service.version": VERSION}
    provider = TracerProvider(resource=Resource.create(service), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=_address(environ), timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=QUEUE_MAX, export_timeout_millis=EXPORT_TIMEOUT_S * 1_000)
    )
    return provider


def _address(environ: Mapping[str, str]) -> str:
    return environ.get(TRACES_ENDPOINT) or environ[ENDPOINT].rstrip("/") + "/v1/traces"


class OpenTelemetryTracer:
    """Gives spans to OpenTelemetry. Fits `kernel.tracing.Tracer`."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def span(self, name: str, kind: Kind, attributes: Mapping[str, Value], parent: Parent | None) -> Iterator[Span]:
        """A span around a block."""
        from opentelemetry import trace

        kinds = {Kind.SERVER: trace.SpanKind.SERVER, Kind.CLIENT: trace.SpanKind.CLIENT}
        with self._tracer.start_as_current_span(
            name,
            context=_context(parent),
            kind=kinds.get(kind, trace.SpanKind.INTERNAL),
            attributes={key: shown(value) for key, value in attributes.items() if key in ALLOWED},
            record_exception=False,  # messages and stacks may hold what a customer wrote
            set_status_on_exception=False,
        ) as begun:
            yield _Begun(begun)


class _Begun:
    """A span of OpenTelemetry that takes only what is allowed."""

    def __init__(self, begun: trace.Span) -> None:
        self._begun = begun

    @property
    def trace_id(self) -> str:
        return f"{self._begun.get_span_context().trace_id:032x}"

    def set(self, name: str, value: Value) -> None:
        if name in ALLOWED:
            self._begun.set_attribute(name, shown(value))

    def fail(self, kind: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._begun.set_attribute("error.type", shown(kind))
        self._begun.set_status(Status(StatusCode.ERROR))


def _context(parent: Parent | None) -> Any:
    """The caller's context; None is the one that is under way here."""
    if parent is None:
        return None
    from opentelemetry import trace

    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT)
    place = trace.SpanContext(
        trace_id=int(parent.trace_id, 16), span_id=int(parent.span_id, 16), is_remote=True, trace_flags=flags
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(place))
