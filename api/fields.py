"""Field rules of the v1 API, read from where the API states them: the ``buf.validate`` options of its messages.

A violation says where and what in the terms of ``buf.validate.Violation``, which is what a caller is sent.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple, Protocol, TypeAlias

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, OneofDescriptor
from google.protobuf.message import Message

from api.protojson import is_map


class Named(Protocol):
    """A field, a oneof, or a member that no message has a field for."""

    @property
    def name(self) -> str:
        """Its name in snake_case."""
        ...


class Step(NamedTuple):
    """One step of a field's path, and which item of a repeated one."""

    field: Named
    item: int | None = None

    def __str__(self) -> str:
        return self.field.name if self.item is None else f"{self.field.name}[{self.item}]"


RulePath: TypeAlias = tuple[FieldDescriptor, ...]


class Violation(NamedTuple):
    """A field that breaks a rule: where it is, which rule, its id and what it says."""

    steps: tuple[Step, ...]
    rule: RulePath
    rule_id: str
    message: str

    @property
    def path(self) -> str:
        """The field's path in snake_case."""
        return ".".join(map(str, self.steps))

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"

    def below(self, step: Step) -> "Violation":
        """The same, seen from the message that holds it."""
        return self._replace(steps=(step, *self.steps))


class InvalidFields(Exception):
    """A request whose fields break the API's rules."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = violations
        if len(violations) == 1:
            super().__init__(f"validation error: {violations[0]}")
        else:
            super().__init__("validation errors:" + "".join(f"\n - {violation}" for violation in violations))


VIOLATIONS_MAX = 100
"""More of one request are not looked for: a request of ten thousand mistakes needs no megabytes of answer."""


def validate(message: Message) -> None:
    """Hold a request against its rules.

    Raises:
        InvalidFields: naming the fields that break one, at most `VIOLATIONS_MAX`.
    """
    violations = [violation for _, violation in zip(range(VIOLATIONS_MAX), _violations(message), strict=False)]
    if violations:
        raise InvalidFields(violations)


class _Text(NamedTuple):
    pattern: re.Pattern[str] | None
    bytes_min: int
    bytes_max: int
    prefix: RulePath


class _Rules(NamedTuple):
    field: FieldDescriptor
    required: bool
    text: _Text | None
    is_enum: bool
    must_be_true: bool
    has_rules_below: bool


def _rule(*names: str) -> RulePath:
    """The path of a rule inside ``buf.validate.FieldRules``."""
    path, descriptor = [], validate_pb2.FieldRules.DESCRIPTOR
    for name in names:
        field = descriptor.fields_by_name[name]
        path.append(field)
        descriptor = field.message_type
    return tuple(path)


_REQUIRED = _rule("required")
_ENUM_DEFINED = _rule("enum", "defined_only")
_ENUM_NOT_IN = _rule("enum", "not_in")
_BOOL_CONST = _rule("bool", "const")
_TEXT = _rule("string")
_ITEM_TEXT = _rule("repeated", "items", "string")
_STRING_RULES = validate_pb2.StringRules.DESCRIPTOR.fields_by_name


@cache
def _rules(descriptor: Descriptor) -> tuple[tuple[_Rules, ...], tuple[OneofDescriptor, ...]]:
    fields = []
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        text = _text_rules(rules.string, _TEXT) or _text_rules(rules.repeated.items.string, _ITEM_TEXT)
        found = _Rules(
            field,
            rules.required,
            text,
            rules.HasField("enum"),
            rules.HasField("bool"),
            _is_ours(field.message_type),
        )
        if any(found[1:]):
            fields.append(found)
    oneofs = tuple(oneof for oneof in descriptor.oneofs if oneof.GetOptions().Extensions[validate_pb2.oneof].required)
    return tuple(fields), oneofs


def _is_ours(message_type: Descriptor | None) -> bool:
    """Whether it is a message that may have rules inside: no scalar, no map, nothing of protobuf's own."""
    return (
        message_type is not None
        and not is_map(message_type)
        and not message_type.full_name.startswith("google.protobuf.")
    )


