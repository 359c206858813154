"""The rules that the API's messages state, field by field."""

from collections.abc import Iterator
from typing import Any

import pytest
from buf.validate import validate_pb2
from google.protobuf.message import Message

from api.fields import VIOLATIONS_MAX, InvalidFields, to_proto, validate
from api.methods import METHODS
from api.protojson import parse, to_dict
from tests.api.wire import on_wire, question

REQUESTS = {method.name: method.request for method in METHODS}


def _message(method: str, members: dict[str, Any]) -> Message:
    message: Message = parse(members, REQUESTS[method])
    return message


def _broken(method: str, members: dict[str, Any]) -> list[tuple[str, str]]:
    """Path and rule of every violation."""
    with pytest.raises(InvalidFields) as caught:
        validate(_message(method, members))
    return [(violation.path, violation.rule_id) for violation in caught.value.violations]


def _write(**members: Any) -> dict[str, Any]:
    relationship = {**on_wire("document:one#viewer@user:ann"), **members}
    return {"updates": [{"operation": "OPERATION_TOUCH", "relationship": relationship}]}


def _object(type_: str = "document", id_: str = "one") -> dict[str, str]:
    return {"objectType": type_, "objectId": id_}


AT = "updates[0].relationship."
LONG = "a" * 64


@pytest.mark.parametrize(
    ("members", "path"),
    [
        pytest.param({"resource": _object("")}, "resource.object_type", id="type empty"),
        pytest.param({"resource": _object("do")}, "resource.object_type", id="type of two letters"),
        pytest.param({"resource": _object("Document")}, "resource.object_type", id="type upper case"),
        pytest.param({"resource": _object("1document")}, "resource.object_type", id="type begins with a digit"),
        pytest.param({"resource": _object("document_")}, "resource.object_type", id="type ends with _"),
        pytest.param({"resource": _object("a/document")}, "resource.object_type", id="prefix of one letter"),
        pytest.param({"resource": _object("/document")}, "resource.object_type", id="prefix empty"),
        pytest.param({"resource": _object("docu ment")}, "resource.object_type", id="type with a blank"),
        pytest.param({"resource": _object("document\n")}, "resource.object_type", id="type with a line end"),
        pytest.param({"resource": _object("dokument\u00e9")}, "resource.object_type", id="type beyond ASCII"),
        pytest.param({"resource": _object(LONG + "a")}, "resource.object_type", id="type of 65 letters"),
        pytest.param({"resource": _object(LONG + "/document")}, "resource.object_type", id="prefix of 64 letters"),
        pytest.param({"resource": _object(id_="")}, "resource.object_id", id="id empty"),
        pytest.param({"resource": _object(id_="a b")}, "resource.object_id", id="id with a blank"),
        pytest.param({"resource": _object(id_="a:b")}, "resource.object_id", id="id with a colon"),
        pytest.param({"resource": _object(id_="a#b")}, "resource.object_id", id="id with a hash"),
        pytest.param({"resource": _object(id_="**")}, "resource.object_id", id="id of two stars"),
        pytest.param({"resource": _object(id_="a*")}, "resource.object_id", id="id with a star"),
        pytest.param({"resource": _object(id_="a\x00")}, "resource.object_id", id="id with NUL"),
        pytest.param({"resource": _object(id_="é")}, "resource.object_id", id="id beyond ASCII"),
        pytest.param({"relation": ""}, "relation", id="relation empty"),
        pytest.param({"relation": "vi"}, "relation", id="relation of two letters"),
        pytest.param({"relation": "..."}, "relation", id="relation dots"),
        pytest.param({"relation": "viewer/x"}, "relation", id="relation with a prefix"),
        pytest.param(
            {"subject": {"object": _object("USER", "ann")}}, "subject.object.object_type", id="subject type"
        ),
        pytest.param(
            {"subject": {"object": _object("user", "ann"), "optionalRelation": "..."}},
            "subject.optional_relation",
            id="subject relation dots",
        ),
        pytest.param(
            {"subject": {"object": _object("user", "ann"), "optionalRelation": "ab"}},
            "subject.optional_relation",
            id="subject relation of two letters",
        ),
        pytest.param({"optionalCaveat": {}}, "optional_caveat.caveat_name", id="caveat without a name"),
        pytest.param({"optionalCaveat": {"caveatName": "-a"}}, "optional_caveat.caveat_name", id="caveat name"),
    ],
)
def test_patterns(members: dict[str, Any], path: str) -> None:
    """Names and ids that do not match."""
    assert _broken("WriteRelationships", _write(**members)) == [(AT + path, "string.pattern")]


