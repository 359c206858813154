"""The v1 API over gRPC: the methods of `api.methods` behind the servicer classes of the wire's own package.

A call goes through the same gate as a request over HTTP, and what goes wrong through the same table of statuses.
Metadata ``tessera-store`` and ``authorization`` mean what the headers mean; ``x-request-id`` comes back as a trailer,
made here where the caller sent none. Deadlines and cancellation are gRPC's own: both end the work.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

import grpc
from authzed.api.v1 import (
    experimental_service_pb2_grpc,
    permission_service_pb2_grpc,
    schema_service_pb2_grpc,
    watch_service_pb2_grpc,
)
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from api.access import RequestLog
from api.fields import validate
from api.gate import Gate
from api.grpc_access import GrpcAccess, GrpcMetrics, Observed
from api.grpc_health import SERVICE as HEALTH_SERVICE
from api.grpc_health import Health, add_health
from api.grpc_reflection import SERVICES as REFLECTION_SERVICES
from api.grpc_reflection import add_reflection
from api.http import BODY_BYTES_MAX
from api.logs import log_bug
from api.methods import METHODS, Call, Collecting, Extended, Method, Response, Streaming, Unary
from api.settings import Address, BadSetting, Settings
from api.statuses import Code, Status, status_of

MESSAGE_BYTES_MAX = BODY_BYTES_MAX
_STATUS_BYTES_MAX = 3_072
_MESSAGE_CHARS_MAX = 1_024
_VIOLATIONS_MAX = 5
"""Trailers have room for some 8 KiB in all, where the ordinary limits of clients and proxies stand."""

Context = grpc.aio.ServicerContext[Any, Any]
_CODES = {code.value[0]: code for code in grpc.StatusCode}

_SERVICES: tuple[tuple[str, type[Any], Callable[[Any, Any], None]], ...] = (
    (
        "authzed.api.v1.PermissionsService",
        permission_service_pb2_grpc.PermissionsServiceServicer,
        permission_service_pb2_grpc.add_PermissionsServiceServicer_to_server,
    ),
    (
        "authzed.api.v1.SchemaService",
        schema_service_pb2_grpc.SchemaServiceServicer,
        schema_service_pb2_grpc.add_SchemaServiceServicer_to_server,
    ),
    (
        "authzed.api.v1.WatchService",
        watch_service_pb2_grpc.WatchServiceServicer,
        watch_service_pb2_grpc.add_WatchServiceServicer_to_server,
    ),
    (
        "authzed.api.v1.ExperimentalService",
        experimental_service_pb2_grpc.ExperimentalServiceServicer,
        experimental_service_pb2_grpc.add_ExperimentalServiceServicer_to_server,
    ),
)


class GrpcDoor:
    """Answers calls of the v1 API's methods."""

    def __init__(self, gate: Gate, access: GrpcAccess) -> None:
        self._gate = gate
        self._access = access

    def handler(self, method: Method) -> Callable[[Any, Context], Any]:
        """What a servicer has under a method's name."""
        match method:
            case Unary():

                async def unary(request: Message, context: Context) -> Message:
                    return await self._unary(method, request, context)

                return unary
            case Collecting():

                async def collecting(requests: AsyncIterator[Message], context: Context) -> Message:
                    return await self._collecting(method, requests, context)

                return collecting
            case Streaming():

                async def streaming(request: Message, context: Context) -> AsyncGenerator[Message]:
                    async for message in self._streaming(method, request, context):
                        yield message

                return streaming

    async def _unary(self, method: Unary, request: Message, context: Context) -> Message:
        headers = _headers(context)
        observed = self._access.begin(headers)
        try:
            call = await self._call(method, headers, request, observed)
            response = await method.run(call, request)
            self._end_well(context, call, observed)
        except Exception as error:
            await self._refuse(context, observed, error)
        finally:
            self._access.finish(method, headers, observed)
        return _message(response)

    async def _collecting(self, method: Collecting, requests: AsyncIterator[Message], context: Context) -> Message:
        headers = _headers(context)
        observed = self._access.begin(headers)
        try:
            call = await self._call(method, headers, None, observed)
            response = await method.run(call, _validated(requests))
            self._end_well(context, call, observed)
        except Exception as error:
            await self._refuse(context, observed, error)
        finally:
            self._access.finish(method, headers, observed)
        return _message(response)

    async def _streaming(self, method: Streaming, request: Message, context: Context) -> AsyncGenerator[Message]:
        headers = _headers(context)
        observed = self._access.begin(headers)
        batches: AsyncIterator[Iterable[Response]] | None = None
        try:
            call = await self._call(method, headers, request, observed)
            batches = method.run(call, request)
            async for batch in batches:
                for response in batch:
                    yield _message(response)
            self._end_well(context, call, observed)
        except Exception as error:
            await self._refuse(context, observed, error)
        finally:
            if isinstance(batches, AsyncGenerator):
                await batches.aclose()
            self._access.finish(method, headers, observed)

    async def _call(
        self, method: Method, headers: Mapping[str, str], request: Message | None, observed: Observed
    ) -> Call:
        caller = await self._gate.authenticate(headers, f"/{method.service}/{method.name}")
        observed.facts["caller"] = caller.id
        return await self._gate.admit(method, headers, caller, request, {})

    def _end_well(self, context: Context, call: Call, observed: Observed) -> None:
        observed.code = Code.OK
        observed.facts.update(call.facts)
        context.set_trailing_metadata((("x-request-id", observed.request_id), *call.trailers.items()))

    async def _refuse(self, context: Context, observed: Observed, error: Exception) -> NoReturn:
        """End the call with what its caller is told of the error; a bug is logged and not described."""
        status = status_of(error)
        if status is None:
            log_bug(error)
            status = Status(Code.INTERNAL, "internal error")
        observed.code = status.code
        observed.facts["reason"] = status.reason or None
        message = status.message
        if len(message) > _MESSAGE_CHARS_MAX:
            message = message[:_MESSAGE_CHARS_MAX] + "…"
        details = _details(status, message)
        trailers = (("x-request-id", observed.request_id), ("grpc-status-details-bin", details))
        await context.abort(_CODES[int(status.code)], message, trailers)


