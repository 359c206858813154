"""The v1 API over gRPC: the same answers and errors as over HTTP, and what only gRPC has."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from authzed.api.v1 import core_pb2, permission_service_pb2_grpc, schema_service_pb2_grpc, watch_service_pb2_grpc
from authzed.api.v1 import permission_service_pb2 as pb
from authzed.api.v1 import schema_service_pb2 as schema_pb
from authzed.api.v1 import watch_service_pb2 as watch_pb
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from api.access import RequestLog
from api.gate import DEFAULT_STORE
from api.grpc_access import GrpcAccess, GrpcMetrics
from api.grpc_server import MESSAGE_BYTES_MAX, GrpcDoor, GrpcServer
from api.http import v1_routes
from api.methods import METHODS, Collecting, Method, Streaming
from api.protojson import parse, to_dict
from api.settings import Address, BadSetting
from tests.api.wire import KEY, READ_ONLY_TOKEN, SCHEMA, Wire, on_wire, question, served_pdp, subject, updates
from tests.servers import free_port

BEARER = (("authorization", f"Bearer {KEY}"),)
BY_NAME = {method.name: method for method in METHODS}
NOBODY: tuple[tuple[str, str], ...] = ()


class Both:
    """The same service over gRPC and over HTTP."""

    def __init__(self, channel: grpc.aio.Channel, wire: Wire, registry: CollectorRegistry) -> None:
        self.channel = channel
        self.wire = wire
        self.registry = registry

    def stub(self, method: Method) -> Any:
        """The method's call."""
        path = f"/{method.service}/{method.name}"
        codecs: dict[str, Any] = {
            "request_serializer": method.request.SerializeToString,
            "response_deserializer": method.response.FromString,
        }
        if isinstance(method, Streaming):
            return self.channel.unary_stream(path, **codecs)
        if isinstance(method, Collecting):
            return self.channel.stream_unary(path, **codecs)
        return self.channel.unary_unary(path, **codecs)

    async def call(self, name: str, *requests: Message, metadata: Any = BEARER, **options: Any) -> list[Message]:
        """All responses."""
        method = BY_NAME[name]
        if isinstance(method, Streaming):
            return [one async for one in self.stub(method)(*requests, metadata=metadata, **options)]
        if isinstance(method, Collecting):
            return [await self.stub(method)(_each(requests), metadata=metadata, **options)]
        return [await self.stub(method)(*requests, metadata=metadata, **options)]

    async def refused(self, name: str, *requests: Message, metadata: Any = BEARER, **options: Any) -> "Status":
        """The status of a call that must not pass, and must leave no trace."""
        before = await self.wire.stored()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(name, *requests, metadata=metadata, **options)
        assert await self.wire.stored() == before
        return Status(caught.value)


async def _each(requests: tuple[Message, ...]) -> AsyncIterator[Message]:
    for request in requests:
        yield request


class Status:
    """How a call ended."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        trailers = dict(error.trailing_metadata() or ())
        self.code: int = error.code().value[0]
        self.message = error.details() or ""
        self.request_id = trailers.get("x-request-id", "")
        self.proto = status_pb2.Status()
        raw = trailers.get("grpc-status-details-bin", b"")
        self.proto.ParseFromString(raw if isinstance(raw, bytes) else raw.encode())

    @property
    def json(self) -> dict[str, Any]:
        """As over HTTP."""
        return to_dict(self.proto)

    @property
    def reason(self) -> str:
        """The ErrorInfo's."""
        info = error_details_pb2.ErrorInfo()
        return info.reason if self.proto.details and self.proto.details[0].Unpack(info) else ""


