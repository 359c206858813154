"""JSON of the wire: read as protobuf's mapping says and more strictly, written as the field's gateways write it."""

import json
from typing import Any

import pytest
from authzed.api.v1 import permission_service_pb2 as pb
from authzed.api.v1 import schema_service_pb2 as schema_pb
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from api.jsontext import BodyTooLarge, Splitter, UndecodableBody, loads
from api.methods import METHODS
from api.protojson import dumps, parse, read_struct, struct_to_dict, to_dict
from api.statuses import Code, Status


def _limit(value: Any) -> int:
    return parse({"optionalLimit": value}, pb.ReadRelationshipsRequest).optional_limit


@pytest.mark.parametrize(
    ("given", "read"),
    [
        pytest.param(2, 2, id="number"),
        pytest.param("2", 2, id="text"),
        pytest.param(1.0, 1, id="whole float"),
        pytest.param("1.0", 1, id="whole float as text"),
        pytest.param("1e2", 100, id="exponent"),
        pytest.param(4_294_967_295, 4_294_967_295, id="largest"),
        pytest.param(None, 0, id="null"),
    ],
)
def test_whole_numbers(given: Any, read: int) -> None:
    """A uint32 comes as number or text."""
    assert _limit(given) == read


@pytest.mark.parametrize(
    "given", [-1, 2**32, 1.5, "1.5", True, "", "x", " 2", "2 ", "0x10", "+1", "01", "٢", [], {}, 1e300, "1e999", "-1"]
)
def test_no_whole_numbers(given: Any) -> None:
    """Whatever else there may be is no uint32."""
    with pytest.raises(UndecodableBody, match="optionalLimit"):
        _limit(given)


def _operation(value: Any) -> int:
    return parse({"updates": [{"operation": value}]}, pb.WriteRelationshipsRequest).updates[0].operation


@pytest.mark.parametrize(
    ("given", "read"),
    [
        pytest.param("OPERATION_TOUCH", 2, id="name"),
        pytest.param(2, 2, id="number"),
        pytest.param(77, 77, id="unknown number reaches validation"),
        pytest.param("OPERATION_NONSENSE", 0, id="unknown name is the zero"),
        pytest.param("operation_touch", 0, id="names have their case"),
        pytest.param(None, 0, id="null"),
    ],
)
def test_enums(given: Any, read: int) -> None:
    """By name or by number."""
    assert _operation(given) == read


@pytest.mark.parametrize("given", [True, 1.5, 2**31, [], {}])
def test_no_enums(given: Any) -> None:
    """No name and no 32-bit number."""
    with pytest.raises(UndecodableBody, match=r"`updates\[0\].operation`"):
        _operation(given)


def _expiry(value: Any) -> Timestamp:
    members = {"updates": [{"relationship": {"optionalExpiresAt": value}}]}
    return parse(members, pb.WriteRelationshipsRequest).updates[0].relationship.optional_expires_at


@pytest.mark.parametrize(
    ("given", "seconds", "nanos"),
    [
        pytest.param("1970-01-01T00:00:00Z", 0, 0, id="epoch"),
        pytest.param("1970-01-01T00:00:01.5Z", 1, 500_000_000, id="fraction"),
        pytest.param("1970-01-01T00:00:00.123456789Z", 0, 123_456_789, id="nanoseconds"),
        pytest.param("1970-01-01T01:00:00+01:00", 0, 0, id="offset"),
        pytest.param("1969-12-31T23:59:59.75Z", -1, 750_000_000, id="before the epoch"),
        pytest.param("0001-01-01T00:00:00Z", -62_135_596_800, 0, id="first"),
        pytest.param("9999-12-31T23:59:59Z", 253_402_300_799, 0, id="last"),
    ],
)
def test_times(given: str, seconds: int, nanos: int) -> None:
    """RFC 3339."""
    found = _expiry(given)
    assert (found.seconds, found.nanos) == (seconds, nanos)


@pytest.mark.parametrize(
    "given",
    [
        "2030-01-01",
        "2030-01-01T00:00:00",
        "2030-01-01 00:00:00Z",
        "2030-13-01T00:00:00Z",
        "2030-02-30T00:00:00Z",
        "2030-01-01T25:00:00Z",
        "2030-01-01T00:00:60Z",
        "2030-01-01T00:00:00.1234567890Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "10000-01-01T00:00:00Z",
        "2030-01-01T00:00:00z ",
        "tomorrow",
        "",
        0,
        True,
        {},
    ],
)
def test_no_times(given: Any) -> None:
    """Not a time, or not between the years 1 and 9999."""
    with pytest.raises(UndecodableBody, match="optionalExpiresAt"):
        _expiry(given)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        pytest.param({"fullyConsistent": True, "minimizeLatency": True}, "already set", id="two of a oneof"),
        pytest.param({"fullyConsistent": "true"}, "`true` or `false`", id="text for bool"),
        pytest.param({"fullyConsistent": 1}, "`true` or `false`", id="number for bool"),
        pytest.param({"atLeastAsFresh": "token"}, "an object was expected", id="text for a message"),
        pytest.param([], "an object was expected", id="list for a message"),
        pytest.param("x", "an object was expected", id="text for the message itself"),
        pytest.param({"fullyConsistent": True, "fully_consistent": True}, "duplicate", id="both spellings"),
        pytest.param({"fullyConsistent": None, "fully_consistent": True}, "duplicate", id="null and a value"),
    ],
)
def test_consistency_that_does_not_decode(members: Any, why: str) -> None:
    """One requirement of its type, once."""
    with pytest.raises(UndecodableBody, match=why):
        parse({"consistency": members}, pb.CheckPermissionRequest)


