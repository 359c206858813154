"""Around every HTTP request: its id, its trace, its log line and its metrics."""

import re
import secrets
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.logs import get_logger

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class HttpMetrics:
    """Counts and times of HTTP requests by route, never by id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "tessera_http_requests_total", "HTTP requests answered.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "tessera_http_request_duration_seconds",
            "Time from a request's head to its answer's end.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.in_progress = Gauge(
            "tessera_http_requests_in_progress", "HTTP requests being answered.", registry=registry
        )


class AccessLog:
    """ASGI middleware: gives a request its id, and tells when it is answered."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, routes: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes
        self._log = get_logger("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 499

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode("latin-1"))]
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._metrics.in_progress.dec()
            self._finish(scope, headers, status, time.perf_counter() - started)

    def _finish(self, scope: Scope, headers: dict[bytes, bytes], status: int, seconds: float) -> None:
        path = scope["path"]
        route = path if path in self._routes else "other"
        self._metrics.requests.labels(route, scope["method"], status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        state = scope["state"]
        facts = {
            "request_id": state["request_id"],
            "method": scope["method"],
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
        }
        trace = _TRACEPARENT.fullmatch(headers.get(b"traceparent", b"").decode("latin-1"))
        if trace:
            facts["trace_id"], facts["span_id"] = trace[1], trace[2]
        for name in ("caller", "code", "reason", "decision", "revision"):
            if state.get(name) is not None:
                facts[name] = state[name]
        self._log.info("request", **facts)
