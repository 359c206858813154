"""Bodies as JSON text: one object, or objects one behind the other, with what JSON leaves undefined refused.

A repeated member, a number that is none and text that is not UTF-8 are errors, since two readers of such a body could
see two different requests.
"""

import json
import re
from collections.abc import Iterator
from typing import Any


class UndecodableBody(Exception):
    """A body that is not the JSON of the request's message; ``where`` is the member that is not."""

    def __init__(self, why: str, where: str = "") -> None:
        super().__init__(f"`{where}`: {why}" if where else why)
        self.why = why
        self.where = where

    def below(self, name: str) -> "UndecodableBody":
        """The same, seen from the object that holds the member."""
        if not self.where:
            return UndecodableBody(self.why, name)
        return UndecodableBody(self.why, name + self.where if self.where[0] == "[" else f"{name}.{self.where}")


class BodyTooLarge(Exception):
    """A body, or one message in a stream of them, above the limit."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"the body is larger than {bytes_max} bytes")
        self.bytes_max = bytes_max


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UndecodableBody(f"duplicate member `{twice[:64]}`")
    return members


def _no_constant(name: str) -> Any:
    raise UndecodableBody(f"`{name}` is no JSON value")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
_BLANKS = b" \t\r\n"


def loads(body: bytes) -> dict[str, Any]:
    """The first object of a body, as gateways read it: what comes behind it is not looked at. Blank is ``{}``.

    Raises:
        UndecodableBody: not UTF-8, not JSON, not an object, a repeated member, nested too deeply.
    """
    try:
        text = body.decode().lstrip(" \t\r\n")
        if not text:
            return {}
        value, _ = _DECODER.raw_decode(text)
    except UnicodeDecodeError as error:
        raise UndecodableBody("the body is not UTF-8") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}:{error.colno}"
        raise UndecodableBody(f"syntax error ({where}): {error.msg.lower()}") from error
    except RecursionError as error:
        raise UndecodableBody("the body is nested too deeply") from error
    except ValueError as error:
        raise UndecodableBody("a number is too long") from error
    if not isinstance(value, dict):
        raise UndecodableBody("syntax error (line 1:1): an object was expected")
    return value


_STRUCTURE = re.compile(rb'["{}]')
_STRING_END = re.compile(rb'["\\]')


class Splitter:
    """Cuts a body that comes in chunks into its objects; looks at each byte once."""

    def __init__(self, bytes_max: int) -> None:
        """No object may have more than ``bytes_max`` bytes."""
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._in_string = False

    def feed(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The objects that this chunk completes.

        Raises:
            UndecodableBody: what is there is no sequence of objects.
            BodyTooLarge: one of them is.
        """
        self._buffer += chunk
        while (end := self._object_end()) is not None:
            if end > self._bytes_max:
                raise BodyTooLarge(self._bytes_max)
            whole = bytes(self._buffer[:end])
            del self._buffer[:end]
            self._at = 0
            yield loads(whole)
        if len(self._buffer) > self._bytes_max:
            raise BodyTooLarge(self._bytes_max)

    def end(self) -> None:
        """The body is over.

        Raises:
            UndecodableBody: in the middle of an object.
        """
        if self._buffer.strip(_BLANKS):
            raise UndecodableBody("unexpected end of the body")

    def _object_end(self) -> int | None:
        """Where the first object of the buffer ends; ``None`` where it has not all come yet."""
        buffer = self._buffer
        if not self._depth:
            blanks = len(buffer) - len(buffer.lstrip(_BLANKS))
            del buffer[:blanks]
            if buffer and buffer[:1] != b"{":
                raise UndecodableBody("syntax error: an object was expected")
        while self._at < len(buffer):
            found = (_STRING_END if self._in_string else _STRUCTURE).search(buffer, self._at)
            if found is None:
                self._at = len(buffer)
                return None
            self._at = found.end()
            match found[0]:
                case b"\\":
                    if self._at == len(buffer):  # what it escapes has not come yet
                        self._at -= 1
                        return None
                    self._at += 1
                case b'"':
                    self._in_string = not self._in_string
                case b"{":
                    self._depth += 1
                case _:
                    self._depth -= 1
                    if not self._depth:
                        return self._at
        return None