def test_null_in_a_oneof_is_unset() -> None:
    """``null`` does not take a oneof's place."""
    message = parse({"consistency": {"minimizeLatency": None, "fullyConsistent": True}}, pb.CheckPermissionRequest)
    assert message.consistency.WhichOneof("requirement") == "fully_consistent"


def test_free_form_objects() -> None:
    """Numbers keep their kind where a double can tell."""
    members: dict[str, Any] = {"a": None, "b": [1, 2.5, "x", True, {"c": []}], "": {}, "é": -3}
    assert struct_to_dict(read_struct(members)) == members


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_numbers_that_json_cannot_say(number: float) -> None:
    """gRPC lets them pass; they go no further."""
    with pytest.raises(ValueError, match=r"inf|nan"):
        struct_to_dict(Struct(fields={"a": Value(number_value=number)}))


def test_large_whole_numbers_stay_doubles() -> None:
    """Beyond 2^53 a whole double is not taken for the number that was meant."""
    (found,) = struct_to_dict(read_struct({"a": 2**60})).values()
    assert isinstance(found, float)


# --- Out ---------------------------------------------------------------------------------------------------------


def test_default_values_are_written() -> None:
    """Empty strings, null messages, empty lists, zero names, false; 64-bit numbers as text."""
    assert to_dict(pb.DeleteRelationshipsResponse()) == {
        "deletedAt": None,
        "deletionProgress": "DELETION_PROGRESS_UNSPECIFIED",
        "relationshipsDeletedCount": "0",
    }
    assert to_dict(pb.LookupSubjectsResponse())["excludedSubjects"] == []
    assert to_dict(pb.CheckPermissionRequest())["withTracing"] is False


def test_unset_members_of_a_oneof_are_left_out() -> None:
    """They alone stay absent; a set one is written though it is false."""
    assert to_dict(pb.Consistency()) == {}
    reference = schema_pb.ReflectionTypeReference(subject_definition_name="user", is_terminal_subject=False)
    assert to_dict(reference) == {
        "subjectDefinitionName": "user",
        "optionalCaveatName": "",
        "isTerminalSubject": False,
    }


def test_example_of_the_wire() -> None:
    """The field's own example of a check."""
    response = pb.CheckPermissionResponse(checked_at={"token": "…"}, permissionship=3)  # type: ignore[arg-type]
    response.partial_caveat_info.missing_required_context.append("ip")
    assert to_dict(response) == {
        "checkedAt": {"token": "…"},
        "permissionship": "PERMISSIONSHIP_CONDITIONAL_PERMISSION",
        "partialCaveatInfo": {"missingRequiredContext": ["ip"]},
        "debugTrace": None,
        "optionalExpiresAt": None,
    }
    assert dumps(response).decode().count("…") == 1


@pytest.mark.parametrize(
    ("nanos", "text"),
    [(0, "Z"), (500_000_000, ".500Z"), (1_000, ".000001Z"), (1, ".000000001Z")],
)
def test_times_have_0_3_6_or_9_decimals(nanos: int, text: str) -> None:
    """Written in UTC."""
    response = pb.CheckPermissionResponse(optional_expires_at=Timestamp(seconds=1, nanos=nanos))
    assert to_dict(response)["optionalExpiresAt"] == f"1970-01-01T00:00:01{text}"


def test_durations() -> None:
    """With their unit."""
    response = pb.CheckPermissionResponse()
    response.debug_trace.check.duration.CopyFrom(Duration(seconds=1, nanos=500_000_000))
    assert to_dict(response)["debugTrace"]["check"]["duration"] == "1.500s"


def test_numbers_without_a_name() -> None:
    """An enum's number that has no name stays a number."""
    assert to_dict(pb.CheckPermissionResponse(permissionship=9))["permissionship"] == 9  # type: ignore[arg-type]


def test_status_inside_a_message() -> None:
    """A pair's error shows its details by type."""
    status = Status(Code.FAILED_PRECONDITION, "no definition `x`", "UNKNOWN_DEFINITION", {"definition_name": "x"})
    pair = pb.CheckBulkPermissionsPair(error=status.to_proto())
    assert to_dict(pair)["error"] == status.to_json()
    assert isinstance(pair.error, status_pb2.Status)


# --- Against protobuf's own library ------------------------------------------------------------------------------

