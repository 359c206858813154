"""ExperimentalService's old names of methods that moved on: the same messages, field by field, under other names."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from api.methods.call import Call, Collecting, Extended, Method, Response, Streaming, Unary, method


def alias(of: Method, service: Any, name: str, path: str) -> Method:
    """An old name of a method; its messages have the same fields under other names of types."""
    made = method(service, name, path, of.scope, f"Deprecated: use `{of.path}`.", None)
    match of, made:
        case Unary(), Unary():
            run: Any = _unary(of, made.response)
        case Streaming(), Streaming():
            run = _streaming(of, made.response)
        case Collecting(), Collecting():
            run = _collecting(of, made.response)
        case _:
            raise TypeError(f"{name} is of another kind than {of.name}")
    return method(service, name, path, of.scope, made.summary, run)


def _as(message: Message, message_type: type[Message]) -> Message:
    return message_type.FromString(message.SerializeToString())


def _renamed(response: Response, message_type: type[Message]) -> Response:
    if isinstance(response, Extended):
        return Extended(_as(response.message, message_type), response.members)
    return _as(response, message_type)


def _unary(of: Unary, response: type[Message]) -> Callable[[Call, Message], Any]:
    async def run(call: Call, request: Message) -> Response:
        return _renamed(await of.run(call, _as(request, of.request)), response)

    return run


def _streaming(of: Streaming, response: type[Message]) -> Callable[[Call, Message], Any]:
    async def run(call: Call, request: Message) -> AsyncIterator[Sequence[Response]]:
        async for batch in of.run(call, _as(request, of.request)):
            yield [_renamed(one, response) for one in batch]

    return run


def _collecting(of: Collecting, response: type[Message]) -> Callable[[Call, Any], Any]:
    async def run(call: Call, requests: AsyncIterator[tuple[Message, Mapping[str, Any]]]) -> Response:
        async def renamed() -> AsyncIterator[tuple[Message, Mapping[str, Any]]]:
            async for request, members in requests:
                yield _as(request, of.request), members

        return _renamed(await of.run(call, renamed()), response)

    return run
