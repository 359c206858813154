"""Relationships: PermissionsService's reads and writes."""

from collections.abc import AsyncIterator

from authzed.api.v1 import core_pb2
from authzed.api.v1 import permission_service_pb2 as pb

from api.convert import (
    from_relationship,
    to_consistency,
    to_context,
    to_filter,
    to_precondition,
    to_update,
    zookie,
)
from api.cursors import read_cursor, write_cursor
from api.methods.call import Call
from api.methods.limits import (
    PAGE_MAX,
    check_counts,
    check_limit,
    check_metadata,
    check_relationship_context,
)
from pdp.consistency import AtExactSnapshot


async def write_relationships(call: Call, request: pb.WriteRelationshipsRequest) -> pb.WriteRelationshipsResponse:
    """WriteRelationships."""
    check_counts(len(request.updates), len(request.optional_preconditions))
    check_metadata(request.optional_transaction_metadata)
    updates = []
    for message in request.updates:
        update = to_update(message)
        check_relationship_context(str(update.relationship), message.relationship.optional_caveat.context)
        updates.append(update)
    written = await call.store.write(
        updates,
        [to_precondition(message) for message in request.optional_preconditions],
        to_context(request.optional_transaction_metadata),
    )
    return pb.WriteRelationshipsResponse(written_at=zookie(call.store.store, written.revision))


async def read_relationships(
    call: Call, request: pb.ReadRelationshipsRequest
) -> AsyncIterator[pb.ReadRelationshipsResponse]:
    """ReadRelationships: in identity order, page by page of one snapshot and instant."""
    check_limit(request.optional_limit)
    store = call.store
    filter_ = to_filter(request.relationship_filter)
    bound_to = request.relationship_filter.SerializeToString(deterministic=True)
    consistency = to_consistency(store.store, request.consistency)
    after, instant = None, store.now()
    if request.HasField("optional_cursor"):
        cursor = read_cursor(store.store, request.optional_cursor.token, bound_to)
        consistency, after, instant = AtExactSnapshot(cursor.revision), cursor.after, cursor.instant
    revision = await store.revision(consistency)
    read_at = zookie(store.store, revision)
    left = request.optional_limit or None
    while left is None or left > 0:
        page = await store.read(
            revision, filter_, instant=instant, after=after, limit=PAGE_MAX if left is None else min(left, PAGE_MAX)
        )
        for relationship in page.relationships:
            token = write_cursor(store.store, revision, instant, relationship, bound_to)
            yield pb.ReadRelationshipsResponse(
                read_at=read_at,
                relationship=from_relationship(relationship),
                after_result_cursor=core_pb2.Cursor(token=token),
            )
        if not page.more:
            return
        after = page.relationships[-1]
        left = None if left is None else left - len(page.relationships)
