"""LookupResources and LookupSubjects: lists with pages, and how they end.

A list that could not be made whole ends with an error behind the rows that were found. Over HTTP a request member
``withEnding`` asks for a last result ``{"ending": …}`` that tells of every list how it ended, of the whole ones too;
over gRPC the trailer ``tessera-ending`` does.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from authzed.api.v1 import permission_service_pb2 as pb

from api.convert import invalid, to_subject, zookie
from api.cursors import CursorMaker, question, read_cursor
from api.methods.call import Call, Extended, Response
from api.methods.extras import bound_by, circumstances, marked, member
from api.methods.limits import check_context, check_limit
from api.statuses import ApiError, Code, Status, status_of
from pdp.consistency import AtExactSnapshot
from pdp.evaluate import Permissionship
from pdp.lookup import Ending, Listing
from pdp.lookup_resources import FoundResource
from pdp.lookup_subjects import ExcludedSubject, FoundSubject
from pdp.queries import (
    Circumstances,
    ResourcesRequest,
    SubjectsRequest,
    lookup_resources,
    lookup_subjects,
)
from pdp.relationships import ObjectRef

_BATCH = 256
"""Rows made and sent in one turn of the event loop."""

_PERMISSIONSHIPS = {
    Permissionship.HAS_PERMISSION: pb.LOOKUP_PERMISSIONSHIP_HAS_PERMISSION,
    Permissionship.CONDITIONAL_PERMISSION: pb.LOOKUP_PERMISSIONSHIP_CONDITIONAL_PERMISSION,
}
Row = TypeVar("Row")


async def lookup_resources_stream(
    call: Call, request: pb.LookupResourcesRequest
) -> AsyncIterator[Sequence[Response]]:
    """LookupResources: one row an id, in order of id. The size of the context is not bounded here."""
    check_limit(request.optional_limit)
    asked = circumstances(call, request.consistency, request.context)
    bound_to = question(request, extra=bound_by(asked))
    under, after = _resumed(call, request, asked, bound_to)
    found = await lookup_resources(
        call.store,
        ResourcesRequest(
            request.resource_object_type,
            request.permission,
            to_subject(request.subject),
            under,
            after,
            request.optional_limit or None,
        ),
    )
    at = zookie(call.store.store, found.revision)
    cursors = CursorMaker(call.store.store, found.revision, found.instant, bound_to)

    def row(one: FoundResource) -> Response:
        response = pb.LookupResourcesResponse(
            looked_up_at=at,
            resource_object_id=one.id,
            permissionship=_PERMISSIONSHIPS[one.permissionship],
            after_result_cursor=cursors.after(one.id),
        )
        if one.missing:
            response.partial_caveat_info.missing_required_context.extend(one.missing)
        return marked(response, asked)

    async for batch in _rows(call, found, row, pb.LookupResourcesResponse(looked_up_at=at)):
        yield batch


async def lookup_subjects_stream(call: Call, request: pb.LookupSubjectsRequest) -> AsyncIterator[Sequence[Response]]:
    """LookupSubjects: one row an id, in order of id, ``*`` with whom it does not cover.

    ``optional_concrete_limit`` bounds the rows of a page, the row ``*`` included.
    """
    check_context(request.context)
    check_limit(request.optional_concrete_limit)
    asked = circumstances(call, request.consistency, request.context)
    bound_to = question(request, extra=bound_by(asked))
    under, after = _resumed(call, request, asked, bound_to)
    found = await lookup_subjects(
        call.store,
        SubjectsRequest(
            ObjectRef(request.resource.object_type, request.resource.object_id),
            request.permission,
            request.subject_object_type,
            request.optional_subject_relation,
            under,
            after,
            request.optional_concrete_limit or None,
            wildcards=request.wildcard_option != pb.LookupSubjectsRequest.WILDCARD_OPTION_EXCLUDE_WILDCARDS,
        ),
    )
    at = zookie(call.store.store, found.revision)
    cursors = CursorMaker(call.store.store, found.revision, found.instant, bound_to)

    def row(one: FoundSubject) -> Response:
        response = pb.LookupSubjectsResponse(
            looked_up_at=at,
            subject=_resolved(one),
            excluded_subjects=[_resolved(excluded) for excluded in one.excluded],
            subject_object_id=one.id,
            excluded_subject_ids=[excluded.id for excluded in one.excluded],
            permissionship=_PERMISSIONSHIPS[one.permissionship],
            after_result_cursor=cursors.after(one.id),
        )
        if one.missing:
            response.partial_caveat_info.missing_required_context.extend(one.missing)
        return marked(response, asked)

    async for batch in _rows(call, found, row, pb.LookupSubjectsResponse(looked_up_at=at)):
        yield batch


def _resolved(one: FoundSubject | ExcludedSubject) -> pb.ResolvedSubject:
    resolved = pb.ResolvedSubject(subject_object_id=one.id, permissionship=_PERMISSIONSHIPS[one.permissionship])
    if one.missing:
        resolved.partial_caveat_info.missing_required_context.extend(one.missing)
    return resolved


def _resumed(
    call: Call,
    request: pb.LookupResourcesRequest | pb.LookupSubjectsRequest,
    asked: Circumstances,
    bound_to: bytes,
) -> tuple[Circumstances, str | None]:
    """The circumstances of this page and the id it comes after: a cursor's revision and instant count before all."""
    if not request.HasField("optional_cursor"):
        return asked, None
    cursor = read_cursor(call.store.store, request.optional_cursor.token, bound_to)
    if len(cursor.after) != 1:
        raise invalid("the cursor was made for another request or store", "INVALID_CURSOR")
    under = replace(asked, consistency=AtExactSnapshot(cursor.revision), instant=cursor.instant)
    return under, cursor.after[0]


async def _rows(
    call: Call, found: Listing[Row], row: Callable[[Row], Response], empty: Any
) -> AsyncIterator[Sequence[Response]]:
    call.facts.update(revision=found.revision, rows=len(found.rows))
    call.trailers["tessera-ending"] = _ending_word(found.ending)
    for start in range(0, len(found.rows), _BATCH):
        yield [row(one) for one in found.rows[start : start + _BATCH]]
    if member(call.extra, "withEnding", bool):
        yield [Extended(empty, {"ending": _ending(found.ending)})]
    if found.ending.undecided:
        raise _undecided(found.ending)


def _ending_word(ending: Ending) -> str:
    if ending.undecided:
        return "incomplete"
    return "more" if ending.more else "complete"


def _ending(ending: Ending) -> dict[str, Any]:
    told: dict[str, Any] = {
        "complete": ending.complete,
        "reason": {"complete": "", "more": "LIMIT_REACHED", "incomplete": "UNDECIDED"}[_ending_word(ending)],
    }
    if ending.undecided:
        told["undecidedIds"] = list(ending.undecided)
    return told


def _undecided(ending: Ending) -> Exception:
    """Why a list is not whole, as the error behind it: the first of its causes, with the ids in the message."""
    cause = status_of(ending.error) if ending.error is not None else None
    if cause is None:
        cause = Status(Code.INTERNAL, "internal error")
    ids = ", ".join(f"`{id_}`" for id_ in ending.undecided[:5])
    more = f" and {len(ending.undecided) - 5} more" if len(ending.undecided) > 5 else ""
    return ApiError(replace(cause, message=f"the list is not whole, {ids}{more} undecided: {cause.message}"))