@asynccontextmanager
async def serving_both(*stores: str) -> AsyncIterator[Both]:
    """One service behind both doors."""
    async with served_pdp("sqlite:///:memory:", *stores) as (gate, pdp):
        registry, log = CollectorRegistry(), RequestLog()
        log.enabled = False
        door = GrpcDoor(gate, GrpcAccess(GrpcMetrics(registry), log))
        server = GrpcServer(door, Address("127.0.0.1", 0))
        await server.start()
        app = Starlette(routes=v1_routes(gate))
        async with (
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app),
                base_url="http://tessera",
                headers={"authorization": f"Bearer {KEY}"},
            ) as client,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            wire = Wire(client, await pdp.store(DEFAULT_STORE), gate)
            await wire.schema()
            yield Both(channel, wire, registry)
        await server.stop(0)


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    """One service behind both doors, with a schema."""
    async with serving_both() as found:
        yield found


def message(name: str, members: dict[str, Any]) -> Message:
    """A request from its JSON."""
    found: Message = parse(members, BY_NAME[name].request)
    return found


ANN = "document:one#viewer@user:ann"
ASKED = question("document:one#view@user:ann")


# --- The same as over HTTP ---------------------------------------------------------------------------------------

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("CheckPermission", ASKED),
    ("CheckPermission", question("document:late#view@user:ann")),
    ("CheckPermission", {}),
    ("CheckPermission", {**ASKED, "permission": "veiw"}),
    ("CheckPermission", {**ASKED, "consistency": {}}),
    ("CheckPermission", {**ASKED, "consistency": {"atExactSnapshot": {"token": "x"}}}),
    ("CheckPermission", {**ASKED, "context": {"a": "x" * 4_096}}),
    ("CheckPermission", question("document:one#view@user:*")),
    ("CheckBulkPermissions", {"items": [ASKED, question("docment:one#view@user:ann")]}),
    ("CheckBulkPermissions", {"items": [{}]}),
    ("ExpandPermissionTree", {"resource": ASKED["resource"], "permission": "view"}),
    ("ExpandPermissionTree", {"resource": ASKED["resource"], "permission": "nothing"}),
    ("LookupResources", {"resourceObjectType": "document", "permission": "view", "subject": subject("user:ann")}),
    ("LookupResources", {"resourceObjectType": "document", "permission": "view", "subject": subject("user:*")}),
    ("LookupSubjects", {"resource": ASKED["resource"], "permission": "view", "subjectObjectType": "user"}),
    ("LookupSubjects", {"resource": ASKED["resource"], "permission": "view", "subjectObjectType": "nothing"}),
    ("ReadRelationships", {"relationshipFilter": {"resourceType": "document"}}),
    ("ReadRelationships", {"relationshipFilter": {}}),
    ("ReadRelationships", {"relationshipFilter": {"resourceType": "document"}, "optionalLimit": 5_000}),
    ("WriteRelationships", updates("CREATE", ANN)),
    ("WriteRelationships", updates("TOUCH", "document:one#viewer@document:two")),
    ("WriteRelationships", updates("TOUCH", ANN, ANN)),
    ("WriteRelationships", {"updates": [{}, {"operation": 7}]}),
    ("WriteSchema", {"schema": "definition {"}),
    ("WriteSchema", {"schema": "definition document { relation viewer: usr\n}"}),
    ("WriteSchema", {}),
    ("ReadSchema", {}),
    ("DeleteRelationships", {"relationshipFilter": {"resourceType": "document"}, "optionalLimit": 1}),
    ("DeleteRelationships", {}),
    ("ImportBulkRelationships", {"relationships": [on_wire(ANN)]}),
    ("ImportBulkRelationships", {"relationships": [{}]}),
    ("ExportBulkRelationships", {}),
    ("ExportBulkRelationships", {"optionalLimit": 20_000}),
    ("ReflectSchema", {}),
    ("ReflectSchema", {"optionalFilters": [{"optionalRelationNameFilter": "x"}]}),
    ("DiffSchema", {"comparisonSchema": "definition user {}"}),
    ("ComputablePermissions", {"definitionName": "user"}),
    ("DependentRelations", {"definitionName": "document", "permissionName": "viewer"}),
    ("Watch", {"optionalStartCursor": {"token": "x"}}),
    ("ExperimentalCountRelationships", {"name": "nothing"}),
    ("ExperimentalUnregisterRelationshipCounter", {"name": "nothing"}),
    ("ExperimentalRegisterRelationshipCounter", {"name": "x"}),
    ("BulkCheckPermission", {"items": [ASKED]}),
    ("ExperimentalReflectSchema", {}),
]