@pytest.mark.parametrize(
    ("members", "broken"),
    [
        pytest.param(
            {"resource": _object(id_="x" * 1025)}, [(AT + "resource.object_id", "string.max_bytes")], id="id"
        ),
        pytest.param(
            {"relation": "a" * 65},
            [(AT + "relation", "string.max_bytes"), (AT + "relation", "string.pattern")],
            id="relation",
        ),
        pytest.param(
            {"resource": _object("abc/" * 32 + "document")},
            [(AT + "resource.object_type", "string.max_bytes")],
            id="type",
        ),
    ],
)
def test_lengths(members: dict[str, Any], broken: list[tuple[str, str]]) -> None:
    """Bounds count bytes."""
    assert _broken("WriteRelationships", _write(**members)) == broken


@pytest.mark.parametrize(
    ("method", "members", "broken"),
    [
        pytest.param("CheckPermission", {}, [("resource", "required"), ("subject", "required")], id="check"),
        pytest.param("ReadRelationships", {}, [("relationship_filter", "required")], id="read"),
        pytest.param(
            "WriteRelationships",
            {"updates": [{}]},
            [("updates[0].operation", "enum.not_in"), ("updates[0].relationship", "required")],
            id="update",
        ),
        pytest.param(
            "WriteRelationships",
            _write(resource=None, subject={}),
            [(AT + "resource", "required"), (AT + "subject.object", "required")],
            id="relationship",
        ),
        pytest.param(
            "WriteRelationships",
            {"optionalPreconditions": [{"operation": 9}]},
            [
                ("optional_preconditions[0].operation", "enum.defined_only"),
                ("optional_preconditions[0].filter", "required"),
            ],
            id="precondition",
        ),
        pytest.param(
            "ReadRelationships",
            {"relationshipFilter": {"optionalSubjectFilter": {}}},
            [("relationship_filter.optional_subject_filter.subject_type", "string.pattern")],
            id="subject filter without a type",
        ),
        pytest.param(
            "ReadRelationships",
            {"relationshipFilter": {"resourceType": "document", "optionalResourceId": "*"}},
            [("relationship_filter.optional_resource_id", "string.pattern")],
            id="star as resource id of a filter",
        ),
        pytest.param(
            "ReadRelationships",
            {"relationshipFilter": {"resourceType": "document"}, "optionalCursor": {}},
            [("optional_cursor.token", "string.min_bytes")],
            id="cursor without a token",
        ),
        pytest.param(
            "ReadRelationships",
            {"relationshipFilter": {"resourceType": "document"}, "optionalCursor": {"token": "x" * 102_401}},
            [("optional_cursor.token", "string.max_bytes")],
            id="cursor too long",
        ),
    ],
)
def test_required(method: str, members: dict[str, Any], broken: list[tuple[str, str]]) -> None:
    """What must be there, and of a known kind."""
    assert _broken(method, members) == broken


@pytest.mark.parametrize(
    ("consistency", "broken"),
    [
        pytest.param({}, ("consistency.requirement", "required"), id="nothing asked"),
        pytest.param({"fullyConsistent": False}, ("consistency.fully_consistent", "bool.const"), id="false"),
        pytest.param({"minimizeLatency": False}, ("consistency.minimize_latency", "bool.const"), id="other false"),
        pytest.param({"atLeastAsFresh": {}}, ("consistency.at_least_as_fresh.token", "string.min_bytes"), id="token"),
    ],
)
def test_consistency_that_asks_nothing(consistency: dict[str, Any], broken: tuple[str, str]) -> None:
    """A consistency without a requirement is the caller's mistake, never a default."""
    members = {**question("document:one#view@user:ann"), "consistency": consistency}
    assert _broken("CheckPermission", members) == [broken]


