"""The wire's messages to the values that `pdp` works on, and back. Shapes are already checked by `api.fields`."""

import json
from collections.abc import Mapping
from typing import Any

from authzed.api.v1 import core_pb2, permission_service_pb2
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from api.protojson import read_struct, struct_to_dict
from api.statuses import ApiError, Code, Status
from pdp import consistency
from pdp.relationships import (
    WILDCARD,
    Instant,
    ObjectRef,
    Operation,
    Precondition,
    Relationship,
    RelationshipFilter,
    Revision,
    SubjectFilter,
    SubjectRef,
    Update,
)
from pdp.stores.protocol import RelationshipStore
from pdp.zookies import decode, encode

_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, which is as far as a Timestamp goes."""


def invalid(message: str, reason: str = "", **metadata: str) -> ApiError:
    """An InvalidArgument."""
    return ApiError(Status(Code.INVALID_ARGUMENT, message, reason, metadata))


def zookie(store: RelationshipStore, revision: int) -> core_pb2.ZedToken:
    """The opaque token of a revision."""
    return core_pb2.ZedToken(token=encode(store, Revision(revision)))


def to_consistency(store: RelationshipStore, message: permission_service_pb2.Consistency) -> consistency.Consistency:
    """How fresh the answer must be; an unset message is `MinimizeLatency`.

    Raises:
        InvalidZookie: the token cannot be read or is not this store's.
    """
    match message.WhichOneof("requirement"):
        case "fully_consistent":
            return consistency.FULLY_CONSISTENT
        case "at_least_as_fresh":
            return consistency.AtLeastAsFresh(decode(store, message.at_least_as_fresh.token))
        case "at_exact_snapshot":
            return consistency.AtExactSnapshot(decode(store, message.at_exact_snapshot.token))
        case _:
            return consistency.MINIMIZE_LATENCY


def to_resource(message: core_pb2.ObjectReference) -> ObjectRef:
    """A resource: one object, never every object of a type."""
    if message.object_id == WILDCARD:
        raise invalid("a resource is one object; `*` is no resource id")
    return ObjectRef(message.object_type, message.object_id)


def to_subject(message: core_pb2.SubjectReference) -> SubjectRef:
    """A subject."""
    return SubjectRef(message.object.object_type, message.object.object_id, message.optional_relation)


def to_context(message: Struct) -> dict[str, Any]:
    """A caveat's context or a transaction's metadata as plain JSON values."""
    try:
        return struct_to_dict(message)
    except ValueError as error:
        raise invalid(str(error)) from error


def canonical_json(context: Mapping[str, Any]) -> str:
    """The form in which a relationship's context is stored and compared; nothing for nothing."""
    return json.dumps(context, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if context else ""


def to_instant(message: Timestamp) -> Instant:
    """Microseconds; what is finer is cut off.

    Raises:
        ApiError: it is not between the years 1 and 9999, as gRPC lets pass.
    """
    if not _SECONDS_MIN <= message.seconds <= _SECONDS_MAX or not 0 <= message.nanos < 1_000_000_000:
        raise invalid("a time must be between the years 1 and 9999")
    return Instant(message.seconds * 1_000_000 + message.nanos // 1_000)


def from_instant(instant: Instant) -> Timestamp:
    """A timestamp."""
    seconds, micros = divmod(instant, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1_000)


def to_relationship(message: core_pb2.Relationship, *, valid_from: Instant | None = None) -> Relationship:
    """A relationship to be written; ``valid_from`` is no field of the message."""
    resource, subject = to_resource(message.resource), to_subject(message.subject)
    caveat = message.optional_caveat
    return Relationship(
        resource.type,
        resource.id,
        message.relation,
        subject.type,
        subject.id,
        subject.relation,
        caveat.caveat_name,
        canonical_json(to_context(caveat.context)) if caveat.caveat_name else "",
        to_instant(message.optional_expires_at) if message.HasField("optional_expires_at") else None,
        valid_from,
    )


def from_relationship(relationship: Relationship) -> core_pb2.Relationship:
    """A stored relationship."""
    message = core_pb2.Relationship(
        resource=core_pb2.ObjectReference(object_type=relationship.resource_type, object_id=relationship.resource_id),
        relation=relationship.relation,
        subject=from_subject(relationship.subject),
    )
    if relationship.caveat_name:
        message.optional_caveat.caveat_name = relationship.caveat_name
        context = relationship.caveat_context
        if context:
            message.optional_caveat.context.CopyFrom(read_struct(json.loads(context)))
    if relationship.expires_at is not None:
        message.optional_expires_at.CopyFrom(from_instant(relationship.expires_at))
    return message


def from_subject(subject: SubjectRef) -> core_pb2.SubjectReference:
    """A subject."""
    return core_pb2.SubjectReference(
        object=core_pb2.ObjectReference(object_type=subject.type, object_id=subject.id),
        optional_relation=subject.relation,
    )


def to_update(message: core_pb2.RelationshipUpdate, *, valid_from: Instant | None = None) -> Update:
    """One change of a write."""
    return Update(Operation(message.operation), to_relationship(message.relationship, valid_from=valid_from))


def to_precondition(message: permission_service_pb2.Precondition) -> Precondition:
    """A precondition of a write."""
    must_match = message.operation == permission_service_pb2.Precondition.OPERATION_MUST_MATCH
    return Precondition(must_match, to_filter(message.filter))


def to_filter(message: permission_service_pb2.RelationshipFilter) -> RelationshipFilter:
    """A filter with at least one field.

    Raises:
        ApiError: INVALID_FILTER, where none is given or two exclude each other.
    """
    text = " ".join(str(message).split())
    if message.optional_resource_id and message.optional_resource_id_prefix:
        raise invalid("resource id and resource id prefix exclude each other", "INVALID_FILTER", filter=text)
    subject = None
    if message.HasField("optional_subject_filter"):
        wanted = message.optional_subject_filter
        relation = wanted.optional_relation.relation if wanted.HasField("optional_relation") else None
        subject = SubjectFilter(wanted.subject_type, wanted.optional_subject_id or None, relation)
    found = RelationshipFilter(
        message.resource_type or None,
        (message.optional_resource_id,) if message.optional_resource_id else (),
        message.optional_resource_id_prefix or None,
        message.optional_relation or None,
        subject,
    )
    if found == RelationshipFilter():
        raise invalid("at least one field of the filter must be given", "INVALID_FILTER", filter=text)
    return found
