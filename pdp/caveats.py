"""Whether a caveat holds: its CEL expression over a relationship's context and a request's, in three values.

With every parameter given an expression is evaluated whole. Where one is missing, or that gives no answer, it is
taken apart at ``&&``, ``||``, ``!`` and ``?:``; the parts are evaluated apart and joined by Kleene's rules, since the
library names one missing parameter where all that matter are wanted, and fails where another part would decide.
Unknown outranks failed: a part that cannot be computed while a parameter is missing may well be computed with it.

What a relationship stores wins over what a request says, or a caller could raise a stored limit. Work is bounded
three times over: the library stops after 10,000 iterations, `schema.cel_cost` refused at schema write what could
grow, and contexts larger than that estimate allows are refused here.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, assert_never

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional

from pdp.caveat_values import Binder, Mismatch
from pdp.errors import CaveatEvaluationFailed, CaveatParameterInvalid, UnknownCaveat
from schema.cel import (
    ADDRESS_OVERLOAD,
    IN_CIDR_OVERLOAD,
    SUBTREE_OVERLOAD,
    CheckedCaveat,
    check_caveat,
    function_declarations,
)
from schema.cel_cost import Limits
from schema.cel_tree import OPERATORS, Checked, Kind, Node, free_names, read_checked, walk
from schema.model import Caveat, Schema

_STORED_CONTEXTS_KEPT = 256
_SCHEMAS_KEPT = 64
_REASON_CHARS_MAX = 300
_NOT_STRICT = OPERATORS | {"@not_strictly_false", "or", "orValue", "optMap", "optFlatMap"}
"""Functions that may answer without one of their arguments."""
_STATUS = re.compile(r" \[[A-Z_]+\]\Z")


class Missing(NamedTuple):
    """The caveat cannot be decided without these parameters, in order of appearance."""

    names: tuple[str, ...]


class Failed(NamedTuple):
    """The caveat cannot be computed."""

    error: CaveatEvaluationFailed


Verdict: TypeAlias = bool | Missing | Failed


@dataclass(frozen=True, slots=True)
class Context:
    """A context bound to a caveat's parameters, with its size."""

    values: Mapping[str, Any] = field(default_factory=dict)
    bytes: int = 0
    elements: int = 0
    repeats: int = 1


_NO_CONTEXT = Context()