def _details(status: Status, message: str) -> bytes:
    """The serialized google.rpc.Status; where trailers have no room for it, with its long facts cut."""
    proto = status.to_proto()
    if proto.ByteSize() > _STATUS_BYTES_MAX:
        facts = {key: value if len(value) <= 128 else value[:128] + "…" for key, value in status.metadata.items()}
        proto = replace(status, metadata=facts, violations=status.violations[:_VIOLATIONS_MAX]).to_proto()
    proto.message = message
    serialized: bytes = proto.SerializeToString()
    return serialized


def _headers(context: Context) -> Mapping[str, str]:
    """Metadata by key; of a repeated one the first, but a repeated credential is joined and so refused."""
    headers: dict[str, str] = {}
    for key, value in context.invocation_metadata() or ():
        text = value if isinstance(value, str) else ""
        if key not in headers:
            headers[key] = text
        elif key == "authorization":
            headers[key] += ", " + text
    return headers


def _message(response: Response) -> Message:
    """Members that no message has a field for stay behind."""
    return response.message if isinstance(response, Extended) else response


async def _validated(requests: AsyncIterator[Message]) -> AsyncIterator[tuple[Message, Mapping[str, Any]]]:
    async for request in requests:
        validate(request)
        yield request, {}


class GrpcServer:
    """A server of every service, with health and reflection."""

    def __init__(
        self,
        door: GrpcDoor,
        address: Address,
        credentials: grpc.ServerCredentials | None = None,
        *,
        shared: bool = False,
    ) -> None:
        """Bind; with ``shared`` other processes may bind the address too.

        Raises:
            BadSetting: the address cannot be listened on.
        """
        options = (("grpc.max_receive_message_length", MESSAGE_BYTES_MAX), ("grpc.so_reuseport", int(shared)))
        self._server = grpc.aio.server(options=options)
        names = [name for name, _, _ in _SERVICES]
        for name, servicer_class, add in _SERVICES:
            servicer = servicer_class()
            for method in METHODS:
                if method.service == name:
                    setattr(servicer, method.name, door.handler(method))
            add(servicer, self._server)
        self._health = Health((*names, *REFLECTION_SERVICES))
        add_health(self._health, self._server)
        add_reflection((*names, HEALTH_SERVICE), self._server)
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(str(address))
            else:
                self.port = self._server.add_secure_port(str(address), credentials)
        except RuntimeError as error:
            raise BadSetting("TESSERA_GRPC_ADDR", f"cannot listen on `{address}`") from error

    async def start(self) -> None:
        """Serve."""
        await self._server.start()
        await self._health.serve()

    async def stop(self, grace_seconds: float) -> None:
        """Take no more calls, and end those that have not ended after a while."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_seconds)


def grpc_listener(settings: Settings, gate: Gate, registry: CollectorRegistry, log: RequestLog) -> GrpcServer | None:
    """The server that the settings ask for, bound and not started; None where they turn it off.

    Raises:
        BadSetting: the address cannot be listened on.
    """
    if settings.grpc_addr is None:
        return None
    credentials = None
    if settings.tls is not None:
        pair = settings.tls.key_file.read_bytes(), settings.tls.cert_file.read_bytes()
        credentials = grpc.ssl_server_credentials([pair])
    door = GrpcDoor(gate, GrpcAccess(GrpcMetrics(registry), log))
    return GrpcServer(door, settings.grpc_addr, credentials, shared=settings.workers > 1)