def _text_rules(rules: validate_pb2.StringRules, prefix: RulePath) -> _Text | None:
    if not rules.ListFields():
        return None
    pattern = re.compile(rules.pattern) if rules.pattern else None
    return _Text(pattern, rules.min_bytes, rules.max_bytes, prefix)


def _violations(message: Message) -> Iterator[Violation]:
    fields, oneofs = _rules(message.DESCRIPTOR)
    for oneof in oneofs:
        if message.WhichOneof(oneof.name) is None:
            yield Violation((Step(oneof),), (), "required", "exactly one field is required in oneof")
    for rules in fields:
        field = rules.field
        if field.is_repeated:
            yield from _repeated(message, rules)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            if message.HasField(field.name):
                if rules.has_rules_below:
                    for violation in _violations(getattr(message, field.name)):
                        yield violation.below(Step(field))
            elif rules.required:
                yield Violation((Step(field),), _REQUIRED, "required", "value is required")
        else:
            yield from _scalar(message, rules)


def _repeated(message: Message, rules: _Rules) -> Iterator[Violation]:
    for index, item in enumerate(getattr(message, rules.field.name)):
        if rules.has_rules_below:
            for violation in _violations(item):
                yield violation.below(Step(rules.field, index))
        elif rules.text is not None:
            for rule, rule_id, says in _text(item, rules.text):
                yield Violation((Step(rules.field, index),), rule, rule_id, says)


def _scalar(message: Message, rules: _Rules) -> Iterator[Violation]:
    steps = (Step(rules.field),)
    value = getattr(message, rules.field.name)
    if rules.text is not None:
        for rule, rule_id, says in _text(value, rules.text):
            yield Violation(steps, rule, rule_id, says)
    elif rules.is_enum:
        enum = rules.field.enum_type
        if enum is not None and value not in enum.values_by_number:
            yield Violation(steps, _ENUM_DEFINED, "enum.defined_only", "value must be one of the defined enum values")
        elif value == 0:
            yield Violation(steps, _ENUM_NOT_IN, "enum.not_in", "must not be in list [0]")
    elif rules.must_be_true and message.HasField(rules.field.name) and value is not True:
        yield Violation(steps, _BOOL_CONST, "bool.const", "must equal true")


def _text(value: str, rules: _Text) -> Iterator[tuple[RulePath, str, str]]:
    length = len(value.encode())
    if length < rules.bytes_min:
        rule = (*rules.prefix, _STRING_RULES["min_bytes"])
        yield rule, "string.min_bytes", f"must be at least {rules.bytes_min} bytes"
    if rules.bytes_max and length > rules.bytes_max:
        rule = (*rules.prefix, _STRING_RULES["max_bytes"])
        yield rule, "string.max_bytes", f"must be at most {rules.bytes_max} bytes"
    if rules.pattern is not None and not rules.pattern.fullmatch(value):
        rule = (*rules.prefix, _STRING_RULES["pattern"])
        yield rule, "string.pattern", f"does not match regex pattern `{rules.pattern.pattern}`"


def to_proto(violations: Sequence[Violation]) -> validate_pb2.Violations:
    """The message that a caller is sent."""
    message = validate_pb2.Violations()
    for violation in violations:
        one = message.violations.add(rule_id=violation.rule_id, message=violation.message)
        for field, item in violation.steps:
            element = one.field.elements.add(field_name=field.name)
            if isinstance(field, FieldDescriptor):
                _describe(element, field)
            if item is not None:
                element.index = item
        for field in violation.rule:
            _describe(one.rule.elements.add(field_name=field.name), field)
    return message


def _describe(element: validate_pb2.FieldPathElement, field: FieldDescriptor) -> None:
    element.field_number = field.number
    element.field_type = field.type
