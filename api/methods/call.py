"""What a method of the v1 API is given, and what a door must know of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from api.auth import Caller
from pdp.service import StoreService


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls which store, and the request's members that its message has no field for.

    A method notes in ``facts`` what the log should tell of the call: its ``decision`` and ``revision``; and in
    ``trailers`` what gRPC sends behind the responses, and HTTP in the head of a unary one.
    """

    store: StoreService
    caller: Caller
    extra: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)


class Extended(NamedTuple):
    """A response with members that its message has no field for; over gRPC they are left out.

    ``members`` is laid over the message's JSON: objects member by member, lists by position (keys are numbers).
    """

    message: Message
    members: Mapping[str, Any]


Response: TypeAlias = Message | Extended


@dataclass(frozen=True, slots=True)
class _Method:
    """One method: service and name on gRPC, path on HTTP, the scope it needs, its messages and what it is for."""

    service: str
    name: str
    path: str
    scope: str
    request: type[Message]
    response: type[Message]
    summary: str


@dataclass(frozen=True, slots=True)
class Unary(_Method):
    """A method with one request and one response."""

    run: Callable[[Call, Any], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Streaming(_Method):
    """A method whose responses are a stream; those of a batch are sent together."""

    run: Callable[[Call, Any], AsyncIterator[Sequence[Response]]]


@dataclass(frozen=True, slots=True)
class Collecting(_Method):
    """A method whose requests are a stream, each with the members beyond its message, answered once."""

    run: Callable[[Call, AsyncIterator[tuple[Any, Mapping[str, Any]]]], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Beyond:
    """A method that the wire does not have, over HTTP alone: a message of the wire in, a JSON object out."""

    name: str
    path: str
    scope: str
    request: type[Message]
    summary: str
    run: Callable[[Call, Any], Awaitable[Mapping[str, Any]]]


Method: TypeAlias = Unary | Streaming | Collecting


def method(service: ServiceDescriptor, name: str, path: str, scope: str, summary: str, run: Any) -> Method:
    """A method as its service describes it, done by ``run``."""
    described = service.methods_by_name[name]
    kind = Streaming if described.server_streaming else Collecting if described.client_streaming else Unary
    request, response = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
    return kind(service.full_name, name, path, scope, request, response, summary, run)
