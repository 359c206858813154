"""The v1 API's JSON: protobuf's JSON mapping as the field's HTTP gateway speaks it.

In: camelCase or snake_case, unknown fields dropped, an empty body is ``{}``. Out: camelCase, fields with default
values included, unset messages as ``null``, unset members of a oneof left out.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

MessageT = TypeVar("MessageT", bound=Message)

_OPAQUE = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.Struct"})


class UndecodableBody(Exception):
    """A body that is not the JSON of the request's message."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UndecodableBody(f"duplicate member `{twice}`")
    return members


def _no_constant(name: str) -> Any:
    raise UndecodableBody(f"`{name}` is no JSON value")


def loads(body: bytes) -> dict[str, Any]:
    """Decode a body to an object, refusing what JSON leaves undefined.

    Raises:
        UndecodableBody: not UTF-8, not JSON, not an object, a repeated member, nested too deeply.
    """
    if not body.strip():
        return {}
    try:
        value = json.loads(body, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}:{error.colno}"
        raise UndecodableBody(f"syntax error ({where}): {error.msg.lower()}") from error
    except UnicodeDecodeError as error:
        raise UndecodableBody("the body is not UTF-8") from error
    except RecursionError as error:
        raise UndecodableBody("the body is nested too deeply") from error
    except ValueError as error:
        raise UndecodableBody("a number is too long") from error
    if not isinstance(value, dict):
        raise UndecodableBody("syntax error (line 1:1): an object was expected")
    return value


def parse(members: Mapping[str, Any], message: MessageT) -> MessageT:
    """Fill a message from a decoded object.

    Raises:
        UndecodableBody: a member is not of its field's type, or a oneof is set twice.
    """
    try:
        return json_format.ParseDict(dict(members), message, ignore_unknown_fields=True, max_recursion_depth=80)
    except json_format.ParseError as error:
        raise UndecodableBody(str(error)) from error
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UndecodableBody(f"a member is not of its field's type: {error}") from error


def to_dict(message: Message) -> dict[str, Any]:
    """The JSON object of a message."""
    members: dict[str, Any] = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    _complete(message, members)
    return members


def dumps(message: Message) -> bytes:
    """The JSON text of a message."""
    return json.dumps(to_dict(message), ensure_ascii=False, separators=(",", ":")).encode()


def _complete(message: Message, members: dict[str, Any]) -> None:
    """Add ``null`` for unset messages, which the library leaves out, here and below."""
    for field in message.DESCRIPTOR.fields:
        if field.type != FieldDescriptor.TYPE_MESSAGE or is_map(field.message_type):
            continue
        if field.is_repeated:
            for item, inner in zip(getattr(message, field.name), members.get(field.json_name, ()), strict=False):
                _descend(item, inner)
        elif message.HasField(field.name):
            _descend(getattr(message, field.name), members[field.json_name])
        elif field.containing_oneof is None:
            members[field.json_name] = None


def _descend(message: Message, members: Any) -> None:
    full_name = message.DESCRIPTOR.full_name
    if full_name not in _OPAQUE and full_name != "google.protobuf.Any" and isinstance(members, dict):
        _complete(message, members)


def is_map(message_type: Any) -> bool:
    """Whether a field of this message type is a map."""
    return message_type is not None and bool(message_type.GetOptions().map_entry)
