"""The field's own Python client, unmodified, drives every method against a server process over TCP.

Blocking over a plain connection, blocking and asynchronous over TLS: the same walk through all methods each time.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from authzed.api.v1 import AsyncClient, Client, InsecureClient, SyncClient
from authzed.api.v1 import experimental_service_pb2 as experimental
from authzed.api.v1 import schema_service_pb2 as schema
from authzed.api.v1.core_pb2 import ObjectReference, Relationship, RelationshipUpdate, SubjectReference, ZedToken
from authzed.api.v1.experimental_service_pb2 import (
    BulkCheckPermissionRequest,
    BulkCheckPermissionRequestItem,
    BulkExportRelationshipsRequest,
    BulkImportRelationshipsRequest,
)
from authzed.api.v1.permission_service_pb2 import (
    CheckBulkPermissionsRequest,
    CheckBulkPermissionsRequestItem,
    CheckPermissionRequest,
    CheckPermissionResponse,
    Consistency,
    DeleteRelationshipsRequest,
    DeleteRelationshipsResponse,
    ExpandPermissionTreeRequest,
    ExportBulkRelationshipsRequest,
    ImportBulkRelationshipsRequest,
    LookupResourcesRequest,
    LookupSubjectsRequest,
    ReadRelationshipsRequest,
    RelationshipFilter,
    WriteRelationshipsRequest,
)
from authzed.api.v1.watch_service_pb2 import WatchRequest
from grpcutil import bearer_token_credentials  # type: ignore[import-untyped]

from api.methods import METHODS
from tests.api.certificates import certificate
from tests.end_to_end.service import ServiceProcess
from tests.servers import free_port

SCHEMA = """
definition user {}
definition group { relation member: user; }
definition document {
	relation viewer: user | group#member
	permission view = viewer
}
"""
HAS = CheckPermissionResponse.PERMISSIONSHIP_HAS_PERMISSION
NO = CheckPermissionResponse.PERMISSIONSHIP_NO_PERMISSION
FULLY = Consistency(fully_consistent=True)


def thing(text: str) -> ObjectReference:
    """``document:one``."""
    type_, id_ = text.split(":")
    return ObjectReference(object_type=type_, object_id=id_)


def who(text: str) -> SubjectReference:
    """``user:ann`` or ``group:eng#member``."""
    object_, _, relation = text.partition("#")
    return SubjectReference(object=thing(object_), optional_relation=relation)


def fact(resource: str, relation: str, subject: str) -> Relationship:
    """A relationship."""
    return Relationship(resource=thing(resource), relation=relation, subject=who(subject))


def touch(*facts: Relationship) -> WriteRelationshipsRequest:
    """A write."""
    return WriteRelationshipsRequest(
        updates=[RelationshipUpdate(operation=RelationshipUpdate.OPERATION_TOUCH, relationship=one) for one in facts]
    )


Call = Callable[..., Awaitable[Any]]
"""Calls a method by name with a request (or a list of them); a stream is given as a list, of at most ``most``."""


