"""JSON values as the values of caveat parameters, by declared type.

Numbers may be given as decimal text, since JSON's own lose digits; bytes are base64, durations are written as Go
writes them, timestamps follow RFC 3339. Nothing is bound that CEL would have to guess at: `cel-expr-python` takes
``True`` for an ``int``, refuses a ``datetime`` and ends a text at its first zero byte, so that ``"admin\0"`` would be
``"admin"``: every value is made here, texts and bytes with a zero byte as protobuf's wrappers, which it takes whole.
``null`` is a value of ``any`` alone.
"""

import base64
import binascii
import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import BytesValue, StringValue, UInt64Value

from schema.cel_cost import repeats as _repeats
from schema.model import CaveatType

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
DEPTH_MAX = 64
"""Lists and maps within one another in a value of type ``any``."""

_NUMBER_CHARS_MAX = 400
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,6})?", re.ASCII)
_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"([+-]?)((?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|0)", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_NS: Mapping[str, int] = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


class Mismatch(Exception):
    """A value is none of its parameter's type; says what was wanted."""


class Binder:
    """Binds the values of one context and keeps count of their size.

    ``repeats`` is how often a text, read as a regular expression, repeats a part of itself at most.
    """

    def __init__(self, *, real_uint: bool = False) -> None:
        """``real_uint`` binds a ``uint`` as CEL's own, not as an ``int``."""
        self._real_uint = real_uint
        self.bytes = 0
        self.elements = 0
        self.repeats = 1

    def bind(self, type_: CaveatType, value: Any) -> Any:
        """The value as CEL takes it.

        Raises:
            Mismatch: it is none of the type.
        """
        match type_.name:
            case "list":
                if not isinstance(value, list | tuple):
                    raise Mismatch(f"expected a list for `{type_}`, found {_kind(value)}")
                self.elements += len(value)
                return [self.bind(type_.arguments[0], element) for element in value]
            case "map":
                if not isinstance(value, Mapping):
                    raise Mismatch(f"expected an object for `{type_}`, found {_kind(value)}")
                self.elements += len(value)
                return {self._key(key): self.bind(type_.arguments[0], element) for key, element in value.items()}
            case "any":
                return self._anything(value, 0)
            case "string":
                if not isinstance(value, str):
                    raise Mismatch(f"expected a string, found {_kind(value)}")
                return self._text(value)
            case "uint" if self._real_uint:
                return UInt64Value(value=_uint(value))
            case name:
                if isinstance(value, str):
                    self.bytes += len(value)
                return _SCALARS[name](value)

    def _text(self, value: str) -> str | StringValue:
        try:
            self.bytes += len(value.encode())
        except UnicodeEncodeError:
            raise Mismatch("a string has half of a surrogate pair") from None
        if "{" in value:
            self.repeats = max(self.repeats, _repeats(value))
        return StringValue(value=value) if "\0" in value else value

    def _key(self, value: str) -> str:
        if "\0" in value:
            raise Mismatch("the key of an object has a zero byte")
        self._text(value)
        return value

    def _anything(self, value: Any, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise Mismatch(f"lists and objects are nested more than {DEPTH_MAX} deep")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float):
            return _double(value)
        if isinstance(value, Mapping):
            self.elements += len(value)
            return {self._key(key): self._anything(element, depth + 1) for key, element in value.items()}
        self.elements += len(value)
        return [self._anything(element, depth + 1) for element in value]


def _kind(value: Any) -> str:
    """What JSON calls a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return f"the number {str(value)[:32]}"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, Mapping) else "a list"


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Mismatch(f"expected a boolean, found {_kind(value)}")
    return value


def _number(value: Any, wanted: str) -> Decimal:
    """A JSON number or decimal text, exactly."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return Decimal(value)
    elif isinstance(value, str) and len(value) <= _NUMBER_CHARS_MAX and _DECIMAL.fullmatch(value):
        try:
            return Decimal(value)
        except InvalidOperation:
            pass
    elif isinstance(value, str):
        raise Mismatch(f"expected {wanted}, found a string that is no decimal number")
    raise Mismatch(f"expected {wanted}, found {_kind(value)}")


def _int(value: Any) -> int:
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return value
    number = _number(value, "a whole number")
    if number >= INT64_MAX:
        return INT64_MAX  # clamped, as the field's engines do: comparisons keep their sense
    if number <= INT64_MIN:
        return INT64_MIN
    if number != number.to_integral_value():
        raise Mismatch("expected a whole number, found one with a fraction")
    return int(number)


def _uint(value: Any) -> int:
    number = _int(value)
    if number < 0:
        raise Mismatch("expected a whole number that is not negative")
    return number


def _double(value: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    try:
        number = float(_number(value, "a number"))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Mismatch("expected a number that fits a double")
    return number


def _base64(value: Any) -> bytes | BytesValue:
    if not isinstance(value, str):
        raise Mismatch(f"expected bytes as base64 text, found {_kind(value)}")
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Mismatch("expected bytes as padded base64 text") from None
    return BytesValue(value=decoded) if 0 in decoded else decoded


def _duration(value: Any) -> Duration:
    found = _DURATION.fullmatch(value) if isinstance(value, str) and len(value) <= _NUMBER_CHARS_MAX else None
    if found is None:
        raise Mismatch(f"expected a duration such as `1h30m`, found {_kind(value)}")
    parts = _DURATION_PART.findall(found[2])
    nanoseconds = int(sum((Decimal(number) * _UNIT_NS[unit] for number, unit in parts), Decimal()))
    if nanoseconds > INT64_MAX:
        raise Mismatch("expected a duration of less than 293 years")
    sign = -1 if found[1] == "-" else 1
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Duration(seconds=sign * seconds, nanos=sign * rest)


def _timestamp(value: Any) -> Timestamp:
    found = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Mismatch(f"expected a timestamp as RFC 3339 writes it, found {_kind(value)}")
    *fields, fraction, zone = found.groups()
    try:
        moment = datetime(*(int(one) for one in fields), tzinfo=UTC)  # type: ignore[arg-type, misc]  # six of them
        if zone != "Z":
            hours, minutes = int(zone[1:3]), int(zone[4:])
            if hours > 23 or minutes > 59:
                raise Mismatch("expected a timestamp with a time zone that exists")
            offset = timedelta(hours=hours, minutes=minutes)
            moment += offset if zone[0] == "-" else -offset
    except (ValueError, OverflowError):
        raise Mismatch("expected a timestamp that exists") from None
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return Timestamp(seconds=seconds, nanos=int((fraction or "0")[:9].ljust(9, "0")))


def _address(value: Any) -> str:
    if not isinstance(value, str):
        raise Mismatch(f"expected an IP address, found {_kind(value)}")
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise Mismatch("expected an IP address, found a string that is none") from None


_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "bool": _bool,
    "bytes": _base64,
    "double": _double,
    "duration": _duration,
    "int": _int,
    "ipaddress": _address,
    "timestamp": _timestamp,
    "uint": _uint,
}