@pytest.mark.parametrize(("name", "members"), REQUESTS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(REQUESTS)])
async def test_as_over_http(both: Both, name: str, members: dict[str, Any]) -> None:
    """Every method, good and bad: the same responses, the same status with the same details."""
    await both.wire.touch(
        ANN, "document:late#viewer@user:ann[office_hours]", "document:open#viewer@user:*", "group:g1#member@user:bob"
    )
    method = BY_NAME[name]
    response = await both.wire.post(method.path, members)
    try:
        found = [to_dict(one) for one in await both.call(name, message(name, members))]
    except grpc.aio.AioRpcError as error:
        body = response.json()
        status = Status(error)
        assert response.status_code >= 400, (status.code, status.message)
        assert status.json == (body["error"] if isinstance(method, Streaming) else body)
        assert (status.code, status.message) == (status.proto.code, status.proto.message)
    else:
        lines = [json.loads(line) for line in response.text.splitlines()]
        over_http = [line["result"] for line in lines] if isinstance(method, Streaming) else lines
        for one in (*found, *over_http):
            one.pop("afterResultCursor", None)  # it holds the instant of the question
        assert found == over_http


def test_every_method_is_compared() -> None:
    """But for old names, of which a few stand for all."""
    compared = {name for name, _ in REQUESTS}
    left_out = set(BY_NAME) - compared
    assert left_out == {
        "BulkImportRelationships",
        "BulkExportRelationships",
        "ExperimentalComputablePermissions",
        "ExperimentalDependentRelations",
        "ExperimentalDiffSchema",
    }


async def test_every_method_is_served(both: Both) -> None:
    """No method is Unimplemented."""
    found = {}
    for name, method in BY_NAME.items():
        try:
            await both.call(name, method.request(), timeout=0.2)
        except grpc.aio.AioRpcError as error:
            found[name] = error.code()
    assert grpc.StatusCode.UNIMPLEMENTED not in found.values()


# --- Metadata ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        pytest.param(NOBODY, 16, id="none"),
        pytest.param((("authorization", "Basic x"),), 16, id="another scheme"),
        pytest.param((("authorization", "Bearer"),), 16, id="no token"),
        pytest.param((("authorization", "Bearer wrong"),), 16, id="wrong"),
        pytest.param((*BEARER, *BEARER), 16, id="two"),
        pytest.param((("authorization", f"Bearer {READ_ONLY_TOKEN}"),), 7, id="without the scope"),
        pytest.param((*BEARER, ("tessera-store", "nowhere")), 5, id="unknown store"),
    ],
)
@pytest.mark.parametrize("name", ["WriteRelationships", "ImportBulkRelationships", "LookupSubjects"])
async def test_callers_that_may_not(both: Both, metadata: Any, code: int, name: str) -> None:
    """As over HTTP, on every kind of method."""
    members = {
        "LookupSubjects": {"resource": ASKED["resource"], "permission": "view", "subjectObjectType": "user"},
    }.get(name, {})
    assert (await both.refused(name, message(name, members), metadata=metadata)).code == code


async def test_stores_by_metadata() -> None:
    """A store has its own schema and relationships."""
    async with serving_both("other") as both:
        await both.wire.touch(ANN)
        there = (*BEARER, ("tessera-store", "other"))
        refused = await both.refused("CheckPermission", message("CheckPermission", ASKED), metadata=there)
        assert refused.reason == "ERROR_REASON_UNKNOWN_DEFINITION"
        await both.call("WriteSchema", schema_pb.WriteSchemaRequest(schema=SCHEMA), metadata=there)
        (answer,) = await both.call("CheckPermission", message("CheckPermission", ASKED), metadata=there)
        assert to_dict(answer)["permissionship"] == "PERMISSIONSHIP_NO_PERMISSION"


