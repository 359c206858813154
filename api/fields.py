"""Field rules of the v1 API, read from where the API states them: the ``buf.validate`` options of its messages."""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from api.protojson import is_map


class Violation(NamedTuple):
    """A field that breaks a rule: its path in snake_case, the rule's id and what the rule says."""

    path: str
    rule_id: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InvalidFields(Exception):
    """A request whose fields break the API's rules."""

    def __init__(self, violations: list[Violation]) -> None:
        self.violations = violations
        if len(violations) == 1:
            super().__init__(f"validation error: {violations[0]}")
        else:
            super().__init__("validation errors:" + "".join(f"\n - {violation}" for violation in violations))


def validate(message: Message) -> None:
    """Hold a request against its rules.

    Raises:
        InvalidFields: naming every field that breaks one.
    """
    if violations := list(_violations(message, "")):
        raise InvalidFields(violations)


class _Rules(NamedTuple):
    field: FieldDescriptor
    required: bool
    pattern: re.Pattern[str] | None
    bytes_min: int
    bytes_max: int
    is_enum: bool
    must_be_true: bool
    item_pattern: re.Pattern[str] | None
    item_bytes_max: int


@cache
def _rules(descriptor: Descriptor) -> tuple[tuple[_Rules, ...], tuple[str, ...]]:
    fields = []
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        text, items = rules.string, rules.repeated.items.string
        fields.append(
            _Rules(
                field,
                rules.required,
                re.compile(text.pattern) if text.pattern else None,
                text.min_bytes,
                text.max_bytes,
                rules.HasField("enum"),
                rules.HasField("bool"),
                re.compile(items.pattern) if items.pattern else None,
                items.max_bytes,
            )
        )
    oneofs = tuple(
        oneof.name for oneof in descriptor.oneofs if oneof.GetOptions().Extensions[validate_pb2.oneof].required
    )
    return tuple(fields), oneofs


def _violations(message: Message, prefix: str) -> Iterator[Violation]:
    fields, oneofs = _rules(message.DESCRIPTOR)
    for name in oneofs:
        if message.WhichOneof(name) is None:
            yield Violation(prefix + name, "required", "exactly one field is required in oneof")
    for rules in fields:
        field = rules.field
        path = prefix + field.name
        if field.is_repeated:
            yield from _repeated(message, rules, path)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            if message.HasField(field.name):
                yield from _violations(getattr(message, field.name), path + ".")
            elif rules.required:
                yield Violation(path, "required", "value is required")
        else:
            yield from _scalar(message, rules, path)


def _repeated(message: Message, rules: _Rules, path: str) -> Iterator[Violation]:
    if is_map(rules.field.message_type):
        return
    for index, item in enumerate(getattr(message, rules.field.name)):
        at = f"{path}[{index}]"
        if isinstance(item, Message):
            yield from _violations(item, at + ".")
        elif rules.item_pattern is not None:
            yield from _text(item, rules.item_pattern, 0, rules.item_bytes_max, at)


def _scalar(message: Message, rules: _Rules, path: str) -> Iterator[Violation]:
    value = getattr(message, rules.field.name)
    if isinstance(value, str):
        yield from _text(value, rules.pattern, rules.bytes_min, rules.bytes_max, path)
    elif rules.is_enum:
        enum = rules.field.enum_type
        if enum is not None and value not in enum.values_by_number:
            yield Violation(path, "enum.defined_only", "value must be one of the defined enum values")
        elif value == 0:
            yield Violation(path, "enum.not_in", "must not be in list [0]")
    elif rules.must_be_true and message.HasField(rules.field.name) and value is not True:
        yield Violation(path, "bool.const", "must equal true")


def _text(
    value: str, pattern: re.Pattern[str] | None, bytes_min: int, bytes_max: int, path: str
) -> Iterator[Violation]:
    length = len(value.encode())
    if length < bytes_min:
        yield Violation(path, "string.min_bytes", f"must be at least {bytes_min} bytes")
    if bytes_max and length > bytes_max:
        yield Violation(path, "string.max_bytes", f"must be at most {bytes_max} bytes")
    if pattern is not None and not pattern.fullmatch(value):
        yield Violation(path, "string.pattern", f"does not match regex pattern `{pattern.pattern}`")
