"""Every error has its row, and every row tells what the wire's table says."""

import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest
from authzed.api.v1 import CheckPermissionRequest, RelationshipUpdate, WriteRelationshipsRequest
from buf.validate import validate_pb2
from google.rpc import error_details_pb2, status_pb2

import api.auth
import api.convert
import api.cursors
import api.fields
import api.gate
import api.http
import api.jsontext
import api.methods
import api.protojson
import pdp.errors
import schema.errors
from api.fields import InvalidFields, validate
from api.jsontext import BodyTooLarge, UndecodableBody
from api.statuses import HTTP_STATUSES, STATUSES, ApiError, Code, Status, status_of
from pdp.relationships import Precondition, Relationship, RelationshipFilter, SubjectFilter
from schema.errors import SchemaError

RELATIONSHIP = Relationship("document", "one", "viewer", "group", "eng", "member")
FACTS = {
    "relationship": "document:one#viewer@group:eng#member",
    "resource_type": "document",
    "resource_object_id": "one",
    "resource_relation": "viewer",
    "subject_type": "group",
    "subject_object_id": "eng",
    "subject_relation": "member",
}
FILTER = RelationshipFilter("document", ("one",), None, "viewer", SubjectFilter("user", "ann", "member"))


def _exceptions(module: ModuleType) -> Iterator[type[Exception]]:
    for _, class_ in inspect.getmembers(module, inspect.isclass):
        if issubclass(class_, Exception) and class_.__module__ == module.__name__:
            yield class_


MODULES = [
    pdp.errors,
    schema.errors,
    api.auth,
    api.convert,
    api.cursors,
    api.fields,
    api.gate,
    api.http,
    api.jsontext,
    api.methods,
    api.protojson,
]
RAISED = sorted({class_ for module in MODULES for class_ in _exceptions(module)}, key=str)


def test_errors_are_found() -> None:
    """The search for errors finds them: an empty list would prove nothing."""
    assert {pdp.errors.AlreadyExists, SchemaError, InvalidFields, BodyTooLarge} <= set(RAISED)


@pytest.mark.parametrize("class_", RAISED, ids=lambda class_: f"{class_.__module__}.{class_.__name__}")
def test_every_error_has_a_row(class_: type[Exception]) -> None:
    """A class that a caller can meet has a row of its own; only the root of a family has none."""
    if class_ is pdp.errors.PdpError or issubclass(class_, ApiError):
        return
    assert class_ in STATUSES


def test_rows_are_of_errors_raised_on_purpose() -> None:
    """No row hides a bug: nothing of Python's own is mapped."""
    assert all(class_.__module__.split(".")[0] in {"api", "pdp", "schema"} for class_ in STATUSES)


@pytest.mark.parametrize("bug", [KeyError("x"), RuntimeError("x"), TypeError("x"), pdp.errors.PdpError("x")])
def test_a_bug_has_no_status(bug: Exception) -> None:
    """What nobody meant to raise is not dressed up."""
    assert status_of(bug) is None


