"""Measurements in the Prometheus text form, of one server."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from isthmus.api.vitals import VitalsCollector

_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """The server's own registry: two servers in one process do not disturb each other."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.vitals = VitalsCollector()
        self.registry.register(self.vitals)
        self._requests = Counter(
            "isthmus_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "isthmus_http_request_seconds", "Time to answer.", ("route",), buckets=_BUCKETS_S, registry=self.registry
        )
        self._counters: dict[tuple[str, str, int], Counter] = {}  # one look each, not one a request
        self._histograms: dict[str, Histogram] = {}
        self._proxied = Counter(
            "isthmus_proxy_attempts", "Requests sent to vendors by the proxy, repeats included.", registry=self.registry
        )
        self._refused = Counter(
            "isthmus_keys_refused", "Requests without a usable key.", ("reason",), registry=self.registry
        )
        self._deprecated = Counter(
            "isthmus_deprecated_requests", "Requests to routes that will go.", ("route",), registry=self.registry
        )
        self.active_runs = Gauge("isthmus_runs_active", "Runs queued or under way.", registry=self.registry)
        self.destinations_behind = Gauge(
            "isthmus_destinations_pending", "Destinations with changes that wait to be delivered.",
            registry=self.registry,
        )  # fmt: skip

    def request(self, method: str, route: str, status: int, elapsed_s: float) -> None:
        """Count an answer. Routes are templates, so that the number of series stays small."""
        of_request = (method if method in METHODS else "other", route, status)
        counter = self._counters.get(of_request)
        if counter is None:
            counter = self._counters[of_request] = self._requests.labels(*map(str, of_request))
        histogram = self._histograms.get(route)
        if histogram is None:
            histogram = self._histograms[route] = self._seconds.labels(route)
        counter.inc()
        histogram.observe(elapsed_s)

    def proxied(self, attempts: int) -> None:
        """Count what the proxy sent."""
        self._proxied.inc(attempts)

    def deprecated(self, route: str) -> None:
        """Count a request to a route that will go."""
        self._deprecated.labels(route).inc()

    def refused(self, reason: str) -> None:
        """Count a request without a usable key."""
        self._refused.labels(reason).inc()

    def text(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self.registry)