async def walk(call: Call) -> set[str]:
    """Use every method once or more; the names of those used."""
    used: set[str] = set()

    async def use(name: str, request: Any, most: int | None = None) -> Any:
        used.add(name)
        return await call(name, request, most)

    documents = RelationshipFilter(resource_type="document")
    await use("WriteSchema", schema.WriteSchemaRequest(schema=SCHEMA))
    assert "definition document" in (await use("ReadSchema", schema.ReadSchemaRequest())).schema_text
    written = await use(
        "WriteRelationships",
        touch(fact("document:one", "viewer", "user:ann"), fact("document:two", "viewer", "group:eng#member")),
    )
    assert written.written_at.token
    for subject, permissionship in [("user:ann", HAS), ("user:bob", NO)]:
        request = CheckPermissionRequest(
            consistency=Consistency(at_least_as_fresh=written.written_at),
            resource=thing("document:one"),
            permission="view",
            subject=who(subject),
        )
        assert (await use("CheckPermission", request)).permissionship == permissionship

    batches = [[fact("group:eng", "member", f"user:u{n}")] for n in range(4)]
    imported = await use(
        "ImportBulkRelationships", [ImportBulkRelationshipsRequest(relationships=b) for b in batches]
    )
    assert imported.num_loaded == 4
    imported = await use(
        "BulkImportRelationships",
        [BulkImportRelationshipsRequest(relationships=[fact("group:eng", "member", f"user:v{n}")]) for n in range(2)],
    )
    assert imported.num_loaded == 2
    exported = await use("ExportBulkRelationships", ExportBulkRelationshipsRequest(optional_limit=3))
    assert sum(len(one.relationships) for one in exported) == 8
    exported = await use("BulkExportRelationships", BulkExportRelationshipsRequest())
    assert sum(len(one.relationships) for one in exported) == 8
    read = await use("ReadRelationships", ReadRelationshipsRequest(relationship_filter=documents, consistency=FULLY))
    assert {one.relationship.resource.object_id for one in read} == {"one", "two"}

    items = [
        CheckBulkPermissionsRequestItem(resource=thing("document:two"), permission=permission, subject=who("user:u1"))
        for permission in ("view", "nothing")
    ]
    pairs = (await use("CheckBulkPermissions", CheckBulkPermissionsRequest(items=items))).pairs
    assert [pair.WhichOneof("response") for pair in pairs] == ["item", "error"]
    old = [
        BulkCheckPermissionRequestItem(resource=one.resource, permission="view", subject=one.subject) for one in items
    ]
    pairs = (await use("BulkCheckPermission", BulkCheckPermissionRequest(items=old))).pairs
    assert [pair.item.permissionship for pair in pairs] == [HAS, HAS]
    tree = await use(
        "ExpandPermissionTree", ExpandPermissionTreeRequest(resource=thing("document:two"), permission="view")
    )
    assert tree.tree_root.intermediate.children[0].leaf.subjects[0].optional_relation == "member"

    lookup = LookupResourcesRequest(
        resource_object_type="document", permission="view", subject=who("user:u2"), optional_limit=5
    )
    assert [one.resource_object_id for one in await use("LookupResources", lookup)] == ["two"]
    subjects = LookupSubjectsRequest(
        resource=thing("document:two"), permission="view", subject_object_type="user", optional_concrete_limit=2
    )
    page = await use("LookupSubjects", subjects)
    subjects.optional_cursor.CopyFrom(page[-1].after_result_cursor)
    more = await use("LookupSubjects", subjects)
    assert [one.subject.subject_object_id for one in (*page, *more)] == ["u0", "u1", "u2", "u3"]

    reflected = await use("ReflectSchema", schema.ReflectSchemaRequest())
    assert [one.name for one in reflected.definitions] == ["document", "group", "user"]
    reflected = await use("ExperimentalReflectSchema", experimental.ExperimentalReflectSchemaRequest())
    assert [one.name for one in reflected.definitions] == ["document", "group", "user"]
    for name, made in [
        ("ComputablePermissions", schema.ComputablePermissionsRequest),
        ("ExperimentalComputablePermissions", experimental.ExperimentalComputablePermissionsRequest),
    ]:
        found = await use(name, made(definition_name="group", relation_name="member"))
        assert [one.relation_name for one in found.permissions] == ["view", "viewer"]
    for name, asked in [
        ("DependentRelations", schema.DependentRelationsRequest),
        ("ExperimentalDependentRelations", experimental.ExperimentalDependentRelationsRequest),
    ]:
        found = await use(name, asked(definition_name="document", permission_name="view"))
        assert [one.relation_name for one in found.relations] == ["viewer", "member"]
    for name, compared in [
        ("DiffSchema", schema.DiffSchemaRequest),
        ("ExperimentalDiffSchema", experimental.ExperimentalDiffSchemaRequest),
    ]:
        diffs = (await use(name, compared(comparison_schema=SCHEMA + "definition folder {}"))).diffs
        assert [one.definition_added.name for one in diffs] == ["folder"]

    register = experimental.ExperimentalRegisterRelationshipCounterRequest
    await use("ExperimentalRegisterRelationshipCounter", register(name="documents", relationship_filter=documents))
    counted = await use(
        "ExperimentalCountRelationships", experimental.ExperimentalCountRelationshipsRequest(name="documents")
    )
    assert counted.read_counter_value.relationship_count == 2
    unregister = experimental.ExperimentalUnregisterRelationshipCounterRequest(name="documents")
    await use("ExperimentalUnregisterRelationshipCounter", unregister)

    deleted = await use("DeleteRelationships", DeleteRelationshipsRequest(relationship_filter=documents))
    assert deleted.relationships_deleted_count == 2
    assert deleted.deletion_progress == DeleteRelationshipsResponse.DELETION_PROGRESS_COMPLETE
    heard = await use("Watch", WatchRequest(optional_start_cursor=ZedToken(token=written.written_at.token)), 7)
    kinds = [update.operation for one in heard for update in one.updates]
    assert kinds.count(RelationshipUpdate.OPERATION_TOUCH) == 6
    assert kinds.count(RelationshipUpdate.OPERATION_DELETE) == 2

    groups = RelationshipFilter(resource_type="group")
    assert (await use("DeleteRelationships", DeleteRelationshipsRequest(relationship_filter=groups))).deleted_at.token
    with pytest.raises(grpc.RpcError) as refused:
        await use("CheckPermission", CheckPermissionRequest())
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return used


