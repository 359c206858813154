"""The v1 API over HTTP: a request's bytes in, an answer's bytes out, and the ASGI shell around that.

Order of what is looked at: path and method, size of the body, JSON, credential, field rules, scope, store, then the
method itself. Unary errors are a ``google.rpc.Status``; a stream's error stands in ``{"error": …}``. Where requests
are a stream they are read as they come, so there the credential is looked at first.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
from google.protobuf.message import Message
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from api import protojson
from api.auth import challenges
from api.fields import validate
from api.gate import Gate, deadline, until
from api.jsontext import BodyTooLarge, Splitter, loads
from api.logs import log_bug
from api.methods import BEYOND, METHODS, Beyond, Collecting, Extended, Method, Response, Streaming, Unary
from api.methods.extras import lay_over
from api.statuses import ApiError, Code, Status, status_of

BODY_BYTES_MAX = 4 * 1024 * 1024
"""A request message, on HTTP as on gRPC. A stream of them may be longer; each may not."""

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


def error_answer(error: Exception, *, streaming: bool = False) -> Answer:
    """What a caller is told of an error; what is not ours to raise is a bug, logged and not described."""
    status = status_of(error)
    if status is None:
        log_bug(error)
        status = Status(Code.INTERNAL, "internal error")
    headers: Headers = [_JSON]
    http_status = 413 if isinstance(error, BodyTooLarge) else status.http_status
    if http_status == 401:
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in challenges(error)]
    if status.retry_after_s is not None:
        headers.append((b"retry-after", str(status.retry_after_s).encode()))
    body = status.to_json()
    facts = {"code": status.code.name, "reason": status.reason or None}
    return Answer(http_status, headers, orjson.dumps({"error": body} if streaming else body), facts=facts)


class V1Door:
    """Answers requests for the v1 API's methods."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def answer(self, method: Unary | Streaming | Beyond, request: Request) -> Answer:
        """Answer one request; never raises."""
        try:
            members = loads(request.body)
            message = protojson.parse(members, method.request)
        except Exception as error:
            return error_answer(error)
        facts: dict[str, Any] = {}
        try:
            caller = await self._gate.authenticate(request.headers, method.path)
            facts["caller"] = caller.id
            at = deadline(request.headers)
            async with until(at):
                call = await self._gate.admit(method, request.headers, caller, message, members)
                if isinstance(method, Beyond):
                    answer = Answer(200, [_JSON], protojson.dumps_members(await method.run(call, message)))
                elif isinstance(method, Streaming):
                    answer = await _stream(method.run(call, message), at, facts)
                else:
                    answer = _unary(await method.run(call, message), call.trailers)
            facts.update(call.facts)
        except Exception as error:
            answer = error_answer(error, streaming=isinstance(method, Streaming))
        facts.update(answer.facts)
        answer.facts = facts
        return answer

    async def collect(self, method: Collecting, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> Answer:
        """Answer a request whose body is a stream of messages; never raises but what ``body`` does."""
        facts: dict[str, Any] = {}
        try:
            caller = await self._gate.authenticate(headers, method.path)
            facts["caller"] = caller.id
            async with until(deadline(headers)):
                call = await self._gate.admit(method, headers, caller, None, {})
                answer = _unary(await method.run(call, _messages(method, body)), call.trailers)
            facts.update(call.facts)
        except ConnectionError:
            raise
        except Exception as error:
            answer = error_answer(error)
        facts.update(answer.facts)
        answer.facts = facts
        return answer


async def _messages(
    method: Collecting, body: AsyncIterator[bytes]
) -> AsyncIterator[tuple[Message, Mapping[str, Any]]]:
    """The request messages of a body, each held against the rules."""
    splitter = Splitter(BODY_BYTES_MAX)
    async for chunk in body:
        for members in splitter.feed(chunk):
            message = protojson.parse(members, method.request)
            validate(message)
            yield message, members
    splitter.end()


def _unary(response: Response, trailers: Mapping[str, str]) -> Answer:
    headers = [_JSON, _GATEWAY, *((name.encode(), value.encode()) for name, value in trailers.items())]
    return Answer(200, headers, _dumps(response))


def _dumps(response: Response) -> bytes:
    if isinstance(response, Extended):
        return protojson.dumps_members(lay_over(protojson.to_dict(response.message), response.members))
    return protojson.dumps(response)


async def _stream(batches: AsyncIterator[Sequence[Response]], at: float | None, facts: dict[str, Any]) -> Answer:
    """Wait for the first message, so that an error before it has its own status."""
    first: Sequence[Response] = ()
    while not first:
        try:
            first = await anext(batches)
        except StopAsyncIteration:
            return Answer(200, [_GATEWAY])

    async def lines() -> AsyncGenerator[bytes]:
        try:
            async with until(at):
                yield _lines(first)
                async for batch in batches:
                    if batch:
                        yield _lines(batch)
                    await asyncio.sleep(0)
        except Exception as error:
            answer = error_answer(error, streaming=True)
            facts.update(answer.facts)
            yield answer.body + b"\n"
        finally:
            if isinstance(batches, AsyncGenerator):
                await batches.aclose()

    return Answer(200, [_JSON, _GATEWAY], chunks=lines())


def _lines(batch: Sequence[Response]) -> bytes:
    return b"".join(b'{"result":' + _dumps(response) + b"}\n" for response in batch)


async def read_chunks(receive: Receive) -> AsyncIterator[bytes]:
    """A body as it comes.

    Raises:
        ConnectionError: the caller went away.
    """
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError("the caller went away")
        yield event.get("body", b"")
        if not event.get("more_body", False):
            return


async def read_body(receive: Receive, headers: Mapping[str, str], bytes_max: int = BODY_BYTES_MAX) -> bytes:
    """The whole body.

    Raises:
        BodyTooLarge: it is, or says that it is, larger than ``bytes_max``.
        ConnectionError: the caller went away.
    """
    declared = headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > bytes_max:
        raise BodyTooLarge(bytes_max)
    chunks: list[bytes] = []
    size = 0
    async for chunk in read_chunks(receive):
        size += len(chunk)
        if size > bytes_max:
            raise BodyTooLarge(bytes_max)
        chunks.append(chunk)
    return b"".join(chunks)


def decode_headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; of a repeated one the first, but a repeated credential is joined and so refused."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1")
        if key not in headers:
            headers[key] = value.decode("latin-1")
        elif key in {"authorization", "dpop"}:
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

    def __init__(self, method: Method | Beyond, door: V1Door) -> None:
        self._method = method
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        headers = decode_headers(scope["headers"])
        state = scope.setdefault("state", {})
        method = self._method
        if scope["method"] != "POST":
            await _finish(state, send, error_answer(ApiError(Status(Code.UNIMPLEMENTED, "Method Not Allowed"))))
            return
        with suppress(ConnectionError):
            if isinstance(method, Collecting):
                await _finish(state, send, await self._door.collect(method, headers, read_chunks(receive)))
                return
            try:
                body = await read_body(receive, headers)
            except BodyTooLarge as error:
                await _finish(state, send, error_answer(error))
                return
            request = Request(headers, body)
            if isinstance(method, Streaming):
                await _while_connected(receive, self._respond(state, send, method, request))
            else:
                await self._respond(state, send, method, request)

    async def _respond(
        self, state: dict[str, Any], send: Send, method: Unary | Streaming | Beyond, request: Request
    ) -> None:
        await _finish(state, send, await self._door.answer(method, request))


def v1_routes(gate: Gate) -> list[BaseRoute]:
    """Routes of every method of the v1 API, and of those beyond it."""
    door = V1Door(gate)
    return [Route(method.path, Endpoint(method, door)) for method in (*METHODS, *BEYOND)]


async def _finish(state: dict[str, Any], send: Send, answer: Answer) -> None:
    """Send an answer; what there is to tell of it is known once it is sent."""
    try:
        await send_answer(send, answer)
    finally:
        if isinstance(answer.chunks, AsyncGenerator):
            await answer.chunks.aclose()
        state.update(answer.facts)


async def _while_connected(receive: Receive, responding: Coroutine[Any, Any, None]) -> None:
    """Respond until done or the caller goes away, which ends the work too."""
    sending = asyncio.create_task(responding)
    leaving = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        if not sending.done():
            sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
