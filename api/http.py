"""The v1 API over HTTP: a request's bytes in, an answer's bytes out, and the ASGI shell around that.

Order of what is looked at: path and method, size of the body, JSON, credential, field rules, scope, store, then the
method itself. Unary errors are a ``google.rpc.Status``; a stream's error stands in ``{"error": …}``.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from google.protobuf.message import Message
from starlette.types import Receive, Scope, Send

from api import protojson
from api.auth import Authenticator, Caller, require_scope
from api.fields import validate
from api.logs import log_bug
from api.methods import Call, Streaming, Unary
from api.statuses import ApiError, Code, Status, status_of
from pdp.service import Pdp

BODY_BYTES_MAX = 4 * 1024 * 1024
DEFAULT_STORE = "default"
_JSON = (b"content-type", b"application/json")
_GATEWAY = (b"grpc-metadata-content-type", b"application/grpc")

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """What a door needs of an HTTP request. Header names are lower case."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Answer:
    """An HTTP answer: a whole body, or a stream of chunks."""

    status: int
    headers: Headers
    body: bytes = b""
    chunks: AsyncIterator[bytes] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """What the access log should tell of it."""


class BodyTooLarge(ApiError):
    """A body above the limit (413)."""

    def __init__(self) -> None:
        super().__init__(Status(Code.RESOURCE_EXHAUSTED, f"the body is larger than {BODY_BYTES_MAX} bytes"))


def error_answer(error: Exception, *, streaming: bool = False) -> Answer:
    """What a caller is told of an error; what is not ours to raise is a bug, logged and not described."""
    status = status_of(error)
    if status is None:
        log_bug(error)
        status = Status(Code.INTERNAL, "internal error")
    headers: Headers = [_JSON]
    http_status = 413 if isinstance(error, BodyTooLarge) else status.http_status
    if http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status.retry_after_s is not None:
        headers.append((b"retry-after", str(status.retry_after_s).encode()))
    body = status.to_json()
    facts = {"code": status.code.name, "reason": status.reason or None}
    return Answer(http_status, headers, orjson.dumps({"error": body} if streaming else body), facts=facts)


class V1Door:
    """Answers requests for the v1 API's methods."""

    def __init__(self, pdp: Pdp, authenticator: Authenticator) -> None:
        self._pdp = pdp
        self._authenticator = authenticator

    async def answer(self, method: Unary | Streaming, request: Request) -> Answer:
        """Answer one request; never raises."""
        try:
            members = protojson.loads(request.body)
            message = protojson.parse(members, method.request())
        except Exception as error:
            return error_answer(error)
        caller: Caller | None = None
        try:
            caller = self._authenticator.authenticate(request.headers.get("authorization"))
            validate(message)
            require_scope(caller, method.scope)
            store = await self._pdp.store(request.headers.get("tessera-store", DEFAULT_STORE))
            call = Call(store, caller, members)
            if isinstance(method, Streaming):
                answer = await _stream(method.stream(call, message))
            else:
                response = await method.handle(call, message)
                answer = Answer(200, [_JSON, _GATEWAY], protojson.dumps(response))
        except Exception as error:
            answer = error_answer(error, streaming=isinstance(method, Streaming))
        answer.facts["caller"] = caller.id if caller else None
        return answer


async def _stream(messages: AsyncIterator[Message]) -> Answer:
    """Wait for the first message, so that an error before it has its own status."""
    try:
        first = await anext(messages)
    except StopAsyncIteration:
        return Answer(200, [_GATEWAY])

    async def lines() -> AsyncIterator[bytes]:
        yield _line(first)
        try:
            async for message in messages:
                yield _line(message)
        except Exception as error:
            yield error_answer(error, streaming=True).body + b"\n"

    return Answer(200, [_JSON, _GATEWAY], chunks=lines())


def _line(message: Message) -> bytes:
    return b'{"result":' + protojson.dumps(message) + b"}\n"


async def read_body(receive: Receive, headers: Mapping[str, str], bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: it is, or says that it is, larger than ``bytes_max``.
        ConnectionError: the caller went away.
    """
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > bytes_max:
        raise BodyTooLarge
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError("the caller went away")
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > bytes_max:
            raise BodyTooLarge
        chunks.append(chunk)
        if not event.get("more_body", False):
            return b"".join(chunks)


def decode_headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; of a repeated one the first, but a repeated credential is joined and so refused."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1")
        if key not in headers:
            headers[key] = value.decode("latin-1")
        elif key == "authorization":
            headers[key] += ", " + value.decode("latin-1")
    return headers


async def send_answer(send: Send, answer: Answer) -> None:
    """Send an answer through ASGI."""
    headers = list(answer.headers)
    if answer.chunks is None:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if answer.chunks is not None:
        async for chunk in answer.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": answer.body})


class Endpoint:
    """The ASGI application of one method's path."""

    def __init__(self, method: Unary | Streaming, door: V1Door) -> None:
        self._method = method
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = decode_headers(scope["headers"])
        if scope["method"] != "POST":
            answer = error_answer(ApiError(Status(Code.UNIMPLEMENTED, "Method Not Allowed")))
        else:
            try:
                body = await read_body(receive, headers)
            except BodyTooLarge as error:
                answer = error_answer(error)
            except ConnectionError:
                return
            else:
                answer = await self._door.answer(self._method, Request(headers, body))
        scope.setdefault("state", {}).update(answer.facts)
        await send_answer(send, answer)