@pytest.mark.parametrize(
    ("method", "members"),
    [
        pytest.param("WriteRelationships", {}, id="no updates"),
        pytest.param("WriteRelationships", _write(), id="plain"),
        pytest.param("WriteRelationships", _write(resource=_object("a1b/c2d/document")), id="prefixes"),
        pytest.param("WriteRelationships", _write(resource=_object("abc", "A-Za|z0/_9=+")), id="letters of an id"),
        pytest.param("WriteRelationships", _write(resource=_object(LONG, "x" * 1024)), id="longest names"),
        pytest.param(
            "WriteRelationships", _write(subject={"object": _object("user", "*")}), id="star as a subject's id"
        ),
        pytest.param("WriteRelationships", _write(optionalCaveat={"caveatName": "A/b|c-d"}), id="caveat name"),
        pytest.param(
            "CheckPermission", {**question("document:one#view@user:ann"), "permission": ""}, id="permission empty"
        ),
        pytest.param(
            "ReadRelationships",
            {
                "relationshipFilter": {
                    "optionalSubjectFilter": {
                        "subjectType": "user",
                        "optionalSubjectId": "*",
                        "optionalRelation": {"relation": ""},
                    }
                }
            },
            id="filter by subject alone",
        ),
    ],
)
def test_what_is_in_order(method: str, members: dict[str, Any]) -> None:
    """What breaks no rule passes."""
    validate(_message(method, members))


def test_message_of_one() -> None:
    """One violation stands on its line."""
    with pytest.raises(InvalidFields) as caught:
        validate(
            _message("WriteRelationships", {"updates": [{"relationship": _write()["updates"][0]["relationship"]}]})
        )
    assert str(caught.value) == "validation error: updates[0].operation: must not be in list [0]"


def test_violation_on_the_wire() -> None:
    """Field and rule are told by their elements, as ``buf.validate.Violation`` has them."""
    with pytest.raises(InvalidFields) as caught:
        validate(_message("WriteRelationships", _write(relation="ab")))
    assert to_dict(to_proto(caught.value.violations))["violations"] == [
        {
            "field": {
                "elements": [
                    _element(1, "updates", "TYPE_MESSAGE", index="0"),
                    _element(2, "relationship", "TYPE_MESSAGE"),
                    _element(2, "relation", "TYPE_STRING"),
                ]
            },
            "rule": {"elements": [_element(14, "string", "TYPE_MESSAGE"), _element(6, "pattern", "TYPE_STRING")]},
            "ruleId": "string.pattern",
            "message": "does not match regex pattern `^[a-z][a-z0-9_]{1,62}[a-z0-9]$`",
            "forKey": None,
        }
    ]


def test_oneof_on_the_wire() -> None:
    """A oneof has a name and no number."""
    members = {**question("document:one#view@user:ann"), "consistency": {}}
    with pytest.raises(InvalidFields) as caught:
        validate(_message("CheckPermission", members))
    (violation,) = to_proto(caught.value.violations).violations
    consistency, oneof = violation.field.elements
    assert (consistency.field_number, consistency.field_name) == (1, "consistency")
    assert (oneof.HasField("field_number"), oneof.field_name) == (False, "requirement")
    assert not violation.HasField("rule")


def _element(number: int, name: str, type_: str, **subscript: str) -> dict[str, Any]:
    element = {"fieldNumber": number, "fieldName": name, "fieldType": type_, "keyType": None, "valueType": None}
    return {**element, **subscript}


def test_ten_thousand_mistakes() -> None:
    """The answer stays small."""
    with pytest.raises(InvalidFields) as caught:
        validate(_message("WriteRelationships", {"updates": [{}] * 10_000}))
    assert len(caught.value.violations) == VIOLATIONS_MAX


def _fields(message: type[Message]) -> Iterator[Any]:
    todo: list[Any] = [message.DESCRIPTOR]
    seen: set[str] = set()
    while todo:
        descriptor = todo.pop()
        if descriptor.full_name in seen or descriptor.full_name.startswith("google.protobuf."):
            continue
        seen.add(descriptor.full_name)
        for field in descriptor.fields:
            yield field
            if field.message_type is not None:
                todo.append(field.message_type)


def test_no_rule_is_passed_over() -> None:
    """Every kind of rule that the requests state is one that is held."""
    held = {"required", "string", "enum", "bool", "repeated", "uint32"}
    held_of_text = {"pattern", "min_bytes", "max_bytes"}
    for method in METHODS:
        for field in _fields(method.request):
            rules = field.GetOptions().Extensions[validate_pb2.field]
            assert {found.name for found, _ in rules.ListFields()} <= held, field.full_name
            for text in (rules.string, rules.repeated.items.string):
                assert {found.name for found, _ in text.ListFields()} <= held_of_text, field.full_name
            assert {found.name for found, _ in rules.enum.ListFields()} <= {"defined_only", "not_in"}
            assert rules.uint32.gte == 0, "a uint32 is never less"
            assert rules.repeated.min_items == 0, "no list need have items"