@pytest.mark.parametrize("name", ["ReadSchema", "ReadRelationships"])
async def test_request_ids(both: Both, name: str) -> None:
    """Echoed as a trailer; made where there is none, or none that can be."""
    method, request = BY_NAME[name], message(name, {"relationshipFilter": {"resourceType": "document"}})
    for given, kept in [("mine-1", True), ("x" * 200, False), ("", False)]:
        call = both.stub(method)(request, metadata=(*BEARER, ("x-request-id", given)))
        if isinstance(method, Streaming):
            assert [one async for one in call] == []
        else:
            await call
        told = dict(await call.trailing_metadata())["x-request-id"]
        assert (told == given) is kept
        assert told
    refused = await both.refused(
        "CheckPermission", pb.CheckPermissionRequest(), metadata=(*BEARER, ("x-request-id", "m"))
    )
    assert refused.request_id == "m"


async def test_how_a_list_ended(both: Both) -> None:
    """A trailer tells whether it is whole."""
    await both.wire.touch(*(f"document:d{number}#viewer@user:ann" for number in range(3)))
    members = {"resourceObjectType": "document", "permission": "view", "subject": subject("user:ann")}
    for limit, ending in [(0, "complete"), (3, "complete"), (2, "more")]:
        call = both.stub(BY_NAME["LookupResources"])(
            message("LookupResources", {**members, "optionalLimit": limit}), metadata=BEARER
        )
        assert len([one async for one in call]) == (limit or 3)
        assert dict(await call.trailing_metadata())["tessera-ending"] == ending


async def test_metrics(both: Both) -> None:
    """Every call is counted by method and code."""
    await both.call("ReadSchema", schema_pb.ReadSchemaRequest())
    await both.refused("CheckPermission", pb.CheckPermissionRequest())
    value = both.registry.get_sample_value
    assert value("tessera_grpc_calls_total", {"method": "ReadSchema", "code": "OK"}) == 1
    assert value("tessera_grpc_calls_total", {"method": "CheckPermission", "code": "INVALID_ARGUMENT"}) == 1


# --- What only gRPC has ------------------------------------------------------------------------------------------


async def _raw(both: Both, path: str, body: bytes) -> Any:
    call: Any = both.channel.unary_unary(path)
    return await call(body, metadata=BEARER)