class CompiledCaveat:
    """One caveat, ready to be evaluated."""

    def __init__(self, caveat: Caveat) -> None:
        """Prepare a caveat; one that no compiler has checked yet is checked.

        Raises:
            ValueError: the caveat is not valid.
        """
        serialized, limits = caveat.checked, Limits(caveat.bytes_max, caveat.elements_max, caveat.repeats_max)
        if not serialized:
            checked = check_caveat(caveat)
            if not isinstance(checked, CheckedCaveat):
                raise ValueError(f"caveat `{caveat.name}` is not valid: {checked[0].message}")
            serialized, limits = checked.serialized, checked.limits
        self.caveat = caveat
        self._serialized = serialized
        self._limits = limits
        self._expression = _ENVIRONMENT.deserialize(serialized)
        self._parts: _Part | None = None
        self._stored = lru_cache(_STORED_CONTEXTS_KEPT)(self._bind_stored)

    def bind_request(self, context: Mapping[str, Any]) -> Context:
        """Bind a request's context; what names no parameter is not looked at.

        Raises:
            CaveatParameterInvalid: a value is none of its parameter's type.
        """
        parameters = self.caveat.parameters
        return self._bind({name: value for name, value in context.items() if name in parameters})

    def check_stored(self, context: Mapping[str, Any]) -> None:
        """Hold a relationship's context against the parameters.

        Raises:
            CaveatParameterInvalid: a value is none of its parameter's type, or is for no parameter.
        """
        for name in context:
            if name not in self.caveat.parameters:
                raise CaveatParameterInvalid(self.caveat.name, name, "the caveat has no such parameter")
        bound = self._bind(context)
        fault = self._fault_of_size(bound, _NO_CONTEXT)
        if fault is not None:
            raise fault

    def evaluate(self, stored: str, request: Context) -> Verdict:
        """Decide. ``stored`` is the relationship's context in canonical JSON, ``""`` for none."""
        held, values = _NO_CONTEXT, request.values
        if stored:
            try:
                held = self._stored(stored)
            except CaveatParameterInvalid as error:
                return Failed(error)
            values = {**values, **held.values}
        fault = self._fault_of_size(held, request)
        if fault is not None:
            return Failed(fault)
        if len(values) == len(self.caveat.parameters):
            answer, _ = _run(self._expression, values)
            if answer is not None:
                return answer
        if self._parts is None:
            self._parts = self._split()
        return self._decide(self._parts, values)

    def _bind_stored(self, stored: str) -> Context:
        return self.bind_request(json.loads(stored))

    def _bind(self, context: Mapping[str, Any]) -> Context:
        binder, values = Binder(real_uint=self.caveat.dialect == "openfga"), {}
        for name, value in context.items():
            try:
                values[name] = binder.bind(self.caveat.parameters[name], value)
            except Mismatch as mismatch:
                raise CaveatParameterInvalid(self.caveat.name, name, str(mismatch)) from None
        return Context(values, binder.bytes, binder.elements, binder.repeats)

    def _fault_of_size(self, stored: Context, request: Context) -> CaveatEvaluationFailed | None:
        bytes_, elements = stored.bytes + request.bytes, stored.elements + request.elements
        repeats = max(stored.repeats, request.repeats)
        limits = self._limits
        if bytes_ > limits.bytes:
            reason = f"its expression takes at most {limits.bytes} bytes of text, and was given {bytes_}"
        elif elements > limits.elements:
            reason = f"its expression takes at most {limits.elements} elements in lists and maps, not {elements}"
        elif repeats > limits.repeats:
            reason = f"its expression takes no pattern that repeats a part more than {limits.repeats} times"
        else:
            return None
        return CaveatEvaluationFailed(self.caveat.name, reason)

    def _split(self) -> "_Part":
        checked = read_checked(self._serialized)
        return self._part(checked, checked.root)

    def _part(self, checked: Checked, node: Node) -> "_Part":
        operator = node.name if node.kind is Kind.CALL else ""
        if operator in ("_&&_", "_||_"):
            operands = tuple(self._part(checked, operand) for operand in _operands(node, operator))
            return _Every(operands) if operator == "_&&_" else _Some(operands)
        if operator == "!_":
            return _Not(self._part(checked, node.children[0]))
        if operator == "_?_:_":
            condition, then, otherwise = (self._part(checked, child) for child in node.children)
            return _If(condition, then, otherwise)
        names = free_names(node, frozenset(self.caveat.parameters))
        strict = not any(one.kind is Kind.COMPREHENSION or one.name in _NOT_STRICT for one in walk(node))
        return _Leaf(_ENVIRONMENT.deserialize(checked.part(node)), names, strict)

    def _decide(self, part: "_Part", values: Mapping[str, Any]) -> Verdict:
        """Join the parts. Recurses on the expression, which the library keeps from nesting deeply."""
        match part:
            case _Leaf(expression, names, strict):
                missing = tuple(name for name in names if name not in values)
                if missing and strict:
                    return Missing(missing)
                answer, reason = _run(expression, values)
                if answer is not None:
                    return answer
                return Missing(missing) if missing else Failed(CaveatEvaluationFailed(self.caveat.name, reason))
            case _Every(operands):
                return self._join(operands, values, decisive=False)
            case _Some(operands):
                return self._join(operands, values, decisive=True)
            case _Not(operand):
                verdict = self._decide(operand, values)
                return not verdict if isinstance(verdict, bool) else verdict
            case _If(condition, then, otherwise):
                decided = self._decide(condition, values)
                if isinstance(decided, bool):
                    return self._decide(then if decided else otherwise, values)
                if isinstance(decided, Failed):
                    return decided
                branches = [self._decide(then, values), self._decide(otherwise, values)]
                if isinstance(branches[0], bool) and branches[0] is branches[1]:
                    return branches[0]
                return Missing(_missing([decided, *branches]))
            case _:
                assert_never(part)

    def _join(self, operands: tuple["_Part", ...], values: Mapping[str, Any], *, decisive: bool) -> Verdict:
        """Kleene's ``and`` (``decisive`` false) and ``or`` (true)."""
        undecided: list[Verdict] = []
        for operand in operands:
            verdict = self._decide(operand, values)
            if verdict is decisive:
                return decisive
            if not isinstance(verdict, bool):
                undecided.append(verdict)
        missing = _missing(undecided)
        if missing:
            return Missing(missing)
        return undecided[0] if undecided else not decisive


@dataclass(frozen=True, slots=True)
class _Leaf:
    """``strict``: without one of its names it cannot be computed, whatever the others are."""

    expression: cel.Expression
    names: tuple[str, ...]
    strict: bool


@dataclass(frozen=True, slots=True)
class _Every:
    operands: tuple["_Part", ...]


@dataclass(frozen=True, slots=True)
class _Some:
    operands: tuple["_Part", ...]


@dataclass(frozen=True, slots=True)
class _Not:
    operand: "_Part"


@dataclass(frozen=True, slots=True)
class _If:
    condition: "_Part"
    then: "_Part"
    otherwise: "_Part"


_Part: TypeAlias = _Leaf | _Every | _Some | _Not | _If


