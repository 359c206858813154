"""A model in OpenFGA's JSON, as its API takes it, to a `Document`.

Rewrites may be written in snake case; what the API ignores is ignored. Each problem names the code that OpenFGA's
API answers with (``openfga_code``), for its own rules are not always told apart there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schema.errors import Problems, quote
from schema.model import (
    NOWHERE,
    AllowedSubject,
    CaveatType,
    ComputedUserset,
    Exclusion,
    Rewrite,
    This,
    TupleToUserset,
)
from schema.openfga.document import ConditionNode, Document, ParameterNode, RelationNode, TypeNode
from schema.openfga.dsl import flat_intersection, flat_union
from schema.tokens import NESTING_MAX

TYPES_MAX = 100
CONDITIONS_MAX = 25
PARAMETERS_MAX = 25
EXPRESSION_BYTES_MAX = 512

INVALID_MODEL = "invalid_authorization_model"
INVALID_VALUE = "validation_error"
TOO_MANY = "exceeded_entity_limit"

_TYPE_NAMES: Mapping[str, str] = {
    f"TYPE_NAME_{name.upper()}": name
    for name in (
        "any",
        "bool",
        "string",
        "int",
        "uint",
        "double",
        "duration",
        "timestamp",
        "map",
        "list",
        "ipaddress",
    )
}
_OPERATORS = ("this", "computedUserset", "tupleToUserset", "union", "intersection", "difference")


class Unreadable(Exception):
    """The JSON is no model; says where and why."""

    def __init__(self, path: str, reason: str, code: str = INVALID_VALUE) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.code = code


def read(model: Any, problems: Problems) -> Document:
    """Read a model, already parsed from JSON. A problem is noted where it is none."""
    try:
        return _document(_object(model, "model"))
    except Unreadable as error:
        problems.type("invalid-model", str(error), NOWHERE, {"openfga_code": error.code})
        return Document("", ())


def _document(model: Mapping[str, Any]) -> Document:
    types = _list(model.get("type_definitions"), "type_definitions")
    if len(types) > TYPES_MAX:
        raise Unreadable("type_definitions", f"more than {TYPES_MAX} types", TOO_MANY)
    if not types:
        raise Unreadable("type_definitions", "at least one type is needed")
    conditions = _optional(model.get("conditions"), "conditions")
    if len(conditions) > CONDITIONS_MAX:
        raise Unreadable("conditions", f"more than {CONDITIONS_MAX} conditions")
    return Document(
        _text(model.get("schema_version"), "schema_version"),
        tuple(
            _type(_object(one, f"type_definitions[{at}]"), f"type_definitions[{at}]") for at, one in enumerate(types)
        ),
        tuple(_condition(name, one) for name, one in conditions.items()),
    )


def _type(one: Mapping[str, Any], path: str) -> TypeNode:
    relations = _optional(one.get("relations"), f"{path}.relations")
    metadata = _optional(one.get("metadata"), f"{path}.metadata")
    allowed = _optional(metadata.get("relations"), f"{path}.metadata.relations")
    found = []
    for name, rewrite in relations.items():
        where = f"{path}.relations.{name}"
        about = _optional(allowed.get(name), f"{path}.metadata.relations.{name}")
        restrictions = _list(about.get("directly_related_user_types"), f"{where}.directly_related_user_types")
        found.append(
            RelationNode(
                name,
                _rewrite(rewrite, where, 0),
                tuple(_restriction(restriction, f"{where}[{at}]") for at, restriction in enumerate(restrictions)),
            )
        )
    return TypeNode(_text(one.get("type"), f"{path}.type"), tuple(found))


def _rewrite(value: Any, path: str, depth: int) -> Rewrite:
    """A rewrite; nested no deeper than the DSL may nest parentheses."""
    if depth > NESTING_MAX:
        raise Unreadable(path, f"rewrites are nested more than {NESTING_MAX} deep")
    one = {_camel(name): content for name, content in _object(value, path).items() if content is not None}
    given = [name for name in _OPERATORS if name in one]
    if len(given) != 1:
        raise Unreadable(path, f"exactly one of {', '.join(_OPERATORS)} is needed", INVALID_MODEL)
    content = _object(one[given[0]], path)
    match given[0]:
        case "this":
            return This()
        case "computedUserset":
            return ComputedUserset(_text(content.get("relation"), f"{path}.computedUserset.relation"))
        case "tupleToUserset":
            parts = {_camel(name): part for name, part in content.items()}
            tupleset = _object(parts.get("tupleset"), f"{path}.tupleToUserset.tupleset")
            computed = _object(parts.get("computedUserset"), f"{path}.tupleToUserset.computedUserset")
            where = f"{path}.tupleToUserset"
            return TupleToUserset(_text(tupleset.get("relation"), where), _text(computed.get("relation"), where))
        case "difference":
            base = _rewrite(content.get("base"), f"{path}.difference.base", depth + 1)
            return Exclusion(base, _rewrite(content.get("subtract"), f"{path}.difference.subtract", depth + 1))
        case operator:
            children = _list(content.get("child"), f"{path}.{operator}.child")
            if len(children) < 2:
                raise Unreadable(path, f"{operator} needs at least two children", INVALID_MODEL)
            found = [_rewrite(child, f"{path}.{operator}[{at}]", depth + 1) for at, child in enumerate(children)]
            return flat_union(found) if operator == "union" else flat_intersection(found)


def _restriction(value: Any, path: str) -> AllowedSubject:
    one = _object(value, path)
    relation = one.get("relation")
    wildcard = one.get("wildcard") is not None
    if relation == "":
        relation = None  # the original answers 500; an absent relation is all that it can mean
    if relation is not None and wildcard:
        raise Unreadable(path, "a restriction has a relation or a wildcard, not both")
    condition = _text(one.get("condition") or "", f"{path}.condition")
    return AllowedSubject(_text(one.get("type"), f"{path}.type"), _text(relation or "", path), wildcard, condition)


def _condition(key: str, value: Any) -> ConditionNode:
    path = f"conditions.{key}"
    one = _object(value, path)
    name = _text(one.get("name"), f"{path}.name")
    if name != key:
        raise Unreadable(path, f"its name {quote(name)} is not its key", INVALID_MODEL)
    expression = _text(one.get("expression"), f"{path}.expression")
    if len(expression.encode("utf-8", "surrogatepass")) > EXPRESSION_BYTES_MAX:
        raise Unreadable(path, f"its expression is longer than {EXPRESSION_BYTES_MAX} bytes")
    parameters = _optional(one.get("parameters"), f"{path}.parameters")
    if len(parameters) > PARAMETERS_MAX:
        raise Unreadable(path, f"it has more than {PARAMETERS_MAX} parameters")
    return ConditionNode(name, tuple(_parameters(parameters, path)), expression)


def _parameters(parameters: Mapping[str, Any], path: str) -> Iterator[ParameterNode]:
    for name, value in parameters.items():
        yield ParameterNode(name, _parameter_type(_object(value, f"{path}.parameters.{name}"), f"{path}.{name}", 0))


def _parameter_type(one: Mapping[str, Any], path: str, depth: int) -> CaveatType:
    name = _TYPE_NAMES.get(str(one.get("type_name")))
    if name is None:
        raise Unreadable(path, f"no parameter type {quote(str(one.get('type_name')))}", INVALID_MODEL)
    generics = _list(one.get("generic_types"), f"{path}.generic_types")
    if len(generics) != (1 if name in ("map", "list") else 0) or depth > NESTING_MAX:
        raise Unreadable(path, f"type `{name}` takes another number of type arguments", INVALID_MODEL)
    arguments = tuple(_parameter_type(_object(generic, path), path, depth + 1) for generic in generics)
    return CaveatType(name, arguments)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _object(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unreadable(path, "an object is needed")
    return value


def _optional(value: Any, path: str) -> Mapping[str, Any]:
    return {} if value is None else _object(value, path)


def _list(value: Any, path: str) -> Sequence[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(path, "a list is needed")
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise Unreadable(path, "a string is needed")
    return value
