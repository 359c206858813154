"""What a write can say beyond the wire: sets to make, permissions that must be held, and what became of each part."""

from collections.abc import Iterable, Mapping
from typing import Any

from authzed.api.v1 import core_pb2
from authzed.api.v1 import permission_service_pb2 as pb

from api.convert import from_relationship, to_context, to_resource, to_subject
from api.jsontext import UndecodableBody
from api.methods.call import Call, Extended, Response
from api.methods.extras import checked, items_of, member, relationship_of, valid_from_of
from api.methods.limits import PRECONDITIONS_MAX, UPDATES_MAX, check_context
from api.protojson import to_dict
from pdp.guards import PermissionNeeded
from pdp.relationships import Relationship
from pdp.stores.protocol import Outcome, RelationSet, WriteResult

SETS_MAX = 100
_REPEATED = "tessera-repeated"


def sets_of(call: Call) -> list[RelationSet]:
    """``sets``: relations of resources that are to hold exactly these subjects."""
    return items_of(call.extra, "sets", SETS_MAX, _set)


def _set(item: Any) -> RelationSet:
    if not isinstance(item, dict):
        raise UndecodableBody("an object was expected")
    target = {"resource": member(item, "resource", dict), "relation": member(item, "relation", str)}

    def relationship(subject: Any) -> Relationship:
        if not isinstance(subject, dict):
            raise UndecodableBody("an object was expected")
        return relationship_of({**subject, **target})

    relationships = items_of(item, "subjects", UPDATES_MAX, relationship)
    if relationships:
        one = relationships[0]
        return RelationSet(one.resource, one.relation, tuple(relationships))
    # a set of nobody: some subject stands in for none, so that resource and relation are held against the rules
    nobody = {"object": {"objectType": "nobody", "objectId": "nobody"}}
    message = checked({"subject": nobody, **target}, core_pb2.Relationship)
    return RelationSet(to_resource(message.resource), message.relation)


def needed_of(call: Call) -> list[PermissionNeeded]:
    """``permissionPreconditions``: permissions that somebody must have, or nothing is written."""
    return items_of(call.extra, "permissionPreconditions", PRECONDITIONS_MAX, _needed)


def _needed(item: Any) -> PermissionNeeded:
    message = checked(item, pb.CheckBulkPermissionsRequestItem)
    check_context(message.context)
    resource, subject = to_resource(message.resource), to_subject(message.subject)
    return PermissionNeeded(resource, message.permission, subject, to_context(message.context))


def note_repeated(call: Call, repeated: bool) -> None:
    """Tell that an earlier request with the same idempotency key did it."""
    if call.idempotency_key:
        call.trailers[_REPEATED] = "true" if repeated else "false"


def with_outcomes(call: Call, response: pb.WriteRelationshipsResponse, result: WriteResult) -> Response:
    """The response, with what became of each update and set where ``withOutcomes`` asked for it."""
    if not member(call.extra, "withOutcomes", bool):
        return response
    return Extended(
        response,
        {
            "outcomes": _names(result.outcomes),
            "setOutcomes": [
                [{"relationship": _shown(one), "outcome": outcome.name} for one, outcome in set_]
                for set_ in result.set_outcomes
            ],
        },
    )


def _names(outcomes: Iterable[Outcome]) -> list[str]:
    return [outcome.name for outcome in outcomes]


def _shown(relationship: Relationship) -> Mapping[str, Any]:
    return {**to_dict(from_relationship(relationship)), **valid_from_of([relationship]).get(0, {})}
