"""What a method of the v1 API is given, and what a door must know of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from api.auth import Caller
from pdp.service import StoreService


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls which store, and the request's members that its message has no field for."""

    store: StoreService
    caller: Caller
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Method:
    """One method: service and name on gRPC, path on HTTP, the scope it needs, its messages and what it is for."""

    service: str
    name: str
    path: str
    scope: str
    request: type[Message]
    response: type[Message]
    summary: str


@dataclass(frozen=True, slots=True)
class Unary(Method):
    """A method with one response."""

    handle: Callable[[Call, Any], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Streaming(Method):
    """A method whose responses are a stream."""

    stream: Callable[[Call, Any], AsyncIterator[Message]]
