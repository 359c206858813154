"""The listener's protocol: uvicorn's own, with a short way for the hottest requests.

A request is taken out of the ordinary way only when it stands alone on its connection, has been read whole, is not
large and of plain HTTP/1.1 form; everything else — other paths, chunked bodies, ``Expect``, upgrades, requests behind
one that is still being answered — is the ordinary protocol's from its first byte. And a request that `FastChecks`
does not answer is handed over as if it had never been looked at.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.access import AccessLog
from api.fast_check import BULK_PATH, CHECK_PATH, FastAnswer, FastChecks

_BODY_BYTES_MAX = 512 * 1024
Door: TypeAlias = Callable[[str | None, str | None, bytes], FastAnswer | None]
_OURS_NOT = frozenset({b"expect", b"transfer-encoding", b"upgrade", b"dpop", b"te", b"connection"})
_KNOWN = frozenset({b"content-length", b"authorization", b"tessera-store", b"x-request-id", b"traceparent"})
_HEAD = b"HTTP/1.1 200 OK\r\n"
_TYPES = b"content-type: application/json\r\ngrpc-metadata-content-type: application/grpc\r\n"


class FastProtocol(HttpToolsProtocol):
    """See the module. ``doors`` and ``log`` are given by `fast_protocol`."""

    doors: Mapping[bytes, Door]
    log: AccessLog

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._fast: list[bytes] | None = None
        self._known: dict[bytes, bytes] = {}
        self._started = 0.0
        self._answered_at = 0.0
        self._watched = False
        # the head that answers share, and the server's default headers that it was made from
        self._head = _HEAD
        self._head_made_from: object = None

    def on_message_begin(self) -> None:
        """A request starts. What only the ordinary way needs is made when it is known that it is one."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._fast = None

    def on_headers_complete(self) -> None:
        """Its head was read: whose is it?"""
        if self.url in self.doors and (self.cycle is None or self.cycle.response_complete) and self._is_plain():
            self._fast = []
            self._started = time.perf_counter()
        else:
            self._begin_ordinary()

    def _begin_ordinary(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def _is_plain(self) -> bool:
        """Whether nothing in the head is beyond what is done here; notes what is needed of it."""
        known: dict[bytes, bytes] = {}
        for name, value in self.headers:
            if name in _KNOWN:
                if name in known:
                    return False
                known[name] = value
            elif name in _OURS_NOT or name.startswith(b"grpc-"):
                return False
        self._known = known
        length = known.get(b"content-length", b"")
        parser = self.parser
        return (
            b"authorization" in known
            and length.isdigit()
            and int(length) <= _BODY_BYTES_MAX
            and not self.flow.write_paused
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not parser.should_upgrade()
        )

    def on_body(self, body: bytes) -> None:
        """A part of its body was read."""
        if self._fast is None:
            super().on_body(body)
        else:
            self._fast.append(body)

    def on_message_complete(self) -> None:
        """It was read whole."""
        parts = self._fast
        if parts is None:
            super().on_message_complete()
            return
        self._fast = None
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        known = self._known
        store = known.get(b"tessera-store")
        answer = self.doors[self.url](
            known[b"authorization"].decode("latin-1"), None if store is None else store.decode("latin-1"), body
        )
        if answer is None:
            self._begin_ordinary()
            super().on_body(body)
            super().on_message_complete()
            return
        request_id = self.log.request_id(known)
        if self._head_made_from is not self.server_state.default_headers:
            self._make_head()
        self.transport.write(
            b"%bcontent-length: %d\r\nx-request-id: %b\r\n\r\n%b"
            % (self._head, len(answer.body), request_id.encode("latin-1"), answer.body)
        )
        self.server_state.total_requests += 1
        facts: dict[str, Any] = {"request_id": request_id, "caller": answer.caller, "decision": answer.has}
        self.log.finish(self.url.decode(), "POST", known, 200, time.perf_counter() - self._started, facts)
        self._answered_at = self.loop.time()
        if not self._watched:
            self._watched = True
            self.loop.call_later(self.timeout_keep_alive, self._close_when_idle)

    def _close_when_idle(self) -> None:
        """What uvicorn's timer does after each answer, with one timer for as many as come before it rings."""
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if answering or self._fast is not None or self.timeout_keep_alive_task is not None:
            left = self.timeout_keep_alive  # a request is under way, or uvicorn's own timer runs
        if left > 0:
            self.loop.call_later(left, self._close_when_idle)
        else:
            self.transport.close()

    def _make_head(self) -> None:
        self._head_made_from = self.server_state.default_headers
        lines = [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        self._head = b"".join([_HEAD, *lines, _TYPES])


def fast_protocol(checks: FastChecks, log: AccessLog) -> type[FastProtocol]:
    """A protocol class over these."""
    doors = {CHECK_PATH.encode(): checks.check, BULK_PATH.encode(): checks.bulk}
    return type("FastProtocol", (FastProtocol,), {"doors": doors, "log": log})
