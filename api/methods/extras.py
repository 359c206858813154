"""Members beyond the wire, over HTTP: what they are called, how they are read, what they add to an answer.

An answer has a member beyond the wire only where the request had one, so that a client that knows the v1 API alone
never meets any; but for `validFrom`, which is part of a relationship that somebody wrote with it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from authzed.api.v1 import core_pb2
from authzed.api.v1.permission_service_pb2 import Consistency
from authzed.api.v1.permission_service_pb2 import RelationshipFilter as RelationshipFilterMessage
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from api.convert import (
    from_instant,
    invalid,
    to_consistency,
    to_context,
    to_filter,
    to_instant,
    to_relationship,
)
from api.fields import InvalidFields, Step, validate
from api.jsontext import UndecodableBody
from api.methods.call import Call, Extended, Response
from api.protojson import parse, read_timestamp
from pdp.queries import Circumstances
from pdp.relationships import Instant, Relationship, RelationshipFilter

CONTEXTUAL_MAX = 1_000
RESOURCE_IDS_MAX = 1_000

_KINDS = {list: "a list", dict: "an object", bool: "`true` or `false`", str: "a string"}
Kind = TypeVar("Kind", list[Any], dict[str, Any], bool, str)
Item = TypeVar("Item")
MessageT = TypeVar("MessageT", bound=Message)


def member(members: Mapping[str, Any], name: str, kind: type[Kind]) -> Kind | None:
    """A member by its camelCase name or in snake_case; ``None`` where it is not given or ``null``.

    Raises:
        UndecodableBody: it is not of its kind, or given in both spellings.
    """
    snake = _snake(name)
    if name in members and snake in members and name != snake:
        raise UndecodableBody(f"duplicate member `{snake}`")
    found = members.get(name, members.get(snake))
    if found is None:
        return None
    if not isinstance(found, kind):
        raise UndecodableBody(f"{_KINDS[kind]} was expected", name)
    return found


def instant_of(members: Mapping[str, Any], name: str) -> Instant | None:
    """A member that is a time."""
    text = member(members, name, str)
    if text is None:
        return None
    try:
        found: Timestamp = read_timestamp(text)
    except UndecodableBody as error:
        raise error.below(name) from None
    return to_instant(found)


def relationships_of(members: Mapping[str, Any], name: str, most: int) -> list[Relationship]:
    """A member that is a list of relationships as they are written, `validFrom` included.

    Raises:
        UndecodableBody, InvalidFields: it is none.
        ApiError: it has more than ``most``.
    """
    return items_of(members, name, most, relationship_of)


def relationship_of(item: Mapping[str, Any]) -> Relationship:
    """A relationship as it is written, `validFrom` included."""
    message = checked(item, core_pb2.Relationship)
    return to_relationship(message, valid_from=instant_of(item, "validFrom"))


def checked(item: Mapping[str, Any], message_type: type[MessageT]) -> MessageT:
    """A message of the wire inside a member beyond it, held against its rules.

    Raises:
        UndecodableBody, InvalidFields: it is none.
    """
    message = parse(item, message_type)
    validate(message)
    return message


def items_of(members: Mapping[str, Any], name: str, most: int, read: Callable[[Any], Item]) -> list[Item]:
    """A member that is a list; what is wrong with an item is told with its place.

    Raises:
        UndecodableBody, InvalidFields: an item is none.
        ApiError: there are more than ``most``.
    """
    given = member(members, name, list) or []
    if len(given) > most:
        raise invalid(f"`{name}` has {len(given)} items and may have {most}")
    found = []
    for index, item in enumerate(given):
        try:
            found.append(read(item))
        except UndecodableBody as error:
            raise error.below(f"[{index}]").below(name) from None
        except InvalidFields as error:
            step = Step(_Member(_snake(name)), index)
            raise InvalidFields([violation.below(step) for violation in error.violations]) from None
    return found


class _Member(NamedTuple):
    """A member beyond the wire, in a violation's path: it has a name and no number."""

    name: str


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def filter_of(call: Call, message: RelationshipFilterMessage, name: str = "relationshipFilter") -> RelationshipFilter:
    """A filter, with ``optionalResourceIds`` where several ids are asked for.

    Raises:
        ApiError: INVALID_FILTER, where ids are given in more than one way.
        InvalidFields: an id is none.
    """
    members = member(call.extra, name, dict) or {}
    ids = items_of(members, "optionalResourceIds", RESOURCE_IDS_MAX, _resource_id)
    if not ids:
        return to_filter(message)
    if message.optional_resource_id or message.optional_resource_id_prefix:
        text = " ".join(str(message).split())
        raise invalid("resource id, resource ids and prefix exclude each other", "INVALID_FILTER", filter=text)
    one = RelationshipFilterMessage()
    one.CopyFrom(message)
    one.optional_resource_id = ids[0]
    return to_filter(one)._replace(resource_ids=tuple(dict.fromkeys(ids)))


def _resource_id(item: Any) -> str:
    if not isinstance(item, str):
        raise UndecodableBody("a string was expected")
    if not item:
        raise UndecodableBody("an id is not empty")
    return checked({"optionalResourceId": item}, RelationshipFilterMessage).optional_resource_id


def circumstances(call: Call, consistency: Consistency, context: Struct | None = None) -> Circumstances:
    """What a question is asked under, the members beyond the wire included."""
    return Circumstances(
        consistency=to_consistency(call.store.store, consistency),
        instant=instant_of(call.extra, "evaluationTime"),
        context={} if context is None else to_context(context),
        contextual=relationships_of(call.extra, "contextualRelationships", CONTEXTUAL_MAX),
    )


def bound_by(under: Circumstances) -> object:
    """What of the circumstances a cursor is bound to, beside the request's message."""
    return sorted(under.contextual, key=lambda one: one.identity), under.instant


def marked(response: Any, under: Circumstances) -> Response:
    """The response, marked where it was not given for now: simulated at ``evaluationTime``."""
    if under.instant is None:
        return response  # type: ignore[no-any-return]  # it is the message
    return Extended(response, {"evaluationTime": from_instant(under.instant).ToJsonString()})


def marked_members(members: Mapping[str, Any], under: Circumstances) -> Mapping[str, Any]:
    """As `marked`, of a JSON object."""
    if under.instant is None:
        return members
    return {**members, "evaluationTime": from_instant(under.instant).ToJsonString()}


def lay_over(members: Any, extra: Mapping[Any, Any]) -> Any:
    """Lay members beyond the wire over a message's JSON, in place."""
    for key, value in extra.items():
        if isinstance(value, Mapping) and (isinstance(members, list) or key in members):
            lay_over(members[key], value)
        else:
            members[key] = value
    return members


def valid_from_of(relationships: Sequence[Relationship]) -> dict[int, dict[str, str]]:
    """The `validFrom` of those that have one, by position."""
    return {
        index: {"validFrom": from_instant(one.valid_from).ToJsonString()}
        for index, one in enumerate(relationships)
        if one.valid_from is not None
    }
