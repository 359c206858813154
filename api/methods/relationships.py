"""Relationships: PermissionsService's reads and writes."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from authzed.api.v1 import permission_service_pb2 as pb

from api.convert import (
    from_relationship,
    invalid,
    to_consistency,
    to_context,
    to_precondition,
    to_update,
    zookie,
)
from api.cursors import CursorMaker, question, read_cursor
from api.methods.call import Call, Extended, Response
from api.methods.extras import filter_of, instant_of, member, valid_from_of
from api.methods.limits import (
    PAGE_MAX,
    check_counts,
    check_limit,
    check_metadata,
    check_relationship_context,
)
from api.methods.write_extras import needed_of, note_repeated, sets_of, with_outcomes
from pdp.commands import delete, write
from pdp.consistency import AtExactSnapshot
from pdp.relationships import Instant, Relationship
from pdp.stores.protocol import DeleteRequest, WriteRequest

_BATCH = 256
"""Rows made and sent in one turn of the event loop."""


async def write_relationships(call: Call, request: pb.WriteRelationshipsRequest) -> Response:
    """WriteRelationships."""
    check_counts(len(request.updates), len(request.optional_preconditions))
    check_metadata(request.optional_transaction_metadata)
    valid_from = _valid_from(call.extra)
    updates = []
    for index, message in enumerate(request.updates):
        update = to_update(message, valid_from=valid_from.get(index))
        check_relationship_context(str(update.relationship), message.relationship.optional_caveat.context)
        updates.append(update)
    sets = sets_of(call)
    check_counts(len(updates) + sum(len(one.relationships) for one in sets), 0)
    written = await write(
        call.store,
        WriteRequest(
            updates,
            [to_precondition(message) for message in request.optional_preconditions],
            to_context(request.optional_transaction_metadata),
            sets=sets,
            idempotency_key=call.idempotency_key,
        ),
        needed_of(call),
    )
    call.facts.update(revision=written.revision)
    note_repeated(call, written.repeated)
    response = pb.WriteRelationshipsResponse(written_at=zookie(call.store.store, written.revision))
    return with_outcomes(call, response, written)


def _valid_from(members: Any) -> dict[int, Instant]:
    """The times from which updates' relationships count, by position; those without one are left out."""
    found = {}
    for index, update in enumerate(member(members, "updates", list) or ()):
        relationship = member(update, "relationship", dict)
        instant = instant_of(relationship, "validFrom") if relationship else None
        if instant is not None:
            found[index] = instant
    return found


async def delete_relationships(call: Call, request: pb.DeleteRelationshipsRequest) -> Response:
    """DeleteRelationships: by filter; expired relationships count too."""
    check_limit(request.optional_limit)
    check_counts(0, len(request.optional_preconditions))
    check_metadata(request.optional_transaction_metadata)
    deleted = await delete(
        call.store,
        DeleteRequest(
            filter_of(call, request.relationship_filter),
            [to_precondition(message) for message in request.optional_preconditions],
            request.optional_limit or None,
            request.optional_allow_partial_deletions,
            to_context(request.optional_transaction_metadata),
            idempotency_key=call.idempotency_key,
        ),
        needed_of(call),
    )
    call.facts.update(revision=deleted.revision)
    note_repeated(call, deleted.repeated)
    progress = pb.DeleteRelationshipsResponse
    return pb.DeleteRelationshipsResponse(
        deleted_at=zookie(call.store.store, deleted.revision),
        deletion_progress=progress.DELETION_PROGRESS_COMPLETE
        if deleted.complete
        else progress.DELETION_PROGRESS_PARTIAL,
        relationships_deleted_count=deleted.deleted,
    )


async def read_relationships(call: Call, request: pb.ReadRelationshipsRequest) -> AsyncIterator[Sequence[Response]]:
    """ReadRelationships: page by page of one snapshot and instant."""
    check_limit(request.optional_limit)
    store = call.store
    filter_ = filter_of(call, request.relationship_filter)
    bound_to = question(request, extra=filter_.resource_ids)
    consistency = to_consistency(store.store, request.consistency)
    after, instant = None, store.now()
    if request.HasField("optional_cursor"):
        cursor = read_cursor(store.store, request.optional_cursor.token, bound_to)
        consistency, after, instant = AtExactSnapshot(cursor.revision), identified(cursor.after), cursor.instant
    revision = await store.revision(consistency)
    call.facts.update(revision=revision)
    read_at = zookie(store.store, revision)
    cursors = CursorMaker(store.store, revision, instant, bound_to)
    left = request.optional_limit or None
    while left is None or left > 0:
        page = await store.read(
            revision, filter_, instant=instant, after=after, limit=PAGE_MAX if left is None else min(left, PAGE_MAX)
        )
        valid_from = valid_from_of(page.relationships)
        batch: list[Response] = []
        for index, relationship in enumerate(page.relationships):
            response = pb.ReadRelationshipsResponse(
                read_at=read_at,
                relationship=from_relationship(relationship),
                after_result_cursor=cursors.after(*relationship.identity),
            )
            if index in valid_from:
                batch.append(Extended(response, {"relationship": valid_from[index]}))
            else:
                batch.append(response)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        yield batch
        if not page.more:
            return
        after = page.relationships[-1]
        left = None if left is None else left - len(page.relationships)


def identified(place: tuple[str, ...]) -> Relationship:
    """The relationship that a cursor's place names."""
    if len(place) != 6:
        raise invalid("the cursor was made for another request or store", "INVALID_CURSOR")
    return Relationship(*place)
