"""WatchService: what a store's writes changed, one message a revision."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from authzed.api.v1 import core_pb2
from authzed.api.v1 import watch_service_pb2 as pb

from api.convert import from_instant, from_relationship, invalid, to_filter, zookie
from api.methods.call import Call, Extended, Response
from api.methods.extras import member, valid_from_of
from api.protojson import read_struct, to_dict
from pdp.relationships import Operation, Relationship
from pdp.stores.values import WatchEvent, WatchRequest
from pdp.validate import check_filter
from pdp.zookies import decode

_OPERATIONS = {
    Operation.TOUCH: core_pb2.RelationshipUpdate.OPERATION_TOUCH,
    Operation.DELETE: core_pb2.RelationshipUpdate.OPERATION_DELETE,
}


async def watch(call: Call, request: pb.WatchRequest) -> AsyncIterator[Sequence[Response]]:
    """Watch: strictly after the cursor, or from now on.

    Over HTTP ``includeTimes`` asks for what expires or begins to count as well.
    """
    types, kinds = request.optional_object_types, set(request.optional_update_kinds)
    if types and request.optional_relationship_filters:
        raise invalid("object types and relationship filters exclude each other")
    if unknown := kinds - set(pb.WatchKind.values()):
        raise invalid(f"there is no kind of update `{min(unknown)}`")
    store = call.store
    filters = tuple(to_filter(message) for message in request.optional_relationship_filters)
    after = store.follower.applied
    if request.HasField("optional_start_cursor"):
        after = decode(store.store, request.optional_start_cursor.token)
    schema = (await store.follower.schema(store.follower.applied)).program.schema
    for filter_ in filters:
        check_filter(schema, filter_)
    wanted = WatchRequest(
        frozenset(types),
        filters,
        schema=pb.WATCH_KIND_INCLUDE_SCHEMA_UPDATES in kinds,
        checkpoints=pb.WATCH_KIND_INCLUDE_CHECKPOINTS in kinds,
        times=bool(member(call.extra, "includeTimes", bool)),
    )
    async for event in store.store.watch(after, wanted):
        yield [_response(call, event)]


def _response(call: Call, event: WatchEvent) -> Response:
    response = pb.WatchResponse(
        changes_through=zookie(call.store.store, event.revision),
        schema_updated=event.schema_changed,
        is_checkpoint=event.is_checkpoint,
    )
    for operation, relationship in event.updates:
        response.updates.add(operation=_OPERATIONS[operation], relationship=from_relationship(relationship))
    if event.metadata:
        metadata = read_struct(event.metadata)
        response.optional_transaction_metadata.CopyFrom(metadata)
        response.full_revision_metadata.append(metadata)
    members = _beyond(event)
    return Extended(response, members) if members else response


def _beyond(event: WatchEvent) -> dict[str, Any]:
    members: dict[str, Any] = {}
    valid_from = valid_from_of([update.relationship for update in event.updates])
    if valid_from:
        members["updates"] = {index: {"relationship": value} for index, value in valid_from.items()}
    if event.expired or event.begun:
        members["instant"] = from_instant(event.instant).ToJsonString()
        members["expired"] = [_shown(one) for one in event.expired]
        members["begun"] = [_shown(one) for one in event.begun]
    return members


def _shown(relationship: Relationship) -> dict[str, Any]:
    members = to_dict(from_relationship(relationship))
    return {**members, **valid_from_of([relationship]).get(0, {})}