TEXTS = st.text(max_size=8)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | TEXTS
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def _messages(descriptor: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Members of a message, each there or not; of a oneof at most one."""
    oneofs = {field.containing_oneof.name for field in descriptor.fields if field.containing_oneof}
    plain = {field.json_name: _values(field) for field in descriptor.fields if not field.containing_oneof}
    found = st.fixed_dictionaries({}, optional=plain)
    for name in oneofs:
        members = [
            st.fixed_dictionaries({field.json_name: _values(field)})
            for field in descriptor.oneofs_by_name[name].fields
        ]
        found = st.builds(lambda one, other: {**one, **other}, found, st.one_of(st.just({}), *members))
    return found


def _values(field: Any) -> st.SearchStrategy[Any]:
    value = _single_values(field)
    return st.lists(value, max_size=2) if field.is_repeated else value


def _single_values(field: Any) -> st.SearchStrategy[Any]:
    by_type: dict[int, st.SearchStrategy[Any]] = {
        FieldDescriptor.TYPE_STRING: TEXTS,
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    }
    if field.message_type is not None:
        match field.message_type.full_name:
            case "google.protobuf.Struct":
                return st.dictionaries(TEXTS, JSON_VALUES, max_size=2)
            case "google.protobuf.Timestamp":
                return st.datetimes().map(lambda moment: moment.isoformat() + "Z")
            case _:
                return st.deferred(lambda: _messages(field.message_type))
    if field.enum_type is not None:
        return st.sampled_from([value.name for value in field.enum_type.values])
    return by_type[field.type]


def test_zero_below_zero_keeps_its_sign() -> None:
    """A number of a free-form object is read back as it was."""
    method = next(method for method in METHODS if method.name == "WriteRelationships")
    message: Message = parse({"optionalTransactionMetadata": {"zero": -0.0}}, method.request)
    assert parse(json.loads(dumps(message)), method.request) == message


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_reads_as_the_library_does(data: st.DataObject) -> None:
    """Every request that is in order means the same to both; written, it is read again."""
    method = data.draw(st.sampled_from(METHODS))
    members = data.draw(_messages(method.request.DESCRIPTOR))
    message: Message = parse(members, method.request)
    assert message == json_format.ParseDict(members, method.request(), ignore_unknown_fields=True)
    assert parse(json.loads(dumps(message)), method.request) == message


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_writes_as_the_library_does(data: st.DataObject) -> None:
    """But for the nulls, which the library leaves out."""
    method = data.draw(st.sampled_from(METHODS))
    message = parse(data.draw(_messages(method.request.DESCRIPTOR)), method.request)
    theirs = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    assert _without_nulls(to_dict(message), message.DESCRIPTOR) == theirs


def _without_nulls(members: Any, descriptor: Any) -> Any:
    if not isinstance(members, dict) or descriptor.full_name.startswith("google.protobuf."):
        return members
    found = {}
    for field in descriptor.fields:
        value = members.get(field.json_name)
        if value is None:
            continue
        if field.message_type is not None:
            inner = field.message_type
            value = (
                [_without_nulls(item, inner) for item in value] if field.is_repeated else _without_nulls(value, inner)
            )
        found[field.json_name] = value
    return found


# --- Streams of objects ------------------------------------------------------------------------------------------


@given(
    st.lists(st.dictionaries(TEXTS, JSON_VALUES, max_size=3), max_size=4),
    st.sampled_from(["", "\n", " \r\n\t"]),
    st.integers(1, 7),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_objects_in_chunks(values: list[dict[str, Any]], between: str, size: int, escaped: bool) -> None:
    """However a body is cut, the same objects come out of it."""
    body = between.join(json.dumps(value, ensure_ascii=escaped) for value in values).encode()
    assert _split(body, size, Splitter(1_000_000)) == values


def _split(body: bytes, size: int, splitter: Splitter) -> list[dict[str, Any]]:
    found = [one for at in range(0, len(body), size) for one in splitter.feed(body[at : at + size])]
    splitter.end()
    return found


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a": 1', id="cut short"),
        pytest.param(b'{} {"a": "}', id="cut short in text"),
        pytest.param(b"[{}]", id="a list"),
        pytest.param(b"{},{}", id="commas between"),
        pytest.param(b"{}]", id="bracket behind"),
        pytest.param(b"{} null", id="null behind"),
        pytest.param(b'{"a": [}', id="brackets crossed"),
        pytest.param(b'{"a": 1, "a": 2}', id="repeated member"),
        pytest.param(b'{"a": "\xff"}', id="no UTF-8"),
    ],
)
def test_no_objects(body: bytes) -> None:
    """A stream of messages that is none."""
    with pytest.raises(UndecodableBody):
        _split(body, 1, Splitter(1_000))


@pytest.mark.parametrize("chunk", [7, 1_000])
def test_each_object_is_bounded(chunk: int) -> None:
    """Not the stream, but what is in it; found before the whole is there."""
    body = b'{"a": 1}' * 10 + b'{"a": "' + b"x" * 100
    with pytest.raises(BodyTooLarge):
        _split(body, chunk, Splitter(20))


def test_only_the_first_value_of_a_unary_body() -> None:
    """As gateways read it."""
    assert loads(b'{"a": 1}{"b": 2}') == {"a": 1}
