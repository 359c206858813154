"""What the language's names may look like, and the types of parameters that it knows."""

from collections.abc import Mapping
from re import compile as regex

from schema.errors import hint, quote
from schema.model import CaveatType

DEFINITION_BYTES_MAX = 128
_SEGMENT = regex(r"[a-z][a-z0-9_]{1,62}[a-z0-9]")
_RULE = "3 to 64 characters `a-z`, `0-9` and `_`, beginning with a letter and not ending with `_`"

CAVEAT_TYPES: Mapping[str, int] = {
    "any": 0,
    "bool": 0,
    "bytes": 0,
    "double": 0,
    "duration": 0,
    "int": 0,
    "ipaddress": 0,
    "list": 1,
    "map": 1,
    "string": 0,
    "timestamp": 0,
    "uint": 0,
}
"""The types of caveat parameters, with the number of type arguments that each takes."""


def definition_name_fault(name: str) -> str | None:
    """What is wrong with a definition's name; ``None`` if nothing is."""
    if len(name.encode()) > DEFINITION_BYTES_MAX:
        return f"the name {quote(name)} of a definition is longer than {DEFINITION_BYTES_MAX} bytes"
    if all(_SEGMENT.fullmatch(segment) for segment in name.split("/")):
        return None
    return f"{quote(name)} cannot name a definition: each part between `/` has {_RULE}"


def relation_name_fault(name: str, kind: str) -> str | None:
    """What is wrong with the name of a relation or permission (``kind`` says which); ``None`` if nothing is."""
    if _SEGMENT.fullmatch(name):
        return None
    return f"{quote(name)} cannot name a {kind}: a name has {_RULE}"


def parameter_type_fault(type_: CaveatType) -> str | None:
    """What is wrong with a caveat parameter's type; ``None`` if nothing is."""
    todo = [type_]
    while todo:
        one = todo.pop()
        arity = CAVEAT_TYPES.get(one.name)
        if arity is None:
            return f"no parameter type {quote(one.name)}{hint(one.name, CAVEAT_TYPES)}"
        if arity and len(one.arguments) != arity:
            return f"type `{one.name}` takes exactly one type argument, as in `{one.name}<string>`"
        todo.extend(one.arguments)
    return None