async def test_unknown_services_and_methods(both: Both) -> None:
    """Unimplemented."""
    for path in ("/authzed.api.v1.PermissionsService/Nothing", "/nothing.Service/Nothing", "/nothing"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _raw(both, path, b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_that_is_none(both: Both) -> None:
    """Bytes that do not decode are an error, and the server goes on."""
    before = await both.wire.stored()
    with pytest.raises(grpc.aio.AioRpcError):
        await _raw(both, "/authzed.api.v1.PermissionsService/WriteRelationships", b"\xff\xff")
    assert await both.wire.stored() == before
    await both.call("ReadSchema", schema_pb.ReadSchemaRequest())


async def test_messages_are_bounded(both: Both) -> None:
    """Above 4 MiB it is ResourceExhausted."""
    request = schema_pb.WriteSchemaRequest(schema=" " * (MESSAGE_BYTES_MAX + 1))
    assert (await both.refused("WriteSchema", request)).code == 8
    fits = schema_pb.WriteSchemaRequest(schema=" " * (MESSAGE_BYTES_MAX - 16))
    await both.call("WriteSchema", fits)


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
async def test_numbers_that_json_cannot_say(both: Both, number: float) -> None:
    """They are let pass by protobuf, and refused as metadata and as contexts."""
    struct = Struct(fields={"hour": Value(number_value=number)})
    write = pb.WriteRelationshipsRequest(optional_transaction_metadata=struct)
    assert (await both.refused("WriteRelationships", write)).code == 3
    check = message("CheckPermission", ASKED)
    assert isinstance(check, pb.CheckPermissionRequest)
    check.context.CopyFrom(struct)
    assert (await both.refused("CheckPermission", check)).code == 3


async def test_contexts_nested_too_deeply(both: Both) -> None:
    """As over HTTP, though protobuf would let a little more pass."""
    value = Value(number_value=1)
    for _ in range(31):
        value = Value(struct_value=Struct(fields={"a": value}))
    write = pb.WriteRelationshipsRequest(optional_transaction_metadata=value.struct_value)
    refused = await both.refused("WriteRelationships", write)
    assert (refused.code, "nested deeper" in refused.message) == (3, True)


@pytest.mark.parametrize("moment", [Timestamp(seconds=2**60), Timestamp(seconds=-(2**60)), Timestamp(nanos=-1)])
async def test_times_that_there_are_not(both: Both, moment: Timestamp) -> None:
    """Outside the years 1 to 9999."""
    write = message("WriteRelationships", updates("TOUCH", ANN))
    assert isinstance(write, pb.WriteRelationshipsRequest)
    write.updates[0].relationship.optional_expires_at.CopyFrom(moment)
    assert (await both.refused("WriteRelationships", write)).code == 3


async def test_details_fit_into_trailers(both: Both) -> None:
    """Long ids and many mistakes are cut, so that the status arrives."""
    long = "x" * 1_024
    relationship = f"document:{long}#viewer@user:{long}"
    await both.wire.touch(relationship)
    refused = await both.refused("WriteRelationships", message("WriteRelationships", updates("CREATE", relationship)))
    assert (refused.code, refused.reason) == (6, "ERROR_REASON_ATTEMPT_TO_RECREATE_RELATIONSHIP")
    assert refused.proto.ByteSize() < 4_096
    many = pb.WriteRelationshipsRequest(updates=[core_pb2.RelationshipUpdate()] * 1_000)
    refused = await both.refused("WriteRelationships", many)
    assert refused.code == 3
    assert refused.message.startswith("validation errors:")
    assert refused.proto.ByteSize() < 4_096
    assert refused.proto.details


async def test_a_deadline(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's deadline ends the work on the server."""
    ended = asyncio.Event()

    async def check(_: object) -> Message:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    monkeypatch.setattr(both.wire.service, "check", check)
    refused = await both.refused("CheckPermission", message("CheckPermission", ASKED), timeout=0.1)
    assert refused.code == 4
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_cancelled_call(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cancels ends the work on the server."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def check(_: object) -> Message:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    monkeypatch.setattr(both.wire.service, "check", check)
    call = both.stub(BY_NAME["CheckPermission"])(message("CheckPermission", ASKED), metadata=BEARER)
    await asyncio.wait_for(begun.wait(), 5)
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_bug_is_not_described(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Internal, and nothing of what happened."""

    async def check(_: object) -> Message:
        raise KeyError("a secret")

    monkeypatch.setattr(both.wire.service, "check", check)
    refused = await both.refused("CheckPermission", message("CheckPermission", ASKED))
    assert (refused.code, refused.message) == (13, "internal error")


async def test_an_import_stream(both: Both) -> None:
    """One transaction, whatever the number of messages; a bad one spoils all."""
    requests = [
        message("ImportBulkRelationships", {"relationships": [on_wire(f"document:d{n}#viewer@user:ann")]})
        for n in range(50)
    ]
    before = await both.wire.service.store.head()
    (response,) = await both.call("ImportBulkRelationships", *requests)
    assert to_dict(response) == {"numLoaded": "50"}
    assert await both.wire.service.store.head() == before + 1
    more = message("ImportBulkRelationships", {"relationships": [on_wire("document:new#viewer@user:ann")]})
    bad = message("ImportBulkRelationships", {"relationships": [{}]})
    assert (await both.refused("ImportBulkRelationships", more, bad)).code == 3
    assert (await both.refused("ImportBulkRelationships", more, requests[0])).code == 6


async def test_a_watch(both: Both) -> None:
    """Heard as it is written; ends when its caller leaves."""
    token = await both.wire.touch(ANN)
    stub = watch_service_pb2_grpc.WatchServiceStub(both.channel)
    call = stub.Watch(watch_pb.WatchRequest(optional_start_cursor=core_pb2.ZedToken(token=token)), metadata=BEARER)
    await both.wire.touch("document:two#viewer@user:ann")
    heard: Any = await asyncio.wait_for(call.read(), 5)  # type: ignore[attr-defined]  # the stub is typed as blocking
    assert [one.relationship.resource.object_id for one in heard.updates] == ["two"]
    call.cancel()


async def test_an_error_behind_responses(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent before it arrives."""
    await both.wire.touch(*(f"document:d{number}#viewer@user:ann" for number in range(3)))
    real, pages = both.wire.service.read, [1]

    async def read(*arguments: Any, **named: Any) -> Any:
        if not pages:
            raise RuntimeError("nobody meant this")
        pages.pop()
        return await real(*arguments, **{**named, "limit": 2})

    monkeypatch.setattr(both.wire.service, "read", read)
    stub = permission_service_pb2_grpc.PermissionsServiceStub(both.channel)
    request = message("ReadRelationships", {"relationshipFilter": {"resourceType": "document"}})
    call: Any = stub.ReadRelationships(request, metadata=BEARER)  # type: ignore[arg-type]  # made from JSON
    assert [await call.read(), await call.read()]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert Status(caught.value).code == 13


# --- Health and reflection ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["", *sorted({method.service for method in METHODS}), "grpc.health.v1.Health"])
async def test_health(both: Both, service: str) -> None:
    """Serving, as a whole and by service, for whoever asks."""
    stub = health_pb2_grpc.HealthStub(both.channel)
    answer: Any = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_of_an_unknown_service(both: Both) -> None:
    """NotFound."""
    stub = health_pb2_grpc.HealthStub(both.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, "unknown service")


async def _reflect(both: Both, package: str, request: reflection_pb2.ServerReflectionRequest) -> Any:
    call = both.channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(_each((request,)))
    return await call.read()


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_reflection(both: Both, package: str) -> None:
    """Under both names: services, and the files that describe them and their messages; for whoever asks."""
    answer = await _reflect(both, package, reflection_pb2.ServerReflectionRequest(list_services="*"))
    names = {one.name for one in answer.list_services_response.service}
    assert names == {
        *(method.service for method in METHODS),
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for symbol in (*names, "authzed.api.v1.CheckPermissionRequest"):
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        answer = await _reflect(both, package, request)
        assert answer.file_descriptor_response.file_descriptor_proto, symbol
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="nothing.Nothing")
    answer = await _reflect(both, package, request)
    assert answer.error_response.error_code == 5


# --- Listening ---------------------------------------------------------------------------------------------------


async def test_an_address_in_use() -> None:
    """Refused by the setting's name."""
    async with served_pdp("sqlite:///:memory:") as (gate, _):
        door = GrpcDoor(gate, GrpcAccess(GrpcMetrics(CollectorRegistry()), RequestLog()))
        port = free_port()
        first = GrpcServer(door, Address("127.0.0.1", port))
        await first.start()
        with pytest.raises(BadSetting, match="TESSERA_GRPC_ADDR"):
            GrpcServer(door, Address("127.0.0.1", port))
        await first.stop(0)


async def test_stopping_tells_that_it_does_not_serve(both: Both) -> None:
    """Once stopped nothing is answered."""
    async with served_pdp("sqlite:///:memory:") as (gate, _):
        door = GrpcDoor(gate, GrpcAccess(GrpcMetrics(CollectorRegistry()), RequestLog()))
        server = GrpcServer(door, Address("127.0.0.1", 0))
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = schema_service_pb2_grpc.SchemaServiceStub(channel)
            await server.stop(0)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ReadSchema(schema_pb.ReadSchemaRequest(), metadata=BEARER, timeout=5)  # type: ignore[misc]
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