@pytest.mark.parametrize(
    ("error", "http_status", "code", "reason", "metadata"),
    [
        pytest.param(UndecodableBody("no"), 400, 3, "", {}, id="body"),
        pytest.param(BodyTooLarge(5), 429, 8, "", {}, id="body too large"),
        pytest.param(pdp.errors.StoreUnavailable("secret of the driver"), 503, 14, "", {}, id="database"),
        pytest.param(pdp.errors.StoreNotFound("x"), 404, 5, "", {}, id="store"),
        pytest.param(pdp.errors.SchemaMissing(), 404, 5, "", {}, id="schema missing"),
        pytest.param(pdp.errors.SchemaChanged("x"), 400, 9, "", {}, id="schema changed meanwhile"),
        pytest.param(
            pdp.errors.SchemaInUse(RELATIONSHIP, 0, "cannot", {"operation": "delete_relation"}),
            400,
            3,
            "SCHEMA_TYPE_ERROR",
            {
                "operation": "delete_relation",
                "resource_type": "document",
                "relation": "viewer",
                "relationship": FACTS["relationship"],
            },
            id="schema in use",
        ),
        pytest.param(
            pdp.errors.SchemaChangeRefused("cannot", {"operation": "remove_parameter", "caveat_name": "c"}),
            400,
            3,
            "SCHEMA_TYPE_ERROR",
            {"operation": "remove_parameter", "caveat_name": "c"},
            id="schema change refused",
        ),
        pytest.param(
            pdp.errors.UnknownDefinition("docment", "document"),
            400,
            9,
            "UNKNOWN_DEFINITION",
            {"definition_name": "docment"},
            id="definition",
        ),
        pytest.param(
            pdp.errors.UnknownRelation("document", "veiw", "view"),
            400,
            9,
            "UNKNOWN_RELATION_OR_PERMISSION",
            {"definition_name": "document", "relation_or_permission_name": "veiw"},
            id="relation",
        ),
        pytest.param(pdp.errors.UnknownCaveat("x"), 400, 9, "UNKNOWN_CAVEAT", {"caveat_name": "x"}, id="caveat"),
        pytest.param(
            pdp.errors.InvalidSubjectType("document", "viewer", "user:*"),
            400,
            3,
            "INVALID_SUBJECT_TYPE",
            {"definition_name": "document", "relation_name": "viewer", "subject_type": "user:*"},
            id="subject type",
        ),
        pytest.param(
            pdp.errors.CannotUpdatePermission("document", "view"),
            400,
            3,
            "CANNOT_UPDATE_PERMISSION",
            {"definition_name": "document", "permission_name": "view"},
            id="write to a permission",
        ),
        pytest.param(
            pdp.errors.DuplicateUpdate(RELATIONSHIP),
            400,
            3,
            "UPDATES_ON_SAME_RELATIONSHIP",
            {"definition_name": "document", "relationship": FACTS["relationship"]},
            id="same relationship twice",
        ),
        pytest.param(
            pdp.errors.AlreadyExists(RELATIONSHIP),
            409,
            6,
            "ATTEMPT_TO_RECREATE_RELATIONSHIP",
            FACTS,
            id="already there",
        ),
        pytest.param(
            pdp.errors.PreconditionFailed(Precondition(False, FILTER)),
            400,
            9,
            "WRITE_OR_DELETE_PRECONDITION_FAILURE",
            {
                "precondition_operation": "OPERATION_MUST_NOT_MATCH",
                "precondition_resource_type": "document",
                "precondition_resource_id": "one",
                "precondition_relation": "viewer",
                "precondition_subject_type": "user",
                "precondition_subject_id": "ann",
                "precondition_subject_relation": "member",
            },
            id="precondition with all",
        ),
        pytest.param(
            pdp.errors.PreconditionFailed(Precondition(True, RelationshipFilter(resource_id_prefix="on"))),
            400,
            9,
            "WRITE_OR_DELETE_PRECONDITION_FAILURE",
            {"precondition_operation": "OPERATION_MUST_MATCH", "precondition_resource_id_prefix": "on"},
            id="precondition with one field",
        ),
        pytest.param(pdp.errors.InvalidZookie("x"), 400, 3, "", {}, id="zookie"),
        pytest.param(pdp.errors.RevisionInFuture("x"), 400, 11, "", {}, id="future"),
        pytest.param(pdp.errors.RevisionExpired("x"), 400, 11, "", {}, id="past"),
        pytest.param(pdp.errors.WorkExceeded("x"), 429, 8, "WORK_EXCEEDED", {}, id="work"),
        pytest.param(pdp.errors.DeadlineExceeded("x"), 504, 4, "", {}, id="time"),
        pytest.param(pdp.errors.NegationCycle(["a", "b"]), 400, 9, "NEGATION_CYCLE", {}, id="paradox"),
        pytest.param(
            pdp.errors.CaveatEvaluationFailed("c", "division by zero"),
            400,
            3,
            "CAVEAT_EVALUATION_ERROR",
            {"caveat_name": "c"},
            id="caveat fails",
        ),
        pytest.param(
            pdp.errors.CaveatParameterInvalid("c", "p", "no"),
            400,
            3,
            "CAVEAT_PARAMETER_TYPE_ERROR",
            {"caveat_name": "c", "parameter_name": "p"},
            id="caveat parameter",
        ),
        pytest.param(
            pdp.errors.WildcardNotAllowed("subject.object_id"),
            400,
            3,
            "WILDCARD_NOT_ALLOWED",
            {"field": "subject.object_id"},
            id="wildcard",
        ),
    ],
)
def test_rows(error: Exception, http_status: int, code: int, reason: str, metadata: dict[str, str]) -> None:
    """Code, reason and metadata of the wire's table; the message is the error's own."""
    status = status_of(error)
    assert status is not None
    assert (status.http_status, int(status.code), status.reason) == (http_status, code, reason)
    assert status.metadata == metadata
    if not isinstance(error, pdp.errors.StoreUnavailable):
        assert status.message == str(error)


