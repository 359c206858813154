"""The v1 API's JSON: protobuf's JSON mapping as the field's HTTP gateway speaks it.

In: camelCase or snake_case, unknown members dropped, an empty body is ``{}``, an unknown name of an enum is its zero.
Out: camelCase, fields with default values included, unset messages as ``null``, unset members of a oneof left out.

A reader and a writer are put together once for each message type, from its descriptor.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from math import copysign, isfinite
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from api.jsontext import UndecodableBody

MessageT = TypeVar("MessageT", bound=Message)

_STRUCT_DEPTH_MAX = 30
"""Levels of a free-form object; each is three messages, and protobuf reads a hundred of them inside each other."""

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_Reader: TypeAlias = Callable[[Any], Any]
"""From a decoded JSON value to what a message's constructor takes; raises `UndecodableBody`."""


class _Member(NamedTuple):
    name: str
    oneof: str
    read: _Reader


def parse(members: Mapping[str, Any], message_type: type[MessageT]) -> MessageT:
    """The message that a decoded object says.

    Raises:
        UndecodableBody: a member is not of its field's type, given in both spellings, or a oneof is set twice.
    """
    return message_type(**_read_message(cast("Descriptor", message_type.DESCRIPTOR), members))


@cache
def _members(descriptor: Descriptor) -> Mapping[str, _Member]:
    members = {}
    for field in descriptor.fields:
        oneof = field.containing_oneof
        member = _Member(field.name, oneof.name if oneof else "", _reader(field))
        members[field.name] = members[field.json_name] = member
    return members


def _read_message(descriptor: Descriptor, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UndecodableBody("an object was expected")
    known = _members(descriptor)
    fields: dict[str, Any] = {}
    oneofs: set[str] = set()
    for key, inner in value.items():
        member = known.get(key)
        if member is None:
            continue
        if member.name in fields:
            raise UndecodableBody(f"duplicate member `{key}`")
        if inner is None:
            fields[member.name] = None
            continue
        if member.oneof:
            if member.oneof in oneofs:
                raise UndecodableBody(f"oneof `{member.oneof}` is already set", key)
            oneofs.add(member.oneof)
        try:
            fields[member.name] = member.read(inner)
        except UndecodableBody as error:
            raise error.below(key) from None
    return fields


def _reader(field: FieldDescriptor) -> _Reader:
    if is_map(field.message_type):
        raise TypeError(f"no request has a map, but {field.full_name} is one")
    read = _single_reader(field)
    return _list_reader(read) if field.is_repeated else read


def _single_reader(field: FieldDescriptor) -> _Reader:
    message, enum = field.message_type, field.enum_type
    if message is not None:
        special = _SPECIAL_READERS.get(message.full_name)
        return special or (lambda value: _read_message(message, value))
    if enum is not None:
        return _enum_reader(enum)
    return _SCALAR_READERS[field.type]


def _list_reader(read: _Reader) -> _Reader:
    def read_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise UndecodableBody("a list was expected")
        items = []
        for index, item in enumerate(value):
            if item is None:
                raise UndecodableBody("an item of a list is never null", f"[{index}]")
            try:
                items.append(read(item))
            except UndecodableBody as error:
                raise error.below(f"[{index}]") from None
        return items

    return read_list


def _read_text(value: Any) -> str:
    if not isinstance(value, str):
        raise UndecodableBody("a string was expected")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UndecodableBody("half of a surrogate pair is no text") from error
    return value


def _read_bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise UndecodableBody("`true` or `false` was expected")


def _integer_reader(least: int, most: int) -> _Reader:
    def read(value: Any) -> int:
        number = value
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            number = float(value) if set(value) & set(".eE") else int(value[:32])
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool):
            raise UndecodableBody("a whole number was expected")
        if not least <= number <= most:
            raise UndecodableBody(f"the number is not within {least} and {most}")
        return number

    return read


def _enum_reader(enum: EnumDescriptor) -> _Reader:
    numbers = {value.name: value.number for value in enum.values}
    read_number = _integer_reader(-(2**31), 2**31 - 1)

    def read(value: Any) -> int:
        if isinstance(value, str):
            return numbers.get(value, 0)
        number: int = read_number(value)
        return number

    return read


def read_timestamp(value: Any) -> Timestamp:
    """A time of RFC 3339.

    Raises:
        UndecodableBody: it is none, or not between the years 1 and 9999.
    """
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise UndecodableBody("a time such as `2030-01-31T12:00:00Z` was expected")
    try:
        moment = datetime.fromisoformat(found[1] + found[3])
        seconds = int((moment - _EPOCH).total_seconds())
        moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UndecodableBody("there is no such time between the years 1 and 9999") from error
    return Timestamp(seconds=seconds, nanos=int((found[2] or "").ljust(9, "0")))


