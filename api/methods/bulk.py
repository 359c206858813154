"""Relationships by the million: PermissionsService's ImportBulkRelationships and ExportBulkRelationships."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeAlias

from authzed.api.v1 import permission_service_pb2 as pb

from api.convert import from_relationship, invalid, to_consistency, to_relationship
from api.cursors import CursorMaker, question, read_cursor
from api.methods.call import Call, Extended, Response
from api.methods.extras import filter_of, instant_of, member, valid_from_of
from api.methods.limits import EXPORT_MAX, check_limit, check_relationship_context
from api.methods.relationships import identified
from pdp.commands import import_relationships
from pdp.consistency import AtExactSnapshot
from pdp.relationships import Relationship
from pdp.stores.values import Conflict

ImportRequests: TypeAlias = AsyncIterator[tuple[pb.ImportBulkRelationshipsRequest, Mapping[str, Any]]]


async def import_bulk(call: Call, requests: ImportRequests) -> Response:
    """ImportBulkRelationships: all of the stream or nothing.

    The first request may say ``onConflict``: ``skip`` or ``touch`` what is stored already, in batches of which each
    stands for itself; the answer then tells what became of them.
    """
    first = await anext(requests, None)
    wanted = member(first[1], "onConflict", str) if first is not None else None
    try:
        conflict = Conflict(wanted or "fail")
    except ValueError as error:
        raise invalid(f"`onConflict` is `fail`, `skip` or `touch`, not `{(wanted or '')[:32]}`") from error
    loaded = 0

    async def batches() -> AsyncIterator[Sequence[Relationship]]:
        nonlocal loaded
        if first is None:
            return
        yield _relationships(*first)
        loaded += len(first[0].relationships)
        async for request, members in requests:
            yield _relationships(request, members)
            loaded += len(request.relationships)

    result = await import_relationships(call.store, batches(), conflict=conflict)
    call.facts.update(revision=result.revision, rows=loaded)
    response = pb.ImportBulkRelationshipsResponse(num_loaded=loaded)
    if wanted is None:
        return response
    counts = {name: str(getattr(result, name)) for name in ("created", "changed", "unchanged")}
    return Extended(response, counts)


def _relationships(request: pb.ImportBulkRelationshipsRequest, members: Mapping[str, Any]) -> list[Relationship]:
    extra = member(members, "relationships", list) or [{}] * len(request.relationships)
    found = []
    for message, beyond in zip(request.relationships, extra, strict=True):
        relationship = to_relationship(message, valid_from=instant_of(beyond, "validFrom"))
        check_relationship_context(str(relationship), message.optional_caveat.context)
        found.append(relationship)
    return found


async def export_bulk(call: Call, request: pb.ExportBulkRelationshipsRequest) -> AsyncIterator[Sequence[Response]]:
    """ExportBulkRelationships: a whole snapshot; ``optional_limit`` is the size of a message, not of the export.

    A message never holds relationships of two resource types. A filter's names are not held against the schema. A
    cursor is bound to the filter, whose index gives the order, but not to the limit.
    """
    check_limit(request.optional_limit, EXPORT_MAX)
    size = request.optional_limit or EXPORT_MAX
    store = call.store
    filter_ = None
    if request.HasField("optional_relationship_filter"):
        filter_ = filter_of(call, request.optional_relationship_filter, "optionalRelationshipFilter")
    ids = filter_.resource_ids if filter_ is not None else ()
    bound_to = question(request, extra=ids, without=("optional_limit",))
    consistency, after, instant = to_consistency(store.store, request.consistency), None, store.now()
    if request.HasField("optional_cursor"):
        cursor = read_cursor(store.store, request.optional_cursor.token, bound_to)
        consistency, after, instant = AtExactSnapshot(cursor.revision), identified(cursor.after), cursor.instant
    revision = await store.revision(consistency)
    call.facts.update(revision=revision)
    cursors = CursorMaker(store.store, revision, instant, bound_to)
    async for page in store.store.export(revision, filter_=filter_, after=after, batch=size):
        # what counts later is exported with the time from which it does; what has expired is gone
        kept = [one for one in page if one.expires_at is None or instant < one.expires_at]
        for message in _by_type(kept):
            response = pb.ExportBulkRelationshipsResponse(
                after_result_cursor=cursors.after(*message[-1].identity),
                relationships=[from_relationship(relationship) for relationship in message],
            )
            valid_from = valid_from_of(message)
            yield [Extended(response, {"relationships": valid_from}) if valid_from else response]


def _by_type(page: Sequence[Relationship]) -> list[list[Relationship]]:
    """Neighbours of one resource type together, in order."""
    found: list[list[Relationship]] = []
    for relationship in page:
        if not found or found[-1][0].resource_type != relationship.resource_type:
            found.append([])
        found[-1].append(relationship)
    return found
