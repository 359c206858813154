"""Around every gRPC call: its id, its trace, its log line and its metrics, as over HTTP."""

import itertools
import secrets
import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from api.access import BUCKETS_S, REQUEST_ID, TRACEPARENT, RequestLog
from api.methods import Method
from api.statuses import Code

_FACTS = ("caller", "reason", "decision", "revision")


class GrpcMetrics:
    """Counts and times of gRPC calls by method."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            "tessera_grpc_calls_total", "gRPC calls answered.", ["method", "code"], registry=registry
        )
        self.seconds = Histogram(
            "tessera_grpc_call_duration_seconds",
            "Time from a call's beginning to its status.",
            ["method"],
            buckets=BUCKETS_S,
            registry=registry,
        )


class Observed:
    """One call under way. It ends as ``code`` says, CANCELLED where nobody said anything."""

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.started = time.perf_counter()
        self.code = Code.CANCELLED
        self.facts: dict[str, Any] = {}


class GrpcAccess:
    """Begins and ends the observation of calls."""

    def __init__(self, metrics: GrpcMetrics, log: RequestLog) -> None:
        self._metrics = metrics
        self._log = log
        self._counter = itertools.count()
        self._process = secrets.token_hex(6)

    def begin(self, headers: Mapping[str, str]) -> Observed:
        """A call has come; it has the caller's own id, or a new one."""
        given = headers.get("x-request-id", "")
        return Observed(given if REQUEST_ID.fullmatch(given) else f"{self._process}g{next(self._counter):08x}")

    def finish(self, method: Method, headers: Mapping[str, str], observed: Observed) -> None:
        """It has ended."""
        seconds = time.perf_counter() - observed.started
        self._metrics.calls.labels(method.name, observed.code.name).inc()
        self._metrics.seconds.labels(method.name).observe(seconds)
        if not self._log.enabled:
            return
        facts: dict[str, Any] = {
            "component": "grpc",
            "request_id": observed.request_id,
            "method": f"/{method.service}/{method.name}",
            "code": observed.code.name,
            "duration_ms": round(seconds * 1000, 3),
        }
        if trace := TRACEPARENT.fullmatch(headers.get("traceparent", "")):
            facts["trace_id"], facts["span_id"] = trace[1], trace[2]
        facts.update((name, observed.facts[name]) for name in _FACTS if observed.facts.get(name) is not None)
        self._log.write(facts)
