"""Methods beyond the v1 API, over HTTP alone: what a subject may do, counts, lists for several permissions, plans.

Their requests are the wire's own messages with members beside them, so that everything a check or a lookup can be
asked under — consistency, context, contextual relationships, evaluation time — holds here too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from authzed.api.v1 import permission_service_pb2 as pb
from authzed.api.v1 import schema_service_pb2 as schema_pb

from api.convert import invalid, to_resource, to_subject, zookie
from api.jsontext import UndecodableBody
from api.methods import reflection
from api.methods.call import Beyond, Call
from api.methods.extras import circumstances, items_of, marked_members, member
from api.methods.limits import check_context
from api.protojson import to_dict
from api.statuses import Code, Status, status_of
from pdp.bulk import Outcome
from pdp.consistency import AtExactSnapshot
from pdp.evaluate import Answer, Permissionship
from pdp.lookup import Ending
from pdp.queries import (
    Circumstances,
    ResourcesRequest,
    SubjectsRequest,
    list_permissions,
    lookup_resources,
    lookup_subjects,
)
from pdp.relationships import ObjectRef, Revision
from pdp.schema_plan import plan_schema

PERMISSIONS_MAX = 100


def _token(call: Call, revision: Revision) -> dict[str, str]:
    return {"token": zookie(call.store.store, revision).token}


def _names(call: Call, name: str) -> list[str]:
    """A member that is a list of names."""

    def read(item: Any) -> str:
        if not isinstance(item, str) or not item:
            raise UndecodableBody("a name was expected")
        return item

    return items_of(call.extra, name, PERMISSIONS_MAX, read)


def outcome_members(outcome: Outcome) -> dict[str, Any]:
    """What came of a question: its answer as a check gives it, or its error."""
    if not isinstance(outcome, Answer):
        status = status_of(outcome) or Status(Code.INTERNAL, "internal error")
        return {"error": status.to_json()}
    missing = {"missingRequiredContext": list(outcome.missing)} if outcome.missing else None
    return {"permissionship": f"PERMISSIONSHIP_{outcome.permissionship.name}", "partialCaveatInfo": missing}


async def list_permissions_of(call: Call, request: pb.CheckPermissionRequest) -> Mapping[str, Any]:
    """What a subject may do with a resource, in one walk."""
    check_context(request.context)
    under = circumstances(call, request.consistency, request.context)
    names = _names(call, "permissions")
    if request.permission:
        names = [request.permission, *names]
    listed = await list_permissions(
        call.store,
        to_resource(request.resource),
        to_subject(request.subject),
        under,
        permissions=names or None,
        relations=bool(member(call.extra, "withRelations", bool)),
    )
    call.facts.update(revision=listed.revision)
    permissions = [{"permission": held.permission, **outcome_members(held.outcome)} for held in listed.held]
    return marked_members({"checkedAt": _token(call, listed.revision), "permissions": permissions}, under)


def _counted(call: Call, rows: Sequence[Any], ending: Ending, revision: Revision) -> dict[str, Any]:
    has = sum(row.permissionship is Permissionship.HAS_PERMISSION for row in rows)
    call.facts.update(revision=revision)
    return {
        "lookedUpAt": _token(call, revision),
        "count": str(has),
        "conditionalCount": str(len(rows) - has),
        "complete": ending.complete,
        "undecidedCount": str(len(ending.undecided)),
    }


async def count_resources(call: Call, request: pb.LookupResourcesRequest) -> Mapping[str, Any]:
    """On how many resources a subject has a permission."""
    under = circumstances(call, request.consistency, request.context)
    asked = ResourcesRequest(
        request.resource_object_type, request.permission, to_subject(request.subject), _whole(request, under)
    )
    found = await lookup_resources(call.store, asked)
    return marked_members(_counted(call, found.rows, found.ending, found.revision), under)


async def count_subjects(call: Call, request: pb.LookupSubjectsRequest) -> Mapping[str, Any]:
    """How many subjects have a permission on a resource; ``wildcard`` tells whether everybody of the type does."""
    check_context(request.context)
    under = circumstances(call, request.consistency, request.context)
    resource = ObjectRef(request.resource.object_type, request.resource.object_id)
    asked = SubjectsRequest(
        resource,
        request.permission,
        request.subject_object_type,
        request.optional_subject_relation,
        _whole(request, under),
    )
    found = await lookup_subjects(call.store, asked)
    named = [row for row in found.rows if row.id != "*"]
    counted = _counted(call, named, found.ending, found.revision)
    return marked_members({**counted, "wildcard": len(named) < len(found.rows)}, under)


def _whole(request: pb.LookupResourcesRequest | pb.LookupSubjectsRequest, under: Circumstances) -> Circumstances:
    """Counts are of whole lists: a page of one is refused."""
    if isinstance(request, pb.LookupResourcesRequest):
        limited = request.optional_limit
    else:
        limited = request.optional_concrete_limit
    if limited or request.HasField("optional_cursor"):
        raise invalid("a count is of the whole list: it takes neither limit nor cursor")
    return under


async def lookup_several(call: Call, request: pb.LookupResourcesRequest) -> Mapping[str, Any]:
    """Resources for each of several permissions, all at one revision and instant."""
    under = _whole(request, circumstances(call, request.consistency, request.context))
    names = list(dict.fromkeys([request.permission, *_names(call, "permissions")]))
    results = []
    revision = await call.store.revision(under.consistency)
    instant = call.store.now() if under.instant is None else under.instant
    at = replace(under, consistency=AtExactSnapshot(revision), instant=instant)
    for name in names:
        asked = ResourcesRequest(request.resource_object_type, name, to_subject(request.subject), at)
        found = await lookup_resources(call.store, asked)
        resources = [
            {
                "resourceObjectId": row.id,
                "permissionship": f"LOOKUP_PERMISSIONSHIP_{row.permissionship.name}",
                "partialCaveatInfo": {"missingRequiredContext": list(row.missing)} if row.missing else None,
            }
            for row in found.rows
        ]
        results.append(
            {
                "permission": name,
                "resources": resources,
                "complete": found.ending.complete,
                "undecidedIds": list(found.ending.undecided),
            }
        )
    call.facts.update(revision=revision)
    return marked_members({"lookedUpAt": _token(call, revision), "results": results}, under)


async def plan(call: Call, request: schema_pb.WriteSchemaRequest) -> Mapping[str, Any]:
    """What writing a schema would do, without writing it."""
    planned = await plan_schema(call.store, request.schema)
    call.facts.update(revision=planned.revision)
    return {
        "plannedAt": _token(call, planned.revision),
        "wouldBeWritten": not planned.obstacles,
        "diffs": [to_dict(reflection.difference(one)) for one in planned.differences],
        "meaningChanges": [
            {
                "definitionName": one.name.definition,
                "name": one.name.relation,
                "isPermission": one.is_permission,
                "effect": one.effect.upper(),
                "causes": [f"{cause.definition}#{cause.relation}" for cause in one.causes],
            }
            for one in planned.meanings
        ],
        "obstacles": [
            {
                "operation": one.operation,
                "message": one.message,
                "relationshipCount": str(one.relationships),
                "metadata": dict(one.names),
            }
            for one in planned.obstacles
        ],
        "warnings": [
            {
                "name": one.name,
                "message": one.message,
                "definitionName": one.definition,
                "relationName": one.relation,
                "line": one.position.line,
                "column": one.position.column,
            }
            for one in planned.warnings
        ],
    }


BEYOND: tuple[Beyond, ...] = (
    Beyond(
        "ListPermissions",
        "/tessera/v1/permissions/list",
        "permissions:check",
        pb.CheckPermissionRequest,
        "What may a subject do with a resource?",
        list_permissions_of,
    ),
    Beyond(
        "CountResources",
        "/tessera/v1/resources/count",
        "permissions:check",
        pb.LookupResourcesRequest,
        "On how many resources has a subject a permission?",
        count_resources,
    ),
    Beyond(
        "CountSubjects",
        "/tessera/v1/subjects/count",
        "permissions:check",
        pb.LookupSubjectsRequest,
        "How many subjects have a permission on a resource?",
        count_subjects,
    ),
    Beyond(
        "LookupResourcesOfPermissions",
        "/tessera/v1/resources/lookup",
        "permissions:check",
        pb.LookupResourcesRequest,
        "Resources for each of several permissions.",
        lookup_several,
    ),
    Beyond(
        "PlanSchema",
        "/tessera/v1/schema/plan",
        "schema:read",
        schema_pb.WriteSchemaRequest,
        "What writing a schema would do.",
        plan,
    ),
)