def read_struct(value: Any, levels_left: int = _STRUCT_DEPTH_MAX) -> Struct:
    """A free-form object.

    Raises:
        UndecodableBody: it is none, or nested too deeply.
    """
    if not isinstance(value, dict):
        raise UndecodableBody("an object was expected")
    return Struct(fields={_read_text(name): _read_value(inner, levels_left - 1) for name, inner in value.items()})


def _read_value(value: Any, levels_left: int) -> Value:
    match value:
        case None:
            return Value(null_value=0)  # type: ignore[arg-type]  # the enum's one number
        case bool():
            return Value(bool_value=value)
        case int() | float():
            return Value(number_value=_read_double(value))
        case str():
            return Value(string_value=_read_text(value))
        case _ if levels_left <= 0:
            raise UndecodableBody(f"nested deeper than {_STRUCT_DEPTH_MAX} levels")
        case list():
            return Value(list_value=ListValue(values=[_read_value(item, levels_left - 1) for item in value]))
        case _:
            return Value(struct_value=read_struct(value, levels_left))


def _read_double(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        raise UndecodableBody("a number is too large")
    return number


_SPECIAL_READERS: Mapping[str, _Reader] = {
    "google.protobuf.Timestamp": read_timestamp,
    "google.protobuf.Struct": read_struct,
}
_SCALAR_READERS: Mapping[int, _Reader] = {
    FieldDescriptor.TYPE_STRING: _read_text,
    FieldDescriptor.TYPE_BOOL: _read_bool,
    FieldDescriptor.TYPE_INT32: _integer_reader(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: _integer_reader(0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: _integer_reader(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: _integer_reader(0, 2**64 - 1),
}


_Writer: TypeAlias = Callable[[Any], Any]


class _Field(NamedTuple):
    name: str
    json_name: str
    write: _Writer
    is_list: bool
    has_presence: bool
    in_oneof: bool


def dumps(message: Message) -> bytes:
    """The JSON text of a message."""
    return dumps_members(to_dict(message))


def dumps_members(members: Mapping[str, Any]) -> bytes:
    """The JSON text of an object."""
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()


def to_dict(message: Message) -> dict[str, Any]:
    """The JSON object of a message."""
    members: dict[str, Any] = {}
    for name, json_name, write, is_list, has_presence, in_oneof in _fields(message.DESCRIPTOR):
        if is_list:
            members[json_name] = [write(item) for item in getattr(message, name)]
        elif not has_presence or message.HasField(name):
            members[json_name] = write(getattr(message, name))
        elif not in_oneof:
            members[json_name] = None
    return members


@cache
def _fields(descriptor: Descriptor) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            field.name,
            field.json_name,
            _writer(field),
            bool(field.is_repeated) and not is_map(field.message_type),
            bool(field.has_presence),
            field.containing_oneof is not None,
        )
        for field in descriptor.fields
    )


def _writer(field: FieldDescriptor) -> _Writer:
    if is_map(field.message_type):
        return dict
    if field.message_type is not None:
        return _SPECIAL_WRITERS.get(field.message_type.full_name, to_dict)
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        return lambda number: names.get(number, number)
    if field.type in {FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64}:
        return str
    return lambda value: value


def struct_to_dict(struct: Struct, levels_left: int = _STRUCT_DEPTH_MAX) -> dict[str, Any]:
    """A free-form object as plain JSON values; whole numbers as ``int``.

    Raises:
        ValueError: gRPC let pass what JSON here does not: a number that is not finite, too many levels.
    """
    return {name: _write_value(value, levels_left - 1) for name, value in struct.fields.items()}


def _write_value(value: Value, levels_left: int) -> Any:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            if not isfinite(number):
                raise ValueError(f"a number must be finite, and `{number}` is not")
            whole = number.is_integer() and abs(number) <= 2**53 and (number or copysign(1, number) > 0)
            return int(number) if whole else number  # zero below zero is no whole number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case None | "null_value":
            return None
        case _ if levels_left <= 0:
            raise ValueError(f"nested deeper than {_STRUCT_DEPTH_MAX} levels")
        case "struct_value":
            return struct_to_dict(value.struct_value, levels_left)
        case _:
            return [_write_value(item, levels_left - 1) for item in value.list_value.values]


def _text_of(message: Any) -> str:
    text: str = message.ToJsonString()
    return text


def _any_to_dict(packed: Any) -> dict[str, Any]:
    """A message of any type, beside its type's name."""
    name = packed.type_url.rpartition("/")[2]
    message = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))()
    packed.Unpack(message)
    return {"@type": packed.type_url, **to_dict(message)}


_SPECIAL_WRITERS: Mapping[str, _Writer] = {
    "google.protobuf.Timestamp": _text_of,
    "google.protobuf.Duration": _text_of,
    "google.protobuf.Struct": struct_to_dict,
    "google.protobuf.Any": _any_to_dict,
}


def is_map(message_type: Descriptor | None) -> bool:
    """Whether a field of this message type is a map."""
    return message_type is not None and bool(message_type.GetOptions().map_entry)