def blocking(client: Any) -> Call:
    """Calls through a blocking client."""

    async def call(name: str, request: Any, most: int | None) -> Any:
        def run() -> Any:
            answer = getattr(client, name)(iter(request) if isinstance(request, list) else request)
            if not hasattr(answer, "__iter__"):
                return answer
            if most is None:
                return list(answer)
            found = _until(answer, most)
            answer.cancel()
            return found

        return await asyncio.to_thread(run)

    return call


def _until(answer: Iterator[Any], most: int) -> list[Any]:
    """Messages until so many updates were heard; the import of four and of two are one message each."""
    found: list[Any] = []
    while sum(len(one.updates) for one in found) < most + 1:
        found.append(next(answer))
    return found


def asynchronous(client: Any) -> Call:
    """Calls through an asynchronous client."""

    async def call(name: str, request: Any, most: int | None) -> Any:
        answer = getattr(client, name)(_each(request) if isinstance(request, list) else request)
        if not hasattr(answer, "__aiter__"):
            return await answer
        found = []
        async for one in answer:
            found.append(one)
            if most is not None and sum(len(each.updates) for each in found) > most:
                answer.cancel()
                break
        return found

    return call


async def _each(requests: Sequence[Any]) -> Any:
    for request in requests:
        yield request


# --- The server --------------------------------------------------------------------------------------------------


class Served(ServiceProcess):
    """A service that listens for gRPC too."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.target = f"127.0.0.1:{free_port()}"
        super().__init__(folder, {"TESSERA_GRPC_ADDR": self.target, **settings})


def every_method() -> set[str]:
    """All names of the wire."""
    return {method.name for method in METHODS}


async def test_blocking_over_a_plain_connection(tmp_path: Path) -> None:
    """``InsecureClient``."""
    with Served(tmp_path) as service:
        service.start()
        client = await asyncio.to_thread(InsecureClient, service.target, service.token)
        assert await walk(blocking(client)) == every_method()
        service.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, bytes]]:
    """A service with a certificate on both listeners, and the certificate."""
    folder = tmp_path_factory.mktemp("tls")
    certificate_file, key_file = certificate(folder)
    settings = {"TESSERA_TLS_CERT_FILE": str(certificate_file), "TESSERA_TLS_KEY_FILE": str(key_file)}
    with Served(folder, **settings) as service:
        service.url = service.url.replace("http:", "https:")
        service._client = httpx.Client(base_url=service.url, verify=_trusting(certificate_file), trust_env=False)
        service.start()
        yield service, certificate_file.read_bytes()
        service.stop()


def _trusting(certificate_file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate_file))


async def test_blocking_over_tls(tls: tuple[Served, bytes]) -> None:
    """``SyncClient`` with a bearer token."""
    service, chain = tls
    client = SyncClient(service.target, bearer_token_credentials(service.token, chain))
    assert await walk(blocking(client)) == every_method()


@pytest.mark.parametrize("made", [AsyncClient, Client])
async def test_asynchronous_over_tls(tls: tuple[Served, bytes], made: type[Client]) -> None:
    """``AsyncClient``, and ``Client`` made inside a loop."""
    service, chain = tls
    client = made(service.target, bearer_token_credentials(service.token, chain))
    assert await walk(asynchronous(client)) == every_method()


async def test_tls_serves_nobody_without(tls: tuple[Served, bytes]) -> None:
    """A plain connection to either listener is none; over TLS both know the same callers."""
    service, chain = tls
    client = await asyncio.to_thread(InsecureClient, service.target, service.token)
    with pytest.raises(grpc.RpcError) as refused:
        await blocking(client)("ReadSchema", schema.ReadSchemaRequest(), None)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    async with httpx.AsyncClient(trust_env=False) as plain:
        with pytest.raises(httpx.TransportError):
            await plain.get(service.url.replace("https:", "http:") + "/healthz")
    stranger = SyncClient(service.target, bearer_token_credentials("wrong", chain))
    with pytest.raises(grpc.RpcError) as refused:
        await blocking(stranger)("ReadSchema", schema.ReadSchemaRequest(), None)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert service.must("/v1/relationships/write", {})["writtenAt"]["token"]
