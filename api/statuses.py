"""Errors on the v1 API: one table from what the parts raise to a ``google.rpc.Status``, for HTTP and gRPC alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from api.fields import InvalidFields, Violation
from api.fields import to_proto as violations_to_proto
from api.jsontext import BodyTooLarge, UndecodableBody
from api.protojson import to_dict
from pdp import errors as pdp
from pdp.relationships import Precondition, Relationship, RelationshipFilter
from schema.errors import ProblemKind, SchemaError
from schema.printing import NotExpressible

DOMAIN = "authzed.com"
"""The domain that clients of this API look for; ours would not be recognised."""


class Code(IntEnum):
    """google.rpc.Code."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUSES: Mapping[Code, int] = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


@dataclass(frozen=True, slots=True)
class Status:
    """What a caller is told: a code, a message and, where there is one, a reason with its facts."""

    code: Code
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: int | None = None
    violations: tuple[Violation, ...] = ()

    @property
    def http_status(self) -> int:
        """The HTTP status of the code."""
        return HTTP_STATUSES[self.code]

    def to_json(self) -> dict[str, Any]:
        """The JSON body of google.rpc.Status."""
        details: list[dict[str, Any]] = []
        if self.reason:
            details.append(
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": f"ERROR_REASON_{self.reason}",
                    "domain": DOMAIN,
                    "metadata": dict(self.metadata),
                }
            )
        if self.violations:
            violations = violations_to_proto(self.violations)
            details.append({"@type": "type.googleapis.com/buf.validate.Violations", **to_dict(violations)})
        return {"code": int(self.code), "message": self.message, "details": details}

    def to_proto(self) -> status_pb2.Status:
        """The protobuf message google.rpc.Status."""
        details = []
        if self.reason:
            info = error_details_pb2.ErrorInfo(
                reason=f"ERROR_REASON_{self.reason}", domain=DOMAIN, metadata=dict(self.metadata)
            )
            packed = AnyMessage()
            packed.Pack(info)
            details.append(packed)
        if self.violations:
            packed = AnyMessage()
            packed.Pack(violations_to_proto(self.violations))
            details.append(packed)
        return status_pb2.Status(code=int(self.code), message=self.message, details=details)


class ApiError(Exception):
    """An error that a door itself finds, already in the terms of the wire."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


Row = Callable[[Any], Status]


def _plain(code: Code, reason: str = "", retry_after_s: int | None = None, **metadata: str) -> Row:
    """A row whose metadata are attributes of the error, by name."""

    def status(error: Exception) -> Status:
        facts = {key: str(getattr(error, attribute)) for key, attribute in metadata.items()}
        return Status(code, str(error), reason, facts, retry_after_s)

    return status


def _relationship_facts(relationship: Relationship) -> dict[str, str]:
    return {
        "relationship": str(relationship),
        "resource_type": relationship.resource_type,
        "resource_object_id": relationship.resource_id,
        "resource_relation": relationship.relation,
        "subject_type": relationship.subject_type,
        "subject_object_id": relationship.subject_id,
        "subject_relation": relationship.subject_relation,
    }


def filter_facts(prefix: str, filter_: RelationshipFilter) -> dict[str, str]:
    """A filter's given fields, as error metadata names them."""
    subject = filter_.subject
    facts = {
        "resource_type": filter_.resource_type,
        "resource_id": ",".join(filter_.resource_ids) or None,
        "resource_id_prefix": filter_.resource_id_prefix,
        "relation": filter_.relation,
        "subject_type": subject.type if subject else None,
        "subject_id": subject.id if subject else None,
        "subject_relation": subject.relation if subject else None,
    }
    return {prefix + key: value for key, value in facts.items() if value}


def _already_exists(error: pdp.AlreadyExists) -> Status:
    facts = _relationship_facts(error.relationship)
    return Status(Code.ALREADY_EXISTS, str(error), "ATTEMPT_TO_RECREATE_RELATIONSHIP", facts)


def _duplicate_update(error: pdp.DuplicateUpdate) -> Status:
    facts = {"definition_name": error.relationship.resource_type, "relationship": str(error.relationship)}
    return Status(Code.INVALID_ARGUMENT, str(error), "UPDATES_ON_SAME_RELATIONSHIP", facts)


