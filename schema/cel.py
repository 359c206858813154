"""Caveats' expressions: the CEL environment that they are checked in, and everything that can be wrong with one.

CEL is evaluated by ``cel-expr-python`` (cel-cpp). `ipaddress` has no type there: while checking it is an abstract
type, so that only `in_cidr` takes it, and while running a string. A ``uint`` is an ``int`` to CEL, but for conditions
imported from OpenFGA, which also have a function ``ipaddress``, have no optional fields, and need not use what they
declare.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional

from schema.cel_cost import Limits, limits
from schema.cel_tree import free_names, leaves, read_checked
from schema.model import Caveat, CaveatType

EXPRESSION_CHARS_MAX = 100_000
NESTING_MAX = 32
"""The library's own bound. Each operator of a chain of ``+`` or ``-`` and each call of a chain of calls counts."""

LEAVES_MAX = 4_000
"""Parts between ``&&``, ``||``, ``!`` and ``?:``: each is evaluated apart where the whole gives no answer."""

IN_CIDR_OVERLOAD = "ipaddress_in_cidr_string"
SUBTREE_OVERLOAD = "map_is_subtree_of_map"
ADDRESS_OVERLOAD = "string_to_ipaddress"

_ENVIRONMENTS_MAX = 256
_MESSAGE_CHARS_MAX = 240
_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?=\n \| |\nERROR: | \[[A-Z_]+\]\s*\Z|\Z)", re.DOTALL)
_TOO_DEEP = re.compile(r"max recursion depth|recursion limit exceeded", re.IGNORECASE)
_IDENTIFIER = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_CEL_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in"}
    | {"let", "loop", "namespace", "null", "package", "return", "true", "var", "void", "while"}
)
_CEL_TYPES = frozenset(
    {"bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "optional_type", "string", "type", "uint"}
)

Parameters: TypeAlias = tuple[tuple[str, CaveatType], ...]


class Fault(NamedTuple):
    """Something wrong with an expression; line and column count from 1 within it, 0 where the whole is meant."""

    code: str
    message: str
    line: int = 0
    column: int = 0
    parameter: str = ""


@dataclass(frozen=True, slots=True)
class CheckedCaveat:
    """A caveat whose expression was compiled: its serialized form, and the largest contexts it may be given."""

    serialized: bytes
    limits: Limits


def check_caveat(caveat: Caveat) -> CheckedCaveat | list[Fault]:
    """Compile a caveat's expression and hold it against the rules of the language."""
    if len(caveat.expression) > EXPRESSION_CHARS_MAX:
        message = f"the expression is longer than {EXPRESSION_CHARS_MAX} characters"
        return [Fault("expression-too-long", message)]
    unnameable = list(_unnameable(caveat))
    if unnameable:
        return unnameable
    environment = checking_environment(tuple(caveat.parameters.items()), caveat.dialect)
    try:
        compiled = environment.compile(caveat.expression)
    except Exception as error:  # the library raises several classes, RuntimeError most of all
        return list(_faults(str(error)))
    if compiled.return_type() != cel.Type.BOOL:
        message = f"the expression must be `bool`, this one is `{compiled.return_type().name().lower()}`"
        return [Fault("expression-not-bool", message)]
    serialized = compiled.serialize()
    root = read_checked(serialized).root
    used = free_names(root, frozenset(caveat.parameters))
    unused = [name for name in caveat.parameters if name not in used]
    if unused and caveat.dialect == "native":
        return [
            Fault("unused-parameter", f"parameter `{name}` of caveat `{caveat.name}` is not used", parameter=name)
            for name in unused
        ]
    found = limits(root, caveat.parameters)
    if found is None or sum(1 for _ in leaves(root)) > LEAVES_MAX:
        return [Fault("expression-too-costly", "evaluating this expression could take too long")]
    return CheckedCaveat(serialized, found)


@lru_cache(_ENVIRONMENTS_MAX)
def checking_environment(parameters: Parameters, dialect: str = "native") -> cel.Env:
    """Where expressions over these parameters are compiled."""
    variables = {name: _cel_type(type_, dialect) for name, type_ in parameters}
    functions = function_declarations(_ADDRESS, {})
    if dialect == "native":
        functions = [one for one in functions if one.name != "ipaddress"]
        extensions = [ext_optional.ExtOptional()]
    else:
        functions = [one for one in functions if one.name != "isSubtreeOf"]
        extensions = []
    return cel.NewEnv(variables=variables, functions=[one.declaration for one in functions], extensions=extensions)


def _cel_type(type_: CaveatType, dialect: str) -> cel.Type:
    match type_.name:
        case "list":
            return cel.Type.List(_cel_type(type_.arguments[0], dialect))
        case "map":
            return cel.Type.Map(cel.Type.STRING, _cel_type(type_.arguments[0], dialect))
        case "uint":
            return cel.Type.INT if dialect == "native" else cel.Type.UINT
        case name:
            return _SCALARS[name]


_ADDRESS = cel.Type.AbstractType("ipaddress")
_SCALARS: Mapping[str, cel.Type] = {
    "any": cel.Type.DYN,
    "bool": cel.Type.BOOL,
    "bytes": cel.Type.BYTES,
    "double": cel.Type.DOUBLE,
    "duration": cel.Type.DURATION,
    "int": cel.Type.INT,
    "ipaddress": _ADDRESS,
    "string": cel.Type.STRING,
    "timestamp": cel.Type.TIMESTAMP,
}


class Declared(NamedTuple):
    """A function that caveats have beyond CEL's own."""

    name: str
    declaration: cel.FunctionDecl


def function_declarations(address: cel.Type, implementations: Mapping[str, Any]) -> list[Declared]:
    """All such functions, with what computes them by overload, where it is known.

    ``address`` stands for an `ipaddress`.
    """
    anything = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
    overloads = (
        ("in_cidr", IN_CIDR_OVERLOAD, [address, cel.Type.STRING], cel.Type.BOOL, True),
        ("isSubtreeOf", SUBTREE_OVERLOAD, [anything, anything], cel.Type.BOOL, True),
        ("ipaddress", ADDRESS_OVERLOAD, [cel.Type.STRING], address, False),
    )
    declared = []
    for name, overload, types, result, member in overloads:
        given = {"impl": implementations[overload]} if overload in implementations else {}
        one = cel.Overload(id=overload, return_type=result, parameters=types, is_member=member, **given)
        declared.append(Declared(name, cel.FunctionDecl(name, [one])))
    return declared


def _unnameable(caveat: Caveat) -> Iterator[Fault]:
    for name in caveat.parameters:
        if not _IDENTIFIER.fullmatch(name) or name in _CEL_RESERVED:
            yield Fault("unusable-parameter", f"no expression can name a parameter `{name[:64]}`", parameter=name)
        elif name in _CEL_TYPES:
            message = f"a parameter cannot be named `{name}`, as that is a type in expressions"
            yield Fault("unusable-parameter", message, parameter=name)


def _faults(text: str) -> Iterator[Fault]:
    """What the library's message says, place by place."""
    if _TOO_DEEP.search(text):
        yield Fault("expression-too-deep", f"the expression nests more than {NESTING_MAX} levels deep")
        return
    seen: set[str] = set()
    for line, column, message in _ERROR.findall(text):
        if message not in seen:
            seen.add(message)
            short = message if len(message) <= _MESSAGE_CHARS_MAX else f"{message[:_MESSAGE_CHARS_MAX]}…"
            yield Fault("invalid-expression", _lower(short), max(0, int(line)), max(0, int(column)))
    if not seen:
        reason = text.splitlines()[0] if text else "it cannot be compiled"
        yield Fault("invalid-expression", _lower(reason[:_MESSAGE_CHARS_MAX]))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