class Caveats:
    """A schema's caveats, each compiled when it is first met."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._compiled: dict[str, CompiledCaveat] = {}

    def get(self, name: str) -> CompiledCaveat:
        """The caveat of that name.

        Raises:
            UnknownCaveat: the schema has none.
        """
        compiled = self._compiled.get(name)
        if compiled is None:
            caveat = self.schema.caveats.get(name)
            if caveat is None:
                raise UnknownCaveat(name)
            compiled = self._compiled[name] = CompiledCaveat(caveat)
        return compiled

    def asked_with(self, context: Mapping[str, Any]) -> Callable[[str, str], Verdict]:
        """Verdicts on caveats by name and stored context, for one request's context; each is computed once."""
        known: dict[tuple[str, str], Verdict] = {}
        bound: dict[str, Context | Failed] = {}

        def verdict(name: str, stored: str) -> Verdict:
            answer = known.get((name, stored))
            if answer is None:
                compiled = self.get(name)
                request = bound.get(name)
                if request is None:
                    try:
                        request = compiled.bind_request(context) if context else _NO_CONTEXT
                    except CaveatParameterInvalid as error:
                        request = Failed(error)
                    bound[name] = request
                answer = request if isinstance(request, Failed) else compiled.evaluate(stored, request)
                known[name, stored] = answer
            return answer

        return verdict


_kept: dict[int, Caveats] = {}


def caveats_of(schema: Schema) -> Caveats:
    """The compiled caveats of a schema, kept for a number of schemas: a request is judged by its revision's."""
    found = _kept.get(id(schema))
    if found is None or found.schema is not schema:
        if len(_kept) >= _SCHEMAS_KEPT:
            del _kept[next(iter(_kept))]
        found = _kept[id(schema)] = Caveats(schema)
    return found


def _run(expression: cel.Expression, values: Mapping[str, Any]) -> tuple[bool | None, str]:
    """The answer, or why there is none."""
    try:
        result = expression.eval(data=values)
        answer = result.value()
    except Exception as error:  # the library raises its errors as often as it returns them
        return None, _reason(str(error))
    if answer is True or answer is False:
        return answer, ""
    if isinstance(answer, str) and result.type() == cel.Type.ERROR:
        return None, _reason(answer)
    return None, f"an operand is `{result.type().name().lower()}`, not `bool`"


def _reason(text: str) -> str:
    """The library's message without its status."""
    first = text.splitlines()[0] if text else "it cannot be computed"
    _, colon, rest = first.partition(": ")
    reason = rest if colon and first.split(":", 1)[0].isupper() else first
    return _STATUS.sub("", reason)[:_REASON_CHARS_MAX]


def _missing(verdicts: list[Verdict]) -> tuple[str, ...]:
    found = (name for verdict in verdicts if isinstance(verdict, Missing) for name in verdict.names)
    return tuple(dict.fromkeys(found))


def _operands(node: Node, operator: str) -> list[Node]:
    """The operands of a chain of one operator, from left to right."""
    operands, todo = [], [node]
    while todo:
        one = todo.pop()
        if one.kind is Kind.CALL and one.name == operator:
            todo.extend(reversed(one.children))
        else:
            operands.append(one)
    return operands


def _in_cidr(address: str, network: str) -> bool:
    """Whether an address lies in a network. An IPv4 address mapped into IPv6 counts as itself."""
    return _parse_address(address) in _parse_network(network)


@lru_cache(4_096)
def _parse_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    parsed = ipaddress.ip_address(text)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


@lru_cache(4_096)
def _parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    address, slash, prefix = text.partition("/")
    plain = prefix.isascii() and prefix.isdigit() and (prefix == "0" or not prefix.startswith("0"))
    if not slash or not plain or len(text) > 64 or "%" in address:
        raise ValueError(f"`{text[:64]}` is no CIDR range")
    return ipaddress.ip_network(text, strict=False)


def _is_subtree_of(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    """Whether every key of ``part``, at every level, is in ``whole`` with an equal value."""
    todo: list[tuple[Any, Any]] = [(part, whole)]
    while todo:
        one, other = todo.pop()
        if isinstance(one, Mapping):
            if not isinstance(other, Mapping) or not one.keys() <= other.keys():
                return False
            todo.extend((value, other[key]) for key, value in one.items())
        elif isinstance(one, list):
            if not isinstance(other, list) or len(one) != len(other):
                return False
            todo.extend(zip(one, other, strict=True))
        elif isinstance(one, bool) is not isinstance(other, bool) or one != other:
            return False
    return True


_FUNCTIONS = {
    ADDRESS_OVERLOAD: lambda text: str(ipaddress.ip_address(text)),
    IN_CIDR_OVERLOAD: _in_cidr,
    SUBTREE_OVERLOAD: _is_subtree_of,
}
_ENVIRONMENT = cel.NewEnv(
    functions=[one.declaration for one in function_declarations(cel.Type.STRING, _FUNCTIONS)],
    extensions=[ext_optional.ExtOptional()],
)
"""Where checked expressions run. Variables need no declaration here, and an `ipaddress` is its text."""