def test_a_database_error_is_not_quoted() -> None:
    """What the driver said stays inside; the caller is told when to come back."""
    status = status_of(pdp.errors.StoreUnavailable("SELECT secret FROM relationships"))
    assert status is not None
    assert "SELECT" not in status.message
    assert status.retry_after_s == 1


def test_a_subclass_takes_the_row_of_its_family() -> None:
    """The nearest row above counts."""

    class Late(pdp.errors.DeadlineExceeded):
        pass

    status = status_of(Late("x"))
    assert status is not None
    assert status.code is Code.DEADLINE_EXCEEDED


def test_every_code_has_an_http_status() -> None:
    """The whole of google.rpc.Code."""
    assert set(HTTP_STATUSES) == set(Code)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(Status(Code.NOT_FOUND, "no store `x`"), id="plain"),
        pytest.param(Status(Code.ALREADY_EXISTS, "there", "ATTEMPT_TO_RECREATE_RELATIONSHIP", FACTS), id="reason"),
    ],
)
def test_both_forms_say_the_same(status: Status) -> None:
    """The JSON body and the message of gRPC hold the same details."""
    body, message = status.to_json(), status.to_proto()
    assert isinstance(message, status_pb2.Status)
    assert (body["code"], body["message"]) == (message.code, message.message)
    infos = []
    for packed in message.details:
        info = error_details_pb2.ErrorInfo()
        assert packed.Unpack(info)
        infos.append(
            {
                "@type": packed.type_url,
                "reason": info.reason,
                "domain": info.domain,
                "metadata": dict(info.metadata),
            }
        )
    assert body["details"] == infos


def test_violations_in_both_forms() -> None:
    """A field error carries ``buf.validate.Violations`` on either wire."""
    status = _status_of_fields(WriteRelationshipsRequest(updates=[RelationshipUpdate()]))
    (detail,) = status.to_json()["details"]
    assert detail["@type"] == "type.googleapis.com/buf.validate.Violations"
    (packed,) = status.to_proto().details
    violations = validate_pb2.Violations()
    assert packed.Unpack(violations)
    told = [(violation["ruleId"], violation["message"]) for violation in detail["violations"]]
    assert told == [(violation.rule_id, violation.message) for violation in violations.violations]
    assert told == [("enum.not_in", "must not be in list [0]"), ("required", "value is required")]


def test_many_violations_have_one_message() -> None:
    """One line each."""
    status = _status_of_fields(CheckPermissionRequest())
    assert status.message == ("validation errors:\n - resource: value is required\n - subject: value is required")


def _status_of_fields(message: CheckPermissionRequest | WriteRelationshipsRequest) -> Status:
    with pytest.raises(InvalidFields) as caught:
        validate(message)
    status = status_of(caught.value)
    assert status is not None
    assert (int(status.code), status.reason) == (3, "")
    return status