def _precondition_failed(error: pdp.PreconditionFailed) -> Status:
    precondition: Precondition = error.precondition
    operation = "OPERATION_MUST_MATCH" if precondition.must_match else "OPERATION_MUST_NOT_MATCH"
    facts = {"precondition_operation": operation, **filter_facts("precondition_", precondition.filter)}
    return Status(Code.FAILED_PRECONDITION, str(error), "WRITE_OR_DELETE_PRECONDITION_FAILURE", facts)


def _permission_missing(error: pdp.PermissionMissing) -> Status:
    facts = {
        "precondition_operation": "MUST_HAVE_PERMISSION",
        "precondition_resource_type": error.resource.type,
        "precondition_resource_id": error.resource.id,
        "precondition_permission": error.permission,
        "precondition_subject_type": error.subject.type,
        "precondition_subject_id": error.subject.id,
        "precondition_subject_relation": error.subject.relation,
    }
    given = {key: value for key, value in facts.items() if value}
    return Status(Code.FAILED_PRECONDITION, str(error), "WRITE_OR_DELETE_PRECONDITION_FAILURE", given)


def _invalid_filter(error: pdp.InvalidFilter) -> Status:
    return Status(
        Code.INVALID_ARGUMENT, str(error), "INVALID_FILTER", {"filter": str(filter_facts("", error.filter))}
    )


def _too_many_to_delete(error: pdp.TooManyToDelete) -> Status:
    facts = {"limit": str(error.limit), **filter_facts("filter_", error.filter)}
    reason = "TOO_MANY_RELATIONSHIPS_FOR_TRANSACTIONAL_DELETE"
    return Status(Code.INVALID_ARGUMENT, str(error), reason, facts)


def _counter_already_registered(error: pdp.CounterAlreadyRegistered) -> Status:
    facts = {"counter_name": error.name, **filter_facts("new_filter_", error.filter)}
    return Status(Code.FAILED_PRECONDITION, str(error), "COUNTER_ALREADY_REGISTERED", facts)


def _schema_in_use(error: pdp.SchemaInUse) -> Status:
    relationship = error.relationship
    facts = {
        "resource_type": relationship.resource_type,
        "relation": relationship.relation,
        **error.names,
        "relationship": str(relationship),
    }
    return Status(Code.INVALID_ARGUMENT, str(error), "SCHEMA_TYPE_ERROR", facts)


def _schema_change_refused(error: pdp.SchemaChangeRefused) -> Status:
    return Status(Code.INVALID_ARGUMENT, str(error), "SCHEMA_TYPE_ERROR", error.names)


def _schema_error(error: SchemaError) -> Status:
    problem = error.errors[0]
    if problem.code == "too-large":
        return Status(Code.RESOURCE_EXHAUSTED, problem.message)
    if problem.kind is ProblemKind.PARSE:
        return Status(Code.INVALID_ARGUMENT, problem.wire_message, "SCHEMA_PARSE_ERROR", problem.wire_metadata)
    return Status(Code.FAILED_PRECONDITION, problem.wire_message, "SCHEMA_TYPE_ERROR", problem.wire_metadata)


def _invalid_fields(error: InvalidFields) -> Status:
    return Status(Code.INVALID_ARGUMENT, str(error), violations=tuple(error.violations))


