"""The listener's protocol: uvicorn's own, with a short way for the hottest requests.

A request is taken out of the ordinary way only when it stands alone on its connection, has been read whole, is small
and of plain HTTP/1.1 form; everything else — other paths, chunked bodies, ``Expect``, upgrades, requests behind one
that is still being answered — is the ordinary protocol's from its first byte. And a request that `FastCheck` does
not answer is handed over as if it had never been looked at.
"""

import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.access import AccessLog
from api.fast_check import CHECK_PATH, FastCheck

_BODY_BYTES_MAX = 64 * 1024
_PATH = CHECK_PATH.encode()
_OURS_NOT = frozenset({b"expect", b"transfer-encoding", b"upgrade", b"dpop", b"te"})
_HEAD = b"HTTP/1.1 200 OK\r\n"


class FastProtocol(HttpToolsProtocol):
    """See the module. ``door`` and ``log`` are given by `fast_protocol`."""

    door: FastCheck
    log: AccessLog

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._fast: list[bytes] | None = None

    def on_headers_complete(self) -> None:
        """Its head was read: whose is it?"""
        if self.url == _PATH and (self.cycle is None or self.cycle.response_complete) and self._is_plain():
            self._fast = []
            self._started = time.perf_counter()
        else:
            super().on_headers_complete()

    def _is_plain(self) -> bool:
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return False
        length = b""
        names = [name for name, _ in self.headers]
        for name, value in self.headers:
            if name == b"content-length":
                length = value
            elif name in _OURS_NOT or name.startswith(b"grpc-"):
                return False
        return (
            length.isdigit()
            and int(length) <= _BODY_BYTES_MAX
            and names.count(b"authorization") == 1
            and names.count(b"tessera-store") <= 1
            and self.parser.should_keep_alive()
            and not self.flow.write_paused
            and not self.parser.should_upgrade()
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
        headers = dict(self.headers)
        store = headers.get(b"tessera-store")
        answer = self.door.answer(
            headers[b"authorization"].decode("latin-1"), None if store is None else store.decode("latin-1"), body
        )
        if answer is None:
            super().on_headers_complete()
            super().on_body(body)
            super().on_message_complete()
            return
        request_id = self.log.request_id(headers)
        head = [_HEAD]
        for name, value in self.server_state.default_headers:
            head += (name, b": ", value, b"\r\n")
        head.append(
            b"content-type: application/json\r\ngrpc-metadata-content-type: application/grpc\r\n"
            b"content-length: %d\r\nx-request-id: %b\r\n\r\n" % (len(answer.body), request_id.encode("latin-1"))
        )
        head.append(answer.body)
        self.transport.write(b"".join(head))
        self.server_state.total_requests += 1
        facts: dict[str, Any] = {"request_id": request_id, "caller": answer.caller, "decision": answer.has}
        self.log.finish(CHECK_PATH, "POST", headers, 200, time.perf_counter() - self._started, facts)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


def fast_protocol(door: FastCheck, log: AccessLog) -> type[FastProtocol]:
    """A protocol class over these."""
    return type("FastProtocol", (FastProtocol,), {"door": door, "log": log})
