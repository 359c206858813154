"""Around every HTTP request: its id, its trace, its log line and its metrics."""

import asyncio
import itertools
import os
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_FACTS = ("caller", "code", "reason", "decision", "revision")
_GATHER_SECONDS = 0.01
_GATHER_LINES = 500
BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


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
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.in_progress = Gauge(
            "tessera_http_requests_in_progress", "HTTP requests being answered.", registry=registry
        )


class RequestLog:
    """Log lines of requests: JSON, gathered for a moment and written together, since there may be very many."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._second = 0
        self._stamp = ""
        self.enabled = True

    def write(self, facts: Mapping[str, Any]) -> None:
        """Log a request."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        micros = int((now - second) * 1_000_000)
        line = {"component": "http", **facts, "event": "request", "level": "info"}
        line["timestamp"] = f"{self._stamp}.{micros:06d}Z"
        if not self._lines:
            asyncio.get_running_loop().call_later(_GATHER_SECONDS, self.flush)
        self._lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        if len(self._lines) >= _GATHER_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        data, self._lines = b"".join(self._lines), []
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                return  # nobody reads the log any more; that must not stop the answers


class AccessLog:
    """ASGI middleware: gives a request its id, and tells when it is answered."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, routes: frozenset[str], log: RequestLog) -> None:
        self._app = app
        self._metrics = metrics
        self._routes = routes
        self._log = log
        self._counter = itertools.count()
        self._process = secrets.token_hex(6)
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = self.request_id(headers)
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
            path = scope["path"]
            route = path if path in self._routes else "other"
            self.finish(route, scope["method"], headers, status, time.perf_counter() - started, state)

    def request_id(self, headers: Mapping[bytes, bytes]) -> str:
        """The caller's own id for a request, or a new one."""
        given = headers.get(b"x-request-id")
        if given is not None:
            text = given.decode("latin-1")
            if REQUEST_ID.fullmatch(text):
                return text
        return f"{self._process}{next(self._counter):08x}"

    def finish(
        self,
        route: str,
        method: str,
        headers: Mapping[bytes, bytes],
        status: int,
        seconds: float,
        state: Mapping[str, Any],
    ) -> None:
        """Count an answered request and log it."""
        key = (route, method, status)
        children = self._children.get(key)
        if children is None:
            children = self._children[key] = (
                self._metrics.requests.labels(route, method, status),
                self._metrics.seconds.labels(route),
            )
        children[0].inc()
        children[1].observe(seconds)
        if not self._log.enabled:
            return
        facts: dict[str, Any] = {
            "request_id": state["request_id"],
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 3),
        }
        traceparent = headers.get(b"traceparent")
        if traceparent is not None and (trace := TRACEPARENT.fullmatch(traceparent.decode("latin-1"))):
            facts["trace_id"], facts["span_id"] = trace[1], trace[2]
        for name in _FACTS:
            value = state.get(name)
            if value is not None:
                facts[name] = value
        self._log.write(facts)