STATUSES: Mapping[type[Exception], Row] = {
    UndecodableBody: _plain(Code.INVALID_ARGUMENT),
    BodyTooLarge: _plain(Code.RESOURCE_EXHAUSTED),
    InvalidFields: _invalid_fields,
    SchemaError: _schema_error,
    NotExpressible: _plain(
        Code.FAILED_PRECONDITION, "SCHEMA_TYPE_ERROR", definition_name="definition", relation_name="relation"
    ),
    pdp.StoreUnavailable: lambda error: Status(
        Code.UNAVAILABLE, "the database cannot be reached; try again", "", {}, retry_after_s=1
    ),
    pdp.StoreNotFound: _plain(Code.NOT_FOUND),
    pdp.SchemaMissing: _plain(Code.NOT_FOUND),
    pdp.SchemaChanged: _plain(Code.FAILED_PRECONDITION),
    pdp.SchemaInUse: _schema_in_use,
    pdp.SchemaChangeRefused: _schema_change_refused,
    pdp.UnknownDefinition: _plain(Code.FAILED_PRECONDITION, "UNKNOWN_DEFINITION", definition_name="name"),
    pdp.UnknownRelation: _plain(
        Code.FAILED_PRECONDITION,
        "UNKNOWN_RELATION_OR_PERMISSION",
        definition_name="definition",
        relation_or_permission_name="name",
    ),
    pdp.UnknownCaveat: _plain(Code.FAILED_PRECONDITION, "UNKNOWN_CAVEAT", caveat_name="name"),
    pdp.InvalidSubjectType: _plain(
        Code.INVALID_ARGUMENT,
        "INVALID_SUBJECT_TYPE",
        definition_name="definition",
        relation_name="relation",
        subject_type="subject_type",
    ),
    pdp.CannotUpdatePermission: _plain(
        Code.INVALID_ARGUMENT, "CANNOT_UPDATE_PERMISSION", definition_name="definition", permission_name="permission"
    ),
    pdp.NothingStored: _plain(
        Code.FAILED_PRECONDITION, "SCHEMA_TYPE_ERROR", definition_name="definition", relation_name="permission"
    ),
    pdp.DuplicateUpdate: _duplicate_update,
    pdp.AlreadyExists: _already_exists,
    pdp.PreconditionFailed: _precondition_failed,
    pdp.PermissionMissing: _permission_missing,
    pdp.InvalidZookie: _plain(Code.INVALID_ARGUMENT),
    pdp.RevisionInFuture: _plain(Code.OUT_OF_RANGE),
    pdp.RevisionExpired: _plain(Code.OUT_OF_RANGE),
    pdp.WorkExceeded: _plain(Code.RESOURCE_EXHAUSTED, "WORK_EXCEEDED"),
    pdp.DeadlineExceeded: _plain(Code.DEADLINE_EXCEEDED),
    pdp.NegationCycle: _plain(Code.FAILED_PRECONDITION, "NEGATION_CYCLE"),
    pdp.CaveatEvaluationFailed: _plain(Code.INVALID_ARGUMENT, "CAVEAT_EVALUATION_ERROR", caveat_name="caveat"),
    pdp.CaveatParameterInvalid: _plain(
        Code.INVALID_ARGUMENT, "CAVEAT_PARAMETER_TYPE_ERROR", caveat_name="caveat", parameter_name="parameter"
    ),
    pdp.WildcardNotAllowed: _plain(Code.INVALID_ARGUMENT, "WILDCARD_NOT_ALLOWED", field="field"),
    pdp.InvalidFilter: _invalid_filter,
    pdp.TooManyToDelete: _too_many_to_delete,
    pdp.IdempotencyConflict: _plain(Code.ABORTED, "IDEMPOTENCY_KEY_REUSED", idempotency_key="key"),
    pdp.QuotaExceeded: _plain(
        Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", retry_after_s=1, quota="quota", maximum="maximum"
    ),
    pdp.KeyCollision: _plain(Code.INTERNAL),
    pdp.ImportRefused: _plain(Code.RESOURCE_EXHAUSTED),
    pdp.WatchTooSlow: _plain(Code.RESOURCE_EXHAUSTED),
    pdp.CounterAlreadyRegistered: _counter_already_registered,
    pdp.CounterNotRegistered: _plain(Code.FAILED_PRECONDITION, "COUNTER_NOT_REGISTERED", counter_name="name"),
    pdp.StoreExists: _plain(Code.ALREADY_EXISTS),
    pdp.DatabaseNotMigrated: _plain(Code.UNAVAILABLE, "DATASTORE_NOT_MIGRATED", retry_after_s=5),
    pdp.UnknownMigration: _plain(Code.INVALID_ARGUMENT),
    pdp.InvalidBackup: _plain(Code.INVALID_ARGUMENT),
}


def status_of(error: Exception) -> Status | None:
    """The status of an error by its class or the nearest class above; None for a bug."""
    if isinstance(error, ApiError):
        return error.status
    for class_ in type(error).__mro__:
        row = STATUSES.get(class_)
        if row is not None:
            return row(error)
    return None
