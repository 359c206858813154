"""What a method of the v1 API is given, and what a door must know of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from api.auth import Caller
from pdp.service import StoreService


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls which store, and the request's members that its message has no field for.

    A method notes in ``facts`` what the log should tell of the call: its ``decision`` and ``revision``.
    """

    store: StoreService
    caller: Caller
    extra: Mapping[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


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

    run: Callable[[Call, Any], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Streaming(_Method):
    """A method whose responses are a stream."""

    run: Callable[[Call, Any], AsyncIterator[Message]]


@dataclass(frozen=True, slots=True)
class Collecting(_Method):
    """A method whose requests are a stream, answered once."""

    run: Callable[[Call, AsyncIterator[Any]], Awaitable[Message]]


Method: TypeAlias = Unary | Streaming | Collecting


def method(service: ServiceDescriptor, name: str, path: str, scope: str, summary: str, run: Any) -> Method:
    """A method as its service describes it, done by ``run``."""
    described = service.methods_by_name[name]
    kind = Streaming if described.server_streaming else Collecting if described.client_streaming else Unary
    request, response = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
    return kind(service.full_name, name, path, scope, request, response, summary, run)
