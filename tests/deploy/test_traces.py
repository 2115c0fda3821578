"""Traces as a collector on this machine receives them: what is inside what, and nothing that must not leave."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.api_server import Served, serving
from tests.hub_fixtures import US_ID, House

from isthmus.kernel.tracing import ALLOWED, parse_traceparent, span, trace_now, traced_by
from isthmus.telemetry import telemetry

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


class Collector:
    """An OTLP receiver."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.requests = 0
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                mine.requests += 1
                export = ExportTraceServiceRequest.FromString(body)
                mine.spans += [each for res in export.resource_spans for part in res.scope_spans for each in part.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def environ(self) -> dict[str, str]:
        """What leads here."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_address[1]}"}

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def named(self, name: str) -> list[Any]:
        """The spans of a name."""
        return [each for each in self.spans if each.name == name]

    def inside(self, outer: Any) -> set[str]:
        """The names of everything below a span."""
        found = {each.name for each in self.spans if each.parent_span_id == outer.span_id}
        for each in self.spans:
            if each.parent_span_id == outer.span_id:
                found |= self.inside(each)
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector until the end of the test."""
    running = Collector()
    yield running
    running.close()


def _attributes(each: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in each.attributes}


async def _work(served: Served) -> dict[str, Any]:
    """A connection, a read, a write and a proxied call, by one caller with a trace of its own."""
    client = await served.client()
    client.headers["traceparent"] = CALLER
    connection = await served.connect(client)
    await served.synced(client, connection["id"], "customers")
    body = {"verb": "create", "object": "customers", "company": US_ID, "body": {"displayName": "Canary GmbH"}}
    wrote = await client.post(f"/v1/connections/{connection['id']}/operations", json=body)
    assert wrote.status_code < 300, wrote.text
    proxied = await client.get(
        "/v1/proxy/companies?$filter=name eq 'canary-query'", headers={"isthmus-connection": connection["id"]}
    )
    assert proxied.status_code < 500, proxied.text
    answer = await client.get("/v1/syncs")
    return {"request_id": answer.headers["x-request-id"]}


async def test_spans_tell_what_is_inside_what_nothing_that_must_not_leave_and_no_vendor_hears_of_the_trace(
    house: House, collector: Collector
) -> None:
    with telemetry(collector.environ):
        async with serving(house) as served:
            told = await _work(served)

    requests = [each for each in collector.named("request") if each.trace_id.hex() == TRACE]
    by_route = {_attributes(each)["http.route"]: each for each in requests}
    write = by_route["/v1/connections/{connection_id}/operations"]
    assert "operation" in collector.inside(write)
    assert any(name.startswith("vendor") for name in collector.inside(collector.named("operation")[0]))
    [run] = collector.named("run")
    assert {"page"} <= collector.inside(run)
    assert any(name.startswith("vendor") for name in collector.inside(run))
    ids = [_attributes(each)["isthmus.request_id"] for each in requests]
    assert told["request_id"] in ids
    assert all(each.parent_span_id.hex() == "b7ad6b7169203331" for each in requests)

    everything = repr(collector.spans)
    assert {pair.key for each in collector.spans for pair in each.attributes} <= ALLOWED
    for canary in ("canary", "Canary", "$filter", "Bearer", "isk_", "client_secret", "/v2.0/", "https://"):
        assert canary not in everything, canary

    assert house.requests()
    assert TRACE not in repr(house.requests())
    assert "traceparent" not in repr(house.requests()).lower()


async def test_a_failure_is_told_by_its_code_alone(collector: Collector) -> None:
    def broken() -> None:
        with span("work", {"secret": "canary"}):
            assert trace_now()
            raise ValueError("canary")

    with telemetry(collector.environ), pytest.raises(ValueError, match="canary"):
        broken()

    [work] = collector.named("work")
    assert _attributes(work) == {"error.type": "ValueError"}
    assert work.status.code == 2
    assert not work.events


def test_without_the_variable_nothing_is_taken() -> None:
    with telemetry({}), span("work") as nothing:
        assert (nothing.trace_id, trace_now()) == ("", "")


def test_without_the_extra_the_process_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with telemetry({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}), span("work") as nothing:
        assert nothing.trace_id == ""
    assert "isthmus[otel]" in caplog.text


def test_a_collector_that_is_away_holds_nothing_up() -> None:
    with telemetry({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}), span("work"):
        pass
    with traced_by(None), span("more") as nothing:
        assert nothing.trace_id == ""


@pytest.mark.parametrize(
    "text",
    ["", "junk", "00-" + "0" * 32 + "-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01", CALLER.upper(), CALLER + "-x"],
)
def test_a_context_that_is_none_is_not_followed(text: str) -> None:
    assert parse_traceparent(text) is None


def test_a_context_tells_whether_it_is_sampled() -> None:
    parent = parse_traceparent(CALLER)
    assert parent is not None
    assert (parent.trace_id, parent.sampled) == (TRACE, True)
    unsampled = parse_traceparent(CALLER[:-1] + "0")
    assert unsampled is not None
    assert not unsampled.sampled
